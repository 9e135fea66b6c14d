"""Measuring the probes of a training at each capture: each sees what it declared, and one that fails ends nothing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from phasecore import registry
from phasecore.errors import PluginError, PluginWarning
from phasecore.probes import Probe
from phasecore.probes.checks import check_columns, check_declaration, checked_row
from phasecore.signals import AdamMoments, Moments, Signals


@final
class Measuring:
    """Measures probes, and watches over what they return.

    A probe that raises, or returns something else than numbers by name, is switched off with one warning, and the
    training goes on without its columns. Two owners of one column are refused at the first capture, where it shows.

    Args:
        probes: what is measured.

    Raises:
        PluginError: for a probe whose declarations are of a wrong kind.

    Example:
        >>> from phasecore.probes.term_losses import TermLosses
        >>> losses = {"pde": np.asarray(2.0)}
        >>> values = {"term_losses": losses, "weighted_term_losses": losses}
        >>> Measuring([TermLosses()]).row(values)["loss_pde"]
        2.0
    """

    def __init__(self, probes: Sequence[Probe]) -> None:
        for probe in probes:
            check_declaration(probe)
        self._probes = dict(enumerate(probes))
        self._labels = [label_of(probe) for probe in probes]
        self._owners: dict[str, int] = {}

    def required(self, due: Sequence[Probe] | None = None) -> frozenset[str]:
        """Return the names of the signals that probes require, all or those that are due."""
        return frozenset().union(*(probe.requires for probe in self._chosen(due).values()))

    def row(
        self, values: Mapping[str, Any], iteration: int | None = None, due: Sequence[Probe] | None = None
    ) -> dict[str, float]:
        """Return the scalars of every probe whose signals are there.

        Args:
            values: signals by name, as numpy arrays.
            iteration: optimizer steps done, for messages.
            due: the probes to measure, if not all.

        Raises:
            PluginError: for a column that two probes return, or that the row has already, naming both.
        """
        signals = Signals({name: _read_only(value) for name, value in values.items()}, np)
        row: dict[str, float] = {}
        for place, probe in self._chosen(due).items():
            if probe.requires <= values.keys():
                row |= self._measured(place, probe, signals, iteration)
        return row

    def _chosen(self, due: Sequence[Probe] | None) -> dict[int, Probe]:
        """Those that are due and still there, by place."""
        wanted = None if due is None else set(map(id, due))
        return {place: probe for place, probe in self._probes.items() if wanted is None or id(probe) in wanted}

    def _measured(self, place: int, probe: Probe, signals: Signals, iteration: int | None) -> dict[str, float]:
        label = self._labels[place]
        try:
            found = checked_row(label, probe.measure(signals.declared_by(label, probe.requires)))
        except (Exception, SystemExit) as error:
            self._switch_off(place, iteration, error)
            return {}
        try:
            check_columns(label, found, {name: self._labels[p] for name, p in self._owners.items() if p != place})
        except PluginError as error:
            if place not in self._owners.values():
                raise
            self._switch_off(place, iteration, error)
            return {}
        self._owners |= dict.fromkeys(found, place)
        return found

    def _switch_off(self, place: int, iteration: int | None, error: BaseException) -> None:
        del self._probes[place]
        label = self._labels[place]
        when = "" if iteration is None else f" at iteration {iteration}"
        told = str(error) if isinstance(error, PluginError) else f"measure() raised {type(error).__name__}: {error}"
        warnings.warn(
            f"{label}{when}: {told.removeprefix(label).lstrip(':, ').rstrip('.')}; it is disabled for the rest of this "
            "training, which goes on without it",
            PluginWarning,
            stacklevel=2,
        )


def _read_only(value: Any) -> Any:
    """The same arrays, which a probe cannot write into: some share their memory with what is trained."""
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
        return value
    if isinstance(value, Mapping):
        return {name: _read_only(part) for name, part in value.items()}
    return type(value)(*map(_read_only, value)) if isinstance(value, (Moments, AdamMoments)) else value


def label_of(probe: Probe) -> str:
    """Return what to call a probe in messages: the name to ask for it by, and the package or module it comes from.

    Example:
        >>> label_of(registry.probe("adam_snr")).partition(" of ")[0]
        "probe 'adam_snr'"
    """
    origin = registry.origin_of("probe", probe)
    if origin is None:
        return f"probe {probe.name!r} of {type(probe).__module__}"
    return f"probe {origin.made_as.name!r} of {origin.source}"
