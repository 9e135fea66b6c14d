"""What a probe declares and returns, checked where it is used, and by the conformance suite in the same words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from phasecore.arguments import is_whole
from phasecore.errors import PluginError, described
from phasecore.probes.base import Probe

TAKEN = ("iteration", "seconds", "learning_rate", "loss", "epoch")
"""Columns of a row, or of what is written beside it, that are not a probe's."""


def check_declaration(probe: Probe) -> None:
    """Refuse a probe without a name, or whose signals are not a set of names.

    Raises:
        PluginError: naming the probe's class.

    Example:
        >>> from phasecore.probes.adam_snr import AdamSNR
        >>> check_declaration(AdamSNR())
    """
    where = f"probe of class {type(probe).__name__}"
    name, requires = getattr(probe, "name", None), getattr(probe, "requires", None)
    if not isinstance(probe, Probe):
        raise PluginError(where, received=described(probe), expected="a class derived from phasecore.probes.Probe")
    if not isinstance(name, str):
        raise PluginError(f"{where}, 'name'", received=repr(name), expected="the registered name")
    if not isinstance(requires, Set) or not all(isinstance(item, str) for item in requires):
        raise PluginError(f"{where}, 'requires'", received=repr(requires), expected="a frozenset of names of signals")
    if probe.every is not None and not is_whole(probe.every):
        raise PluginError(f"{where}, 'every'", received=repr(probe.every), expected="a positive integer, or None")


def checked_row(probe: str, found: Any) -> dict[str, float]:
    """Return what a probe measured, as the history keeps it: real numbers by name, NaN or infinity where undefined.

    Args:
        probe: as messages call it.
        found: what `Probe.measure` returned.

    Raises:
        PluginError: for anything else, naming the probe and the column.

    Example:
        >>> checked_row("probe 'size'", {"size": np.float32(0.5)})
        {'size': 0.5}
    """
    if not isinstance(found, Mapping):
        raise PluginError(probe, received=described(found), expected="a mapping of name to number")
    for name in found:
        if not isinstance(name, str) or not re.fullmatch(r"\S+", name):
            raise PluginError(
                f"{probe}, a column's name", received=repr(name), expected="words joined by underscores, without spaces"
            )
    return {name: _number(f"{probe}, {name!r}", value) for name, value in found.items()}


def check_columns(probe: str, row: Mapping[str, float], owners: Mapping[str, str]) -> None:
    """Refuse names that the row, or another probe, has already.

    Args:
        probe: as messages call it.
        row: what it measured.
        owners: {column: probe} of the others.

    Raises:
        PluginError: naming both.

    Example:
        >>> check_columns("probe 'size'", {"size": 0.5}, {"snr": "probe 'gradient_snr'"})
    """
    for name in row:
        owner = "the row itself" if name in TAKEN else owners.get(name)
        if owner:
            raise PluginError(
                f"{probe}, column {name!r}",
                received=f"a name that {owner} has already",
                expected="a name of its own",
                fix="Rename what the probe returns, or leave one of the two out.",
            )


def _number(what: str, value: Any) -> float:
    try:
        array = np.asarray(value)
    except Exception:
        array = np.asarray(None)
    if array.dtype.kind not in "fiu" or array.ndim:
        raise PluginError(what, received=described(value), expected="a real number, NaN where undefined")
    return float(array)
