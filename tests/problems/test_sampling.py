import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasecore.problems.sampling import latin_hypercube

BOUNDS = np.asarray([[-1.0, 0.0, 2.0], [1.0, 0.5, 9.0]])


@given(st.integers(1, 200), st.integers(0, 2**32))
def test_each_slice_of_each_coordinate_holds_one_point(count, seed):
    points = latin_hypercube(count, BOUNDS, np.random.default_rng(seed))
    assert points.shape == (count, 3)
    assert points.dtype == np.float64
    low, high = BOUNDS
    slices = np.floor((points - low) / (high - low) * count).astype(int)
    for column in slices.T:
        assert sorted(np.clip(column, 0, count - 1)) == list(range(count))


def test_points_come_in_random_order():
    points = latin_hypercube(500, BOUNDS, np.random.default_rng(0))
    position = np.arange(500)
    for column in points.T:
        assert abs(np.corrcoef(position, column)[0, 1]) < 0.15


def test_coordinates_are_paired_at_random():
    points = latin_hypercube(2000, BOUNDS, np.random.default_rng(1))
    correlation = np.corrcoef(points.T)
    assert np.all(np.abs(correlation - np.eye(3)) < 0.08)


def test_equal_bounds_fix_a_coordinate():
    bounds = BOUNDS.copy()
    bounds[:, 1] = 0.25
    points = latin_hypercube(50, bounds, np.random.default_rng(0))
    assert set(points[:, 1]) == {0.25}
    assert len(set(points[:, 0])) == 50


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_one_generator_state_gives_one_sample_and_moves_on(seed):
    generator = np.random.default_rng(seed)
    first = latin_hypercube(20, BOUNDS, generator)
    assert np.array_equal(first, latin_hypercube(20, BOUNDS, np.random.default_rng(seed)))
    assert not np.array_equal(first, latin_hypercube(20, BOUNDS, generator))
