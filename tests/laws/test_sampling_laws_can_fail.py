"""Each law of samplings against a sampling that breaks it."""

import itertools

import numpy as np
import pytest

from phasecore.sampling import Sampling
from phasecore.sampling.base import unit_latin_hypercube
from phasecore.testing import SAMPLING_LAWS, check_sampling
from phasecore.testing.laws import run_laws
from phasecore.testing.samplings import sampling_subject


def drawn_anew(situation):
    return situation.draw(len(situation.points))


def moving(move):
    return Sampling(move=move, every=10)


def sorted_points(count, dimension, generator):
    points = generator.uniform(size=(count, dimension))
    return points[np.argsort(points[:, 0])]


def gathered(count, dimension, generator):
    return generator.uniform(size=(count, dimension)) ** 4


def counted():
    counter = itertools.count(1)
    return lambda count, dimension, generator: np.roll(
        unit_latin_hypercube(count, dimension, generator), next(counter), axis=0
    )


def remembers():
    seen = []

    def move(situation):
        seen.append(situation.points)
        return np.roll(drawn_anew(situation), len(seen), axis=0)

    return move


def writes_into_its_points(situation):
    situation.points[0] = situation.draw(1)[0]
    return situation.points


def appends(situation):
    """A tenth more at each move, all at the largest residual, at the end."""
    candidates = situation.draw(2000)
    largest = candidates[np.argsort(situation.sizes(candidates))[-100:]]
    return np.concatenate([situation.points, largest])


def looks_outside(situation):
    situation.residuals(situation.points + 100.0)
    return drawn_anew(situation)


def overflows(situation):
    squares = situation.sizes(situation.points) ** 4
    return np.where(np.isfinite(squares).all(), 1.0, np.nan) * drawn_anew(situation)


BROKEN = {
    "declares_a_sampling": Sampling(every=5),
    "draws_as_many_points_as_asked": Sampling(lambda count, d, generator: generator.uniform(size=(max(count, 5), d))),
    "the_same_seed_draws_the_same_points": Sampling(counted()),
    "another_seed_draws_other_points": Sampling(lambda n, d, _: np.random.default_rng(0).uniform(size=(n, d))),
    "points_are_spread_over_the_domain": Sampling(gathered),
    "points_come_in_random_order": Sampling(sorted_points),
    "moves_stay_inside": moving(overflows),
    "a_move_is_deterministic": moving(remembers()),
    "moves_change_no_argument": moving(lambda situation: situation.points),
    "moves_go_on": moving(appends),
}


@pytest.mark.parametrize("law", SAMPLING_LAWS, ids=lambda law: law.__name__)
def test_a_broken_sampling_is_told_which_law_it_breaks(law):
    with pytest.raises(AssertionError, match=f"  - {law.__name__}: "):
        run_laws("sampling", [law], sampling_subject(BROKEN[law.__name__]))


def test_every_law_is_broken_by_something():
    assert set(BROKEN) == {law.__name__ for law in SAMPLING_LAWS}


@pytest.mark.parametrize(
    ("move", "told"),
    [
        (writes_into_its_points, "read-only"),
        (looks_outside, "take candidates from situation.draw"),
        (lambda situation: drawn_anew(situation)[:-1], "200 or more"),
        (lambda situation: drawn_anew(situation) + 50.0, "points outside"),
    ],
)
def test_what_is_wrong_is_told(move, told):
    with pytest.raises(AssertionError, match=told):
        check_sampling(moving(move))


def test_a_sound_one_passes_and_a_known_failure_is_strict():
    assert check_sampling(moving(drawn_anew)).skipped == {}
    with pytest.raises(AssertionError, match="known failures that do not fail"):
        check_sampling(moving(drawn_anew), known_failures={"moves_go_on": "it does"})
