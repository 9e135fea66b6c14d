"""Whether the phases mean what the paper says, on the runs that are there: makes docs/evidence.md and its pictures.

    python -m benchmarks.pool                    # trains what is missing; hours on two cores
    python -m benchmarks.pool --set-ups constant # likewise
    python -m benchmarks.evidence                # trains nothing

A page each of the set-ups at a constant rate, of the quick presets and of a middle size. Fixed before looking at any
run of the pool: the set-ups and seeds of `benchmarks.pool`; the claims, their measures and boundaries in
`benchmarks.study.claims`; 90% intervals by the bootstrap over runs; five runs at least for a verdict; as schemes beside
residual-based attention `brdr`, which weights points otherwise, and `grad_norm`, which balances terms alone. A run
counts as having begun total diffusion if the detector says so with a confidence of 0.5 or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pool import CONSTANT, MIDDLE, OTHERS, PAIR, PROBLEMS, Steps
from benchmarks.study.claims import CLAIMS, ERROR, KINDS, oscillation, prediction, sooner
from benchmarks.study.intervals import Interval, median, share, verdict
from benchmarks.study.measures import Measured
from benchmarks.study.pictures import draw_around, draw_beginnings, draw_prediction
from benchmarks.study.runs import Runs, measured
from phasecore.phases import Phase

DOCS = Path(__file__).parents[1] / "docs"
MOVERS = (
    ("SNR rises", "snr", False),
    ("residual order rises", "residual_order", False),
    ("absolute residuals' order rises", "absolute_residual_order", False),
    ("Adam's SNR rises", "adam_snr", False),
    ("variation of the learning rates falls", "adam_learning_rate_variation", True),
    ("loss falls", "unweighted_loss", True),
    ("error falls", ERROR, True),
)


@dataclass(frozen=True)
class Study:
    """What a page is made of.

    Attributes:
        name: of the page, with which the names of its pictures begin.
        presets: the preset of each problem.
        heading: how the page begins.
    """

    name: str
    presets: Mapping[str, str]
    heading: str

    @property
    def runs(self) -> Runs:
        """Its runs."""
        return Runs(self.presets)

    def picture(self, of: str) -> Path:
        """Return the file of a picture."""
        return DOCS / self.link(of)

    def link(self, of: str) -> str:
        """Return where the page finds a picture."""
        return f"images/{self.name}_{of}.png"


METHOD = """Every number is computed from the curves in `benchmarks/results/pool/` when the page is made, by
`python -m benchmarks.evidence`, with the detector of now. Medians come with 90% intervals of the bootstrap over runs. A
claim *holds* where the whole interval lies on its side of the boundary, *does not hold here* where none of it does, and
*holds partly* in between; fewer than five runs say nothing. Claims, measures and boundaries were fixed before any run
of the pool was looked at, seeds before any run of a set-up.

Entropies of layers cannot exceed the logarithm of the number of points, and with 64 neurons nearly every point has a
pattern of its own: near that bound they cannot tell. The bound of residual-based attention, `eta / (1 - gamma)`, also
decides how much the equation counts beside the conditions: where a preset sets it away from 1, a comparison with
uniform weights compares both; `grad_norm`, which balances terms and leaves points alone, is there to tell the two
apart.
"""

SHOWN = f"""# Evidence: what total diffusion means on small problems

Set-ups that train at a constant rate, and Allen-Cahn's quick one: milder than the paper's
([arXiv 2403.18494](https://arxiv.org/abs/2403.18494)) and minutes long, so a claim that does not hold here may hold at
the paper's size. On Helmholtz, Burgers and Allen-Cahn residual-based attention goes through all three phases; they were
chosen for that, with seeds 10 to 12 (Allen-Cahn: 0 and 1), so how often total diffusion begins with it is no finding;
what happens there, and what uniform weights and the other schemes do, is. For the cavity no such set-up was found. With
a lid whose speed falls to zero at its ends, where the usual one jumps, residual-based attention comes to an error of
0.03, but as its SNR bursts up and comes down again, from the end of fitting on: rates of 0.001 to 0.008, Reynolds
numbers of 1, 20 and 100, three sizes of network and bounds of the attention of 1 and 10 were tried with seed 10, in
thirteen trainings.

Nor did total diffusion come with the paper's own set-up, uniform weights (Reynolds number 1000, 6 x 128, 10 000
points, falling rate; `python -m benchmarks.paper --problems lid_driven_cavity`, curves in
`benchmarks/results/paper/`): at iteration 24 700, after two hours of training at 0.3 seconds an iteration on two
cores, the error is 0.88 and the SNR 2.1 (medians of the last tenth). The authors' own curve, whose total diffusion
begins at 20 000 by their label, has the loss of ours there (0.0014) at iteration 14 000: ours lags behind it, and
whether it gets there later is open. On a quarter of the points, within 40 000 iterations with uniform weights and 22
600 with residual-based attention, errors stay at 0.89 and 0.93, and the SNR sinks to 1.0 and 2.4. The shortest
training of the cavity that is known to show total diffusion stays the authors'.

The quick presets, at falling rates, have [a page of their own](evidence_quick.md), a few trainings of
[a middle size](evidence_middle.md), with the paper's equations, another.

{METHOD}"""

QUICK = f"""# Evidence: the quick presets

The first study: the quick presets of four problems, chosen so that residual-based attention shows phases in some forty
exploratory trainings with seeds 0 and 1. On Burgers' equation and the cavity it does not reach total diffusion: the
learning rates of the presets fall, and so does what total diffusion is made of here, steps that are longer than the
valley is wide. [The other page](evidence.md) has constant rates. With them too, 10 000 and 30 000 iterations of 3 x 32,
the error of the cavity falls *while* the SNR stays low (0.19 and 0.15 in the end). Two readers of the pictures see weak
beginnings of total diffusion in some runs: see [readings](readings.md).

{METHOD}"""

MIDDLE_SIZE = f"""# Evidence: a middle size

The paper's equations, learning rates (0.001, times 0.9 every 5000 iterations) and attention, but {MIDDLE["points"]}
points, {MIDDLE["depth"]} x {MIDDLE["width"]} and {MIDDLE["iterations"]} iterations in the place of 10 000 or 25 600,
6 x 128 and 300 000: as many as an hour on two cores allows. Sizes and seeds were fixed before any was trained;
`python -m benchmarks.pool --set-ups middle` goes on. Too few runs for verdicts: they are there to compare with
[the small set-ups](evidence.md).

{METHOD}"""

STUDIES = (
    Study("evidence", {name: CONSTANT.get(name, "quick") for name in PROBLEMS}, SHOWN),
    Study("evidence_quick", dict.fromkeys(PROBLEMS, "quick"), QUICK),
    Study("evidence_middle", dict.fromkeys(PROBLEMS, "middle"), MIDDLE_SIZE),
)


def page(study: Study) -> str:
    """Make the pictures of a study, and return its page."""
    runs = study.runs
    pairs = {(problem, scheme): runs.group(problem, scheme) for problem in runs.problems for scheme in PAIR}
    begun = [run for runs in pairs.values() for run in runs if math.isfinite(run.total_diffusion)]
    every = {problem: runs.of(problem) for problem in runs.problems}
    draw_beginnings(pairs, study.picture("beginnings"))
    draw_around(
        {problem: [run for run in begun if run.problem == problem] for problem in runs.problems},
        study.picture("around"),
    )
    draw_prediction(every, study.picture("prediction"))
    parts = [
        study.heading,
        _there(study, pairs),
        _verdicts(begun, pairs, every),
        _beginnings(study, pairs),
        _around(study, begun),
        _order(study, begun),
        _layers(begun),
        _predicted(study, every),
        _other_trainings(runs),
    ]
    return "\n".join(parts)


def _there(study: Study, pairs: Mapping[tuple[str, str], Sequence[Measured]]) -> str:
    runs = study.runs.planned
    there = sum(measured(run) is not None for run in runs)
    rows = []
    for (problem, scheme), found in pairs.items():
        errors = median([run.final(ERROR) for run in found])
        starts = [run.total_diffusion for run in found if math.isfinite(run.total_diffusion)]
        fitted = [run.begins(Phase.DIFFUSION) for run in found if math.isfinite(run.begins(Phase.DIFFUSION))]
        seconds = [float(run.kept["processor_seconds"]) for run in found]
        medians = [median(fitted), median(starts), errors, median(seconds)]
        rows.append([problem, study.runs.presets[problem], scheme, len(found), *medians])
    head = [
        "problem",
        "preset",
        "weighting",
        "runs",
        "diffusion from",
        "total diffusion from",
        "final error",
        "processor seconds",
    ]
    return (
        f"## What is there\n{there} of the {len(runs)} runs that are planned, of which the pairs below are the main "
        f"part{'; `benchmarks.pool` goes on with the others' if there < len(runs) else ''}. Final values are "
        f"medians over the last tenth of a run, seconds are processor time.\n\n{_table(head, rows)}"
    )


def _verdicts(
    begun: Sequence[Measured],
    pairs: Mapping[tuple[str, str], Sequence[Measured]],
    every: Mapping[str, Sequence[Measured]],
) -> str:
    whole = [run for runs in pairs.values() for run in runs]
    reached = share(len(begun), len(whole))
    wins, iterations, _, _ = sooner([pair for problem in every for pair in _pairs(pairs, problem)])
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


def _beginnings(study: Study, pairs: Mapping[tuple[str, str], Sequence[Measured]]) -> str:
    rows = []
    for problem in study.runs.problems:
        wins, iterations, times, kinds = sooner(_pairs(pairs, problem))
        rows.append([problem, *(kinds[kind] for kind in KINDS.values()), wins, iterations, times])
    head = ["problem", *KINDS.values(), "rba sooner, share", "ratio of iterations", "ratio of times"]
    return (
        "## When it begins\nPairs of one seed, by where total diffusion begins; ratios are rba to uniform, where both "
        "begin it, and times are processor times until then.\n\n"
        f"{_table(head, rows)}\n![When total diffusion begins, run by run]({study.link('beginnings')})\n"
    )


def _around(study: Study, begun: Sequence[Measured]) -> str:
    problems = study.runs.problems
    rows = [
        [claim.name, claim.unit, *_by_problem(problems, begun, claim.over), claim.judged(begun)] for claim in CLAIMS
    ]
    told = _by_problem(problems, begun, _medians(oscillation))
    oscillates = "; ".join(f"{problem} {interval}" for problem, interval in zip(problems, told, strict=True))
    return (
        "## What happens there\nLevels are medians over half a decade before and after. The steepest fall is that of a "
        "line through 0.2 decades, after the end of fitting.\n\n"
        f"{_table(['claim', 'unit', *problems, 'all together'], rows)}\n"
        f"![Eight quantities around the beginning of total diffusion]({study.link('around')})\n\n"
        "Is the SNR's rise one of the training's oscillation? Rank correlation, after total diffusion, of the SNR with "
        f"how far the loss is above its running median: {oscillates}. Near 1, the SNR is high just where the "
        "optimizer has overshot.\n"
    )


def _order(study: Study, begun: Sequence[Measured]) -> str:
    problems, rows = study.runs.problems, []
    for name, column, falls in MOVERS:

        def offset(run: Measured, column: str = column, falls: bool = falls) -> float:
            moment = run.steepest(column, falls=falls) if run.has(column) else math.nan
            return math.log10(moment / run.total_diffusion) if math.isfinite(moment) else math.nan

        rows.append([name, *_by_problem(problems, begun, _medians(offset)), _medians(offset)(begun)])
    return (
        "## What moves first\nDecades from the beginning of total diffusion to the steepest change of each quantity "
        f"after fitting; negative ones come before it.\n\n{_table(['quantity', *problems, 'all'], rows)}"
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


def _predicted(study: Study, every: Mapping[str, Sequence[Measured]]) -> str:
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
        f"![Final error against when total diffusion begins]({study.link('prediction')})\n"
    )


def _other_trainings(every: Runs) -> str:
    kinds: list[tuple[str, Steps]] = [
        *((scheme, "all points") for scheme in (*PAIR, *OTHERS)),
        *((scheme, "mini-batches") for scheme in PAIR),
    ]
    rows = []
    for scheme, steps in kinds:
        runs = [run for problem in every.problems for run in every.group(problem, scheme, steps)]
        begun = [run for run in runs if math.isfinite(run.total_diffusion)]
        name = scheme if steps == "all points" else f"{scheme}, {steps}"
        errors = [median([run.final(ERROR) for run in runs if run.problem == problem]) for problem in every.problems]
        rows.append([name, f"{len(begun)} of {len(runs)}", *errors, *(claim.over(begun) for claim in CLAIMS[:3])])
    head = ["training", "total diffusion begins", *(f"error, {problem}" for problem in every.problems)]
    head += [f"{claim.name}, {claim.unit}" for claim in CLAIMS[:3]]
    return (
        "## Other schemes, and mini-batches\nWhere the paper is silent. Mini-batches are a quarter of the points at "
        "each step, captures of all; in the first three of these points that no batch had yet still had a weight of 1."
        f"\n\n{_table(head, rows)}"
    )


def _pairs(pairs: Mapping[tuple[str, str], Sequence[Measured]], problem: str) -> list[tuple[Measured, Measured]]:
    uniform, rba = ({run.seed: run for run in pairs[problem, scheme]} for scheme in PAIR)
    return [(uniform[seed], rba[seed]) for seed in sorted(uniform.keys() & rba.keys())]


def _medians(measure: Callable[[Measured], float]) -> Callable[[Sequence[Measured]], Interval]:
    return lambda runs: median([value for run in runs if math.isfinite(value := measure(run))])


def _by_problem(
    problems: Sequence[str], runs: Sequence[Measured], over: Callable[[Sequence[Measured]], Interval]
) -> list[Interval]:
    return [over([run for run in runs if run.problem == problem]) for problem in problems]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    for study in STUDIES:
        file = DOCS / f"{study.name}.md"
        file.write_text(page(study), encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main()
