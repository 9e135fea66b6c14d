"""Normals that a condition reads: refused at points that have none, where they would be zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.domains.region import SLACK, Region

Floats = NDArray[np.float64]


def check_normals(
    what: str,
    points: Floats,
    read: Mapping[str, Floats],
    names: Sequence[str],
    normals: Callable[[Floats], Floats],
) -> None:
    """Refuse points away from the boundary, at which a flux would be multiplied by nothing.

    Args:
        what: the condition, for messages.
        points: its points, shape (m, dimension).
        read: the components of the normals that its residual reads, as "normal x" and so on, shape (m,) each.
        names: of the coordinates, in order.
        normals: what returned them, `Problem.normals`, whose problem knows how far points are from its boundary.

    Raises:
        InputError: for the first such point, with how many there are and how far from the boundary it is.
    """
    components = np.stack([np.broadcast_to(read[f"normal {name}"], len(points)) for name in names], axis=1)
    without = np.flatnonzero(~components.any(axis=1))
    if not len(without):
        return
    first = points[without[0]]
    region: Any = getattr(getattr(normals, "__self__", None), "region", None)
    gap = region.gap(first[None])[0] if isinstance(region, Region) else np.nan
    raise InputError(
        f"{what}: normals of the domain",
        received=f"{len(without)} of {len(points)} points that have none, the first {first.tolist()}"
        + (f", {gap:.3g} from the boundary" if np.isfinite(gap) else ""),
        expected=f"points on the boundary, to within {SLACK:g} of the domain's extent",
        fix='Give the points with all their digits, draw them with the place "boundary" or a function that says which '
        "part of it, or write a residual that takes no normal.",
    )
