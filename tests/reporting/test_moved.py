"""What was announced during a training and lies elsewhere in the whole curve is explained, and nothing else is."""

import numpy as np
import pytest

from phasecore.phases import Phase, Timeline, Transition, declarations, detect
from phasecore.reporting.moved import moved

ITERATION = np.arange(1, 20_000, 5)
CURVE = {
    "iteration": ITERATION,
    "snr": np.where(ITERATION < 100, 30.0, np.where(ITERATION < 5000, 0.03, 3.0)),
}
FIRST = {item.phase: item for item in declarations(CURVE)}


def placed(phase: Phase, low: int, iteration: int, high: int) -> Timeline:
    others = [item for item in FIRST.values() if item.phase is not phase]
    return Timeline((Transition(phase, iteration, (low, high), 0.9, ()), *others), phase, "")


def test_what_lies_where_it_was_announced_needs_no_word() -> None:
    assert set(FIRST) == {Phase.DIFFUSION, Phase.TOTAL_DIFFUSION}
    assert moved(detect(CURVE), CURVE) == []
    for phase, first in FIRST.items():
        for low, high in ((first.iteration, first.iteration + 9), (first.iteration - 9, first.iteration)):
            assert moved(placed(phase, low, low + 3, high), CURVE) == []


@pytest.mark.parametrize(
    ("phase", "why"),
    [
        (Phase.DIFFUSION, "fitting ends at"),
        (Phase.TOTAL_DIFFUSION, "the evidence for its start is strongest at"),
    ],
)
def test_what_lies_elsewhere_is_told_with_both_places_and_why(phase: Phase, why: str) -> None:
    first, name = FIRST[phase], str(phase).replace("_", " ")
    for low, high in ((first.iteration + 1, first.iteration + 50), (first.iteration - 50, first.iteration - 1)):
        assert moved(placed(phase, low, low + 10, high), CURVE) == [
            f"{name}: declared at iteration {first.declared_at} as begun at {first.iteration}, by what was known then; "
            f"in the whole curve {why} {low + 10} ({low} to {high})"
        ]


def test_what_the_whole_curve_does_not_show_is_told() -> None:
    notes = moved(Timeline((), None, "cannot tell"), CURVE)
    assert [note.partition(":")[0] for note in notes] == ["diffusion", "total diffusion"]
    assert all(note.endswith("; the whole curve speaks against it") for note in notes)


@pytest.mark.parametrize("columns", [{}, {"iteration": [2, 1], "snr": [1.0, 1.0]}, {"iteration": [1], "snr": [1.0]}])
def test_what_is_no_curve_says_nothing(columns: dict[str, list[float]]) -> None:
    assert moved(Timeline((), None, "cannot tell"), columns) == []
