"""First points: what each sampling draws, inside any region, and today's points bit for bit."""

import warnings

import numpy as np
import pytest

import phasecore
from phasecore import InputError, PluginError
from phasecore.registry import as_sampling
from phasecore.sampling import Region, Sampling, sample
from phasecore.sampling.checks import drawn
from phasecore.sampling.moving import region_of

DRAWN = ("latin_hypercube", "halton", "sobol", "grid")
UNIT = np.asarray([[0.0, 0.0], [1.0, 1.0]])


def points_of(name, count=64, dimension=2, seed=0):
    return phasecore.sampling_scheme(name).draw(count, dimension, np.random.default_rng(seed))


@pytest.mark.parametrize("problem", phasecore.names("problem"))
@pytest.mark.parametrize("seed", [0, 7])
def test_the_default_draws_the_problems_own_points_bit_for_bit(problem, seed):
    made = phasecore.problem(problem)
    expected = made.sample(50, seed=seed, condition_points=9)
    name, default = as_sampling("latin_hypercube")
    found = sample(made, 50, default, seed=seed, condition_points=9)
    assert np.array_equal(found.interior, expected.interior)
    generator = np.random.default_rng(seed).spawn(1)[0]
    if made.region.is_box:
        assert np.array_equal(drawn(name, default, 50, region_of(made), generator), expected.interior)


@pytest.mark.parametrize("name", ["halton", "sobol", "grid"])
def test_conditions_have_the_problems_own_points_with_any_sampling(name):
    made = phasecore.problem("burgers")
    expected, found = made.sample(40, seed=3), sample(made, 40, phasecore.sampling_scheme(name), seed=3)
    assert all(map(np.array_equal, found.conditions, expected.conditions))
    assert found.interior.shape == (40, 2)
    assert not np.array_equal(found.interior, expected.interior)
    made.check_collocation_points(found)


@pytest.mark.parametrize("name", ["latin_hypercube", "sobol"])
@pytest.mark.parametrize("count", [1, 8, 64])
def test_each_slice_of_each_coordinate_holds_one_point(name, count):
    for column in points_of(name, count, 3).T:
        assert sorted((column * count).astype(int)) == list(range(count))


def test_sobol_points_are_balanced_in_every_box_of_a_sixteenth():
    points = points_of("sobol", 256)
    for columns, rows in ((16, 1), (8, 2), (4, 4), (2, 8), (1, 16)):
        cells = (points * [columns, rows]).astype(int)
        counts = np.bincount(cells[:, 0] * rows + cells[:, 1], minlength=16)
        assert counts.tolist() == [16] * 16


@pytest.mark.parametrize("name", ["halton", "sobol"])
def test_low_discrepancy_sequences_integrate_better_than_random_points(name):
    """The mean of a smooth function, over seeds: an error that falls nearly as 1 / n."""

    def error(points):
        return abs(np.prod(1.5 * np.sqrt(points), axis=1).mean() - 1.0)

    own = np.mean([error(points_of(name, 512, 2, seed)) for seed in range(10)])
    independent = np.mean([error(np.random.default_rng(seed).uniform(size=(512, 2))) for seed in range(10)])
    assert own < independent / 4


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("count", [3, 100, 257])
def test_nothing_warns_whatever_the_number(name, count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert points_of(name, count).shape == (count, 2)


@pytest.mark.parametrize(("count", "dimension", "side"), [(25, 2, 5), (64, 3, 4), (9, 1, 9), (1000, 3, 10)])
def test_a_grid_of_a_whole_power_has_the_centres_of_equal_cells(count, dimension, side):
    axis = (np.arange(side) + 0.5) / side
    expected = np.stack(np.meshgrid(*[axis] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    found = points_of("grid", count, dimension)
    assert np.allclose(found[np.lexsort(found.T[::-1])], expected)


@pytest.mark.parametrize("count", [2, 7, 1000, 1023])
def test_a_grid_of_any_number_has_so_many_different_points(count):
    points = points_of("grid", count)
    assert len(np.unique(points, axis=0)) == count


@pytest.mark.parametrize("name", DRAWN)
def test_points_outside_are_rejected_and_the_others_stay_even(name):
    disk = Region(np.asarray([[-1.0, -1.0], [1.0, 1.0]]), lambda points: np.hypot(*points.T) < 1.0)
    points = drawn(name, phasecore.sampling_scheme(name), 300, disk, np.random.default_rng(0))
    assert points.shape == (300, 2)
    assert (np.hypot(*points.T) < 1).all()
    assert len(np.unique(points, axis=0)) == 300
    within = (np.hypot(*points.T) < np.sqrt(0.5)).mean()
    assert abs(within - 0.5) < 0.08


def test_a_domain_that_holds_nothing_is_said_to(monkeypatch):
    monkeypatch.setattr("phasecore.sampling.base.MOST_DRAWN", 4096)
    nothing = Region(UNIT, lambda points: np.zeros(len(points), dtype=bool))
    with pytest.raises(InputError, match="0 inside among 4096 of its bounding box; expected 5 points"):
        drawn("sobol", phasecore.sampling_scheme("sobol"), 5, nothing, np.random.default_rng(0))


def test_one_that_draws_and_one_that_moves_go_together():
    name, both = as_sampling("sobol+rad:every=7,k=2")
    assert (name, both.every) == ("sobol+rad:every=7,k=2", 7)
    expected = points_of("sobol", 32)
    assert np.array_equal(both.draw(32, 2, np.random.default_rng(0)), expected)
    assert np.array_equal(
        as_sampling("r3+halton")[1].draw(9, 2, np.random.default_rng(1)), points_of("halton", 9, 2, 1)
    )
    assert as_sampling(phasecore.sampling.r3())[0] == "r3"


@pytest.mark.parametrize("given", ["sobol+grid", "rad+r3", "sobol+rad+halton"])
def test_two_of_a_kind_are_refused(given):
    with pytest.raises(InputError, match=r"sampling: received .* expected one that draws points, one that moves them"):
        as_sampling(given)


@pytest.mark.parametrize(
    ("draw", "told"),
    [
        (lambda count, dimension, generator: np.zeros((count, dimension), np.float32), "float32"),
        (lambda count, dimension, generator: np.zeros((count + 1, dimension)), r"shape \(6, 2\)"),
        (lambda count, dimension, generator: np.zeros(count), r"shape \(5,\)"),
        (lambda count, dimension, generator: np.full((count, dimension), 1.1), "5 points outside"),
        (lambda count, dimension, generator: np.full((count, dimension), np.nan), "5 points outside"),
        (lambda count, dimension, generator: None, "None"),
        (lambda count, dimension, generator: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_a_sampling_draws_is_checked(draw, told):
    with pytest.raises(PluginError, match=rf"sampling 'mine', draw.*{told}"):
        sample(phasecore.problem("burgers"), 5, Sampling(draw), name="mine")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (Sampling(every=5), "every: received 5; expected None"),
        (Sampling(move=lambda situation: situation.points), "every: received None; expected a positive integer"),
        (Sampling(move="rad", every=5), "move: received 'rad'"),
        (Sampling(draw=None), "draw: received None"),
    ],
)
def test_what_a_sampling_declares_is_checked(made, told):
    with pytest.raises(PluginError, match=told):
        as_sampling(made)
