"""Shapes of one's own: what they say belongs together, or they are refused where they are first met."""

import itertools

import numpy as np
import pytest

from phasecore import Box, Disk, InputError, Polygon
from phasecore.problems.domains import probing
from phasecore.problems.domains.region import region_of
from phasecore.problems.domains.shapes import Shape


class Oval:
    """An ellipse without its exact distance: half axes 2 and 1, or as wide as is said."""

    def __init__(self, width=2.0):
        self.width = width
        self.probed = 0

    @property
    def bounds(self):
        return np.asarray([[-self.width, -1.0], [self.width, 1.0]])

    def distance(self, points):
        self.probed += 1
        return np.hypot(points[:, 0] / self.width, points[:, 1]) - 1

    def sample_boundary(self, count, generator):
        angles = generator.uniform(0, 2 * np.pi, count)
        return np.column_stack([self.width * np.cos(angles), np.sin(angles)])

    def normals(self, points):
        across = np.column_stack([points[:, 0] / self.width**2, points[:, 1]])
        return across / np.linalg.norm(across, axis=1, keepdims=True)


class Derived(Oval, Shape):
    """The same as a shape that derives from `Shape`."""

    boundary_measure = 9.69


def broken(name, member, base=Oval):
    return type("Broken", (base,), {name: member})()


def turned(name):
    return lambda self, *given: -getattr(Oval, name)(self, *given)


# what breaks it, and what is told
BROKEN = {
    "positive inside": ("distance", turned("distance"), "distance: received one that is not negative inside"),
    "inwards": ("normals", turned("normals"), "normals: received some that point inwards; expected the outward ones"),
    "both": ("sample_boundary", lambda self, n, g: Oval.sample_boundary(self, n, g) / 2, "received 64 of 64 beside"),
    "outside": ("sample_boundary", lambda self, n, g: Oval.sample_boundary(self, n, g) * 2, "received 64 of 64 beside"),
    "long": ("normals", lambda self, at: 10 * Oval.normals(self, at), "normals: received length 10 at .*unit vectors"),
    "zero": ("normals", lambda self, at: 0 * at, "normals: received length 0 at"),
    "of a wrong shape": ("normals", lambda self, at: Oval.normals(self, at)[:, 0], r"normals: received shape \(64,\)"),
    "the same": ("distance", lambda self, at: np.full(len(at), -1.0), "distance: received -1 everywhere"),
    "a number": ("distance", lambda self, at: -1.0, r"distance: received shape \(\); expected .* shape \(128,\)"),
    "columns": ("distance", lambda self, at: Oval.distance(self, at)[:, None], r"distance: received shape \(128, 1\)"),
    "whether inside": ("distance", lambda self, at: Oval.distance(self, at) < 0, "received one that is not negative"),
    "not finite": ("distance", lambda self, at: at[:, 0] * np.nan, "distance: received values that are not finite"),
    "few": ("sample_boundary", lambda self, n, g: Oval.sample_boundary(self, 3, g), r"received shape \(3, 2\)"),
    "by axis": ("bounds", [[-2, 2], [-1, 1]], r"bounds: received \[-2.0, 2.0\] and \[-1.0, 1.0\]; expected the lower"),
    "too close": ("bounds", [[-2, -1], [1, 1]], r"bounds: .*, with .* on the boundary; expected a box around"),
}  # fmt: skip


@pytest.mark.parametrize("base", [Oval, Derived])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_shape_whose_parts_do_not_belong_together_is_refused(kind, base):
    name, member, told = BROKEN[kind]
    member = np.asarray(member, dtype=float) if isinstance(member, list) else member
    shape = broken(name, member, base)
    for domain in ({("x", "y"): shape, "t": (0, 1)}, shape):
        with pytest.raises(InputError, match=told):
            region_of("mine", domain)
    if base is Derived and kind != "by axis":
        with pytest.raises(InputError, match=told):
            region_of("mine", Box((-3, -3), (3, 3)) - shape)


class Unpadded(Oval):
    """One that knows no distance beyond its bounds."""

    def distance(self, points):
        inside = ((points >= self.bounds[0]) & (points <= self.bounds[1])).all(axis=1)
        return np.where(inside, super().distance(points), np.nan)


class WithCorners(Oval):
    """A square of which the normals at the corners are no unit vectors."""

    _box = Box((-1, -1), (1, 1))

    def distance(self, points):
        return self._box.distance(points)

    def sample_boundary(self, count, generator):
        return np.concatenate([self._box.sample_boundary(count - 2, generator), [(1, 1), (-1, 1)]])

    def normals(self, points):
        return np.where((np.abs(points) == 1).all(axis=1)[:, None], points, self._box.normals(points))


SOUND = {
    "exact": Oval(1.0),
    "no distance": Oval(),
    "steep": broken("distance", lambda self, at: 1e6 * Oval.distance(self, at)),
    "flat": broken("distance", lambda self, at: 1e-6 * Oval.distance(self, at)),
    "in float32": broken("sample_boundary", lambda self, n, g: Oval.sample_boundary(self, n, g).astype(np.float32)),
    "a list of bounds": broken("bounds", [[-2, -1], [2, 1]]),
    "thin": Oval(1e-6),
    "wide": Oval(1e6),
    "derived": Derived(),
    "unpadded": Unpadded(),
    "with corners": WithCorners(),
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_shape_is_taken(kind):
    region = region_of("mine", {("x", "y"): SOUND[kind], "t": (0, 1)})
    inside = region.inside(lambda count: np.random.default_rng(0).uniform(*region.bounds, (count, 3)), 50)
    assert region.contains(inside).all()


@pytest.mark.parametrize("unknown", ["normals", "sample_boundary"])
def test_what_a_shape_says_that_it_does_not_know_is_asked_for_where_it_is_needed(unknown):
    def refuse(self, *given):
        raise NotImplementedError("no boundary")

    region = region_of("mine", broken(unknown, refuse))
    assert region.contains(np.asarray([[0.0, 0.0], [2.0, 1.0]])).tolist() == [True, False]
    with pytest.raises(NotImplementedError, match="no boundary"):
        region.normals(region.boundary(5, np.random.default_rng(0)))


def test_a_shape_is_probed_once_and_draws_stay_as_they_are():
    shape = Oval()
    first = region_of("mine", shape)
    probed = shape.probed
    assert probed == 1
    again = region_of("mine", shape)
    assert shape.probed == probed
    drawn = (region.boundary(20, np.random.default_rng(4)) for region in (first, again))
    assert all(np.array_equal(one, other) for one, other in itertools.pairwise(drawn))


def test_not_every_shape_ever_met_is_kept():
    shapes = [Oval() for _ in range(3 * probing.MOST_KEPT)]
    for shape in shapes:
        region_of("mine", shape)
    assert len(probing._sound) <= probing.MOST_KEPT


def test_shapes_of_phasecores_own_are_not_probed(monkeypatch):
    monkeypatch.setattr(probing, "_probe", lambda *given: pytest.fail("probed"))
    for shape in (Disk((0, 0), 1), Polygon([(0, 0), (1, 0), (0, 1)]), Box((0, 0), (1, 1)) - Disk((0, 0), 0.5)):
        region_of("mine", shape)
