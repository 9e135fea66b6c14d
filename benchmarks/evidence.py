"""Whether the phases mean what the paper says, on the runs that are there: makes docs/evidence.md and its pictures.

    python -m benchmarks.pool        # trains what is missing; hours on two cores
    python -m benchmarks.evidence    # trains nothing

Fixed before looking at any run of the pool: the set-ups and seeds of `benchmarks.pool`; the claims, their measures and
boundaries in `benchmarks.study.claims`; 90% intervals by the bootstrap over runs; five runs at least for a verdict; as
schemes beside residual-based attention `brdr`, which weights points otherwise, and `grad_norm`, which balances terms
alone. A run counts as having begun total diffusion if the detector says so with a confidence of 0.5 or more.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.pool import PAIR, PROBLEMS, Run, planned, result
from benchmarks.study.claims import CLAIMS, ERROR, KINDS, oscillation, prediction, sooner
from benchmarks.study.intervals import Interval, median, share, verdict
from benchmarks.study.measures import Measured
from benchmarks.study.pictures import draw_around, draw_beginnings, draw_prediction
from phasecore.phases import Phase

DOCS = Path(__file__).parents[1] / "docs"
PAGE, IMAGES = DOCS / "evidence.md", DOCS / "images"
OTHERS = ("brdr", "grad_norm")
MOVERS = (
    ("SNR rises", "snr", False),
    ("residual order rises", "residual_order", False),
    ("absolute residuals' order rises", "absolute_residual_order", False),
    ("Adam's SNR rises", "adam_snr", False),
    ("variation of the learning rates falls", "adam_learning_rate_variation", True),
    ("loss falls", "unweighted_loss", True),
    ("error falls", ERROR, True),
)

HEADING = """# Evidence: what total diffusion means on four small problems

Made by `python -m benchmarks.evidence` from the runs in `benchmarks/results/pool/`; every number is computed from their
curves when the page is made, with the detector of now. The set-ups are the quick presets, milder than the paper's
([arXiv 2403.18494](https://arxiv.org/abs/2403.18494)), and minutes long: a claim that does not hold here may hold at
the paper's size. Medians come with 90% intervals of the bootstrap over runs. A claim *holds* where the whole interval
lies on its side of the boundary, *does not hold here* where none of it does, and *holds partly* in between; fewer than
five runs say nothing. Claims, measures, boundaries and seeds were fixed before any run of the pool was looked at.

The set-ups themselves were chosen so that residual-based attention shows phases, in some forty exploratory trainings
with seeds 0 and 1. How often total diffusion begins with it on these problems is therefore no finding; what happens
there, and what uniform weights and the other schemes do, is. Entropies of layers cannot exceed the logarithm of the
number of points, and with 64 neurons nearly every point has a pattern of its own: near that bound they cannot tell.

With the quick presets of Burgers' equation and of the cavity residual-based attention does not reach total diffusion.
Their learning rates fall, and so does what total diffusion is made of here: steps that are longer than the valley is
wide. On Burgers, at a constant rate and five times as long, all three phases are there (preset "phases", see
[problems](problems.md#built-in-problems)), also where Helmholtz has them more clearly; these pages still have the quick
presets, which were fixed before. For the cavity no set-up was found: with a constant rate too, 10 000 and 30 000
iterations of 3 x 32, its error falls *while* the SNR stays low (0.19 and 0.15 in the end). Two readers of the pictures
see weak beginnings of total diffusion in some runs: see [readings](readings.md).

Another thing to keep in mind: the bound of residual-based attention, `eta / (1 - gamma)`, also decides how much the
equation counts beside the conditions. Where a preset sets it away from 1, a comparison with uniform weights compares
both; `grad_norm`, which balances terms and leaves points alone, is there to tell the two apart.
"""


def group(problem: str, scheme: str, steps: str = "all points") -> list[Measured]:
    """Return the runs of a problem that are there, of a weighting and a kind of steps, by seed."""
    runs = [run for run in planned() if (run.problem, run.weighting, run.steps) == (problem, scheme, steps)]
    found = [measured(run) for run in sorted(runs, key=lambda run: run.seed)]
    return [run for run in found if run is not None]


@functools.cache
def measured(run: Run) -> Measured | None:
    """Return a run that is there and did not diverge, read once."""
    kept = result(run)
    return Measured(kept) if kept is not None and "history" in kept else None


def page() -> str:
    """Make the pictures, and return the page."""
    pairs = {(problem, scheme): group(problem, scheme) for problem in PROBLEMS for scheme in PAIR}
    begun = [run for runs in pairs.values() for run in runs if math.isfinite(run.total_diffusion)]
    every = {problem: _all_of(problem) for problem in PROBLEMS}
    draw_beginnings(pairs, IMAGES / "evidence_beginnings.png")
    draw_around(
        {problem: [run for run in begun if run.problem == problem] for problem in PROBLEMS},
        IMAGES / "evidence_around.png",
    )
    draw_prediction(every, IMAGES / "evidence_prediction.png")
    parts = [
        HEADING,
        _there(pairs),
        _verdicts(begun, pairs, every),
        _beginnings(pairs),
        _around(begun),
        _order(begun),
        _layers(begun),
        _predicted(every),
        _other_trainings(),
    ]
    return "\n".join(parts)


def _there(pairs: Mapping[tuple[str, str], Sequence[Measured]]) -> str:
    runs = list(planned())
    there = sum(measured(run) is not None for run in runs)
    rows = []
    for (problem, scheme), found in pairs.items():
        errors = median([run.final(ERROR) for run in found])
        starts = [run.total_diffusion for run in found if math.isfinite(run.total_diffusion)]
        fitted = [run.begins(Phase.DIFFUSION) for run in found if math.isfinite(run.begins(Phase.DIFFUSION))]
        seconds = [float(run.kept["processor_seconds"]) for run in found]
        rows.append([problem, scheme, len(found), median(fitted), median(starts), errors, median(seconds)])
    head = [
        "problem",
        "weighting",
        "runs",
        "diffusion from",
        "total diffusion from",
        "final error",
        "processor seconds",
    ]
    return (
        f"## What is there\n{there} of the {len(runs)} runs that are planned, of which the pairs below are the main "
        f"part{'; `python -m benchmarks.pool` goes on with the others' if there < len(runs) else ''}. Final values are "
        f"medians over the last tenth of a run, seconds are processor time.\n\n{_table(head, rows)}"
    )


def _verdicts(
    begun: Sequence[Measured],
    pairs: Mapping[tuple[str, str], Sequence[Measured]],
    every: Mapping[str, Sequence[Measured]],
) -> str:
    whole = [run for runs in pairs.values() for run in runs]
    reached = share(len(begun), len(whole))
    wins, iterations, _, _ = sooner([pair for problem in PROBLEMS for pair in _pairs(pairs, problem)])
    by_begin, _, beyond = prediction(every)
    rows = [
        ["Trainings go through all three phases: total diffusion begins.", reached, verdict(reached, 0.5, "above")],
        [
            "Residual-based attention brings it sooner: in more than half of the pairs in which either begins it.",
            wins,
            verdict(wins, 0.5, "above"),
        ],
        ["It takes fewer iterations, where both begin it (ratio).", iterations, verdict(iterations, 1.0, "below")],
    ]
    rows += [[claim.statement, f"{claim.over(begun)}, {claim.unit}", claim.judged(begun)] for claim in CLAIMS]
    rows += [
        [
            "Who reaches it sooner ends at a smaller error, over schemes and seeds (rank correlation).",
            by_begin,
            verdict(by_begin, 0.0, "above"),
        ],
        ["It says so beyond what the final loss says (partial one).", beyond, verdict(beyond, 0.0, "above")],
    ]
    return f"## The paper's claims\n{_table(['claim', 'found', 'verdict'], rows)}"


def _beginnings(pairs: Mapping[tuple[str, str], Sequence[Measured]]) -> str:
    rows = []
    for problem in PROBLEMS:
        wins, iterations, times, kinds = sooner(_pairs(pairs, problem))
        rows.append([problem, *(kinds[kind] for kind in KINDS.values()), wins, iterations, times])
    head = ["problem", *KINDS.values(), "rba sooner, share", "ratio of iterations", "ratio of times"]
    return (
        "## When it begins\nPairs of one seed, by where total diffusion begins; ratios are rba to uniform, where both "
        "begin it, and times are processor times until then.\n\n"
        f"{_table(head, rows)}\n![When total diffusion begins, run by run](images/evidence_beginnings.png)\n"
    )


def _around(begun: Sequence[Measured]) -> str:
    rows = [[claim.name, claim.unit, *_by_problem(begun, claim.over), claim.judged(begun)] for claim in CLAIMS]
    return (
        "## What happens there\nLevels are medians over half a decade before and after. The steepest fall is that of a "
        "line through 0.2 decades, after the end of fitting.\n\n"
        f"{_table(['claim', 'unit', *PROBLEMS, 'all together'], rows)}\n"
        "![Eight quantities around the beginning of total diffusion](images/evidence_around.png)\n\n"
        "Is the SNR's rise one of the training's oscillation? Rank correlation, after total diffusion, of the SNR with "
        f"how far the loss is above its running median: {_oscillation(begun)}. Near 1, the SNR is high just where the "
        "optimizer has overshot.\n"
    )


def _order(begun: Sequence[Measured]) -> str:
    rows = []
    for name, column, falls in MOVERS:

        def offset(run: Measured, column: str = column, falls: bool = falls) -> float:
            moment = run.steepest(column, falls=falls) if run.has(column) else math.nan
            return math.log10(moment / run.total_diffusion) if math.isfinite(moment) else math.nan

        rows.append([name, *_by_problem(begun, _medians(offset)), _medians(offset)(begun)])
    return (
        "## What moves first\nDecades from the beginning of total diffusion to the steepest change of each quantity "
        f"after fitting; negative ones come before it.\n\n{_table(['quantity', *PROBLEMS, 'all'], rows)}"
    )


def _layers(begun: Sequence[Measured]) -> str:
    rows = []
    depth = max((sum(run.has(f"layer{number}_mean_norm") for number in range(10)) for run in begun), default=0)
    for number in range(depth):

        def snr(run: Measured, low: float, high: float, number: int = number) -> float:
            mean = run.level(f"layer{number}_mean_norm", low, high)
            return mean / run.level(f"layer{number}_std_norm", low, high)

        def rise(run: Measured, number: int = number) -> float:
            at = run.total_diffusion
            if not run.has(f"layer{number}_mean_norm"):
                return math.nan
            return math.log10(snr(run, at, at * 10**0.5, number) / snr(run, at / 10**0.5, at, number))

        def change(suffix: str, number: int = number) -> Callable[[Measured], float]:
            name = f"layer{number}{suffix}"

            def measure(run: Measured) -> float:
                if not run.has(name):
                    return math.nan
                before, after = run.around(name, run.total_diffusion)
                return after - before

            return measure

        cells = [_medians(rise), _medians(change("_saturation")), _medians(change("_entropy_bits"))]
        rows.append([number, *(cell(begun) for cell in cells)])
    head = ["weight matrix or layer", "SNR, decades", "saturation, share", "entropy, bits"]
    return (
        "## Layer by layer\nChanges at total diffusion, half a decade after against half a decade before. The last "
        f"matrix has no activations of its own.\n\n{_table(head, rows)}"
    )


def _predicted(every: Mapping[str, Sequence[Measured]]) -> str:
    by_begin, by_loss, beyond = prediction(every)
    counts = ", ".join(f"{problem} {len(runs)}" for problem, runs in every.items())
    rows = [
        ["when total diffusion begins, with the final error", by_begin],
        ["the final unweighted loss, with the final error", by_loss],
        ["when total diffusion begins, beyond the final loss", beyond],
    ]
    return (
        f"## Does it predict the error?\nRank correlations within problems, over all schemes and seeds that are there "
        f"({counts}).\n\n{_table(['of', 'correlation'], rows)}\n"
        "![Final error against when total diffusion begins](images/evidence_prediction.png)\n"
    )


def _other_trainings() -> str:
    kinds = [*((scheme, "all points") for scheme in (*PAIR, *OTHERS)), *((scheme, "mini-batches") for scheme in PAIR)]
    rows = []
    for scheme, steps in kinds:
        runs = [run for problem in PROBLEMS for run in group(problem, scheme, steps)]
        begun = [run for run in runs if math.isfinite(run.total_diffusion)]
        name = scheme if steps == "all points" else f"{scheme}, {steps}"
        errors = [median([run.final(ERROR) for run in runs if run.problem == problem]) for problem in PROBLEMS]
        rows.append([name, f"{len(begun)} of {len(runs)}", *errors, *(claim.over(begun) for claim in CLAIMS[:3])])
    head = ["training", "total diffusion begins", *(f"error, {problem}" for problem in PROBLEMS)]
    head += [f"{claim.name}, {claim.unit}" for claim in CLAIMS[:3]]
    return (
        "## Other schemes, and mini-batches\nWhere the paper is silent. Mini-batches are a quarter of the points at "
        f"each step, captures of all.\n\n{_table(head, rows)}"
    )


def _pairs(pairs: Mapping[tuple[str, str], Sequence[Measured]], problem: str) -> list[tuple[Measured, Measured]]:
    uniform, rba = ({run.seed: run for run in pairs[problem, scheme]} for scheme in PAIR)
    return [(uniform[seed], rba[seed]) for seed in sorted(uniform.keys() & rba.keys())]


def _all_of(problem: str) -> list[Measured]:
    schemes = dict.fromkeys(run.weighting for run in planned())
    return [run for scheme in schemes for run in group(problem, scheme)]


def _medians(measure: Callable[[Measured], float]) -> Callable[[Sequence[Measured]], Interval]:
    return lambda runs: median([value for run in runs if math.isfinite(value := measure(run))])


def _by_problem(runs: Sequence[Measured], over: Callable[[Sequence[Measured]], Interval]) -> list[Interval]:
    return [over([run for run in runs if run.problem == problem]) for problem in PROBLEMS]


def _oscillation(begun: Sequence[Measured]) -> str:
    found = _by_problem(begun, _medians(oscillation))
    return "; ".join(f"{problem} {interval}" for problem, interval in zip(PROBLEMS, found, strict=True))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
