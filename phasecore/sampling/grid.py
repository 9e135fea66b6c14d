"""A fixed grid: the centres of equal cells."""

from __future__ import annotations

import numpy as np

from phasecore.sampling.base import Floats, Sampling


def grid() -> Sampling:
    """Return a regular grid in random order; its points stay where they are, and are the same for every seed.

    With a sampling that moves points, as in `grid+r3`, the grids of its moves are shifted at random, modulo the box.

    The box is cut into layers along its first axis, as many as the d-th root of the number of points, and each layer
    likewise along the next one; points are the centres of the cells. Where the number is no d-th power, some layers
    have a cell more than others, so that there are as many points as asked for.

    Source: a midpoint rule in every coordinate; how uneven numbers are shared out is ours.

    Example:
        >>> sorted(map(tuple, grid().draw(4, 2, np.random.default_rng(0)).tolist()))
        [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    """

    def draw(count: int, dimension: int, generator: np.random.Generator) -> Floats:
        return np.asarray(generator.permutation(_centres(count, dimension)), dtype=np.float64)

    return Sampling(draw)


def _centres(count: int, dimension: int) -> Floats:
    layers = count if dimension == 1 else max(1, round(count ** (1 / dimension)))
    along = (np.arange(layers) + 0.5) / layers
    if dimension == 1:
        return along[:, None]
    within = [_centres(len(part), dimension - 1) for part in np.array_split(np.arange(count), layers)]
    return np.concatenate(
        [np.column_stack([np.full(len(rest), x), rest]) for x, rest in zip(along, within, strict=True)]
    )
