"""Stand-ins for arrays: an equation is run on them once to see which partials it reads, on no framework.

A stand-in has the values of a few made-up points, so that shapes and arithmetic are real, and remembers the partials
that it was computed from. Its values decide nothing: `if u["u"][0] > 0` is an error, `xp.where(u["u"] > 0, ...)` none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, final

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from phasecore.arrays import error_function, lacking
from phasecore.errors import InputError
from phasecore.partials import parse_partial

POINTS = 5
"""Points that stand in for those of a training."""

_PLAIN = (bool, int, float, str, bytes, complex, slice, type, np.ndarray, np.generic, np.dtype, type(None), type(...))


class ValueNeededError(Exception):
    """A program asked a stand-in for its value, to decide something by it or to leave the framework."""


@final
class StandIn(NDArrayOperatorsMixin):
    """An array that remembers which partials it was computed from.

    Args:
        values: made-up ones.
        reads: names of the partials.

    Example:
        >>> u, u_x = StandIn(np.ones(3), ("u",)), StandIn(np.ones(3), ("u_x",))
        >>> (u * u_x - 1.0).reads
        ('u', 'u_x')
    """

    def __init__(self, values: NDArray[Any], reads: tuple[str, ...] = ()) -> None:
        self.values = values
        self.reads = reads

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return applied(getattr(ufunc, method), inputs, options)

    def __array_function__(self, function: Any, types: Any, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
        return applied(function, inputs, options)

    def __array__(self, *arguments: Any, **options: Any) -> NoReturn:
        raise ValueNeededError("an array is turned into one of numpy")

    def __bool__(self) -> NoReturn:
        raise ValueNeededError("a decision on the values of an array")

    def __float__(self) -> NoReturn:
        raise ValueNeededError("an array is turned into a number")

    __int__ = __index__ = __complex__ = __float__

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return applied(lambda values, own: values[own], (self, key), {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("values", "reads"):
            raise AttributeError(name)
        if name in ("item", "tolist"):
            raise ValueNeededError("an array is turned into a number")
        found = getattr(self.values, name)
        if callable(found):
            return lambda *inputs, **options: applied(getattr(np.ndarray, name), (self, *inputs), options)
        return StandIn(found, self.reads) if isinstance(found, np.ndarray) else found


def coordinates_at(names: Sequence[str], points: NDArray[np.float64]) -> dict[str, StandIn]:
    """Return the coordinates of points of shape (n, dimension) by name, as a problem's functions take them.

    Example:
        >>> coordinates_at(["x", "t"], np.asarray([[1.0, 2.0]]))["t"].values.tolist()
        [2.0]
    """
    return {name: StandIn(points[:, axis]) for axis, name in enumerate(names)}


def values_of(found: Any) -> NDArray[Any]:
    """Return the values of what was computed from stand-ins, or of a constant.

    Example:
        >>> values_of(StandIn(np.ones(2))).tolist(), values_of(3.0).tolist()
        ([1.0, 1.0], 3.0)
    """
    return np.asarray(found.values if isinstance(found, StandIn) else found)


@final
class StandInNamespace:
    """The namespace of stand-ins: numpy's functions, and `erf`.

    Example:
        >>> StandInNamespace().sin(StandIn(np.zeros(2), ("u",))).reads
        ('u',)
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = (lambda x: error_function(x, np)) if name == "erf" else getattr(np, name, None)
        if found is None:
            raise AttributeError(lacking(name))
        if not callable(found) or isinstance(found, type):
            return found
        return lambda *inputs, **options: applied(found, inputs, options)


@final
class StandInPartials(Mapping[str, StandIn]):
    """The partials of a problem as `residuals` gets them: whichever is asked for is there, and noted.

    Args:
        where: who reads them, as messages call it.
        outputs: names of the outputs; None where they are not known, and names are not read.
        coordinates: names of the coordinates.
        factors: values of the names that may be factors of a partial.
        points: number of points.

    Example:
        >>> partials = StandInPartials("a problem", ["u"], ["x", "t"], {})
        >>> _ = partials["u_t"] - partials["u_xx"]
        >>> partials.read
        ['u_t', 'u_xx']
    """

    def __init__(
        self,
        where: str,
        outputs: Sequence[str] | None,
        coordinates: Sequence[str],
        factors: Mapping[str, Any],
        points: int = POINTS,
    ) -> None:
        self._where, self._outputs, self._coordinates, self._factors = where, outputs, coordinates, factors
        self._points = points
        self.read: list[str] = []

    def __getitem__(self, name: str) -> StandIn:
        if not isinstance(name, str):
            raise InputError(f"{self._where}: a partial", received=repr(name), expected='its name, such as "u_x"')
        if self._outputs is not None:
            parse_partial(name, self._outputs, self._coordinates, self._factors)
        if name not in self.read:
            self.read.append(name)
        # by name, so that a partial has one value whatever else is read
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        return StandIn(generator.standard_normal(self._points), (name,))

    def get(self, name: str, default: Any = None) -> StandIn:
        """Return the partial: it is there."""
        return self[name]

    def __contains__(self, name: object) -> NoReturn:
        raise self._unnamed()

    def __iter__(self) -> NoReturn:
        raise self._unnamed()

    def __len__(self) -> NoReturn:
        raise self._unnamed()

    def _unnamed(self) -> InputError:
        return InputError(
            f"{self._where}: which partials are read",
            received="a look through all of them",
            expected='each by its name, such as u["u_x"]',
            fix="Or declare what is read in 'equations'.",
        )


def applied(function: Callable[..., Any], inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Return what a function makes of stand-ins, remembering what they were computed from."""
    reads = dict.fromkeys(_reads([*inputs, *options.values()]))
    with np.errstate(all="ignore"):
        found = function(*map(_plain, inputs), **{name: _plain(value) for name, value in options.items()})
    return _wrapped(found, tuple(reads))


def _reads(given: Any) -> Iterable[str]:
    if isinstance(given, StandIn):
        yield from given.reads
    elif isinstance(given, (list, tuple)):
        for part in given:
            yield from _reads(part)


def _plain(given: Any) -> Any:
    if isinstance(given, StandIn):
        return given.values
    if isinstance(given, (list, tuple)):
        return type(given)(map(_plain, given)) if type(given) in (list, tuple) else given
    if isinstance(given, _PLAIN) or not hasattr(given, "shape"):
        return given
    # of a framework, such as a coefficient that a problem holds
    return np.ones(tuple(given.shape))


def _wrapped(found: Any, reads: tuple[str, ...]) -> Any:
    if isinstance(found, (np.ndarray, np.generic)):
        return StandIn(np.asarray(found), reads)
    if type(found) in (list, tuple):
        return type(found)(_wrapped(part, reads) for part in found)
    return found
