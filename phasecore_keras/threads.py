"""How many threads the framework under Keras uses: each has a setting of its own.

Sources: `tf.config.threading`; `torch.set_num_threads`; XLA's CPU client, which JAX makes when it first computes, has
as many threads as the environment variable NPROC says (xla/pjrt/utils.cc).
"""

from __future__ import annotations

import contextlib
import os

import keras

PROCESSORS = "NPROC"


def limit_threads(count: int) -> None:
    """Use at most so many threads in this process; fewer stay fewer.

    TensorFlow and JAX take it before they first compute anything, and keep what they have after that.

    Args:
        count: at least 1.

    Example:
        >>> limit_threads(1)
    """
    {"tensorflow": _limit_tensorflow, "jax": _limit_jax, "torch": _limit_torch}[keras.backend.backend()](count)


def _limit_tensorflow(count: int) -> None:
    import tensorflow as tf

    threading = tf.config.threading
    for get, put in (
        (threading.get_intra_op_parallelism_threads, threading.set_intra_op_parallelism_threads),
        (threading.get_inter_op_parallelism_threads, threading.set_inter_op_parallelism_threads),
    ):
        # 0 stands for as many as there are cores; an initialized runtime refuses
        with contextlib.suppress(RuntimeError):
            put(min(count, get() or count))


def _limit_jax(count: int) -> None:
    given = os.environ.get(PROCESSORS, "")
    os.environ[PROCESSORS] = str(min(count, int(given)) if given.isdigit() else count)


def _limit_torch(count: int) -> None:
    import torch

    torch.set_num_threads(min(count, torch.get_num_threads()))
