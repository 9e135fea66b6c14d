"""The Keras backend: not there yet."""

from __future__ import annotations

from typing import NoReturn

from phasecore import MissingDependencyError


def KerasBackend() -> NoReturn:  # noqa: N802
    """Say that the Keras backend is not there yet.

    Raises:
        MissingDependencyError: always.
    """
    raise MissingDependencyError(
        "backend 'keras' is not part of this version of phasecore",
        fix="Use backend 'torch': pip install 'phasecore[torch]', then --backend torch.",
    )
