"""Phase detection measured: offline and online, against baselines, on synthetic and on recorded curves.

    python benchmarks/detection.py                     every table, and the reliability diagram
    python benchmarks/detection.py --part synthetic    one of: recorded, synthetic, hard, calibration, neighbours, cost
    python benchmarks/detection.py --curves 20         members of each synthetic family (default 50)

Recorded curves, CSV files beside a labels.json, are read from the folder in PHASECORE_RECORDED_CURVES, or from
shared/recorded_curves in any folder above this one; without them those parts are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from phasecore.phases import Curve, DetectorConfiguration, Phase, Timeline, detect, tracker
from phasecore.phases.channels import SNR, channels_of
from phasecore.phases.profile import profile_of
from phasecore.recording.reading import read_curve
from phasecore.testing.curves import FAMILIES, synthetic_curve

FITTING_END, START = "fitting_end", "total_diffusion_start"
PHASES = {FITTING_END: Phase.DIFFUSION, START: Phase.TOTAL_DIFFUSION}
CLOSE, LABEL = 0.15, 0.3
IMAGES = Path(__file__).parent.parent / "docs" / "images"


class Answer(NamedTuple):
    """What a method says of one transition: iteration, confidence, and when it was declared."""

    iteration: int | None
    confidence: float = 1.0
    declared_at: int | None = None


class Case(NamedTuple):
    """A curve and the truth about it."""

    name: str
    family: str
    curve: Curve
    truth: dict[str, int | None]


Method = Callable[[Curve], dict[str, Answer]]


def recorded_cases() -> list[Case]:
    given = os.environ.get("PHASECORE_RECORDED_CURVES")
    above = [folder / "shared" / "recorded_curves" for folder in Path(__file__).resolve().parents]
    places = [Path(given)] if given else above
    folder = next((place for place in places if (place / "labels.json").exists()), None)
    if folder is None:
        print(f"no recorded curves in {', '.join(map(str, places))}", file=sys.stderr)
        return []
    labels = json.loads((folder / "labels.json").read_text())
    return [Case(name, "recorded", read_curve(folder / f"{name}.csv"), truth) for name, truth in labels.items()]


def synthetic_cases(
    curves: int,
    *,
    held_out: bool | None,
    rise: tuple[float, float] = (0.3, 4.0),
    noise: tuple[float, float] = (0.1, 2.0),
    columns: tuple[str, ...] = ("snr", "all"),
    first_seed: int = 1000,
) -> Iterator[Case]:
    for name, family in FAMILIES.items():
        if held_out is not None and family.held_out is not held_out:
            continue
        for seed in range(first_seed, first_seed + curves):
            for kind in columns:
                made = synthetic_curve(name, seed, rise=rise, noise=noise, columns=kind)
                truth = {FITTING_END: made.fitting_end, START: made.total_diffusion_start}
                yield Case(f"{name} {seed} {kind}", name, Curve.from_columns(made.columns), truth)


def of_timeline(timeline: Timeline) -> dict[str, Answer]:
    answers = dict.fromkeys(PHASES, Answer(None, 0.0))
    for found in timeline.transitions:
        name = FITTING_END if found.phase is Phase.DIFFUSION else START
        answers[name] = Answer(found.iteration, found.confidence, found.declared_at)
    return answers


def replayed(curve: Curve, configuration: DetectorConfiguration | None = None) -> Timeline:
    init, update = tracker(configuration)
    state = init()
    names, columns = list(curve.columns), np.array([curve.iteration, *curve.columns.values()]).T.tolist()
    timeline = Timeline((), None, "no captures")
    for iteration, *values in columns:
        timeline, state = update({"iteration": iteration, **dict(zip(names, values, strict=True))}, state)
    return timeline


def offline(curve: Curve) -> dict[str, Answer]:
    return of_timeline(detect(curve))


def online(curve: Curve) -> dict[str, Answer]:
    return of_timeline(replayed(curve))


def without_snr(curve: Curve) -> dict[str, Answer]:
    """The other columns alone; Adam's SNR is kept, without which there would be no fall to look for."""
    kept = {
        name: values
        for name, values in curve.columns.items()
        if name.startswith(("adam", "residual", "training", "relative"))
    }
    return of_timeline(detect(Curve(curve.iteration, kept))) if curve.ratio("adam_snr") else {}


def constant(curve: Curve) -> dict[str, Answer]:
    last = curve.iteration[-1]
    return {FITTING_END: Answer(150 if last > 150 else None), START: Answer(20000 if last > 20000 else None)}


def snr_profile(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    profile = profile_of(Curve(curve.iteration, {k: v for k, v in curve.columns.items() if not k.startswith("layer")}))
    recorded = np.isfinite(profile.values[SNR])
    return profile.times[recorded], profile.values[SNR, recorded]


def threshold(curve: Curve) -> dict[str, Answer]:
    """Fitting ends when the SNR first falls below 1; total diffusion begins when it next exceeds 1."""
    snr = channels_of(curve)[SNR]
    recorded = np.isfinite(snr)
    iteration, snr = curve.iteration[recorded], snr[recorded]
    below = np.flatnonzero(snr < 0.0)
    if below.size == 0:
        return {FITTING_END: Answer(None), START: Answer(None)}
    above = below[0] + np.flatnonzero(snr[below[0] :] > 0.0)
    return {
        FITTING_END: Answer(int(iteration[below[0]])),
        START: Answer(int(iteration[above[0]]) if above.size else None),
    }


def of_ruptures(kind: str) -> Method:
    """The first change point downwards and the largest one upwards after it, of log10 SNR on the log grid."""

    def method(curve: Curve) -> dict[str, Answer]:
        import ruptures

        times, snr = snr_profile(curve)
        penalty = 3.0 * np.log(snr.size) * np.var(np.diff(snr)) / 2.0
        if kind == "pelt":
            ends = ruptures.Pelt(model="l2", min_size=5, jump=1).fit(snr).predict(pen=penalty)
        elif kind == "binary segmentation":
            ends = ruptures.Binseg(model="l2", min_size=5, jump=1).fit(snr).predict(pen=penalty)
        else:
            ends = ruptures.KernelCPD(kernel="rbf", min_size=5).fit(snr).predict(pen=3.0)
        bounds = [0, *ends]
        means = np.array([snr[low:high].mean() for low, high in itertools.pairwise(bounds)])
        steps = np.diff(means)
        falls, rises = np.flatnonzero(steps < -0.3), np.flatnonzero(steps > 0.3)
        fall = int(falls[0]) if falls.size else None
        rises = rises[rises > (fall if fall is not None else -1)]
        rise = int(rises[np.argmax(steps[rises])]) if rises.size else None
        at = lambda step: None if step is None else round(10 ** times[ends[step]])  # noqa: E731
        return {FITTING_END: Answer(at(fall)), START: Answer(at(rise))}

    return method


METHODS: dict[str, Method] = {
    "phasecore, offline": offline,
    "phasecore, online": online,
    "evidence without SNR": without_snr,
    "constant (150, 20 000)": constant,
    "SNR threshold": threshold,
    "ruptures PELT": of_ruptures("pelt"),
    "ruptures binary segmentation": of_ruptures("binary segmentation"),
    "ruptures kernel CPD": of_ruptures("kernel"),
}


class Score(NamedTuple):
    """Counts and errors for one kind of transition."""

    true: int
    missed: int
    absent: int
    false: int
    errors: np.ndarray
    delays: np.ndarray

    def within(self, decades: float) -> float:
        """Return the share of the true transitions that were found within so many decades."""
        return float((self.errors <= decades).sum()) / self.true if self.true else float("nan")

    def row(self) -> str:
        """Return the cells of a table."""
        errors, delays = self.errors, self.delays
        middle = f"{np.median(errors):.2f}" if errors.size else "-"
        late = f"{np.median(delays):.2f}" if delays.size else "-"
        false = f"{self.false}/{self.absent}" if self.absent else "-"
        return (
            f"{self.within(CLOSE):6.1%} | {self.within(LABEL):6.1%} | {middle} | {self.missed}/{self.true} "
            f"| {false} | {late}"
        )


def score(answers: Iterable[tuple[Case, dict[str, Answer]]], name: str) -> Score:
    true = missed = absent = false = 0
    errors, delays = [], []
    for case, given in answers:
        truth, answer = case.truth[name], given.get(name, Answer(None))
        if truth is None:
            absent += 1
            false += answer.iteration is not None
            continue
        true += 1
        if answer.iteration is None:
            missed += 1
            continue
        errors.append(abs(np.log10(max(answer.iteration, 1) / truth)))
        if answer.declared_at is not None:
            delays.append(np.log10(answer.declared_at / truth))
    return Score(true, missed, absent, false, np.array(errors), np.array(delays))


def table_of_methods(title: str, cases: list[Case]) -> None:
    print(f"\n## {title}\n")
    answers = {method: [(case, answer(case.curve)) for case in cases] for method, answer in METHODS.items()}
    for name, phase in PHASES.items():
        print(f"Start of {str(phase).replace('_', ' ')}:\n")
        print("| method | within 0.15 | within 0.3 | median error | missed | false alarms | median delay |")
        print("|---|---|---|---|---|---|---|")
        for method, given in answers.items():
            print(f"| {method} | {score(given, name).row()} |")
        print()


def part_recorded(_: int) -> None:
    cases = recorded_cases()
    if not cases:
        print("\n(no recorded curves here)")
        return
    print("\n## Recorded curves\n\nErrors are log10(found / label); delays log10(declared / label).\n")
    print("| curve | transition | label | offline | interval | confidence | error | online | declared | delay |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    errors = []
    for case in cases:
        timeline = detect(case.curve)
        followed = online(case.curve)
        for name, phase in PHASES.items():
            label = case.truth[name]
            found = next((item for item in timeline.transitions if item.phase is phase), None)
            if found is None or label is None:
                print(f"| {case.name} | {phase} | {label} | {found and found.iteration} | | | | | | |")
                continue
            error, live = np.log10(found.iteration / label), followed[name]
            errors.append(abs(error))
            delay = "-" if live.declared_at is None else f"{np.log10(live.declared_at / label):+.2f}"
            print(
                f"| {case.name} | {phase} | {label} | {found.iteration} | {found.interval[0]} to {found.interval[1]} "
                f"| {found.confidence:.2f} | {error:+.2f} | {live.iteration} | {live.declared_at} | {delay} |"
            )
    print(f"\nMean error {np.mean(errors):.3f}, largest {np.max(errors):.3f} decades.")
    cut = [truncated(case.curve, 0.5 * case.truth[START]) for case in cases if case.truth[START]]
    print(f"Cut at half of the label, offline: {sum(offline(c)[START].iteration is not None for c in cut)} reported;")
    print(f"online: {sum(online(c)[START].iteration is not None for c in cut)} reported.")
    table_of_methods("Recorded curves, all methods", cases)


def truncated(curve: Curve, last: float) -> Curve:
    kept = curve.iteration <= last
    return Curve(curve.iteration[kept], {name: values[kept] for name, values in curve.columns.items()})


def part_synthetic(curves: int) -> None:
    for held_out in (True, False):
        title = "held-out families" if held_out else "families used for calibration"
        cases = list(synthetic_cases(curves, held_out=held_out, rise=(1.0, 4.0), noise=(0.1, 1.0)))
        table_of_methods(f"Synthetic, {title}: rise at least one decade, noise at most one", cases)
        print("| family | diffusion within 0.15 | missed | false | total diffusion within 0.15 | missed | false |")
        print("|---|---|---|---|---|---|---|")
        for family in dict.fromkeys(case.family for case in cases):
            given = [(case, offline(case.curve)) for case in cases if case.family == family]
            cells = []
            for name in PHASES:
                counted = score(given, name)
                close = f"{counted.within(CLOSE):.0%}" if counted.true else "-"
                cells.append(f"{close} | {counted.missed}/{counted.true} | {counted.false}/{counted.absent}")
            print(f"| {family} | {' | '.join(cells)} |")


def part_hard(curves: int) -> None:
    print("\n## Weaker rises and stronger noise, held-out families, offline\n")
    print("| rise, decades | noise, decades | within 0.15 | within 0.3 | missed | false | mean confidence |")
    print("|---|---|---|---|---|---|---|")
    for rise in ((0.3, 0.6), (0.6, 1.0), (1.0, 2.0), (2.0, 4.0)):
        for noise in ((0.1, 0.3), (0.3, 1.0), (1.0, 2.0)):
            cases = list(synthetic_cases(max(curves // 3, 4), held_out=True, rise=rise, noise=noise))
            given = [(case, offline(case.curve)) for case in cases]
            counted = score(given, START)
            sure = [answers[START].confidence for case, answers in given if case.truth[START] is not None]
            print(
                f"| {rise[0]} to {rise[1]} | {noise[0]} to {noise[1]} | {counted.within(CLOSE):.0%} "
                f"| {counted.within(LABEL):.0%} | {counted.missed}/{counted.true} "
                f"| {counted.false}/{counted.absent} | {np.mean(sure):.2f} |"
            )


def calibration(cases: Iterable[Case], method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences and whether each reported transition is true and within 0.3 decades."""
    confidence, right = [], []
    for case in cases:
        for name, answer in method(case.curve).items():
            if answer.iteration is None:
                continue
            truth = case.truth[name]
            confidence.append(answer.confidence)
            right.append(truth is not None and abs(np.log10(max(answer.iteration, 1) / truth)) <= LABEL)
    return np.array(confidence), np.array(right, dtype=float)


def bins_of(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int]]:
    edges = np.linspace(0.0, 1.0, 11)
    place = np.clip(np.digitize(confidence, edges) - 1, 0, 9)
    return [
        (float(confidence[place == k].mean()), float(right[place == k].mean()), int((place == k).sum()))
        for k in range(10)
        if (place == k).any()
    ]


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    rows = bins_of(confidence, right)
    return sum(count * abs(said - was) for said, was, count in rows) / confidence.size


def part_calibration(curves: int) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    print("\n## Calibration of the confidence, all rises (0.3 to 4 decades), all noise (0.1 to 2)\n")
    print("| families | method | reported | expected calibration error |\n|---|---|---|---|")
    figure, axes = plt.subplots(1, 2, figsize=(10, 5), sharey=True, layout="constrained")
    for panel, held_out in zip(axes, (False, True), strict=True):
        cases = list(synthetic_cases(curves, held_out=held_out))
        title = "held out" if held_out else "used for calibration"
        for name, method in (("offline", offline), ("online", online)):
            confidence, right = calibration(cases, method)
            error = expected_calibration_error(confidence, right)
            print(f"| {title} | {name} | {confidence.size} | {error:.3f} |")
            rows = bins_of(confidence, right)
            panel.plot(*zip(*[row[:2] for row in rows], strict=True), "o-", label=f"{name}, error {error:.3f}")
            for said, was, count in rows:
                panel.annotate(str(count), (said, was), textcoords="offset points", xytext=(4, -12), fontsize=7)
        panel.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        panel.set(title=f"families {title}", xlabel="confidence", xlim=(0, 1.02), ylim=(0, 1.05))
        panel.legend(loc="upper left")
    axes[0].set_ylabel("share true, and within 0.3 decades")
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "detection_reliability.png", dpi=110)


def part_neighbours(curves: int) -> None:
    """Every parameter 20% lower and 20% higher."""
    print("\n## Neighbours of the configuration: each parameter 20% lower and 20% higher\n")
    recorded = recorded_cases()
    cases = list(synthetic_cases(max(curves // 2, 5), held_out=True, rise=(1.0, 4.0), noise=(0.1, 1.0)))
    print(
        "| parameter | value | recorded: mean, largest error | delays, diffusion | delays, total diffusion | cut "
        "| total diffusion within 0.15 | false | diffusion within 0.15 | false |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    base = DetectorConfiguration()
    neighbours = [("(as it is)", base)]
    for field in fields(base):
        value = getattr(base, field.name)
        for factor in (0.8, 1.2):
            neighbours.append((field.name, replace(base, **{field.name: factor * value})))
    for name, configuration in neighbours:
        value = getattr(base, name, None)
        shown = "" if value is None else f"{getattr(configuration, name):.3g}"
        errors, delays, cut = [], {key: [] for key in PHASES}, 0
        for case in recorded:
            found, live = (
                of_timeline(detect(case.curve, configuration)),
                of_timeline(replayed(case.curve, configuration)),
            )
            for key, label in case.truth.items():
                errors.append(abs(np.log10(found[key].iteration / label)) if found[key].iteration else np.inf)
                delays[key].append(np.log10(live[key].declared_at / label) if live[key].declared_at else np.inf)
            half = truncated(case.curve, 0.5 * case.truth[START])
            cut += of_timeline(detect(half, configuration))[START].iteration is not None
            cut += of_timeline(replayed(half, configuration))[START].iteration is not None
        given = [(case, of_timeline(detect(case.curve, configuration))) for case in cases]
        counted = [score(given, key) for key in (START, FITTING_END)]
        cells = [f"{item.within(CLOSE):.1%} | {item.false}/{item.absent}" for item in counted]
        late = [f"{min(rows):+.2f} to {max(rows):+.2f}" for rows in delays.values()]
        print(
            f"| {name} | {shown} | {np.mean(errors):.2f}, {np.max(errors):.2f} | {' | '.join(late)} | {cut} "
            f"| {' | '.join(cells)} |",
            flush=True,
        )


def part_cost(_: int) -> None:
    print("\n## Cost\n\n| what | mean | median | 99th percentile |\n|---|---|---|---|")
    cases = recorded_cases()
    long = synthetic_curve("sigmoid", 1)
    random = np.random.default_rng(0)
    iteration = np.arange(1, 100_001)
    snr = 10 ** (
        np.interp(np.log10(iteration), [0, 1.5, 2, 4, 4.1, 5], [2, 2, -1, -1, 1, 1]) + random.normal(0, 0.5, 100_000)
    )
    cases.append(Case("100 000 captures of the SNR", "", Curve.from_columns({"iteration": iteration, "snr": snr}), {}))
    cases.append(Case(f"{long.columns['snr'].size} captures, all columns", "", Curve.from_columns(long.columns), {}))
    for case in cases:
        init, update = tracker()
        state = init()
        names, rows = (
            list(case.curve.columns),
            np.array([case.curve.iteration, *case.curve.columns.values()]).T.tolist(),
        )
        spent = []
        for values in rows:
            capture = dict(zip(["iteration", *names], values, strict=True))
            begun = time.perf_counter()
            _, state = update(capture, state)
            spent.append(time.perf_counter() - begun)
        micro = np.array(spent) * 1e6
        print(
            f"| online update, {case.name} | {micro.mean():.0f} us | {np.median(micro):.0f} us "
            f"| {np.quantile(micro, 0.99):.0f} us |"
        )
        begun = time.perf_counter()
        detect(case.curve)
        print(f"| offline, {case.name} | {time.perf_counter() - begun:.3f} s | | |")


PARTS = {
    "recorded": part_recorded,
    "synthetic": part_synthetic,
    "hard": part_hard,
    "calibration": part_calibration,
    "neighbours": part_neighbours,
    "cost": part_cost,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--curves", type=int, default=50, help="members of each synthetic family")
    chosen = parser.parse_args()
    for name, part in PARTS.items():
        if chosen.part in (name, "all"):
            part(chosen.curves)


if __name__ == "__main__":
    main()
