"""Where a condition holds: every way to say it, read and checked in one place for all conditions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasecore.arguments import is_number
from phasecore.errors import InputError, called, described
from phasecore.problems.coefficients import Trained
from phasecore.problems.domains.region import SLACK
from phasecore.problems.sampling import latin_hypercube

Floats = NDArray[np.float64]
Part = Callable[[Mapping[str, Floats]], ArrayLike]
"""Which points of the boundary are meant, by their coordinates: an array of bools of shape (m,)."""

BOUNDARY = "boundary"
INTERIOR = "interior"
"""Places of conditions that are parts of the domain, whatever it is."""

_EXPECTED = (
    'a face such as ("x", 1.0), a function that says which points of the boundary, points of shape (m, dimension), '
    '"interior" or "boundary"'
)
_SEVERAL = 'For several positions write a condition for each, or "boundary" for the whole boundary.'


@final
@dataclass(frozen=True)
class Where:
    """Where a condition holds: one of these.

    Attributes:
        term: of the condition, for messages.
        place: "boundary" or "interior".
        part: which points of the boundary are meant, where not all are.
        face: a coordinate and its position.
        points: given ones, shape (m, dimension).
    """

    term: str
    place: str = ""
    part: Part | None = None
    face: tuple[str, float] | None = None
    points: Floats | None = None

    def sample(self, count: int, coordinates: Sequence[str], bounds: Floats, generator: np.random.Generator) -> Floats:
        """Draw `count` points in the bounds or on the face, shape (count, dimension), or return those given.

        Raises:
            InputError: for a face of no coordinate or outside the bounds, and for the boundary, which has no bounds.
        """
        if self.place == BOUNDARY:
            raise InputError(
                f"points of a condition in term {self.term!r}",
                received="the boundary",
                expected="a place that the bounds of the domain tell",
                fix="Draw them with the problem's own sample().",
            )
        if self.points is not None:
            return self.points
        if self.face is None:
            return latin_hypercube(count, bounds, generator)
        name, position = self.face
        what = f"place of a condition in term {self.term!r}"
        axis = axis_of(what, name, coordinates)
        if not is_within([position], bounds[:, axis]):
            low, high = bounds[:, axis]
            raise InputError(
                f"{what}, outside the domain", received=(name, position), expected=f"{name} in [{low:g}, {high:g}]"
            )
        return latin_hypercube(count, fixed(bounds, axis, position), generator)


def where_of(term: str, given: Any) -> Where:
    """Read where a condition holds.

    Args:
        term: of the condition, for messages.
        given: "boundary", "interior", a face, a function of the coordinates by name, or points.

    Raises:
        InputError: for anything else, a face of several positions or of one that is no finite number among them.

    Example:
        >>> where_of("wall", ("x", 1)).face, where_of("wall", [[0.0, 1.0]]).points.tolist()
        (('x', 1.0), [[0.0, 1.0]])
    """
    if callable(given):
        return Where(term, BOUNDARY, part=given)
    if isinstance(given, str) and given in (BOUNDARY, INTERIOR):
        return Where(term, given)
    what = f"place of a condition in term {term!r}"
    if isinstance(given, tuple) and given and isinstance(given[0], str):
        position = _number(given[1]) if len(given) == 2 else None
        if position is None:
            raise InputError(
                what,
                received=repr(given),
                expected='a coordinate and one finite number, such as ("x", 1.0)',
                fix="" if len(given) < 3 and not isinstance(given[-1], Sized) else _SEVERAL,
            )
        return Where(term, face=(given[0], position))
    array = real_numbers(given)
    if array is None or array.ndim != 2 or not len(array) or not np.isfinite(array).all():
        raise InputError(what, received=shown(given), expected=_EXPECTED)
    return Where(term, points=array)


def points_of_data(term: str, given: Any) -> Floats:
    """Return the points of data as float64, shape (m, dimension).

    Raises:
        InputError: for anything but finite numbers of such a shape.
    """
    array = real_numbers(given)
    if array is None or array.ndim != 2 or not np.isfinite(array).all():
        raise InputError(
            f"points of the data in term {term!r}",
            received="NaN or infinity" if array is not None and array.ndim == 2 else shown(given),
            expected="finite numbers of shape (m, dimension), a row for each point",
        )
    return array


def check_intervals(term: str, over: Any) -> None:
    """Refuse what an integral is over unless it is coordinates, each with two finite bounds, the lower first.

    Raises:
        InputError: naming the term and the coordinate.
    """
    what = f"coordinates of an integral in term {term!r}"
    if not isinstance(over, Mapping):
        raise InputError(what, received=repr(over), expected='each with its two bounds: {"x": (0.0, 1.0)}')
    if not over:
        raise InputError(what, received="none", expected="one at least")
    for name, given in over.items():
        pair = [*map(_number, given)] if isinstance(given, (tuple, list, np.ndarray)) else []
        low, high = pair if len(pair) == 2 else (None, None)
        if low is None or high is None or not low < high:
            raise InputError(
                f"bounds of {name!r} of an integral in term {term!r}",
                received=given,
                expected="two finite ones, the lower first",
            )


def evaluated(what: str, function: Callable[[Mapping[str, Floats]], Any], coordinates: Mapping[str, Floats]) -> Any:
    """Return what a function of a condition makes of the coordinates by name.

    Args:
        what: the function, as messages call it.
        function: one's own.
        coordinates: values of each, shape (m,).

    Raises:
        InputError: for a function that takes something else than one argument.
        PluginError: if it raises, naming it.
    """
    try:
        inspect.signature(function).bind(coordinates)
    except TypeError:
        raise InputError(
            what,
            received=f"a function of {inspect.signature(function)}",
            expected="one of the coordinates by name: lambda at: at['x'] > 0, or of arithmetic with at['x']",
        ) from None
    except ValueError:  # written in another language, it does not say what it takes
        pass
    return called(f"{what}, a function of {[*coordinates]}", lambda: function(coordinates))


def axis_of(what: str, name: str, coordinates: Sequence[str]) -> int:
    """Return the place of a coordinate among those of the domain.

    Raises:
        InputError: for one that is not there.
    """
    if name not in coordinates:
        raise InputError(what, received=repr(name), expected=f"one of {', '.join(coordinates)}")
    return list(coordinates).index(name)


def is_within(positions: Iterable[float], bounds: Floats) -> bool:
    """Return whether positions along a coordinate are within its bounds, shape (2,), or outside by rounding only."""
    low, high = bounds
    slack = SLACK * (high - low)
    return all(low - slack <= position <= high + slack for position in positions)


def fixed(bounds: Floats, axis: int, position: float) -> Floats:
    """Return bounds with one coordinate held at a position."""
    held = bounds.copy()
    held[:, axis] = position
    return held


def _number(given: Any) -> float | None:
    """One finite number, also as an array of one; None for anything else."""
    if is_number(given):
        return float(given)
    array = real_numbers(given)
    return float(array.item()) if array is not None and array.size == 1 and np.isfinite(array).all() else None


def real_numbers(given: Any) -> Floats | None:
    """Return an array of real numbers, such as fractions too; None for anything else."""
    if isinstance(given, (str, bytes, Trained)):
        return None
    try:
        array = np.asarray(given)
        is_real = array.dtype.kind in "fiu" or all(isinstance(value, Fraction) for value in array.ravel())
        return array.astype(np.float64) if is_real else None
    except Exception:  # of a framework's own arrays, where they are traced or need gradients
        return None


def shown(given: Any) -> str:
    """Return what was given for numbers, in words: an array by its shape."""
    return described(given) if hasattr(given, "shape") and not isinstance(given, Trained) else repr(given)
