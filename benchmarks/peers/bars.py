"""What the measurements are held against."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.peers.cases import MAIN, PROBLEMS, Case
from benchmarks.peers.contenders import ENTRIES, OURS, PEERS
from benchmarks.peers.measured import Measured

HEADER = ("", "hoped for", "measured", "reached")
FASTER = {"allen_cahn": 1.8, "burgers": 1.8, "helmholtz": 1.8, "lid_driven_cavity": 3.5}
FASTER_KERAS = 1.5
WITH_SNR = 1.15
LESS_MEMORY = 1 / 3
GROWTH = 1.1


def rows(measured: Measured) -> Iterable[list[str]]:
    """Return what is hoped for, what was measured, and whether that is enough; only of what was measured."""
    for problem in PROBLEMS:
        case = Case(problem, *MAIN)
        found = {name: ratio for name in PEERS if (ratio := measured.ratio(case, name, OURS)) is not None}
        if found:
            best = min(found, key=lambda name: found[name])
            yield _at_least(f"{case}: fastest peer ({ENTRIES[best].title}) / ours", FASTER[problem], found[best])
    for backend in ("tensorflow", "jax"):
        for problem in PROBLEMS:
            ratio = measured.ratio(Case(problem, *MAIN), f"deepxde_{backend}", f"keras_{backend}")
            if ratio is not None:
                title = f"{Case(problem, *MAIN)}: DeepXDE / our Keras, both on {backend}"
                yield _at_least(title, FASTER_KERAS, ratio)
    for problem in PROBLEMS:
        ratio = measured.ratio(Case(problem, *MAIN), "phasecore_snr", OURS)
        if ratio is not None:
            yield _at_most(f"{Case(problem, *MAIN)}: SNR in every step / without", WITH_SNR, ratio)
    for case in (Case(problem, points, 6, 128) for points in (10_000, 25_600) for problem in PROBLEMS):
        nested = measured.memory(case, "nested")
        for name, how in ((OURS, "ours"), ("phasecore_again", "ours with recompute=True")):
            ours = measured.memory(case, name)
            if ours is not None and nested:
                yield _at_most(f"{case}: peak memory, {how} / nested on all points", LESS_MEMORY, ours / nested)
    few, many = (measured.seconds(Case("burgers", points, 6, 128), OURS) for points in (2_500, 100_000))
    if few and many:
        yield _at_most("burgers 6x128: time of a point, 100 000 points / 2500 points", GROWTH, many / few / 40)


def _at_least(title: str, bar: float, value: float) -> list[str]:
    return [title, f"at least {bar:.2f}", f"{value:.2f}", "yes" if value >= bar else "no"]


def _at_most(title: str, bar: float, value: float) -> list[str]:
    return [title, f"at most {bar:.2f}", f"{value:.2f}", "yes" if value <= bar else "no"]
