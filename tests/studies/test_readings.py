"""What the detector finds in real trainings, against what two readers drew, blind."""

import pytest

from benchmarks.readings import compared, shares

REACHED, REACHED_BY_FITTING = 0.8, 0.85
"""Shares of all transitions, and of the ends of fitting, that are found within `NEAR`."""


def test_most_transitions_that_both_readers_see_are_found():
    right, count = shares(compared())["in the whole curve"]
    assert right / count >= REACHED


@pytest.mark.parametrize("kind", ["in the whole curve", "online"])
def test_the_end_of_fitting_is_found(kind):
    rows = [row for row in compared() if row.phase == "diffusion"]
    right, count = shares(rows)[kind]
    assert right / count >= REACHED_BY_FITTING
    assert all(row.found is not None for row in rows)


@pytest.mark.parametrize("kind", ["none, in the whole curve", "none, online"])
def test_no_total_diffusion_is_found_where_both_readers_see_none(kind):
    right, count = shares(compared())[kind]
    assert right == count > 0


def test_a_confident_answer_is_right():
    sure = [row for row in compared() if row.agreed and row.found is not None and row.found.confidence >= 0.95]
    assert sum(row.is_right(row.found) for row in sure) >= 0.9 * len(sure)
