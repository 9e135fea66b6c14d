"""What the detector finds in real trainings, against what two readers drew, blind."""

import pytest

from benchmarks.readings import SHUFFLE, compared, shares

REACHED = {"quick": 0.85, "constant": 0.75}
"""Share of all transitions that are found within `NEAR`, by the set-ups of the trainings."""
REACHED_BY_FITTING = 0.88
"""That of the ends of fitting."""
FALSE = {"quick": 0, "constant": 1}
"""Total diffusions found, with little confidence, where both readers see none."""

both = pytest.mark.parametrize("set_ups", [*SHUFFLE])


@both
@pytest.mark.parametrize("kind", ["in the whole curve", "online"])
def test_most_transitions_that_both_readers_see_are_found(set_ups, kind):
    right, count = shares(compared(set_ups))[kind]
    assert right / count >= REACHED[set_ups] - (0.02 if kind == "online" else 0.0)


@both
@pytest.mark.parametrize("kind", ["in the whole curve", "online"])
def test_the_end_of_fitting_is_found(set_ups, kind):
    rows = [row for row in compared(set_ups) if row.phase == "diffusion"]
    right, count = shares(rows)[kind]
    assert right / count >= REACHED_BY_FITTING
    assert all(row.found is not None for row in rows)


@both
@pytest.mark.parametrize("kind", ["none, in the whole curve", "none, online"])
def test_hardly_a_total_diffusion_is_found_where_both_readers_see_none(set_ups, kind):
    right, count = shares(compared(set_ups))[kind]
    assert count > 0
    assert right >= count - FALSE[set_ups]
    wrong = [row.found for row in compared(set_ups) if row.agreed and row.begins is None and row.found is not None]
    assert all(found.confidence < 0.6 for found in wrong)


@both
def test_a_confident_answer_is_right(set_ups):
    sure = [row for row in compared(set_ups) if row.agreed and row.found is not None and row.found.confidence >= 0.95]
    assert sum(row.is_right(row.found) for row in sure) >= 0.95 * len(sure) > 0
