"""What is shared out among processes of which each has a part of the points: batches, and points that move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.signals import Moments

Floats = NDArray[np.float64]


def batches_of_parts(batches: int, points: Sequence[int]) -> list[int]:
    """Return how many of the batches of all points are cut from the part of each process, one at least.

    As many from each, where the batches are then as equal as those of one process; else in proportion to its points.

    Args:
        batches: in all, no fewer than there are parts, no more than points.
        points: of each part, one or more.

    Example:
        >>> batches_of_parts(10, [20, 20]), batches_of_parts(10, [33, 7]), batches_of_parts(10, [39, 1])
        ([5, 5], [8, 2], [9, 1])
    """
    found = [len(own) for own in np.array_split(np.arange(batches), len(points))]
    if all(map(np.less_equal, found, points)) and are_alike(_sizes(found, points)):
        return found
    quotas = np.asarray(points) * (batches / sum(points))
    found = [max(int(quota), 1) for quota in quotas]
    while sum(found) != batches:
        # whichever has the most batches too few, or the fewest too many and more than one
        step = 1 if sum(found) < batches else -1
        able = [part for part, count in enumerate(found) if (count < points[part] if step > 0 else count > 1)]
        found[max(able, key=lambda part: step * (quotas[part] - found[part]))] += step
    return found


def are_alike(sizes: Sequence[NDArray[Any]]) -> bool:
    """Return whether the batches of all parts are as equal as those that one process cuts: none has two points more.

    Args:
        sizes: of the batches of each part.
    """
    every = np.concatenate(sizes)
    return bool(every.max() - every.min() <= 1)


def _sizes(batches: Sequence[int], points: Sequence[int]) -> list[NDArray[Any]]:
    parts = zip(batches, points, strict=True)
    return [np.asarray([len(batch) for batch in np.array_split(np.arange(own), count)]) for count, own in parts]


def sizes_together(sizes: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the sizes of batches that one process would have cut of all points, whose moments `merged` returns.

    Args:
        sizes: of the batches of each part.
    """
    return _sizes([sum(map(len, sizes))], [int(np.concatenate(sizes).sum())])[0]


def merged(moments: Sequence[Moments], sizes: Sequence[NDArray[Any]]) -> Moments:
    """Return the moments over the batches of all parts, whose sizes are given.

    Batches that are alike count alike, as in one process. Else each part counts by its points: the mean is then that of
    all points, and the variance has the expectation of that over batches as equal as can be, whatever their sizes.

    Example:
        >>> parts = [Moments(np.asarray(1.0), np.asarray(0.0)), Moments(np.asarray(4.0), np.asarray(0.0))]
        >>> float(merged(parts, [np.asarray([10, 10]), np.asarray([5, 5])]).mean)
        2.0
    """
    counts = np.asarray([len(own) if are_alike(sizes) else own.sum() for own in sizes], dtype=np.float64)
    shares = [float(share) for share in counts / counts.sum()]
    mean = sum(share * own.mean for share, own in zip(shares, moments, strict=True))
    square = sum(
        share * (np.square(own.standard_deviation) + np.square(own.mean - mean))
        for share, own in zip(shares, moments, strict=True)
    )
    return Moments(mean, np.sqrt(square))


def parts_after(moved: Floats, parts: Sequence[Floats]) -> list[Floats]:
    """Return the points of each process after a move of all points.

    A point that stays, stays in its process, where its weight is; the others go where points have left, and those that
    join where there are the fewest.

    Args:
        moved: where all points go, no fewer than before, shape (n or more, dimension).
        parts: of each process before, shape (m, dimension) each.

    Example:
        >>> before = [np.asarray([[1.0], [2.0]]), np.asarray([[3.0]])]
        >>> [part[:, 0].tolist() for part in parts_after(np.asarray([[3.0], [5.0], [1.0], [6.0]]), before)]
        [[5.0, 1.0], [3.0, 6.0]]
    """
    owners: dict[tuple[float, ...], list[int]] = {}
    for part, own in enumerate(parts):
        for point in own.tolist():
            owners.setdefault(tuple(point), []).append(part)
    owner = np.asarray([places.pop(0) if (places := owners.get(tuple(point))) else -1 for point in moved.tolist()])
    wanted = [len(own) for own in parts]
    for _ in range(len(moved) - sum(wanted)):
        wanted[int(np.argmin(wanted))] += 1
    lacking = [count - int((owner == part).sum()) for part, count in enumerate(wanted)]
    owner[owner < 0] = np.repeat(np.arange(len(parts)), lacking)
    return [moved[owner == part] for part in range(len(parts))]
