"""Conditions that read normals: they have them on the boundary and on planes, and are refused where there are none."""

# ruff: noqa: RUF012

from types import SimpleNamespace

import numpy as np
import pytest

import phasecore
from phasecore import Ball, Box, Disk, InputError, Polygon, Prescribed, ResidualCondition
from phasecore.problems.checks import targets_of
from phasecore.problems.conditions import Condition

ANGLES = np.linspace(0, 6.2, 40)
CIRCLE = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
CUT = np.trunc(CIRCLE * 1e3) / 1e3

# domains of x and y, with points on their boundary
SHAPES = {
    "disk": (Disk((0, 0), 1), CIRCLE),
    "disks put together": (Disk((0, 0), 1) - Disk((0, 0), 0.5), np.concatenate([CIRCLE, CIRCLE / 2])),
    "box": (Box((0, 0), (1, 2)), np.asarray([[0, 0.3], [1, 0.4], [0.3, 2]])),
    "polygon": (Polygon([(0, 0), (2, 0), (0, 2)]), np.asarray([[0, 0.3], [0.5, 1.5]])),
}


def flux(x, u, normal, xp):
    return u["u_x"] * normal["x"] + u["u_y"] * normal["y"] - 1.0


class Heat(phasecore.Problem):
    domain = {("x", "y"): Disk((0, 0), 1), "t": (0, 3)}
    outputs = ("u",)

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx + u_yy"]


class Own(Condition):
    """A condition of one's own whose targets are computed with the normals."""

    term, needs_normals, partials = "own", True, ("u",)

    def __init__(self, points):
        self._points = points

    def sample(self, count, coordinates, bounds, generator):
        return self._points

    def targets(self, coordinates):
        return {"flux": coordinates["normal x"] + 2 * coordinates["normal y"]}

    def residuals(self, partials, targets, xp):
        return partials["u"] - targets["flux"]


def targets(condition, problem=None):
    problem = problem or Heat()
    (points,) = type("With", (type(problem),), {"conditions": lambda self: [condition]})().sample(50).conditions
    return targets_of(condition, points, problem.coordinates, problem.normals)


def on(shape):
    return type("On", (Heat,), {"domain": {("x", "y"): shape, "t": (0, 3)}})()


@pytest.mark.parametrize("of", [lambda points: ResidualCondition("flux", points, flux), Own])
@pytest.mark.parametrize("time", [0.0, 1.7, 3.0])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_condition_has_normals_on_the_boundary_only(kind, time, of):
    shape, wall = SHAPES[kind]
    problem = on(shape)
    wall = np.column_stack([wall, np.full(len(wall), time)])
    normals = problem.normals(wall)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
    assert not normals[:, 2].any()
    found = targets(of(wall), problem)
    if "normal x" in found:
        np.testing.assert_array_equal([found["normal x"], found["normal y"], found["normal t"]], normals.T)
    else:
        np.testing.assert_array_equal(found["flux"], normals @ [1, 2, 0])
    for gap in (1e-5, 1e-3, 0.1):
        moved = wall.copy()
        moved[1:] -= gap * normals[1:]
        with pytest.raises(InputError) as refused:
            targets(of(moved), problem)
        told = str(refused.value)
        assert (
            f"normals of the domain: received {len(wall) - 1} of {len(wall)} points that have none, the first" in told
        )
        assert str(moved[1].tolist()) in told
        assert f", {gap:.3g} from the boundary; expected points on the boundary" in told
        assert "all their digits" in told


def test_points_of_a_wall_that_were_rounded_are_refused():
    count = int((np.hypot(*CUT.T) < 1 - 2e-6).sum())
    assert count > 30
    with pytest.raises(InputError, match=rf"term 'flux': normals of the domain: received {count} of 40 points"):
        targets(ResidualCondition("flux", np.column_stack([CUT, np.ones(40)]), flux))


@pytest.mark.parametrize("where", ["interior", [[0.0, 0.0, 0.0]], [[0.3, 0.0, 3.0]]])
def test_a_flux_inside_is_refused_at_the_ends_of_time_too(where):
    with pytest.raises(InputError, match="points that have none"):
        targets(ResidualCondition("flux", where, flux))


@pytest.mark.parametrize("where", ["boundary", ("x", 0.5), ("y", 0.0), ("t", 0.0), lambda at: at["x"] > 0])
def test_what_has_normals_is_taken(where):
    found = targets(ResidualCondition("flux", where, flux))
    lengths = sum(np.square(found[f"normal {name}"]) for name in ("x", "y", "t"))
    np.testing.assert_allclose(lengths, 1.0)


def test_what_reads_no_normal_is_anywhere():
    assert targets(ResidualCondition("pde", "interior", lambda x, u, xp: u["u_x"] - x["x"])).keys() == {"x", "y", "t"}
    assert targets(Prescribed("wall", ("t", 0), {"u": 0})).keys() == {"u"}


def test_how_far_is_not_told_of_shapes_that_do_not_know():
    disk = SimpleNamespace(
        bbox=CIRCLE[:2], inside=lambda at: np.hypot(*at.T) <= 1, on_boundary=lambda at: np.isclose(np.hypot(*at.T), 1),
        random_boundary_points=lambda count: CIRCLE[np.arange(count) % 40], boundary_normal=lambda at: at,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"the first \[0.5, 0.0, 1.0\]; expected"):
        targets(ResidualCondition("flux", [[0.5, 0.0, 1.0]], flux), on(disk))


def test_how_far_points_are_is_told_where_it_is_known():
    region = on(Ball((0, 0), 1)).region
    np.testing.assert_allclose(region.gap(np.asarray([[0.0, 0.0, 1.0], [0.0, 0.9, 0.0]])), [1.0, 0.1])
    line = type("Line", (Heat,), {"domain": {"x": (0, 4), "t": (0, 1)}})().region
    np.testing.assert_allclose(line.gap(np.asarray([[1.0, 0.0], [3.5, 0.5]])), [1.0, 0.5])
