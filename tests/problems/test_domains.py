"""Domains that are no box: what is inside, points and normals on the boundary, and problems on them."""

# ruff: noqa: RUF012

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

import phasecore
from phasecore import Ball, Box, Disk, InputError, Polygon
from phasecore.problems.domains.region import region_of
from phasecore.testing import check_problem

ELL = [(-1, -1), (1, -1), (1, 0), (0, 0), (0, 1), (-1, 1)]

# shape, its area or volume, the measure of its boundary, a point inside and one outside
SHAPES = {
    "box": (Box((0, 1), (2, 4)), 6.0, 10.0, (1, 2), (1, 0)),
    "box in space": (Box((0, 0, 0), (1, 2, 3)), 6.0, 22.0, (0.5, 1, 1), (0.5, 3, 1)),
    "disk": (Disk((1, -1), 2), 4 * math.pi, 4 * math.pi, (1, 0), (3, 1)),
    "ball": (Ball((0, 0, 1), 2), 32 / 3 * math.pi, 16 * math.pi, (0, 0, 2), (2, 2, 2)),
    "ball in four dimensions": (Ball(np.zeros(4), 1), math.pi**2 / 2, 2 * math.pi**2, (0, 0, 0, 0.5), (1, 1, 0, 0)),
    "polygon": (Polygon(ELL), 3.0, 8.0, (-0.5, 0.5), (0.5, 0.5)),
    "polygon the other way round, closed": (Polygon([*ELL[::-1], ELL[-1]]), 3.0, 8.0, (0.5, -0.5), (0.5, 0.5)),
    "polygon with a hole": (
        Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(1, 1), (3, 1), (3, 3), (1, 3)]]), 12.0, 24.0, (0.5, 2), (2, 2),
    ),
    "union": (Box((0, 0), (2, 1)) | Disk((2, 0.5), 0.5), 2 + math.pi / 8, 5 + math.pi / 2, (2.3, 0.5), (2.4, 0.9)),
    "boxes with a side in common": (Box((-1, -1), (1, 0)) | Box((-1, 0), (0, 1)), 3.0, 8.0, (-0.5, 0), (0.5, 0.5)),
    "difference": (Box((-1, -1), (1, 1)) - Disk((0, 0), 0.5), 4 - math.pi / 4, 8 + math.pi, (0.8, 0), (0.2, 0.2)),
    "intersection": (Disk((0, 0), 1) & Box((0, -2), (2, 2)), math.pi / 2, math.pi + 2, (0.5, 0), (-0.5, 0)),
    "several": ((Box((0, 0), (3, 1)) | Box((0, 0), (1, 3))) - Box((2, -1), (4, 2)), 4.0, 10.0, (0.5, 2.5), (2.5, 0.5)),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_knows_its_inside_its_boundary_and_its_normals(name):
    shape, content, measure, inside, outside = SHAPES[name]
    assert shape.contains(np.asarray([inside, outside], dtype=float)).tolist() == [True, False]
    generator = np.random.default_rng(0)
    low, high = shape.bounds
    drawn = generator.uniform(low, high, (20_000, len(low)))
    assert shape.contains(drawn).mean() * np.prod(high - low) == pytest.approx(content, rel=0.03)
    points = shape.sample_boundary(2000, generator)
    normals = shape.normals(points)
    assert points.shape == normals.shape == (2000, len(low))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, rtol=1e-12)
    step = 1e-5 * normals
    assert not shape.contains(points + step).any()
    assert shape.contains(points - step).all()
    np.testing.assert_allclose(shape.distance(points), 0.0, atol=1e-6)
    # the divergence theorem: the flux of x through the boundary is dimension times content
    flux = measure * (points * normals).sum(axis=1).mean()
    assert flux == pytest.approx(len(low) * content, rel=0.1)


@pytest.mark.parametrize("length", [0.5, 4.0])
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_times_an_interval_has_its_boundary_evenly(name, length):
    shape, content, measure, *_ = SHAPES[name]
    assert shape.content == pytest.approx(content, rel=0.03)
    names = ("x", "y", "z", "w")[: len(shape.bounds[0])]
    region = region_of("mine", {names: shape, "s": (0, length), "t": (0, 1)})
    points = region.boundary(8000, np.random.default_rng(0))
    ends = np.isin(points[:, -2], (0, length))
    assert ends.mean() == pytest.approx(2 * content / (2 * content + measure * length), abs=0.02)
    assert not np.isin(points[:, -1], (0, 1)).any()


def test_a_thin_frame_has_little_of_its_boundary_at_its_ends():
    area, around = 1 - 0.98**2, 4 + 4 * 0.98
    for frame in (
        Box((0, 0), (1, 1)) - Box((0.01, 0.01), (0.99, 0.99)),
        Polygon([(0, 0), (1, 0), (1, 1), (0, 1)], [[(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)]]),
    ):
        assert frame.content == pytest.approx(area, rel=0.1)
        drawn = region_of("mine", {("x", "y"): frame, "z": (0, 1)}).boundary(8000, np.random.default_rng(0))
        assert np.isin(drawn[:, 2], (0, 1)).mean() == pytest.approx(2 * area / (2 * area + around), abs=0.005)


def test_shares_of_a_boundary_whose_measure_is_not_known_are_the_same():
    points = region_of("mine", {("x", "y"): Square(), "z": (0, 1)}).boundary(4000, np.random.default_rng(0))
    assert np.isin(points[:, 2], (0, 1)).mean() == pytest.approx(0.5, abs=0.03)


def test_drawing_is_seeded_and_leaves_numpys_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for shape, *_ in SHAPES.values():
        one, other = (shape.sample_boundary(40, np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(one, other)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Box((0, 1), (1, 1)), "bounds of a box: received .*the lower first"),
        (lambda: Box((0, 1), (1,)), "bounds of a box.*one per coordinate"),
        (lambda: Box(0, 1), "bounds of a box"),
        (lambda: Box((0,), (1,)), "received one coordinate"),
        (lambda: Disk((0, 0), 0), "radius of a ball: received 0; expected a positive number"),
        (lambda: Disk((0, 0, 0), 1), "centre of a disk"),
        (lambda: Ball((0, math.nan), 1), "centre of a ball"),
        (lambda: Polygon([(0, 0), (1, 1)]), r"vertices of a polygon: received shape \(2, 2\)"),
        (lambda: Polygon([(0, 0), (1, 1), (2, 2)]), "no area between them"),
        (lambda: Disk((0, 0), 1) | Ball((0, 0, 0), 1), "2 and 3 coordinates"),
        (lambda: (Disk((0, 0), 1) & Disk((5, 0), 1)).sample_boundary(3, np.random.default_rng(0)), "not empty"),
    ],
)
def test_shapes_that_are_none_are_refused(make, told):
    with pytest.raises(InputError, match=told):
        make()


class Heated(phasecore.Problem):
    """Diffusion on a plate with a hole, with a Robin condition; the solution is `x^2 + y^2 + t`."""

    domain = {("x", "y"): Box((-1, -1), (1, 1)) - Disk((0.2, 0), 0.5), "t": (0, 2)}
    outputs = ("u",)

    def conditions(self):
        def robin(x, u, normal, xp):
            flux = u["u_x"] * normal["x"] + u["u_y"] * normal["y"]
            exact = x["x"] ** 2 + x["y"] ** 2 + x["t"]
            return flux + u["u"] - 2 * x["x"] * normal["x"] - 2 * x["y"] * normal["y"] - exact

        start = phasecore.Prescribed("initial", ("t", 0), {"u": lambda at: at["x"] ** 2 + at["y"] ** 2})
        return [start, phasecore.ResidualCondition("robin", "boundary", robin)]

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx + u_yy"] + 3.0

    def reference(self, x, y, t):
        return x**2 + y**2 + t


class Ell(phasecore.Problem):
    domain = Polygon(ELL)
    outputs = ("u",)

    def conditions(self):
        return phasecore.Prescribed("boundary", "boundary", {"u": lambda at: at["x"] ** 2 + at["y"] ** 2})

    def residuals(self, x, u, xp):
        return u["u_xx + u_yy"] - 4.0

    def reference(self, x, y):
        return x**2 + y**2


class Sphere(phasecore.Problem):
    domain = Ball((0, 0, 0), 1)
    outputs = ("u",)
    grid = (9, 9, 9)

    def residuals(self, x, u, xp):
        return u["u_xx"] + u["u_yy"] + u["u_zz"]


@pytest.mark.parametrize("cls", [Heated, Ell, Sphere])
def test_problems_on_shapes_keep_the_contract(cls):
    check_problem(cls())


def test_points_are_inside_and_on_the_boundary():
    problem = Heated()
    assert problem.coordinates == ("x", "y", "t")
    points = problem.sample(500, seed=0, condition_points=200)
    assert points.interior.shape == (500, 3)
    hole = np.hypot(points.interior[:, 0] - 0.2, points.interior[:, 1])
    assert hole.min() > 0.5
    initial, robin = points.conditions
    assert set(initial[:, 2]) == {0.0}
    assert np.hypot(initial[:, 0] - 0.2, initial[:, 1]).min() > 0.5
    gap = problem.region.parts[0][1].distance(robin[:, :2])
    np.testing.assert_allclose(gap, 0.0, atol=1e-12)
    assert 0 < robin[:, 2].min() < 0.2
    assert robin[:, 2].max() > 1.8
    on_hole = np.hypot(robin[:, 0] - 0.2, robin[:, 1]) < 0.5 + 1e-9
    assert on_hole.mean() == pytest.approx(math.pi / (8 + math.pi), abs=0.1)
    normals = problem.normals(robin)
    np.testing.assert_allclose(normals[on_hole, :2], (np.asarray([0.2, 0]) - robin[on_hole, :2]) / 0.5, atol=1e-9)
    assert not normals[:, 2].any()
    with pytest.raises(InputError, match=r"outside the domain: received row 0: \[0.2, 0.0, 1.0\].*in the Combined"):
        problem.check_points([[0.2, 0.0, 1.0]])


def test_the_grid_is_that_of_the_box_around_what_is_inside():
    points = Ell().evaluation_points()
    assert len(points) == pytest.approx(0.75 * 101**2, rel=0.02)
    assert Ell().region.contains(points).all()
    assert len(Sphere().evaluation_points()) < 9**3


def test_a_box_of_intervals_has_a_boundary_but_for_the_ends_of_time():
    region = region_of("mine", {"x": (0, 1), "y": (0, 3), "t": (0, 5)})
    points = region.boundary(400, np.random.default_rng(0))
    normals = region.normals(points)
    on_x = np.isin(points[:, 0], (0, 1))
    on_y = np.isin(points[:, 1], (0, 3))
    assert (on_x ^ on_y).all()
    assert on_x.mean() == pytest.approx(6 / 8, abs=0.1)
    np.testing.assert_array_equal(
        normals[on_x], np.stack([2 * points[on_x, 0] - 1, *np.zeros((2, on_x.sum()))], axis=1)
    )


@pytest.mark.parametrize(
    ("domain", "told"),
    [
        (
            {"x": (1, 0)},
            r"domain of problem 'mine', 'x': received a tuple, \(1, 0\); expected two bounds, the lower first",
        ),
        ({"x": 3}, "received a int, 3"),
        ({"x": Disk((0, 0), 1)}, "'x': received a Ball of 2 coordinates"),
        ({("x", "y", "z"): Disk((0, 0), 1)}, "received a Ball of 2 coordinates"),
        ({("x", "y"): (0, 1)}, "expected two bounds, the lower first, or a shape"),
        ({("x", "y"): Disk((0, 0), 1), "x": (0, 1)}, r"received coordinates \['x', 'y', 'x'\]"),
        ({}, "received coordinates"),
        ("disk", "received a str, 'disk'"),
        (Ball(np.zeros(4), 1), "expected bounds by coordinate"),
        (None, "received None"),
    ],
)
def test_domains_that_are_none_are_refused(domain, told):
    with pytest.raises(InputError, match=told):
        region_of("mine", domain)


class Geometry:
    """A disk with the methods that DeepXDE's geometries have."""

    bbox = (np.asarray([-1.0, -1.0]), np.asarray([1.0, 1.0]))
    perimeter = 2 * math.pi

    def inside(self, x):
        return np.hypot(*x.T) <= 1

    def on_boundary(self, x):
        return np.isclose(np.hypot(*x.T), 1)

    def random_boundary_points(self, n, random="pseudo"):
        angle = 2 * np.pi * np.random.random(n)  # noqa: NPY002
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def boundary_normal(self, x):
        return x / np.hypot(*x.T)[:, None]


class Rod:
    """An interval with the methods that DeepXDE's has."""

    def __init__(self, left, right):
        self.l, self.r = left, right
        self.bbox = (np.asarray([left]), np.asarray([right]))

    inside = on_boundary = random_boundary_points = boundary_normal = None


class Span(Rod):
    """A time domain of DeepXDE's."""

    def __init__(self, start, end):
        super().__init__(start, end)
        self.t0, self.t1 = start, end


def in_time(geometry, start=0, end=2):
    return SimpleNamespace(geometry=geometry, timedomain=Span(start, end), dim=3)


OVAL = Polygon([(0, 0), (4, 0), (4, 1), (0, 2)])

# domains in their own order, and in the orders in which a problem may declare the coordinates
ORDERED = {
    "intervals": {"x": (0, 4), "y": (0, 2), "t": (5, 7)},
    "a shape and an interval": {("x", "y"): OVAL, "t": (5, 7)},
    "a shape the other way round": {("y", "x"): OVAL, "t": (5, 7)},
    "a shape behind an interval": {"t": (5, 7), ("x", "y"): OVAL},
    "a shape in time": {("x", "t"): OVAL, "y": (5, 7)},
    "a shape in space": {("x", "y", "t"): Box((0, 1, 2), (3, 5, 7)) - Ball((0, 1, 2), 1)},
}


@pytest.mark.parametrize("order", list(itertools.permutations(("x", "y", "t"))))
@pytest.mark.parametrize("kind", ORDERED)
def test_coordinates_are_in_the_order_that_the_problem_declares_whatever_the_domain(kind, order):
    members = {
        "coordinates": order, "domain": ORDERED[kind], "outputs": "u", "residuals": lambda self, x, u, xp: u["u_xx"],
        "conditions": lambda self: phasecore.Prescribed("wall", "boundary", {"u": 0}),
    }  # fmt: skip
    problem = type("Ordered", (phasecore.Problem,), members)()
    own = region_of("mine", ORDERED[kind])
    columns = [own.coordinates.index(name) for name in order]
    assert problem.region.coordinates == problem.coordinates == order
    np.testing.assert_array_equal(problem.bounds, own.bounds[:, columns])
    drawn = problem.sample(100, seed=0)
    wall = drawn.conditions[0]
    inside, on_wall = np.empty_like(drawn.interior), np.empty_like(wall)
    inside[:, columns], on_wall[:, columns] = drawn.interior, wall
    assert own.contains(inside).all()
    assert own.contains(on_wall).all()
    np.testing.assert_array_equal(problem.normals(wall), own.normals(on_wall)[:, columns])
    lengths = np.linalg.norm(problem.normals(wall), axis=1)
    np.testing.assert_allclose(lengths, 1.0)


@pytest.mark.parametrize(
    ("domain", "coordinates", "told"),
    [
        ({"x": (0, 1), "t": (0, 1), "z": (0, 1)}, ("t", "x"), r"for \['x', 't', 'z'\]; .*none for \['z'\]"),
        ({"x": (0, 1), "t": (0, 1)}, ("t", "x", "w"), r"\['t', 'x', 'w'\], \['w'\] too"),
        ({("x", "y"): OVAL, "t": (0, 1)}, ("x", "t"), r"for \['x', 'y', 't'\]; .*none for \['y'\]"),
        ({("x", "y"): OVAL}, ("x", "z"), r"\['z'\] too, and none for \['y'\]"),
        ({("x", "y"): OVAL}, ("r", "s"), r"\['r', 's'\] too, and none for \['x', 'y'\]"),
        (OVAL, ("x", "z"), r"\['z'\] too, and none for \['y'\]"),
        (OVAL, ("x", "y", "t"), r"\['t'\] too"),
    ],
)
def test_a_domain_of_other_coordinates_than_the_problem_declares_is_refused(domain, coordinates, told):
    members = {"coordinates": coordinates, "domain": domain, "outputs": "u", "residuals": lambda self, x, u, xp: u["u"]}
    problem = type("Mine", (phasecore.Problem,), members)()
    with pytest.raises(InputError, match=f"domain of problem 'mine': received bounds or shapes .*{told}"):
        problem.sample(10)


@pytest.mark.parametrize(
    ("domain", "coordinates"), [(OVAL, ("r", "s")), (in_time(Geometry()), ("r", "s", "t")), (Span(0, 4), ("t",))]
)
def test_a_shape_alone_has_the_coordinates_that_the_problem_declares(domain, coordinates):
    members = {"coordinates": coordinates, "domain": domain, "outputs": "u", "residuals": lambda self, x, u, xp: u["u"]}
    assert type("Mine", (phasecore.Problem,), members)().region.coordinates == coordinates


class Square:
    """An object of one's own that has what a shape has, without deriving from it."""

    bounds = [[-1.0, -1.0], [1.0, 1.0]]
    _box = Box((-1, -1), (1, 1))

    def distance(self, points):
        return self._box.distance(points)

    def sample_boundary(self, count, generator):
        return self._box.sample_boundary(count, generator)

    def normals(self, points):
        return self._box.normals(points)


def on(shape):
    members = {
        "domain": {("x", "y"): shape}, "outputs": "u", "residuals": lambda self, x, u, xp: u["u_xx"] + u["u_yy"],
        "conditions": lambda self: phasecore.ResidualCondition(
            "wall", "boundary", lambda x, u, normal, xp: u["u_x"] * normal["x"] + u["u_y"] * normal["y"]
        ),
    }  # fmt: skip
    return type("Mine", (phasecore.Problem,), members)()


def test_an_object_of_ones_own_is_a_shape():
    check_problem(on(Square()))


@pytest.mark.parametrize(
    ("members", "told"),
    [
        (
            {"sample_boundary": lambda self, n, g: g.uniform(2, 3, (n, 2))},
            r"points on its boundary: received 64 of 64 beside which its distance does not change its sign, the first",
        ),
        (
            {"sample_boundary": lambda self, n, g: np.zeros((n, 3))},
            r"points on its boundary: received shape \(\d+, 3\)",
        ),
        ({"sample_boundary": lambda self, n, g: np.zeros((n, 2)) / 0}, "values that are not finite"),
        ({"normals": lambda self, points: points[:, 0]}, r"domain: normals: received shape \(\d+,\); expected finite"),
        ({"normals": lambda self, points: None}, r"domain: normals: received shape \(\)"),
        ({"distance": lambda self, points: np.ones(len(points))}, "distance: received 1 everywhere"),
        ({"bounds": [0, 1]}, r"bounds: received shape \(2,\); expected \(2, dimension\)"),
    ],
)
def test_a_shape_that_breaks_its_word_is_refused(members, told):
    def used():
        problem = on(type("Broken", (Square,), members)())
        points = problem.sample(20, condition_points=20)
        problem.normals(points.conditions[0])

    with np.errstate(all="ignore"), pytest.raises(InputError, match=told):
        used()


@pytest.mark.parametrize(
    ("domain", "coordinates", "bounds"),
    [
        (in_time(Geometry()), ("x", "y", "t"), [[-1, -1, 0], [1, 1, 2]]),
        (in_time(Rod(-1, 3)), ("x", "t"), [[-1, 0], [3, 2]]),
        ({("a", "b", "t"): in_time(Geometry(), 1)}, ("a", "b", "t"), [[-1, -1, 1], [1, 1, 2]]),
        ({"z": (0, 5), ("x", "t"): in_time(Rod(0, 1))}, ("z", "x", "t"), [[0, 0, 0], [5, 1, 2]]),
        (Rod(0, 4), ("x",), [[0], [4]]),
        (Span(0, 4), ("t",), [[0], [4]]),
        (
            {"s": Rod(0, 4), ("x", "y"): Geometry(), "t": Span(0, 1)},
            ("s", "x", "y", "t"),
            [[0, -1, -1, 0], [4, 1, 1, 1]],
        ),
    ],
)
def test_a_geometry_of_deepxdes_with_time_is_space_times_an_interval(domain, coordinates, bounds):
    region = region_of("mine", domain)
    assert region.coordinates == coordinates
    np.testing.assert_allclose(region.bounds, bounds, atol=1e-5)
    # intervals are bounds as any others, so that faces are named exactly
    assert region.is_box == ("y" not in coordinates and "b" not in coordinates)


def test_a_problem_is_declared_on_a_geometry_of_deepxdes_with_time():
    members = {
        "domain": in_time(Geometry()), "outputs": "u", "residuals": lambda self, x, u, xp: u["u_t"] - u["u_xx + u_yy"],
        "conditions": lambda self: [
            phasecore.Prescribed("initial", ("t", 0), {"u": 1}),
            phasecore.ResidualCondition("wall", "boundary", lambda x, u, normal, xp: u["u_x"] * normal["x"] + u["u"]),
        ],
    }  # fmt: skip
    problem = type("Mine", (phasecore.Problem,), members)()
    check_problem(problem)
    initial, wall = problem.sample(40, seed=0, condition_points=30).conditions
    assert set(initial[:, 2]) == {0.0}
    np.testing.assert_allclose(np.hypot(wall[:, 0], wall[:, 1]), 1.0)
    normals = problem.normals(wall)
    np.testing.assert_allclose(normals, np.column_stack([wall[:, :2], np.zeros(30)]), atol=1e-12)


@pytest.mark.parametrize(
    ("domain", "told"),
    [
        ({("x", "y"): in_time(Rod(0, 1))}, "received a geometry with time; expected 't' as the last name"),
        ({"t": in_time(Rod(0, 1))}, "expected 't' as the last name"),
        ({("x", "t"): in_time(Geometry())}, r"'x',.*received a OfDeepXDE of 2 coordinates|Geometry of 2 coordinates"),
        (in_time(3), "received a int, 3"),
        (SimpleNamespace(geometry=Geometry(), timedomain=3), "received a types.SimpleNamespace"),
        (in_time(Rod(0, 1), 2, 2), "'t': received a tuple.*two bounds, the lower first"),
    ],
)
def test_what_is_no_geometry_with_time_is_refused(domain, told):
    with pytest.raises(InputError, match=told):
        region_of("mine", domain)


def shapely_like():
    outer = SimpleNamespace(coords=[(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)])
    hole = SimpleNamespace(coords=[(1, 1), (1, 3), (3, 3), (3, 1), (1, 1)])
    return SimpleNamespace(geom_type="Polygon", exterior=outer, interiors=[hole])


def test_shapes_of_other_packages_are_taken_as_they_are():
    check_problem(on(Geometry()))
    polygon = on(shapely_like())
    check_problem(polygon)
    assert polygon.region.contains(np.asarray([[0.5, 2.0], [2.0, 2.0]])).tolist() == [True, False]
    several = SimpleNamespace(geom_type="MultiPolygon", geoms=[shapely_like()])
    check_problem(on(several))


def with_condition(domain, *conditions):
    members = {
        "domain": domain,
        "outputs": ("u",),
        "conditions": lambda self: list(conditions),
        "residuals": lambda self, x, u, xp: u["u_x"],
    }
    return type("Mine", (phasecore.Problem,), members)()


def field(x, u, xp):
    return u["u"]


IN_TIME = {("x", "y"): Disk((0, 0), 1), "t": (0, 1)}
APART = Box((0, 0), (1, 1)) | Box((2, 3), (3, 4))

# domain, what is integrated over, the integral of what is left
INTEGRALS = {
    "in a disk at each time": (IN_TIME, {"x": (-0.5, 0.5), "y": (-0.7, 0.7)}, lambda at: 1.4 * at["t"], "t"),
    "up to the circle": (IN_TIME, {"x": (-0.6, 0.6), "y": (-0.8, 0.8)}, lambda at: 1.92 * at["t"], "t"),
    "over time at each place": (IN_TIME, {"t": (0.5, 1)}, lambda at: at["x"] / 2, "x"),
    "across a leg": (Polygon(ELL), {"y": (-1, 0)}, lambda at: at["x"], "x"),
    "where there is a part": (APART, {"y": (0, 1)}, lambda at: at["x"], "x"),
    "over all": (Polygon(ELL), {"x": (-1, 0), "y": (-0.5, 0.5)}, 1.0, None),
}


@pytest.mark.parametrize("name", INTEGRALS)
def test_integrals_keep_their_nodes_together_in_any_domain(name):
    domain, over, value, left = INTEGRALS[name]
    for nodes, wanted in ((1, 5), (3, 1), (3, 9), (4, 50), (5, 128)):
        problem = with_condition(domain, phasecore.Integral("mass", over, field, value, nodes=nodes))
        (points,) = problem.sample(20, seed=1, condition_points=wanted).conditions
        (condition,), size = problem.conditions, nodes ** len(over)
        assert len(points) == size * (1 if left is None else math.ceil(wanted / size))
        problem.check_points(points)
        at = dict(zip(problem.coordinates, points.T, strict=True))
        values = at[left] if left else np.ones(len(points))
        np.testing.assert_allclose(condition.residuals({"u": values}, condition.targets(at), np), 0, atol=1e-12)


def test_a_problem_with_an_integral_in_a_disk_keeps_the_contract():
    check_problem(
        with_condition(IN_TIME, phasecore.Integral("mass", {"x": (-0.5, 0.5), "y": (-0.5, 0.5)}, field)), ["numpy"]
    )


LEAVING = {
    "a box around a disk": (IN_TIME, {"x": (-1, 1), "y": (-1, 1)}),
    "beside a leg": (Polygon(ELL), {"y": (-1, 1)}),
    "at its corners alone": (IN_TIME, {"x": (-0.72, 0.72), "y": (-0.72, 0.72)}),
    "at an end alone": (Polygon(ELL), {"x": (-1, 0), "y": (-1, 1.005)}),
    "by a hole between the nodes": (Box((-1, -1), (1, 1)) - Disk((0, 0), 0.3), {"x": (-1, 1), "y": (-1, 1)}),
    "altogether": (Polygon(ELL), {"x": (0.2, 0.9), "y": (0.2, 0.9)}),
}


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.parametrize("nodes", [1, 4])
def test_an_integral_over_intervals_that_leave_the_domain_is_refused(name, nodes):
    domain, over = LEAVING[name]
    problem = with_condition(domain, phasecore.Integral("mass", over, field, nodes=nodes))
    told = "intervals of an integral in term 'mass', over .*received some that leave the domain, such as at x=.*Choose"
    with pytest.raises(InputError, match=told):
        problem.sample(64)


def test_what_an_integral_is_refused_for_can_be_had_from_points_of_ones_own():
    turns = 2.399963 * np.arange(2000)
    radius = np.sqrt((np.arange(2000) + 0.5) / 2000)
    points = np.stack([radius * np.cos(turns), radius * np.sin(turns)], axis=1)
    whole = phasecore.ResidualCondition(
        "mass", points, lambda x, u, xp: xp.reshape(np.pi * xp.mean(u["u"]), (1,)) - np.pi / 2
    )
    (found,) = with_condition(Disk((0, 0), 1), whole).sample(9).conditions
    residual = whole.residuals({"u": (found**2).sum(axis=1)}, whole.targets({"x": found[:, 0]}), np)
    assert residual == pytest.approx([0.0], abs=1e-3)


@pytest.mark.parametrize(
    "condition",
    [phasecore.Prescribed("far", ("x", 0.5), {"u": 0}), phasecore.ResidualCondition("far", ("x", 0.5), field)],
)
def test_a_face_that_the_domain_does_not_meet_is_named(condition):
    apart = Disk((-2, 0), 1) | Disk((2, 0), 1)
    with pytest.raises(InputError, match=r"points of condition 'far' where x = 0.5: received none inside.*y in .-1, 1"):
        with_condition(apart, condition).sample(9, condition_points=4)


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (phasecore.Prescribed("far", ("x", 3.0), {"u": 0}), r"\('x', 3.0\); expected x in \[-1, 1\]"),
        (phasecore.ResidualCondition("far", ("t", 2), field), r"\('t', 2.0\); expected t in \[0, 1\]"),
    ],
)
def test_a_face_outside_the_bounds_of_the_domain_is_named(condition, told):
    with pytest.raises(InputError, match=f"place of a condition in term 'far', outside the domain: received {told}"):
        with_condition(IN_TIME, condition).sample(9, condition_points=4)


def test_periodic_pairs_are_as_many_as_asked_for_where_both_are_inside():
    problem = with_condition(Box((-1, -1), (1, 1)) - Disk((-1, 0), 0.5), phasecore.Periodic("ring", "x", ("u",)))
    (points,) = problem.sample(9, condition_points=30).conditions
    assert points.shape == (60, 2)
    np.testing.assert_array_equal(points[:30, 1], points[30:, 1])
    assert [set(points[:30, 0]), set(points[30:, 0])] == [{-1.0}, {1.0}]
    assert (np.abs(points[:, 1]) >= 0.5 - 1e-5).all()
    skew = with_condition(Polygon([(0, 0), (0, 1), (1, 3), (1, 2)]), phasecore.Periodic("ring", "x", ("u",)))
    with pytest.raises(InputError, match="pairs of points of condition 'ring' along 'x': received none inside"):
        skew.sample(9, condition_points=1)
