"""Training a PINN on several devices: the numbers of one, whatever the number of points, or a refusal.

With `keras.distribution` on JAX a step is one program over all devices, in which maxima and means are those of the
whole batch. It is handed over whole and cut within the program, where the parts need not be equal.

The replicas of `tf.distribute` run the program beside each other, each with a part of the batch. They tell each other
the residuals of their parts, so that each goes on with those of the whole batch: what follows is as on one device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

import keras
from keras import ops

from phasecore.errors import InputError
from phasecore_keras.differentiation import Tensor
from phasecore_keras.internals import inner

OF_ONE_REPLICA: Mapping[str, Sequence[Any]] = MappingProxyType(
    {
        "jit_compile": (False, "auto"),
        "steps_per_execution": (1,),
        "gradient_accumulation_steps": (),
        "use_ema": (False,),
        "clipnorm": (),
        "clipvalue": (),
        "global_clipnorm": (),
    }
)
"""Options of `compile` and of optimizers that fail with several replicas, and the clipping of each one's own gradients;
and the values that do nothing."""

Scope = Callable[[], contextlib.AbstractContextManager[Any]]


def replicas_of(model: Any) -> int:
    """Return on how many replicas of `tf.distribute` a model is trained.

    Example:
        >>> replicas_of(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
        1
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    return int(model.distribute_strategy.num_replicas_in_sync)


def check_distribution(model: Any, options: Mapping[str, Any]) -> None:
    """Refuse ways of distributing a PINN that are not supported.

    Args:
        model: the PINN.
        options: what it is compiled with.

    Raises:
        InputError: for several replicas of another strategy than `MirroredStrategy`, of variables that are not
            mirrored, or with what Keras cannot do there; for several processes of JAX.
    """
    if replicas_of(model) > 1:
        _check_strategy(model)
        _check_options(model, options)
    if keras.backend.backend() == "jax":
        import jax

        if jax.process_count() > 1:
            raise InputError(
                "a PINN on several hosts",
                received=f"{jax.process_count()} processes of JAX",
                expected="one process, whatever the number of its devices",
            )


def _check_strategy(model: Any) -> None:
    import tensorflow as tf

    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        raise InputError(
            "a PINN under tf.distribute",
            received=f"{type(strategy).__name__} with {replicas_of(model)} replicas",
            expected="tf.distribute.MirroredStrategy, or one replica",
        )
    for variable in (*model.network.variables, *model.trainable_variables):
        if not isinstance(variable.value, tf.distribute.DistributedValues):
            raise InputError(
                "a PINN under tf.distribute",
                received=f"variable {variable.path!r}, which was made outside of the strategy's scope",
                expected="a network, a problem and a PINN that are made within strategy.scope()",
            )


def _check_options(model: Any, options: Mapping[str, Any]) -> None:
    optimizer = options.get("optimizer")
    optimizer = inner(optimizer) if isinstance(optimizer, keras.optimizers.Optimizer) else None
    for name, harmless in OF_ONE_REPLICA.items():
        value = options.get(name, getattr(optimizer, name, None))
        if value is not None and value not in harmless:
            raise InputError(
                f"compiling a PINN on {replicas_of(model)} replicas of tf.distribute",
                received=f"{name}={value!r}",
                expected="none: with several replicas Keras does it wrongly, or not at all",
                fix="Leave it out, or use keras.distribution.DataParallel with KERAS_BACKEND=jax.",
            )


def scope_of(model: Any) -> contextlib.AbstractContextManager[Any]:
    """Enter the scope of `tf.distribute` that a model was made in, where it has replicas."""
    return model.distribute_strategy.scope() if replicas_of(model) > 1 else contextlib.nullcontext()


def scope_here() -> Scope:
    """Return what enters again the scope of `tf.distribute` that this is called in, to make variables of it."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext
    import tensorflow as tf

    return tf.distribute.get_strategy().scope if tf.distribute.has_strategy() else contextlib.nullcontext


def of_whole_batch(
    residuals: Mapping[str, Tensor], coordinates: Tensor, indices: Tensor | None
) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
    """Return the rows of all replicas in place of those of this one, which gradients of the residuals lead back to.

    Args:
        residuals: of this replica's part of a batch, shape (part,), by term.
        coordinates: of its points, shape (part, dimension).
        indices: of these, shape (part,), if they are known.

    Returns:
        The same of shape (batch,), (batch, dimension) and (batch,).
    """
    if _replicas_here() == 1:
        return dict(residuals), coordinates, indices
    import tensorflow as tf

    gather = tf.distribute.get_replica_context().all_gather
    known = None if indices is None else gather(indices, axis=0)
    return gather(dict(residuals), axis=0), gather(coordinates, axis=0), known


def own_part(rows: Tensor) -> Tensor:
    """Return this replica's part of what each replica has all rows of."""
    count = _replicas_here()
    if count == 1:
        return rows
    import tensorflow as tf

    size, place = -(-rows.shape[0] // count), tf.distribute.get_replica_context().replica_id_in_sync_group
    return rows[place * size : (place + 1) * size]


def in_parts(model: Any, batch: Any) -> Any:
    """Return a batch as replicas are to be given it, a part each: Keras cuts data sets, and single batches not.

    Args:
        model: that is trained.
        batch: an array of shape (n, ...), or such arrays by name.
    """
    count = replicas_of(model)
    if count == 1:
        return batch

    def cut(rows: Any) -> Any:
        size = -(-len(rows) // count)
        parts = [ops.convert_to_tensor(rows[place * size : (place + 1) * size]) for place in range(count)]
        return model.distribute_strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    return {name: cut(rows) for name, rows in batch.items()} if isinstance(batch, Mapping) else cut(batch)


def share(loss: Tensor) -> Tensor:
    """Return this replica's share of a loss of the whole batch: Keras adds the shares, and their gradients."""
    return loss / ops.cast(_replicas_here(), loss.dtype)


def _replicas_here() -> int:
    """How many replicas run what is running now, this one among them."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


@final
class _WholeBatches(keras.distribution.DataParallel):  # type: ignore[misc, unused-ignore]
    """Another distribution, but that each device is handed all rows of a batch: Keras' own parts have to be equal."""

    def __init__(self, given: Any) -> None:
        self.__dict__.update(vars(given))
        self.cut = given.get_data_layout

    def get_data_layout(self, data_shape: Any) -> Any:
        """Return the layout of an array that is not cut."""
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def whole_batches() -> contextlib.AbstractContextManager[Any]:
    """Have Keras hand over whole batches inside, to be cut by `cut_by_device`; nothing without `DataParallel`."""
    distribution = keras.distribution.distribution()
    if isinstance(distribution, keras.distribution.DataParallel) and not isinstance(distribution, _WholeBatches):
        whole: contextlib.AbstractContextManager[Any] = _WholeBatches(distribution).scope()
        return whole
    return contextlib.nullcontext()


def cut_by_device(batch: Tensor) -> Tensor:
    """Have each device compute a part of what follows from a batch of shape (n, ...), within a compiled function."""
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, _WholeBatches):
        return batch
    import jax

    if not isinstance(batch, jax.core.Tracer):
        return batch
    cut: Any = jax.lax.with_sharding_constraint
    return cut(batch, distribution.cut(batch.shape).backend_layout)
