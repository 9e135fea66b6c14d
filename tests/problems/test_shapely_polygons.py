"""Polygons of the real shapely as domains: what is inside, points and normals on the boundary, and what is refused."""

import numpy as np
import pytest
import shapely

import phasecore
from phasecore import Disk, InputError
from phasecore.problems.domains import polygon
from phasecore.problems.domains.region import region_of
from phasecore.testing import check_problem

HOLLOW = shapely.Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(1, 1), (1, 3), (3, 3), (3, 1)]])
BITE = shapely.Point(4, 2).buffer(0.8)

SHAPES = {
    "hole": HOLLOW,
    "clockwise": shapely.Polygon([(0, 0), (0, 2), (3, 0)]),
    "disk": shapely.Point(1, -1).buffer(2, quad_segs=32),
    "union": HOLLOW.union(BITE),
    "difference": HOLLOW.difference(BITE),
    "hole that touches the outside": shapely.Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(0, 0), (1, 2), (2, 1)]]),
    "several": shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.Polygon([(2, 0), (3, 0), (3, 2)])]),
    "island in a hole": shapely.MultiPolygon([HOLLOW, shapely.Point(2, 2).buffer(0.5, quad_segs=2)]),
    "several after a difference": shapely.box(0, 0, 4, 1).difference(shapely.box(1.5, -1, 2, 2)),
    "two that touch": shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(1, 1, 2, 2)]),
    "heights": shapely.Polygon([(0, 0, 5), (1, 0, 5), (1, 1, 7)]),
    "vertices twice": shapely.Polygon([(0, 0), (1, 0), (1, 0), (1, 1), (0, 0)]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_polygon_of_shapely_is_a_domain_as_it_is(name):
    given = SHAPES[name]
    region = region_of("mine", given)
    shape = region.parts[0][1]
    generator = np.random.default_rng(0)
    low, high = region.bounds
    np.testing.assert_array_equal(np.concatenate([low, high]), given.bounds)
    drawn = generator.uniform(low - 0.1, high + 0.1, (4000, 2))
    np.testing.assert_array_equal(region.contains(drawn), shapely.contains_xy(given, drawn))
    apart = shapely.distance(given.boundary, shapely.points(drawn))
    np.testing.assert_allclose(np.abs(shape.distance(drawn)), apart, atol=1e-12)
    points = region.boundary(4000, generator)
    assert shapely.distance(given.boundary, shapely.points(points)).max() < 1e-12
    normals = region.normals(points)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, rtol=1e-12)
    # but for a step past a corner
    assert shapely.contains_xy(given, points + 1e-6 * normals).mean() < 1e-3
    assert shapely.contains_xy(given, points - 1e-6 * normals).mean() > 1 - 1e-3
    assert shape.boundary_measure == pytest.approx(given.length, rel=1e-12)
    # the divergence theorem: the flux of x through the boundary is twice the area
    flux = given.length * ((points - points.mean(axis=0)) * normals).sum(axis=1).mean()
    assert flux == pytest.approx(2 * given.area, rel=0.08)


class Heated(phasecore.Problem):
    domain = {("x", "y"): SHAPES["island in a hole"], "t": (0, 1)}  # noqa: RUF012
    outputs = ("u",)
    grid = (21, 21, 5)

    def conditions(self):
        def robin(x, u, normal, xp):
            return u["u_x"] * normal["x"] + u["u_y"] * normal["y"] + u["u"]

        return phasecore.ResidualCondition("wall", "boundary", robin)

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx + u_yy"]


def test_a_problem_on_shapelys_polygons_keeps_the_contract():
    problem = Heated()
    check_problem(problem)
    # what reports draw: the points of a grid that are inside
    grid = problem.evaluation_points()
    given = SHAPES["island in a hole"]
    assert shapely.distance(given, shapely.points(grid[:, :2])).max() < 1e-5
    assert len(grid) / (21 * 21 * 5) == pytest.approx(given.area / 16, rel=0.2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (shapely.Polygon(), "shapely's Polygon: received an empty one; expected a polygon with an area"),
        (shapely.MultiPolygon(), "shapely's MultiPolygon: received an empty one"),
        (HOLLOW.intersection(shapely.box(9, 9, 10, 10)), "received an empty one"),
        (shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), r"not valid: Self-intersection.*shapely.make_valid"),
        (shapely.Polygon([(0, 0), (1, 1), (2, 2)]), "not valid"),
        (shapely.Polygon([(0, 0), (1, 0), (1, 1)], [[(5, 5), (6, 5), (6, 6)]]), "not valid: Hole lies outside shell"),
        (shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3)]), "not valid"),
        (shapely.LineString([(0, 0), (1, 1)]), r"LineString: received LINESTRING .*expected a Polygon or a MultiPol"),
        (shapely.Point(0, 0), "shapely's Point"),
        (
            shapely.GeometryCollection([shapely.box(0, 0, 1, 1), shapely.Point(3, 3)]),
            r"shapely's GeometryCollection.*Keep its polygons: shapely.MultiPolygon",
        ),
    ],
)
def test_what_is_no_polygon_of_an_area_is_one_message(given, told):
    with pytest.raises(InputError, match=told) as caught:
        region_of("mine", {("x", "y"): given, "t": (0, 1)})
    assert "None" not in str(caught.value)


@pytest.mark.parametrize("other", [HOLLOW, 3])
def test_a_shape_is_put_together_with_shapes_alone(other):
    for put_together in (lambda: Disk((0, 0), 1) | other, lambda: Disk((0, 0), 1) - other):
        with pytest.raises(InputError, match=r"shapes put together: received a .*expected a shape of phasecore's"):
            put_together()


def test_many_sides_are_looked_at_in_blocks(monkeypatch):
    shape = region_of("mine", SHAPES["disk"]).parts[0][1]
    points = np.random.default_rng(0).uniform(-4, 4, (50, 2))
    whole = shape.distance(points), shape.normals(points)
    monkeypatch.setattr(polygon, "AT_ONCE", 300)
    np.testing.assert_array_equal(shape.distance(points), whole[0])
    np.testing.assert_array_equal(shape.normals(points), whole[1])
    assert shape.distance(points[:0]).shape == (0,)
    assert shape.normals(points[:0]).shape == (0, 2)


def decimal(seed):
    """A random polygon with vertices of one decimal, of shapely's and as a shape here; None where it is not valid."""
    generator = np.random.default_rng(seed)
    count = generator.integers(3, 10)
    angles, radii = np.sort(generator.uniform(0, 2 * np.pi, count)), generator.uniform(0.3, 1, count)
    vertices = np.round(np.column_stack([radii * np.cos(angles), radii * np.sin(angles)]), 1)
    given = shapely.Polygon(vertices)
    return given if given.is_valid and given.area > 0.05 else None


POLYGONS = {seed: given for seed in range(300) if (given := decimal(seed)) is not None}


def test_points_level_with_a_vertex_are_inside_where_shapely_says_so():
    assert len(POLYGONS) > 200
    for seed, given in POLYGONS.items():
        vertices = np.asarray(given.exterior.coords)[:-1]
        across = np.random.default_rng(seed).uniform(-1.2, 1.2, (len(vertices), 20))
        level = np.stack([across, np.repeat(vertices[:, 1:], 20, axis=1)], axis=-1).reshape(-1, 2)
        upright = np.stack([np.repeat(vertices[:, :1], 20, axis=1), across], axis=-1).reshape(-1, 2)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        axes = [np.linspace(low[axis], high[axis], 21) for axis in range(2)]
        points = np.concatenate([level, upright, np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)])
        gap = shapely.distance(given.boundary, shapely.points(points))
        signed = np.where(shapely.contains_xy(given, points), -gap, gap)
        for shape in (phasecore.Polygon(vertices), region_of("mine", given).parts[0][1]):
            np.testing.assert_allclose(shape.distance(points), signed, atol=1e-9, err_msg=str(vertices.tolist()))
