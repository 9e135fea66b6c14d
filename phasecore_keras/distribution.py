"""Training on several devices: what is refused, because its numbers would be others than one device's."""

from __future__ import annotations

from typing import Any

import keras

from phasecore.errors import InputError


def check_distribution(model: Any) -> None:
    """Refuse ways of distributing a PINN that are not supported.

    With `keras.distribution` on JAX a step is one program over all devices, in which maxima and means are those of the
    whole batch. The replicas of `tf.distribute` see their own part of a batch each, and would normalize the weights of
    points by the maximum of that part; several processes hold a part of the points each.

    Raises:
        InputError: for several replicas of `tf.distribute`, or several processes of JAX.
    """
    backend = keras.backend.backend()
    replicas = model.distribute_strategy.num_replicas_in_sync if backend == "tensorflow" else 1
    if replicas > 1:
        raise InputError(
            "a PINN under tf.distribute",
            received=f"a strategy with {replicas} replicas, each of which would weight its own part of a batch",
            expected="one replica",
            fix="Use keras.distribution.DataParallel with KERAS_BACKEND=jax, which gives the numbers of one device.",
        )
    if backend == "jax":
        import jax

        if jax.process_count() > 1:
            raise InputError(
                "a PINN on several hosts",
                received=f"{jax.process_count()} processes of JAX",
                expected="one process, whatever the number of its devices",
            )
