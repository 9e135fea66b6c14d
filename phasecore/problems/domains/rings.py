"""Whether rings of vertices bound a region: none crosses another or itself, and holes are inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.domains.shapes import ROUNDING

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

AT_ONCE = 1_000_000
"""Pairs that are looked at together."""

AT = 0.4367
"""Where along a side is looked what it has inside: at a share at which no other is likely to touch it."""


def check_rings(rings: Sequence[Floats]) -> None:
    """Refuse rings that cross or lie on each other or themselves, and holes that are not inside.

    Rings may touch at points. Pairs of sides are looked at only where they are abreast, along that axis on which fewer
    are, so that the 5000 sides of a coast take a hundredth of a second; of a star whose spikes are all abreast, one.

    Args:
        rings: vertices of the outside anticlockwise, then of each hole clockwise, shape (n, 2) each.

    Raises:
        InputError: saying which rings, and where.
    """
    starts = np.concatenate(rings)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    owners = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    axis = int(np.argmin([_abreast(low[:, k], high[:, k]) for k in range(2)]))
    lower, upper = low[:, 1 - axis], high[:, 1 - axis]
    for first, second in _pairs(low[:, axis], high[:, axis]):
        near = np.flatnonzero((lower[first] <= upper[second]) & (lower[second] <= upper[first]))
        one, other = _not_apart(starts, ends, first[near], second[near])
        other, one = _not_apart(starts, ends, other, one)
        met = _meetings(starts, ends, one, other)
        if met is not None:
            row, word = met
            _refuse_meeting(word, owners[one[row]], owners[other[row]], starts[other[row]])
    wrong = np.flatnonzero(~_inside_on_the_left(starts, ends))
    if len(wrong):
        owner = int(owners[wrong].max())
        received = "one that is not inside" if owner else "vertices that go round twice, or a hole around them"
        raise InputError(
            f"vertices of {_called(owner)}",
            received=f"{received}, near {starts[wrong[owners[wrong].argmax()]].tolist()}",
            expected="holes inside the polygon, none of them in another, and vertices that go round once",
        )


def _called(owner: int) -> str:
    """A ring in words."""
    return f"hole {owner - 1} of a polygon" if owner else "a polygon"


def _refuse_meeting(word: str, one: int, other: int, where: Floats) -> None:
    first, second = sorted((int(one), int(other)))
    whose = "two of its sides" if first == second else f"sides of it and of {_called(first)}"
    raise InputError(
        f"vertices of {_called(second)}",
        received=f"{whose} that {word}, near {where.tolist()}",
        expected="rings that do not cross, and share no more than points",
        fix="Leave out the vertex of a spike that has no width; |, & and - put shapes together; shapely.make_valid "
        "mends a polygon.",
    )


def _abreast(low: Floats, high: Floats) -> int:
    """How many pairs of intervals have something in common."""
    return int((np.searchsorted(np.sort(low), high, side="right") - np.arange(1, len(low) + 1)).sum())


def _pairs(low: Floats, high: Floats) -> Iterator[tuple[Places, Places]]:
    """Pairs of places of intervals that have something in common, each pair once, in blocks."""
    order = np.argsort(low, kind="stable")
    # those that begin later, before this one ends
    counts = np.searchsorted(low[order], high[order], side="right") - np.arange(1, len(low) + 1)
    for block in _blocks(counts):
        one, shift = _repeated(counts[block])
        first = one + block.start
        yield order[first], order[first + 1 + shift]


def _blocks(counts: Places) -> Iterator[slice]:
    """Slices of about so many pairs together."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop


def _repeated(counts: Places) -> tuple[Places, Places]:
    """Each place as often as is counted, and which of its own each is: [2, 1] makes [0, 0, 1] and [0, 1, 0]."""
    places = np.repeat(np.arange(len(counts)), counts)
    return places, np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)


def _not_apart(starts: Floats, ends: Floats, one: Places, other: Places) -> tuple[Places, Places]:
    """Those pairs of sides of which the other does not lie beside the line of the first, as most do."""
    (x, y), (end_x, end_y) = starts.T, ends.T
    along_x, along_y, from_x, from_y = (end_x - x)[one], (end_y - y)[one], x[one], y[one]
    rounding = ROUNDING * np.spacing(np.abs(starts).max()) * (np.abs(along_x) + np.abs(along_y))
    start = along_x * (y[other] - from_y) - along_y * (x[other] - from_x)
    end = along_x * (end_y[other] - from_y) - along_y * (end_x[other] - from_x)
    met = np.flatnonzero((np.minimum(start, end) <= rounding) & (np.maximum(start, end) >= -rounding))
    return one[met], other[met]


def _meetings(starts: Floats, ends: Floats, one: Places, other: Places) -> tuple[int, str] | None:
    """The first pair of sides that cross, or lie on each other along more than a point; None where there is none."""
    rounding = ROUNDING * np.spacing(np.abs(starts).max())
    first, second = ends[one] - starts[one], ends[other] - starts[other]
    apart = starts[other] - starts[one]
    lengths, others = np.hypot(*first.T), np.hypot(*second.T)
    # how far, to the left, the ends of each are from the line of the other
    of_other = np.stack([_cross(first, apart), _cross(first, apart + second)]) / lengths
    of_one = np.stack([-_cross(second, apart), _cross(second, first - apart)]) / others
    crossing = np.ones(len(one), dtype=bool)
    for beside in (of_other, of_one):
        crossing &= (beside.min(axis=0) < -rounding) & (beside.max(axis=0) > rounding)
    if crossing.any():
        return int(crossing.argmax()), "cross"
    on_a_line = (np.abs(of_other) <= rounding).all(axis=0) | (np.abs(of_one) <= rounding).all(axis=0)
    along = np.stack([(first * apart).sum(axis=1), (first * (apart + second)).sum(axis=1)]) / lengths
    shared = np.minimum(along.max(axis=0), lengths) - np.maximum(along.min(axis=0), 0.0)
    lying = on_a_line & (shared > rounding)
    return (int(lying.argmax()), "lie on each other") if lying.any() else None


def _cross(one: Floats, other: Floats) -> Floats:
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])


def _inside_on_the_left(starts: Floats, ends: Floats) -> NDArray[np.bool_]:
    """Whether each side, none crossing another, has the inside on its left, shape (n,)."""
    found = np.ones(len(starts), dtype=bool)
    upright = np.abs(ends - starts)[:, 1] >= np.abs(ends - starts)[:, 0]
    for turned, chosen in ((False, upright), (True, ~upright)):
        # rays along the first axis, across the sides that are upright; for the others all is turned by a quarter
        (begin, end) = (np.stack([-at[:, 1], at[:, 0]], axis=1) if turned else at for at in (starts, ends))
        rows = np.flatnonzero(chosen)
        beyond = _beyond(begin, end, rows)
        upwards = end[rows, 1] > begin[rows, 1]
        # with the inside on the left of a side that goes up there is outside beyond it
        found[rows] = (beyond % 2 == 0) == upwards
    return found


def _beyond(starts: Floats, ends: Floats, rows: Places) -> Places:
    """How many other sides a ray along the first axis meets that starts on each of some sides, shape (rows,)."""
    at = starts[rows] + AT * (ends[rows] - starts[rows])
    order = np.argsort(at[:, 1])
    low, high = (np.sort([starts[:, 1], ends[:, 1]], axis=0)[k] for k in range(2))
    first = np.searchsorted(at[order, 1], low, side="left")
    counts = np.searchsorted(at[order, 1], high, side="left") - first
    found = np.zeros(len(rows), dtype=np.int64)
    for block in _blocks(counts):
        side, shift = _repeated(counts[block])
        side += block.start
        place = order[first[side] + shift]
        share = (at[place, 1] - starts[side, 1]) / (ends[side, 1] - starts[side, 1])
        met = starts[side, 0] + share * (ends[side, 0] - starts[side, 0]) > at[place, 0]
        found += np.bincount(place[met & (side != rows[place])], minlength=len(rows))
    return found
