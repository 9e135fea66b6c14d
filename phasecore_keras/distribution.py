"""Training a PINN on several devices: the numbers of one, whatever the number of points, or a refusal.

With `keras.distribution` on JAX a step is one program over all devices, in which maxima and means are those of the
whole batch. It is handed over whole and cut within the program, where the parts need not be equal.

The replicas of `tf.distribute` run the program beside each other, each with a part of the batch. They tell each other
the residuals of their parts, so that each goes on with those of the whole batch: what follows is as on one device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, final

import keras
from keras import ops

from phasecore.errors import InputError
from phasecore_keras.differentiation import Tensor

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


def check_distribution(model: Any) -> None:
    """Refuse ways of distributing a PINN that are not supported.

    Raises:
        InputError: for several replicas of another strategy than `MirroredStrategy`, of a network that is not
            mirrored, or several processes of JAX.
    """
    if replicas_of(model) > 1:
        _check_strategy(model)
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
    for variable in model.network.variables:
        if not isinstance(variable.value, tf.distribute.DistributedValues):
            raise InputError(
                "a PINN under tf.distribute",
                received=f"a network whose variable {variable.path!r} was made outside of the strategy's scope",
                expected="a network, a problem and a PINN that are all made within strategy.scope()",
            )


def scope_here() -> Scope:
    """Return what enters again the scope of `tf.distribute` that this is called in, to make variables of it."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext
    import tensorflow as tf

    return tf.distribute.get_strategy().scope if tf.distribute.has_strategy() else contextlib.nullcontext


def of_whole_batch(residuals: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], ...]:
    """Return the rows of all replicas in place of those of this one, which gradients lead back to.

    Args:
        residuals: of this replica's part of a batch, shape (part,), by name.
        others: constants of the same points, shape (part, ...), by name.

    Returns:
        Both, of shape (batch, ...).
    """
    if _replicas_here() == 1:
        return dict(residuals), dict(others)
    import tensorflow as tf

    gather = tf.distribute.get_replica_context().all_gather
    return gather(dict(residuals), axis=0), gather(dict(others), axis=0)


def own_part(rows: Tensor) -> Tensor:
    """Return this replica's part of what each replica has all rows of."""
    count = _replicas_here()
    if count == 1:
        return rows
    import tensorflow as tf

    size, place = -(-len(rows) // count), tf.distribute.get_replica_context().replica_id_in_sync_group
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
        vars(self).update(vars(given))
        self.cut = given.get_data_layout

    def get_data_layout(self, data_shape: Any) -> Any:
        """Return the layout of an array that is not cut."""
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def whole_batches() -> contextlib.AbstractContextManager[Any]:
    """Have Keras hand over whole batches inside, to be cut by `cut_by_device`; nothing without `DataParallel`."""
    distribution = keras.distribution.distribution()
    if isinstance(distribution, keras.distribution.DataParallel) and not isinstance(distribution, _WholeBatches):
        return _WholeBatches(distribution).scope()
    return contextlib.nullcontext()


def cut_by_device(batch: Tensor) -> Tensor:
    """Have each device compute a part of what follows from a batch of shape (n, ...), within a compiled function."""
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, _WholeBatches):
        return batch
    import jax

    if not isinstance(batch, jax.core.Tracer):
        return batch
    return jax.lax.with_sharding_constraint(batch, distribution.cut(batch.shape).backend_layout)
