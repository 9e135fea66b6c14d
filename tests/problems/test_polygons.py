"""Rings of vertices that bound no region are refused, as shapely refuses them."""

import numpy as np
import pytest
import shapely

from phasecore import InputError, Polygon
from phasecore.problems.domains import rings

SQUARE = np.asarray([(0, 0), (8, 0), (8, 8), (0, 8)])
FAR = np.asarray([691600.3, 5334760.7])
CROSS = "that cross, near"
LIE = "that lie on each other, near"
OUT = "one that is not inside, near"

# vertices, holes, and which ring is told what
REFUSED = {
    "bow": ([(0, 0), (2, 0), (0.5, 1), (2, 2), (0, 2), (1.5, 1)], [], f"two of its sides {CROSS}"),
    "hole that sticks out": (SQUARE, [[(6, 2), (9, 2), (9, 6), (6, 6)]], f"hole 0 .* it and of a polygon {CROSS}"),
    "hole outside": (SQUARE, [[(9, 9), (10, 9), (10, 10)]], f"hole 0 of a polygon: received {OUT}"),
    "hole outside, in the box": ([(0, 0), (8, 0), (0, 8)], [[(6, 6), (7, 6), (7, 7)]], f"hole 0 .*{OUT}"),
    "hole around": (SQUARE, [[(-1, -1), (9, -1), (9, 9), (-1, 9)]], f"hole 0 .*{OUT}"),
    "holes that overlap": (SQUARE, [[(1, 1), (5, 1), (5, 5)], [(3, 1.5), (7, 1.5), (7, 2)]], f"1 .*hole 0 .*{CROSS}"),
    "hole in a hole": (SQUARE, [[(1, 1), (7, 1), (7, 7), (1, 7)], [(3, 3), (4, 3), (4, 4)]], f"hole 1 .*{OUT}"),
    "a hole twice": (SQUARE, [[(1, 1), (5, 1), (5, 5)]] * 2, f"hole 1 .*hole 0 of a polygon {LIE}"),
    "holes with a side in common": (SQUARE, [[(1, 1), (2, 1), (2, 5)], [(2, 3), (4, 3), (2, 7)]], f"hole 1 .*{LIE}"),
    "hole along a side": (SQUARE, [[(2, 0), (4, 0), (4, 4)]], f"hole 0 .*{LIE}"),
    "spike": ([(0, 0), (1, 0), (1, 1), (1, 2), (1, 1), (0, 1)], [], f"two of its sides {LIE}"),
    "spike by rounding": ([(0.8, 0.5), (1.3, 0.8), (-0.2, -0.1), (1.0, 0.3)], [], f"two of its sides {LIE}.* a spike"),
    "slit to a hole": (
        [(0, 0), (8, 0), (8, 4), (6, 4), (5, 5), (5, 3), (6, 4), (8, 4), (8, 8), (0, 8)], [], f"two of its sides {LIE}",
    ),
    "round twice": ([*SQUARE, *SQUARE], [], LIE),
    "a cross at a vertex": ([(0, 0), (4, 4), (8, 8), (8, 0), (4, 4), (0, 6)], [], "go round twice, or a hole around"),
}  # fmt: skip

TAKEN = {
    "hole that touches a vertex": (SQUARE, [[(0, 0), (2, 4), (4, 2)]]),
    "hole that touches a side": (SQUARE, [[(4, 0), (6, 4), (2, 4)]]),
    "holes that touch": (SQUARE, [[(1, 1), (3, 1), (3, 3)], [(3, 3), (5, 3), (5, 5)]]),
    "pinched": ([(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (1, 2), (1, 1), (0, 1)], []),
    "vertices along a side": ([(0, 0), (0.1, 0), (0.3, 0), (8, 0), (8, 8), (0.3, 8), (0, 8)], []),
    "far away": (FAR + SQUARE, [FAR + 0.1 + SQUARE / 10]),
}

MOVED = [
    np.eye(2),
    -np.eye(2),
    1e-6 * np.eye(2),
    1e6 * np.asarray([[0, -1], [1, 0]]),
    np.asarray([[0.8, -0.6], [0.6, 0.8]]),
]


@pytest.mark.parametrize("moved", MOVED)
@pytest.mark.parametrize("kind", REFUSED)
def test_rings_that_bound_no_region_are_refused(kind, moved):
    vertices, holes, told = REFUSED[kind]
    # to the last digit a spike may have a width
    assert shapely.Polygon(vertices, holes).is_valid == (kind == "spike by rounding")
    for turn in (1, -1):
        with pytest.raises(InputError, match=f"vertices of .*{told}"):
            Polygon((np.asarray(vertices) @ moved)[::turn], [(np.asarray(hole) @ moved)[::turn] for hole in holes])


@pytest.mark.parametrize("moved", MOVED)
@pytest.mark.parametrize("kind", TAKEN)
def test_rings_may_touch_at_points(kind, moved):
    vertices, holes = TAKEN[kind]
    shape = Polygon(np.asarray(vertices) @ moved, [np.asarray(hole) @ moved for hole in holes])
    points = shape.sample_boundary(300, np.random.default_rng(0))
    step = 1e-6 * np.ptp(shape.bounds, axis=0).max() * shape.normals(points)
    assert (shape.distance(points + step) > 0).mean() > 0.99
    assert (shape.distance(points - step) < 0).mean() > 0.99


def some(seed):
    """Vertices and holes on a lattice, where nothing is rounded."""
    generator = np.random.default_rng(seed)
    vertices = generator.integers(0, 9, (generator.integers(3, 7), 2))
    if seed % 2:
        angles = np.sort(generator.uniform(0, 2 * np.pi, 7))
        radii = generator.uniform(8, 16, (7, 1))
        vertices = np.round(4 + radii * np.column_stack([np.cos(angles), np.sin(angles)]))
    holes = [generator.integers(0, 4, (3, 2)) + generator.integers(0, 7, 2) for _ in range(generator.integers(0, 3))]
    return vertices, holes


def test_what_is_refused_is_what_shapely_finds_invalid():
    met = {True: 0, False: 0}
    for seed in range(1500):
        vertices, holes = some(seed)
        given = shapely.Polygon(vertices, holes)
        try:
            Polygon(vertices, holes)
        except InputError as error:
            # no ring at all is another matter
            if "no area" in str(error) or "shape (" in str(error):
                continue
            assert not given.is_valid, (vertices.tolist(), holes)
            met[False] += 1
        else:
            # a ring that touches itself is taken
            assert given.is_valid or "Ring Self-int" in shapely.is_valid_reason(given), (vertices.tolist(), holes)
            met[True] += 1
    assert min(met.values()) > 200


@pytest.mark.parametrize("at_once", [7, 1_000_000])
def test_a_coast_of_thousands_of_sides_is_looked_at_in_blocks(at_once, monkeypatch):
    monkeypatch.setattr(rings, "AT_ONCE", at_once)
    angles = np.linspace(0, 2 * np.pi, 3000 if at_once > 7 else 300, endpoint=False)
    radii = 1 + 0.3 * np.sin(7 * angles) + 0.01 * np.random.default_rng(0).uniform(size=len(angles))
    coast = np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])
    assert Polygon(coast, [coast / 9]).contains(np.asarray([[0.5, 0.0], [0.0, 0.0]])).tolist() == [True, False]
    coast[100] = -coast[100]
    with pytest.raises(InputError, match=CROSS):
        Polygon(coast)


def test_polygons_of_shapelys_are_found_valid_by_shapely():
    # their sides may be as near each other as rounding leaves them
    near = shapely.Polygon([(0.6, 0.0), (0.2, 0.2), (0.4, 0.1), (0.4, 0.2)])
    assert near.is_valid
    assert len(Polygon.of_valid(near.exterior.coords).sample_boundary(3, np.random.default_rng(0))) == 3
