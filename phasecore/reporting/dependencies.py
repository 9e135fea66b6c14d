"""Packages of the extra `report`, which pictures and pages need."""

from __future__ import annotations

import importlib.util

from phasecore.errors import MissingDependencyError


def check_installed(package: str, what: str) -> None:
    """Refuse to begin what cannot be completed without a package.

    Args:
        package: of the extra `report`.
        what: needs it, as the beginning of the message.

    Raises:
        MissingDependencyError: if it is not installed.

    Example:
        >>> check_installed("json", "a report")
    """
    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(
            f"{what} needs {package}, not installed", fix="Install with: pip install 'phasecore[report]'"
        )
