"""Calling what others wrote: its random numbers are not those of the training, and what hangs is named."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

PATIENCE = 30.0
"""Seconds after which a plugin that is still loading is named."""


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Put the global generators of random numbers back: Python's, numpy's, and torch's where it is imported.

    Example:
        >>> random.seed(0)
        >>> first = random.random()
        >>> random.seed(0)
        >>> with random_state_kept():
        ...     random.seed(7)
        >>> random.random() == first
        True
    """
    torch: Any = sys.modules.get("torch")
    has_torch = hasattr(torch, "get_rng_state")
    has_devices = has_torch and torch.cuda.is_available() and torch.cuda.is_initialized()
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    of_torch = torch.get_rng_state() if has_torch else None
    of_devices = torch.cuda.get_rng_state_all() if has_devices else None
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
        if has_torch:
            torch.set_rng_state(of_torch)
        if has_devices:
            torch.cuda.set_rng_state_all(of_devices)


@contextlib.contextmanager
def named_if_slow(what: str, patience: float | None = None) -> Iterator[None]:
    """Say on standard error what is still being done after a while: it may hang, and nobody would know who.

    Args:
        what: is done, as it follows "still".
        patience: seconds; by default `PATIENCE`.

    Example:
        >>> with named_if_slow("loading plugin 'mine'"):
        ...     pass
    """

    def say() -> None:
        with contextlib.suppress(OSError, ValueError):
            print(f"phasecore: still {what} after {patience:g} s; Ctrl-C stops it", file=sys.stderr, flush=True)

    patience = PATIENCE if patience is None else patience
    timer = threading.Timer(patience, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
