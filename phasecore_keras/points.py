"""The points of a monitor: read once, kept apart from the user's arrays, and cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.monitoring.monitor import check_batches
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.scopes import random_state_kept

MOST_BATCHES = 100_000
"""Most batches that are read of a data set which does not say how many it has."""

EXPECTED = (
    "arrays or tensors of one length, tuples, lists and dictionaries of them, or a finite data set of batches of them "
    "(tf.data.Dataset, PyDataset, DataLoader)"
)


@final
class Batches:
    """Points in batches: contiguous blocks, as equal as can be, each a structure of tensors like the one given.

    Every iteration hands out copies, so that code which writes into its arguments changes nothing here.

    Args:
        points: see `EXPECTED`; a data set is read once. Floats of arrays and tensors become Keras' floatx, as in `fit`;
            those of a data set stay as they are.
        batches: number of batches.

    Attributes:
        sizes: number of points of each batch.

    Raises:
        InputError: for anything else, columns of different lengths, or too few points.

    Example:
        >>> points = Batches({"x": np.zeros((5, 2)), "y": np.zeros(5)}, batches=2)
        >>> points.sizes, [tuple(batch["x"].shape) for batch in points]
        ([3, 2], [(3, 2), (2, 2)])
    """

    def __init__(self, points: Any, batches: int) -> None:
        if _is_data_set(points):
            structure, columns = _read(points)
        else:
            structure, columns = points, [_column(leaf) for leaf in keras.tree.flatten(points)]
            floatx = keras.config.floatx()
            columns = [c.astype(floatx) if c is not None and c.dtype.kind == "f" else c for c in columns]
        length = _length(columns)
        check_batches(batches, length)
        blocks = np.array_split(np.arange(length), batches)
        self.sizes = [len(block) for block in blocks]
        self._batches = [
            keras.tree.pack_sequence_as(
                structure, [None if c is None else ops.convert_to_tensor(c[block]) for c in columns]
            )
            for block in blocks
        ]

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches."""
        for batch in self._batches:
            yield keras.tree.map_structure(lambda leaf: None if leaf is None else ops.copy(leaf), batch)

    @property
    def first(self) -> Any:
        """The first batch."""
        return next(iter(self))


def _is_data_set(points: Any) -> bool:
    if isinstance(points, keras.utils.PyDataset):
        return True
    if isinstance(points, (tuple, list, Mapping, str, bytes, set, frozenset)) or _is_array(points):
        return False
    if isinstance(points, Iterator):
        raise _refused(f"{_name_of(points)}, which can be read only once, and not by the training too")
    return isinstance(points, Iterable)


def _read(data: Any) -> tuple[Any, list[NDArray[Any] | None]]:
    """All batches of a data set, joined, in the structure of the first."""
    name = _name_of(data)
    structure: Any = None
    parts: list[list[NDArray[Any] | None]] = []
    with random_state_kept():
        for number, batch in enumerate(_batches(data, name)):
            if number == MOST_BATCHES:
                raise _refused(f"{name} of more than {MOST_BATCHES} batches", fix="Take a part: data.take(1000).")
            columns = [_column(leaf) for leaf in keras.tree.flatten(batch)]
            _length(columns, f"{name} whose batches hold ")
            if parts and [_form(c) for c in columns] != [_form(c) for c in parts[0]]:
                raise _refused(f"{name} whose batch {number} has another structure than the first")
            structure = batch if structure is None else structure
            parts.append(columns)
    if not parts:
        raise _refused(f"{name} without any batch")
    return structure, [None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True)]


def _batches(data: Any, name: str) -> Iterator[Any]:
    count = data.num_batches if isinstance(data, keras.utils.PyDataset) else 0
    cardinality = int(data.cardinality()) if hasattr(data, "cardinality") else 0
    if count is None or cardinality == -1:
        raise _refused(f"{name} that does not end", fix="Take a part: data.take(1000).")
    if isinstance(data, keras.utils.PyDataset):
        yield from (data[index] for index in range(count))
    else:
        yield from data


def _form(column: NDArray[Any] | None) -> Any:
    return None if column is None else (column.shape[1:], column.dtype)


def _length(columns: list[NDArray[Any] | None], of: str = "") -> int:
    lengths = [len(column) if column.ndim else 0 for column in columns if column is not None]
    if len(set(lengths)) != 1 or not lengths[0]:
        fix = "" if not of else "Batch it: data.batch(100), if it yields single points."
        raise _refused(f"{of}arrays of lengths {lengths}" if lengths else f"{of}no arrays", fix=fix)
    return lengths[0]


def _column(leaf: Any) -> NDArray[Any] | None:
    """A copy of an array or tensor, on the host."""
    if leaf is None:
        return None
    if not _is_array(leaf):
        raise _refused(_name_of(leaf))
    if ops.is_tensor(leaf):
        column = to_numpy(leaf)
    else:
        column = np.asarray(leaf.detach().cpu() if hasattr(leaf, "detach") else leaf)
    if column.dtype.kind not in "fiubcSU":
        raise _refused(f"{_name_of(leaf)} of dtype {column.dtype}")
    return np.array(column)


def _is_array(value: Any) -> bool:
    is_dense = hasattr(value, "__array__") or (ops.is_tensor(value) and hasattr(value, "shape"))
    return is_dense and not isinstance(value, (type, np.generic, keras.KerasTensor))


def _name_of(value: Any) -> str:
    package = type(value).__module__.partition(".")[0]
    return f"a {type(value).__name__}" if package == "builtins" else f"a {package}.{type(value).__name__}"


def _refused(received: str, fix: str = "") -> InputError:
    return InputError("argument 'points'", received=received, expected=EXPECTED, fix=fix)
