"""Conditions on a part of the boundary that a function names."""

import numpy as np
import pytest

import phasecore
from phasecore import Box, Disk, InputError, Prescribed, ResidualCondition
from phasecore.testing import check_problem


def on_hole(at):
    return at["x"] ** 2 + at["y"] ** 2 < 0.2


def plate(*conditions, domain=None):
    members = {
        "domain": domain or {("x", "y"): Box((-1, -1), (1, 1)) - Disk((0, 0), 0.4), "t": (0, 2)},
        "outputs": ("u",),
        "conditions": lambda self: list(conditions),
        "residuals": lambda self, x, u, xp: u["u_t"] - u["u_xx + u_yy"],
    }
    return type("Plate", (phasecore.Problem,), members)()


def flux(x, u, normal, xp):
    return u["u_x"] * normal["x"] + u["u_y"] * normal["y"]


def test_each_condition_has_its_own_part():
    problem = plate(ResidualCondition("hole", on_hole, flux), Prescribed("rim", lambda at: ~on_hole(at), {"u": 0}))
    check_problem(problem)
    one, other = (problem.sample(30, seed=3, condition_points=40).conditions for _ in range(2))
    for mine, again in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, again)
    hole, rim = one
    assert hole.shape == rim.shape == (40, 3)
    np.testing.assert_allclose(np.hypot(*hole.T[:2]), 0.4, rtol=1e-9)
    np.testing.assert_allclose(problem.normals(hole)[:, :2], -hole[:, :2] / 0.4, atol=1e-9)
    np.testing.assert_allclose(np.abs(rim[:, :2]).max(axis=1), 1.0, rtol=1e-9)
    assert np.ptp(hole[:, 2]) > 1


def test_a_part_of_a_box_is_one_too():
    problem = plate(
        Prescribed("right", lambda at: at["x"] > 0, {"u": 0}), domain={"x": (-1, 1), "y": (0, 1), "t": (0, 1)}
    )
    (right,) = problem.sample(8, condition_points=30).conditions
    assert right.shape == (30, 3)
    assert (right[:, 0] > 0).all()
    assert set(right[right[:, 0] < 1][:, 1]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (lambda at: at["x"] > 5, "part of the boundary of a condition in term 'wall': received true at 0 of"),
        (lambda at: at["x"], r"received float64 of shape \(\d+,\); expected bools of shape"),
        (lambda at: True, r"received bool of shape \(\)"),
    ],
)
@pytest.mark.parametrize(
    "made", [lambda part: Prescribed("wall", part, {"u": 0}), lambda part: ResidualCondition("wall", part, flux)]
)
def test_a_part_that_is_none_is_refused(part, told, made):
    with pytest.raises(InputError, match=told):
        plate(made(part)).sample(8, condition_points=10)
