"""What people have of points: tensors, arrays, structures of these, data sets and loaders."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from phasecore.errors import InputError
from phasecore.problems.checks import check_columns
from phasecore_torch.undisturbed import undisturbed

Points = Tensor | NDArray[Any] | Sequence[Any] | Mapping[str, Any] | Dataset[Any] | DataLoader[Any]
"""A tensor or numpy array; a tuple, list or dictionary of these, of one length; a data set or a loader of such."""

EXPECTED = (
    "a tensor or numpy array that is cut into batches along its first axis; a tuple, list or dictionary of these, of "
    "one length; or a data set or DataLoader with a length"
)

WHAT = "argument 'points'"


@final
class Batches:
    """Points that are cut into contiguous batches, as arguments of a loss.

    Every batch is handed over as a copy: what a loss does to it in place, it does not find there the next time.

    Args:
        points: a tuple or list is handed over part by part, as several arguments; a dictionary as one.
        batches: number of batches, as equal as can be, of a point or more each.
        like: a parameter: numpy's floating-point numbers are cast to its dtype, and everything goes to its device.

    Attributes:
        sizes: number of points of each batch.

    Raises:
        InputError: as `arguments_of`.

    Example:
        >>> batches = Batches({"x": np.zeros((5, 2)), "y": [0.0, 1.0, 2.0, 3.0, 4.0]}, 2, torch.zeros(1))
        >>> [(tuple(batch["x"].shape), batch["y"].tolist()) for (batch,) in batches]
        [((3, 2), [0.0, 1.0, 2.0]), ((2, 2), [3.0, 4.0])]
    """

    def __init__(self, points: Points, batches: int, like: Tensor) -> None:
        self._structure = arguments_of(points, like)
        count = len(leaves_of(self._structure)[0])
        self.sizes = [len(part) for part in np.array_split(np.arange(count), batches)]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield the arguments for each batch."""
        end = 0
        for size in self.sizes:
            start, end = end, end + size
            yield _mapped(functools.partial(_copied, start, end), self._structure)

    @property
    def first(self) -> tuple[Any, ...]:
        """The first batch."""
        return next(iter(self))


def arguments_of(points: Points, like: Tensor) -> tuple[Any, ...]:
    """Return points as the arguments of a loss, their leaves tensors of one length.

    Args:
        points: a tuple or list is several arguments, part by part; a dictionary is one.
        like: see `Batches`.

    Raises:
        InputError: for anything else, or parts of different lengths.

    Example:
        >>> [tuple(argument.shape) for argument in arguments_of((np.zeros((5, 2)), np.zeros(5)), torch.zeros(1))]
        [(5, 2), (5,)]
    """
    structure = _gathered(points, WHAT)
    is_one = not isinstance(structure, (tuple, list)) or (isinstance(structure, list) and _is_numbers(structure))
    # several arguments are those of a loss, whatever holds them
    arguments = (structure,) if is_one else tuple(structure)
    found = tuple(_mapped(lambda leaf: _tensor(leaf, like), own) for own in arguments)
    lengths = [len(leaf) if leaf.ndim else 0 for leaf in leaves_of(found)]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise InputError(WHAT, received=f"tensors of lengths {lengths}", expected="tensors of one length, 1 or more")
    return found


def _tensor(leaf: Any, like: Tensor) -> Tensor:
    if isinstance(leaf, Tensor):
        if leaf.layout != torch.strided:
            raise InputError(WHAT, received=f"a tensor of layout {leaf.layout}", expected=EXPECTED)
        return leaf if leaf.device == like.device else leaf.to(like.device)
    try:
        array = np.asarray(leaf)
        tensor = torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError) as error:
        received = f"{type(leaf).__name__}: {str(error).splitlines()[0]}"
        raise InputError(WHAT, received=received, expected=EXPECTED) from error
    return tensor.to(like.device, like.dtype.to_real() if array.dtype.kind == "f" else tensor.dtype)


def coordinates_given(points: Any, coordinates: Sequence[str]) -> Any:
    """Return collocation points as one array or tensor, whatever holds them; what it does not know is left as it is.

    Args:
        points: shape (n, dimension); or columns: by name in a dictionary, or a tuple or list of shape (n, 1) each; or a
            data set or loader of such.
        coordinates: their names.

    Raises:
        InputError: for columns by name of which one is missing, too much or of another length.

    Example:
        >>> coordinates_given({"t": np.zeros(3), "x": torch.ones(3)}, ["x", "t"])[0].tolist()
        [1.0, 0.0]
    """
    if isinstance(points, (DataLoader, Dataset)):
        points = _gathered(points, "collocation points")
    if isinstance(points, Mapping):
        check_columns(points, coordinates)
        columns = [points[name] for name in coordinates]
    elif isinstance(points, (tuple, list)) and len(points) == len(coordinates) > 1:
        columns = [part for part in points if tuple(getattr(part, "shape", ()))[1:] == (1,)]
    else:
        return points
    try:
        parts = [torch.as_tensor(column).flatten() for column in columns]
        return torch.stack(parts, -1) if len(parts) == len(coordinates) else points
    except (TypeError, ValueError, RuntimeError):
        return points


def _gathered(points: Any, what: str) -> Any:
    """The structure of all points: what a data set or a loader has is read once, and joined."""
    if isinstance(points, TensorDataset):
        return points.tensors if len(points.tensors) > 1 else points.tensors[0]
    if not isinstance(points, (DataLoader, Dataset)):
        return points
    try:
        length = 0 if isinstance(points, IterableDataset) else len(points)  # type: ignore[arg-type]
    except TypeError:
        length = 0
    if not length:
        kind = type(points).__name__
        raise InputError(what, received=f"a {kind} that has no length, or is empty", expected=EXPECTED)
    if isinstance(points, DataLoader):
        generators = (points.generator, getattr(points.sampler, "generator", None))
        with undisturbed(points.dataset, *generators):
            return _joined(list(points))
    with undisturbed(points):
        return default_collate([points[place] for place in range(length)])


def _joined(batches: list[Any]) -> Any:
    """One structure of several alike, their tensors joined along the first axis."""
    first = batches[0]
    if isinstance(first, Mapping):
        return {name: _joined([batch[name] for batch in batches]) for name in first}
    if isinstance(first, (tuple, list)):
        parts = [_joined(list(column)) for column in zip(*batches, strict=True)]
        return parts if len(parts) > 1 else parts[0]
    return torch.cat([torch.as_tensor(batch) for batch in batches])


def _is_numbers(structure: Any) -> bool:
    """Whether a list is an array written out: [[0.0, 1.0], [1.0, 0.0]]."""
    if isinstance(structure, (list, tuple)):
        return bool(structure) and all(_is_numbers(part) for part in structure)
    return isinstance(structure, (bool, int, float, np.number))


def _mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    if isinstance(structure, Mapping):
        return {name: _mapped(function, part) for name, part in structure.items()}
    if isinstance(structure, (tuple, list)) and not _is_numbers(structure):
        parts = [_mapped(function, part) for part in structure]
        return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)
    return function(structure)


def leaves_of(structure: Any) -> list[Tensor]:
    """Return the tensors of a structure, in order."""
    found: list[Tensor] = []
    _mapped(found.append, structure)
    return found


def _copied(start: int, end: int, leaf: Tensor) -> Tensor:
    part = leaf[start:end]
    return part.detach().clone().requires_grad_() if leaf.requires_grad else part.clone()
