"""Phases read off pictures, blind, by two readers, against what the detector finds in the same runs.

    python -m benchmarks.readings --draw DIR    # pictures with numbers in the place of names, and what a reader is told
    python -m benchmarks.readings --draw DIR --set-ups constant
    python -m benchmarks.readings               # makes docs/readings.md of the readings that are there

The runs are of the pool (`benchmarks.pool`), chosen and shuffled before any was looked at for this. Of the quick
presets: of each of four problems uniform weights and residual-based attention, seeds 0 to 2, four other schemes and
both in mini-batches, seed 0, and residual-based attention on six further problems. Of those at a constant rate, read
after the detector had last been changed: three problems, the same pair and seeds, two other schemes and both in
mini-batches. A reader has the pictures and `INSTRUCTIONS`, not the names, nor what the detector or the other reader
says, and writes `benchmarks/results/readings/NAME.json`, or `NAME-constant.json`: by number the iterations at which
diffusion and total diffusion begin, null where they do not.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.pool import CONSTANT, POOL, PROBLEMS, SetUps
from phasecore.phases import Curve, Phase, Transition, detect, replay
from phasecore.reporting.timeline_figure import PANELS, quantity

READINGS = Path(__file__).parent / "results" / "readings"
PAGE = Path(__file__).parent.parent / "docs" / "readings.md"
READERS = ("first", "second")
OTHERS = ("brdr", "grad_norm", "self_adaptive", "relobralo", "rba-batches", "uniform-batches")
NEWER = ("burgers_inverse", "diffusion_reaction", "kdv", "lorenz", "poisson_l_shape", "wave")
AT_CONSTANT_RATE = ("brdr", "grad_norm", "rba-batches", "uniform-batches")
SHUFFLE: Mapping[SetUps, int] = {"quick": 17, "constant": 18}
PHASES = {"diffusion": Phase.DIFFUSION, "total_diffusion": Phase.TOTAL_DIFFUSION}
NEAR, SHARE = 0.3, 0.85
"""Decades within which a transition counts as found, and the share of them that is aimed at."""

INSTRUCTIONS = """# Where do the phases begin?

Each picture shows one training of a network on a differential equation, on a logarithmic axis of iterations: the
signal-to-noise ratio (SNR) of the gradients over batches of points, that of Adam's moments, how uniform the residuals
are over the domain (residual order, 1 is uniform), the loss without weights and the error. Dots are captures, lines
their running median. Training is said to go through three phases:

- **fitting**: the SNR is high, then falls steeply; the loss falls with it.
- **diffusion** begins where the steep fall of the SNR ends; from there the SNR stays low or sinks slowly. Where the SNR
  was low from the first capture on, go by Adam's SNR and by where the loss's first steep fall ends.
- **total diffusion** begins where, after a diffusion, the SNR rises abruptly (by half a decade at least) and stays
  risen or oscillates at the higher level, while the residuals become uniform, or stay so; loss and error usually fall
  there.
  The SNR's rise is what counts: a fall of loss or error, or uniform residuals, alone are none. Where it rises in steps
  or slowly, it begins where the first rise begins that is not undone again.

Many trainings stop before total diffusion; some may never leave fitting. Say where you would draw the boundaries by
eye, to about a tenth of a decade, and null where a phase does not begin before the end.
Also say how sure you are of each answer, from 0.5 (a guess) to 1.
"""


@functools.cache
def sample(set_ups: SetUps = "quick") -> tuple[Path, ...]:
    """Return the files of the runs, in the order of the pictures."""
    if set_ups == "constant":
        presets, others = {name: f"-{preset}" for name, preset in CONSTANT.items()}, AT_CONSTANT_RATE
    else:
        presets, others = dict.fromkeys(PROBLEMS, ""), OTHERS
    runs = [(scheme, seed) for scheme in ("uniform", "rba") for seed in (0, 1, 2)] + [(other, 0) for other in others]
    names = [f"{name}-{scheme}{preset}-seed{seed}" for name, preset in presets.items() for scheme, seed in runs]
    names += [f"{problem}-rba-seed0" for problem in NEWER] if set_ups == "quick" else []
    files = [POOL / f"{name}.json" for name in names]
    random.Random(SHUFFLE[set_ups]).shuffle(files)
    return tuple(files)


def history(file: Path) -> Mapping[str, Any]:
    """Return the curve of a run."""
    kept: Mapping[str, Any] = json.loads(file.read_text())["history"]
    return kept


def draw(folder: Path, set_ups: SetUps) -> None:
    """Write the pictures and the instructions."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "INSTRUCTIONS.md").write_text(INSTRUCTIONS)
    for number, file in enumerate(sample(set_ups), start=1):
        draw_one(history(file), f"number {number}", folder / f"{number:02d}.png")


def draw_one(columns: Mapping[str, Any], title: str, file: Path) -> None:
    """Draw the quantities of a run, and nothing that tells which it is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curve = Curve.from_columns({**columns, "training_loss": columns["unweighted_loss"]})
    drawn = [(panel, values) for panel in PANELS if (values := quantity(curve, panel[0])) is not None]
    figure = Figure(figsize=(11.0, 2.0 * len(drawn) + 0.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for panel, ((_, label, scale), values) in zip(panels, drawn, strict=True):
        shown = (curve.iteration >= 1) & np.isfinite(values) & ((values > 0) | (scale != "log"))
        iteration, values = curve.iteration[shown], values[shown]
        panel.plot(iteration, values, ".", color="0.65", markersize=3)
        times = np.log10(iteration)
        median = [np.median(values[abs(times - time) <= 0.03]) for time in times]
        panel.plot(iteration, median, color="black", linewidth=1.2)
        panel.set_xscale("log")
        panel.set_yscale(scale)
        panel.set_ylabel(label.removeprefix("training "))
        panel.grid(visible=True, which="both", axis="x", alpha=0.4)
        panel.grid(visible=True, which="major", axis="y", alpha=0.4)
    marks = [10.0**power * digit for power in range(5) for digit in (1, 2, 3, 4, 5, 6, 8)]
    marks = [mark for mark in marks if curve.iteration[0] <= mark <= curve.iteration[-1] * 1.05]
    panels[-1].set_xticks(marks, [f"{mark:g}" for mark in marks], fontsize=8)
    panels[-1].set_xlabel("iteration")
    figure.suptitle(title)
    figure.savefig(file, dpi=80)


class Reading(NamedTuple):
    """What a reader says of one phase of one picture.

    Args:
        begins: the iteration, None where the phase does not begin.
        sure: how sure the reader is, 0.5 to 1.
    """

    begins: float | None
    sure: float


@functools.cache
def readings(reader: str, set_ups: SetUps = "quick") -> tuple[Mapping[str, Reading], ...]:
    """Return what a reader says of each picture, by phase.

    Args:
        reader: one of `READERS`.
        set_ups: of the runs.
    """
    said = json.loads((READINGS / f"{reader}{'' if set_ups == 'quick' else '-' + set_ups}.json").read_text())
    return tuple(
        {phase: Reading(said[f"{number}"][phase], said[f"{number}"][f"sure_{phase}"]) for phase in PHASES}
        for number in range(1, len(sample(set_ups)) + 1)
    )


@dataclass(frozen=True)
class Compared:
    """One phase of one run: what both readers say, and what is found.

    Attributes:
        run: name of the run, by which its file goes.
        phase: "diffusion" or "total_diffusion".
        read: what each reader says.
        found: the transition in the whole curve, if there is one.
        online: that of the tracker after the last capture.
    """

    run: str
    phase: str
    read: tuple[Reading, Reading]
    found: Transition | None
    online: Transition | None

    @property
    def problem(self) -> str:
        """The problem of the run."""
        return self.run.partition("-")[0]

    @property
    def agreed(self) -> bool:
        """Whether the readers say the same: no beginning, or one, at most `NEAR` apart."""
        one, other = (reading.begins for reading in self.read)
        if one is None or other is None:
            return one is other
        return abs(math.log10(one / other)) <= NEAR

    @property
    def begins(self) -> float | None:
        """Where readers that agree see the beginning: the geometric mean."""
        one, other = (reading.begins for reading in self.read)
        return None if one is None or other is None else math.sqrt(one * other)

    def distance(self, found: Transition | None) -> float | None:
        """Return the decades from what the readers agree on to what is found, None where either is not there."""
        return None if found is None or self.begins is None else math.log10(found.iteration / self.begins)

    def is_right(self, found: Transition | None) -> bool:
        """Say whether what is found is what the readers agree on."""
        distance = self.distance(found)
        return found is None and self.begins is None if distance is None else abs(distance) <= NEAR


@functools.cache
def compared(set_ups: SetUps = "quick") -> tuple[Compared, ...]:
    """Return all phases of all runs."""
    both = [readings(reader, set_ups) for reader in READERS]
    rows = []
    for place, file in enumerate(sample(set_ups)):
        whole, online = detect(history(file)), replay(history(file))
        for phase, of in PHASES.items():
            read = both[0][place][phase], both[1][place][phase]
            rows.append(Compared(file.stem, phase, read, whole.transition(of), online.transition(of)))
    return tuple(rows)


def shares(rows: Sequence[Compared]) -> dict[str, tuple[int, int]]:
    """Return how many are right and how many there are, of transitions that the readers agree on.

    The kinds are those in the whole curve and online, and those of runs in which both see no such phase.
    """
    agreed = [row for row in rows if row.agreed]
    there, none = [row for row in agreed if row.begins is not None], [row for row in agreed if row.begins is None]
    return {
        "in the whole curve": (sum(row.is_right(row.found) for row in there), len(there)),
        "online": (sum(row.is_right(row.online) for row in there), len(there)),
        "none, in the whole curve": (sum(row.is_right(row.found) for row in none), len(none)),
        "none, online": (sum(row.is_right(row.online) for row in none), len(none)),
    }


def tables(set_ups: SetUps) -> str:
    """Return the tables of some set-ups."""
    rows = compared(set_ups)
    problems: Sequence[str] = [*CONSTANT] if set_ups == "constant" else PROBLEMS
    groups: dict[str, Sequence[str]] = {problem: (problem,) for problem in problems}
    groups |= {"six others": NEWER} if set_ups == "quick" else {}
    groups["all"] = (*problems, *NEWER)
    lines = [
        "| problem | phase | both readers agree | in the whole curve | online | both see none | told so | online |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for group, members in groups.items():
        for phase in PHASES:
            own = [row for row in rows if row.phase == phase and row.problem in members]
            found = shares(own)
            cells = [_part(*found[kind]) for kind in ("in the whole curve", "online")]
            none = found["none, in the whole curve"], found["none, online"]
            lines.append(
                f"| {group} | {phase.replace('_', ' ')} | {sum(row.agreed for row in own)} of {len(own)} | "
                f"{' | '.join(cells)} | {none[0][1]} | {none[0][0]} | {none[1][0]} |"
            )
    lines += [
        "",
        "| run | phase | first reader | second reader | whole curve | online | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row.phase, row.run)):
        lines.append(
            f"| {row.run} | {row.phase.replace('_', ' ')} | {' | '.join(map(_read, row.read))} | {_found(row.found)} | "
            f"{_found(row.online)} | {_verdict(row)} |"
        )
    return "\n".join(lines)


def calibration(rows: Sequence[Compared]) -> str:
    """Return the table of confidences against how often they are right."""
    lines = ["| confidence | transitions | within 0.3 decades |", "|---|---|---|"]
    agreed = [(row.found.confidence, row.is_right(row.found)) for row in rows if row.agreed and row.found]
    for least, most in ((0.0, 0.8), (0.8, 0.95), (0.95, 1.01)):
        own = [right for confidence, right in agreed if least <= confidence < most]
        lines.append(f"| {least:g} to {min(most, 1):g} | {len(own)} | {_part(sum(own), len(own))} |")
    return "\n".join(lines)


def _part(right: int, count: int) -> str:
    return f"{right} of {count} ({100 * right / count:.0f}%)" if count else "-"


def _read(reading: Reading) -> str:
    return f"{'none' if reading.begins is None else f'{reading.begins:.0f}'} ({reading.sure:g})"


def _found(found: Transition | None) -> str:
    return "none" if found is None else f"{found.iteration} ({found.confidence:.2f})"


def _verdict(row: Compared) -> str:
    if not row.agreed:
        return "readers differ"
    distance = row.distance(row.found)
    if distance is None:
        return "right" if row.is_right(row.found) else "missed" if row.found is None else "false"
    return "right" if row.is_right(row.found) else f"{distance:+.2f} decades"


def page() -> str:
    """Return the page of what is there."""
    quick, constant = compared("quick"), compared("constant")
    return f"""# Phases read off pictures, by two readers

Made by `python -m benchmarks.readings`. Two readers, who had the pictures of trainings and a page of instructions, and
knew neither names nor what the detector or the other one says, drew where diffusion and total diffusion begin. The runs
are of the [pool](evidence.md). All readers were language models that looked at the pictures, one of each two in the
reverse order; they may err alike where people would not. `--draw DIR` makes the pictures and the instructions, for a
reading of your own.

Where the readers agree within {NEAR} decades, the detector is so often right within {NEAR} decades (the aim is
{SHARE:.0%}), and names no phase where both see none:

{summary({"quick presets": quick, "constant rate": constant, "both": (*quick, *constant)})}

The quick presets were looked at several times while the detector was made; those at a constant rate were drawn and read
after its last change.

## Confidence

Of transitions on which the readers agree:

{calibration((*quick, *constant))}

## At a constant rate

{len(sample("constant"))} trainings: three problems with uniform weights and residual-based attention (three seeds), two
further schemes, and mini-batches.

{tables("constant")}

## Quick presets

{len(sample("quick"))} trainings, chosen beforehand: four problems with uniform weights and residual-based attention
(three seeds), four further schemes and mini-batches, and six other problems.

{tables("quick")}

In brackets how sure a reader is, and the confidence.
"""


def summary(samples: Mapping[str, Sequence[Compared]]) -> str:
    """Return the table of shares by sample."""
    head = ["in the whole curve", "online", "none, in the whole curve", "none, online"]
    lines = [f"| trainings | {' | '.join(head)} |", f"|---|{'---|' * len(head)}"]
    for name, rows in samples.items():
        found = shares(rows)
        lines.append(f"| {name} | {' | '.join(_part(*found[kind]) for kind in head)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", type=Path, metavar="DIR", help="write pictures and instructions, and nothing else")
    parser.add_argument("--set-ups", choices=[*SHUFFLE], default="quick", help="of the runs that are drawn")
    given = parser.parse_args()
    if given.draw is not None:
        draw(given.draw, given.set_ups)
    else:
        PAGE.write_text(page())


if __name__ == "__main__":
    main()
