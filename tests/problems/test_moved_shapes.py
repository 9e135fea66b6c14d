"""Shapes mean the same wherever they are and in whatever unit: inside, boundary, measure and normals move with them."""

import numpy as np
import pytest

from phasecore import Ball, Box, Disk, Polygon

ELL = np.asarray([(-1, -1), (1, -1), (1, 0), (0, 0), (0, 1), (-1, 1)])
OFFSETS = [(1e3, 1e3), (4.5e5, 4.6e6), (-5e6, 5e6), (0, 5e6)]
SCALES = [1e-6, 1e-3, 1e3, 1e6]


class Made:
    """Shapes at another place and in another unit."""

    def __init__(self, scale=1.0, offset=(0, 0)):
        self._scale, self._offset = scale, np.asarray(offset, dtype=float)

    def at(self, points):
        points = np.asarray(points, dtype=float)
        return self._scale * points + np.resize(self._offset, points.shape[-1])

    def box(self, low, high):
        return Box(self.at(low), self.at(high))

    def ball(self, centre, radius):
        return Ball(self.at(centre), self._scale * radius)

    def polygon(self, vertices, holes=()):
        return Polygon(self.at(vertices), [self.at(hole) for hole in holes])


KINDS = {
    "box": lambda m: m.box((0, 1), (2, 4)),
    "disk": lambda m: m.ball((1, -1), 2),
    "polygon": lambda m: m.polygon(ELL),
    "small polygon with a hole": lambda m: m.polygon(
        ELL / 32, [[(-3 / 128, -3 / 128), (-1 / 128, -3 / 128), (-1 / 128, -1 / 128)]]
    ),
    "plate with a hole": lambda m: m.box((0, 0), (2, 2)) - m.ball((1, 1), 0.4),
    "field with a well": lambda m: m.box((0, 0), (128, 64)) - m.ball((32, 16), 0.25),
    "pond with a well": lambda m: m.polygon(20 * ELL) - m.ball((-10, 10), 0.5),
    "disks joined": lambda m: m.ball((0, 0), 1) | m.ball((1, 0), 1),
    "boxes with a side in common": lambda m: m.box((-1, -1), (1, 0)) | m.box((-1, 0), (0, 1)),
    "intersection": lambda m: m.ball((0, 0), 1) & m.box((0, -2), (2, 2)),
    "several": lambda m: (m.box((0, 0), (3, 1)) | m.box((0, 0), (1, 3))) - m.box((2, -1), (4, 2)),
    "half a ring": lambda m: (m.ball((0, 0), 1) - m.ball((0, 0), 0.5)) - m.box((0, -2), (2, 2)),
    "ball with a ball taken away": lambda m: m.ball((0, 0, 0), 1) - m.ball((0.5, 0, 0), 0.25),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("scale", "offset"), [*((1.0, offset) for offset in OFFSETS), *((scale, (0, 0)) for scale in SCALES)]
)
def test_a_shape_that_is_moved_or_scaled_is_the_same_there(kind, scale, offset):
    here, made = KINDS[kind](Made()), Made(scale, offset)
    there = KINDS[kind](made)
    dimension = here.bounds.shape[1]
    rounding = 32 * np.spacing(np.abs(there.bounds).max())
    points, others = (shape.sample_boundary(1000, np.random.default_rng(0)) for shape in (here, there))
    np.testing.assert_allclose(others, made.at(points), atol=rounding, rtol=1e-12)
    np.testing.assert_allclose(there.normals(others), here.normals(points), atol=rounding / scale * 10)
    assert np.abs(there.distance(others)).max() <= rounding
    assert there.boundary_measure == pytest.approx(scale ** (dimension - 1) * here.boundary_measure, rel=1e-6)
    anywhere = np.random.default_rng(1).uniform(*here.bounds, size=(2000, dimension))
    np.testing.assert_array_equal(there.contains(made.at(anywhere)), here.contains(anywhere))


def sided(shape, place, axis=0):
    return float((shape.sample_boundary(4000, np.random.default_rng(0))[:, axis] == place).mean())


@pytest.mark.parametrize("high", [1e-2, 1e-5, 1e-9])
def test_a_part_that_is_thin_along_one_axis_keeps_its_boundary(high):
    slit = Box((0, 0), (high, 200)) - Box((0.4 * high, 0), (0.6 * high, 100))
    assert slit.boundary_measure == pytest.approx(600, rel=0.01)
    for place, share in ((0, 1 / 3), (0.4 * high, 1 / 6), (0.6 * high, 1 / 6), (high, 1 / 3)):
        assert sided(slit, place) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("width", [1e-3, 1e-7, 1e-12])
def test_a_crack_has_a_boundary(width):
    cracked = Box((0, 0), (1, 1)) - Box((0.5, 0), (0.5 + width, 0.5))
    assert cracked.boundary_measure == pytest.approx(5, rel=0.02)
    assert sided(cracked, 0.5) + sided(cracked, 0.5 + width) == pytest.approx(1 / 5, abs=0.03)


def test_a_side_in_common_is_no_boundary_far_away():
    low, high = np.asarray([4.5e6, 5e6]), np.asarray([4.5e6 + 1.1, 5e6 + 0.3])
    both = Box(low, high) | Box((high[0], low[1]), (high[0] + 0.7, high[1]))
    assert sided(both, high[0]) == 0.0
    assert both.boundary_measure == pytest.approx(2 * (1.8 + 0.3), rel=0.01)


def test_a_small_polygon_far_away_has_its_vertices_the_right_way_round():
    corner = np.asarray([691600.3, 5334760.7])
    for vertices in (ELL * 0.01, ELL[::-1] * 0.01):
        shape = Polygon(corner + vertices)
        points = shape.sample_boundary(200, np.random.default_rng(0))
        step = 1e-5 * shape.normals(points)
        assert not shape.contains(points + step).any()
        assert shape.contains(points - step).all()


def test_disks_are_still_disks_in_the_plane():
    assert (Disk((5e6, 5e6), 1) | Disk((5e6 + 1, 5e6), 1)).boundary_measure == pytest.approx(8 * np.pi / 3, rel=0.01)
