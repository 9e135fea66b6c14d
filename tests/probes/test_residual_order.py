import math

import numpy as np
import pytest

from phasecore import InputError
from phasecore.probes.residual_order import ResidualOrder
from phasecore.signals import Signals


def naive_order(quantity, coordinates, low, high, bins):
    """Mean over root mean square of the bins' averages, point by point in plain Python."""
    totals = {}
    for values in quantity.values():
        sizes = [abs(float(value)) for value in values]
        mean = math.fsum(sizes) / len(sizes)
        members = {}
        for size, point in zip(sizes, coordinates, strict=True):
            cell = tuple(
                min(bins - 1, math.floor(bins * (x - a) / (b - a))) for x, a, b in zip(point, low, high, strict=True)
            )
            members.setdefault(cell, []).append(size / mean)
        for cell, inside in members.items():
            totals[cell] = totals.get(cell, 0.0) + math.fsum(inside) / len(inside)
    mean = math.fsum(totals.values()) / len(totals)
    return mean / math.sqrt(math.fsum(value**2 for value in totals.values()) / len(totals))


def signals_of(residuals, attention, coordinates, low, high):
    return Signals(
        {
            "residuals": residuals,
            "residual_attention": attention,
            "coordinates": coordinates,
            "domain": np.stack([low, high]),
        },
        np,
    )


@pytest.mark.parametrize("equations", [("pde",), ("momentum_x", "momentum_y")])
@pytest.mark.parametrize(
    ("dimension", "bins", "count"),
    [(2, 10, 900), (2, 10, 40), (1, 7, 100), (3, 4, 300), (12, 10, 300), (30, 10, 200), (1, 10**12, 100)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_order_is_that_of_a_loop_over_points_and_bins(equations, dimension, bins, count, dtype):
    generator = np.random.default_rng(dimension * count)
    low, high = np.resize([-1.0, 0.0, 2.0], dimension), np.resize([1.0, 0.5, 9.0], dimension)
    coordinates = generator.uniform(low, high, (count, dimension))
    residuals = {
        name: ((index + 1) * generator.standard_normal(count) * np.exp(3 * coordinates[:, 0])).astype(dtype)
        for index, name in enumerate(equations)
    }
    attention = {name: generator.uniform(0, 1, count).astype(dtype) for name in equations}
    measured = ResidualOrder(bins=bins).measure(signals_of(residuals, attention, coordinates, low, high))
    assert set(measured) == {"residual_order", "absolute_residual_order"}
    for name, quantity in (("residual_order", attention), ("absolute_residual_order", residuals)):
        assert measured[name] == pytest.approx(naive_order(quantity, coordinates, low, high, bins), rel=1e-6)
        assert 0 < measured[name] <= 1


def grid(bins):
    centres = (np.arange(bins) + 0.5) / bins
    return np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)


def order(values, coordinates, bins=10, low=(0.0, 0.0), high=(1.0, 1.0)):
    quantity = {"pde": np.asarray(values, dtype=float)}
    signals = signals_of(quantity, quantity, coordinates, np.asarray(low), np.asarray(high))
    return ResidualOrder(bins=bins).measure(signals)["residual_order"]


def test_a_uniform_quantity_has_order_one_and_one_in_a_single_bin_the_least():
    points = grid(10)
    assert order(np.full(100, 3.0), points) == pytest.approx(1.0)
    assert order(np.where(np.arange(100) == 42, 5.0, 0.0), points) == pytest.approx(0.1)
    assert order(np.where(np.arange(100) < 25, -2.0, 0.0), points) == pytest.approx(0.5)


def test_a_quantity_that_is_zero_everywhere_is_uniform():
    assert order(np.zeros(100), grid(10)) == 1.0


def test_bins_without_points_do_not_count_and_full_ones_count_once():
    points = np.concatenate([np.repeat(grid(10)[:1], 7, axis=0), grid(10)[55:56]])
    assert order([1.0] * 7 + [1.0], points) == pytest.approx(1.0)
    assert order([0.0] * 7 + [1.0], points) == pytest.approx(math.sqrt(0.5))


def test_points_on_the_upper_bound_belong_to_the_last_bin():
    corners = np.asarray([[1.0, 1.0], [0.95, 0.95], [0.0, 0.0]])
    assert order([3.0, 1.0, 2.0], corners) == pytest.approx(1.0)


def test_two_bins_on_a_line_by_hand():
    assert order([1.0, 3.0], np.asarray([[0.2], [0.7]]), bins=2, low=(0.0,), high=(1.0,)) == pytest.approx(
        2 / math.sqrt(5)
    )


@pytest.mark.parametrize("bins", [0, -1, 2.5, "10", True])
def test_bins_that_are_no_positive_integer_are_refused(bins):
    with pytest.raises(InputError, match=r"'bins'.*positive integer"):
        ResidualOrder(bins=bins)
