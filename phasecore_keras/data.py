"""What `fit` is given: checked before the first epoch."""

from __future__ import annotations

import functools
import inspect
import itertools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, final

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
    given = {**(options or {}), "y": y}
    _check_no_targets(given, "fit")
    if given.get("validation_split"):
        raise InputError(
            "argument 'validation_split' of PINN.fit",
            received=repr(given["validation_split"]),
            expected="nothing: each point has its weight, and a part of them cannot be set aside",
            fix="Give validation_data={'coordinates': problem.sample(1_000, seed=1).interior}.",
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
    validation = given.get("validation_data")
    if validation is not None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(validation)
        check_evaluated(x, points, {"y": y, "sample_weight": sample_weight}, "fit")


def check_evaluated(x: Any, points: NDArray[Any] | None, options: Mapping[str, Any], method: str = "evaluate") -> None:
    """Refuse what is no batch of points, or a source of such batches, as far as can be told before the evaluation.

    Args:
        x: what is evaluated.
        points: the collocation points, shape (n, dimension), or None if there are none yet.
        options: what else was given.
        method: whose arguments these are.

    Raises:
        InputError: for targets or sample weights, data without coordinates, or indices of other points.
    """
    _check_no_targets(options, method)
    if points is None:
        raise InputError("evaluating a PINN", received="no collocation points", fix="Call pinn.points(...) first.")
    for batch in itertools.islice(_batches(x), CHECKED):
        check_in_hand(unpacked(batch), points, {}, method, indices=False)


def check_in_hand(
    x: Any, points: NDArray[Any] | None, options: Mapping[str, Any], method: str, *, indices: bool
) -> None:
    """Refuse a batch that is no part of the collocation points or, without indices, no points at all.

    Args:
        x: the batch.
        points: the collocation points, shape (n, dimension), or None if there are none yet.
        options: what else was given.
        method: whose arguments these are.
        indices: whether indices are needed.

    Raises:
        InputError: for targets or sample weights, unknown indices, or other coordinates than these have.
    """
    check_kind(x, options, method, indices=indices)
    if points is None:
        raise InputError(f"PINN.{method}", received="no collocation points", fix="Call pinn.points(...) first.")
    if "indices" in x:
        _check_batch(x, points)
        return
    shape = tuple(np.shape(x["coordinates"]))
    if len(shape) != 2 or shape[1] != points.shape[1]:
        raise InputError(
            f"coordinates that PINN.{method} is given",
            received=f"shape {shape}",
            expected=f"shape (m, {points.shape[1]})",
        )


@final
class Watched:
    """Checks the batches of a generator as they come: what is compiled goes on with a wrong point for an unknown index.

    Args:
        points: returns the collocation points as they are, shape (n, dimension), and whether they have moved: the
            coordinates of a batch are not looked at then.

    Attributes:
        error: what was found; a framework that reads ahead in a thread of its own tells of it in its own words.
    """

    def __init__(self, points: Callable[[], tuple[NDArray[Any], bool]]) -> None:
        self._points = points
        self.error: InputError | None = None

    def of(self, x: Any) -> Any:
        """Return a generator of the same batches; anything else is returned as it is."""
        return self._checked(x) if isinstance(x, types.GeneratorType) else x

    def _checked(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            if isinstance(x, Mapping) and "indices" in x and y is None and sample_weight is None:
                points, have_moved = self._points()
                try:
                    _check_batch(x, points, coordinates_too=not have_moved)
                except InputError as error:
                    self.error = error
                    raise
            yield batch

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise what was found in the place of what came of it."""
        if error is not None and error is not self.error and self.error is not None:
            raise self.error from None


def check_kind(x: Any, options: Mapping[str, Any], method: str, *, indices: bool) -> None:
    """Refuse a batch that is no dictionary of coordinates and, if they are needed, indices.

    Args:
        x: the batch.
        options: what else was given.
        method: whose arguments these are.
        indices: whether indices are needed.

    Raises:
        InputError: for targets or sample weights too.
    """
    _check_no_targets(options, method)
    needed = {"coordinates", "indices"} if indices else {"coordinates"}
    if not isinstance(x, Mapping) or not needed <= set(x):
        elsewhere = "" if indices else ', or {"coordinates": ...} for points elsewhere'
        raise InputError(
            f"data that PINN.{method} is given",
            received=f"keys {sorted(x)}" if isinstance(x, Mapping) else type(x).__name__,
            expected=EXPECTED + elsewhere,
            fix="Give it pinn.points(n, seed=0), or parts of it with the same indices.",
        )


def check_step(x: Any, points: NDArray[Any] | None, targets: Mapping[str, Any], *, training: bool) -> None:
    """Refuse what a step is given by a source that could not be read before.

    Args:
        x: the batch.
        points: the collocation points, shape (n, dimension), or None if there are none yet.
        targets: "y" and "sample_weight", which should be None.
        training: whether it is a step of a training.

    Raises:
        InputError: for targets or sample weights, or a batch without coordinates or, in training, indices.
    """
    _check_no_targets(targets, "fit" if training else "evaluate")
    if not isinstance(x, Mapping) or (training and "indices" not in x):
        check_data(x, points)


def check_weights(given: Sequence[Any], own: Sequence[Any]) -> None:
    """Refuse values of other variables than a PINN has now.

    Args:
        given: arrays, as `get_weights` returned them.
        own: the variables.

    Raises:
        InputError: for another number of them, or other shapes.
    """
    shapes = [tuple(np.shape(array)) for array in given], [tuple(variable.shape) for variable in own]
    if shapes[0] == shapes[1]:
        return
    received, expected = f"{len(shapes[0])} arrays", f"{len(shapes[1])}"
    if len(given) == len(own):
        place = next(place for place, (one, other) in enumerate(zip(*shapes, strict=True)) if one != other)
        received = f"an array of shape {shapes[0][place]} for variable {own[place].path!r}"
        expected = f"shape {shapes[1][place]}"
    raise InputError(
        "weights that PINN.set_weights is given, as EarlyStopping(restore_best_weights=True) does",
        received=received,
        expected=f"{expected}: points were added or taken away, or the weighting changed, since these were read",
        fix="Set the network's alone, pinn.network.set_weights(...), or save with ModelCheckpoint(save_best_only=True) "
        "and load the file, which has points and weighting too.",
    )


def check_no_loss(given: Mapping[str, Any]) -> None:
    """Refuse a loss or metrics that `compile` was given.

    Args:
        given: its arguments by name.

    Raises:
        InputError: naming the first.
    """
    for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        if given.get(name) is not None:
            raise InputError(
                f"argument {name!r} of PINN.compile",
                received=repr(given[name]),
                expected="nothing: it would compare the network's outputs with targets, and collocation points "
                "have none; the loss is made of the problem's residuals",
                fix="Leave it out. Measured data are a condition of the problem (phasecore.problems.Data), other "
                "weights a weighting scheme, other statistics probes of PhaseMonitor.",
            )


def by_name(method: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a method of Keras by their names."""
    names = _parameters(method.__func__)  # type: ignore[attr-defined, unused-ignore]
    return dict(zip(names, arguments, strict=False)) | dict(options)


@functools.cache
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a method's parameters but the first, which is the object."""
    return tuple(inspect.signature(function).parameters)[1:]


def each_callback(callbacks: Any) -> list[Any]:
    """Return callbacks, however `fit` takes them: none, one, some, or a `keras.callbacks.CallbackList`."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or ())


def _check_no_targets(options: Mapping[str, Any], method: str) -> None:
    for name in ("y", "sample_weight", "class_weight"):
        if options.get(name) is not None:
            raise InputError(
                f"argument {name!r} of PINN.{method}",
                received=type(options[name]).__name__,
                expected="nothing: collocation points have no targets, and a weighting scheme weights them",
                fix="Measured data are a condition of the problem (phasecore.problems.Data).",
            )


def as_one_batch(x: Mapping[str, Any]) -> tuple[Any, int | None]:
    """Return arrays as `fit` takes them fastest as a single batch, with the steps of an epoch to give beside them.

    With TensorFlow, Keras cuts arrays into batches by gathering rows, and makes a new iterator for each epoch, which
    together take as long as a step of a small network.
    """
    if keras.backend.backend() != "tensorflow":
        return x, None
    import tensorflow as tf

    return tf.data.Dataset.from_tensors((dict(x),)).repeat(), 1


def arranged(
    x: Any, batch_size: int | None, options: dict[str, Any], steps_per_execution: int
) -> tuple[Any, int | None]:
    """Return data and batch size as `fit` of Keras is to be given them: arrays as one batch unless others are wanted.

    Args:
        x: the data.
        batch_size: number of points of a step, None for all.
        options: of `fit`, which are completed.
        steps_per_execution: of `compile`: several would go on with an endless data set, whatever the steps of an epoch.
    """
    if isinstance(x, Mapping) and not batch_size:
        batch_size, options["shuffle"] = all_of(x), False
        if "steps_per_epoch" not in options and steps_per_execution == 1:
            x, steps = as_one_batch(x)
            batch_size, options["steps_per_epoch"] = (None, steps) if steps else (batch_size, None)
    elif not isinstance(x, Mapping | keras.utils.PyDataset):
        options.setdefault("shuffle", False)
    return x, batch_size


def all_of(x: Any) -> int | None:
    """Return the number of points of arrays: Keras' default batches of 32 would make thousands of steps of an epoch."""
    arrays = x.values() if isinstance(x, Mapping) else [x] if hasattr(x, "shape") else []
    return next((len(array) for array in arrays), None)


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


def unpacked(batch: Any) -> Any:
    """Return what is alone in a tuple or list, as batches and `fit`'s data may be.

    Example:
        >>> unpacked(({"coordinates": 1},))
        {'coordinates': 1}
    """
    while isinstance(batch, (tuple, list)) and len(batch) == 1:
        batch = batch[0]
    return batch


def _check_batch(batch: Any, points: NDArray[Any], *, coordinates_too: bool = True) -> None:
    batch = unpacked(batch)
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
    if coordinates_too and other.any():
        row = int(np.flatnonzero(other)[0])
        raise InputError(
            f"coordinates of collocation point {int(indices[row])}",
            received=coordinates[row].tolist(),
            expected=f"{points[indices[row]].tolist()}, as pinn.points(...) returned them last",
            fix="Give points of your own to the PINN first: pinn.points(coordinates). Of points that have moved, train "
            "on pinn.points().",
        )


def _array(values: Any) -> NDArray[Any]:
    return to_numpy(values) if keras.ops.is_tensor(values) else np.asarray(values)
