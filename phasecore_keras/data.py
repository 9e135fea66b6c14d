"""What `fit` is given: checked before the first epoch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore_keras.autodiff import to_numpy

CHECKED = 1000
"""Most batches of a data set that are looked at before training."""

EXPECTED = 'batches of pinn.points(...): {"coordinates": shape (batch, dimension), "indices": shape (batch,)}'


def check_data(x: Any, points: NDArray[Any] | None, y: Any = None, options: Mapping[str, Any] | None = None) -> None:
    """Refuse data that do not say which collocation point is which, as far as can be told before training.

    Args:
        x: what `fit` was given first.
        points: the collocation points, shape (n, dimension), or None if there are none yet.
        y: the targets that `fit` was given, which should be none.
        options: what else it was given.

    Raises:
        InputError: for targets or sample weights, data without indices or with unknown ones, or other coordinates.
    """
    targets = {"y": y} | {name: (options or {}).get(name) for name in ("sample_weight", "class_weight")}
    for name, value in targets.items():
        if value is not None:
            raise InputError(
                f"argument {name!r} of PINN.fit",
                received=type(value).__name__,
                expected="nothing: collocation points have no targets, and a weighting scheme weights them",
                fix="Measured data are a condition of the problem (phasecore.problems.Data).",
            )
    if points is None:
        raise InputError(
            "fitting a PINN",
            received="data before any collocation points",
            expected=EXPECTED,
            fix="Call pinn.points(10_000, seed=0), or pinn.points(coordinates) with your own.",
        )
    for batch in itertools.islice(_batches(x), CHECKED):
        _check_batch(batch, points)


def as_one_batch(x: Mapping[str, Any]) -> tuple[Any, int | None]:
    """Return arrays as `fit` takes them fastest as a single batch, with the steps of an epoch to give beside them.

    With TensorFlow, Keras cuts arrays into batches by gathering rows, and makes a new iterator for each epoch, which
    together take as long as a step of a small network.
    """
    if keras.backend.backend() != "tensorflow":
        return x, None
    import tensorflow as tf

    return tf.data.Dataset.from_tensors((dict(x),)).repeat(), 1


def _batches(x: Any) -> Iterator[Any]:
    """The batches of a data set that ends and can be read again, the first of one that does not end, or all arrays."""
    if isinstance(x, Mapping) or hasattr(x, "shape") or x is None:
        yield x
    elif isinstance(x, keras.utils.PyDataset):
        count = x.num_batches
        yield from (x[index] for index in range(1 if count is None else count))
    elif isinstance(x, Iterable) and not isinstance(x, Iterator):
        cardinality = int(x.cardinality()) if hasattr(x, "cardinality") else 0
        yield from x if cardinality >= 0 else itertools.islice(x, 1)


def _check_batch(batch: Any, points: NDArray[Any]) -> None:
    while isinstance(batch, (tuple, list)) and len(batch) == 1:
        batch = batch[0]
    if not isinstance(batch, Mapping) or not {"coordinates", "indices"} <= set(batch):
        received = f"keys {sorted(batch)}" if isinstance(batch, Mapping) else type(batch).__name__
        raise InputError(
            "data without the indices of the collocation points",
            received=received,
            expected=EXPECTED,
            fix="Weights are kept by index: train on pinn.points(n, seed=0), or on pinn.points(coordinates) if the "
            "points are yours.",
        )
    coordinates, indices = (_array(batch[name]) for name in ("coordinates", "indices"))
    if indices.dtype.kind not in "iu" or indices.ndim != 1 or coordinates.shape != (len(indices), points.shape[1]):
        raise InputError(
            "a batch of collocation points",
            received=f"coordinates of shape {coordinates.shape}, indices of {indices.dtype} and {indices.shape}",
            expected=f"coordinates of shape (batch, {points.shape[1]}), integer indices of shape (batch,)",
        )
    unknown = (indices < 0) | (indices >= len(points))
    if unknown.any():
        raise InputError(
            "indices of collocation points",
            received=f"{int(indices[unknown][0])}, one of {int(unknown.sum())} that are unknown",
            expected=f"indices from 0 to {len(points) - 1}, as of the last pinn.points(...)",
        )
    other = ~np.isclose(coordinates, points[indices], rtol=1e-3, atol=1e-5).all(axis=1)
    if other.any():
        row = int(np.flatnonzero(other)[0])
        raise InputError(
            f"coordinates of collocation point {int(indices[row])}",
            received=coordinates[row].tolist(),
            expected=f"{points[indices[row]].tolist()}, as pinn.points(...) returned them last",
            fix="Give points of your own to the PINN first: pinn.points(coordinates).",
        )


def _array(values: Any) -> NDArray[Any]:
    return to_numpy(values) if keras.ops.is_tensor(values) else np.asarray(values)
