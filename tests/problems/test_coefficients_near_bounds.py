"""The value of a bounded coefficient is as exact as its precision, however near a bound it is; so are its steps."""

import math
import warnings

import numpy as np
import pytest

from phasecore.problems import trained

BOUNDS = [(0, 10), (-10, 0), (0, 1e3), (1e-6, 100.0), (-2.0, 3.0), (3.0, 3.001)]
DISTANCES = [0.5, 0.1, 1e-3, 1e-5, 1e-7, 1e-9]


def exact(free, bounds):
    """The distances to both bounds, by the documented formula, each by itself in double precision."""
    low, high = bounds
    shares = 1 / (1 + math.exp(-free)), 1 / (1 + math.exp(free))
    return [(high - low) * share for share in shares]


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_distance_to_either_bound_is_as_exact_as_numbers_there_are(bounds, dtype):
    low, high = bounds
    rounding = float(np.finfo(dtype).eps)
    for distance in DISTANCES:
        for start in (low + (high - low) * distance, high - (high - low) * distance):
            if not low < start < high:
                continue
            coefficient = trained(start, bounds=bounds)
            for step in (0.0, 1e-3, 2e-3, -0.1):
                free = dtype(coefficient.free() + step)
                value = coefficient.value(free, np)
                assert value.dtype == dtype
                above, below = exact(float(free), bounds)
                if above <= below:
                    assert abs(float(value) - (low + above)) <= 4 * rounding * (abs(low) + above)
                else:
                    assert abs(float(value) - (high - below)) <= 4 * rounding * (abs(high) + below)
                assert dtype(low) <= value <= dtype(high)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_number_is_too_large_or_too_small(bounds, dtype):
    coefficient = trained(sum(bounds) / 2, bounds=bounds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = [float(coefficient.value(dtype(free), np)) for free in (-math.inf, -1e4, -50, 0, 50, 1e4, math.inf)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (dtype(bounds[0]), dtype(bounds[1]))
