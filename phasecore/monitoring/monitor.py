"""What the monitors of all adapters have in common: what they show of their captures, and what they check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from phasecore import registry
from phasecore.arguments import is_whole
from phasecore.errors import InputError
from phasecore.phases import Phase, Timeline
from phasecore.probes import DEFAULT_PROBES, Probe
from phasecore.probes.checks import check_declaration
from phasecore.recording.recorder import Recorder
from phasecore.signals import check_requirements


class Monitor(ABC):
    """A monitor has a recorder, and shows what it keeps. Base class, beside those of a framework's callbacks."""

    @property
    @abstractmethod
    def _recorder(self) -> Recorder:
        """Who keeps the captures."""

    @property
    def history(self) -> list[dict[str, float]]:
        """The rows captured so far."""
        return self._recorder.rows

    @property
    def timeline(self) -> Timeline:
        """The phases so far, found without looking ahead."""
        return self._recorder.timeline

    @property
    def phase(self) -> Phase | None:
        """The phase that the training is in, or None while that cannot be told."""
        return self.timeline.current

    def detect(self) -> Timeline:
        """Return the phases found offline in the whole history: better than `timeline`, once training is over.

        Raises:
            InputError: if nothing was captured yet.
        """
        return self._recorder.detect()


def checked_snapshots(snapshots: Sequence[int], run_folder: str | Path | None) -> tuple[int, ...]:
    """Return the iterations after which snapshots are wanted.

    Raises:
        InputError: if one is no positive integer, or there is no run folder to save them in.

    Example:
        >>> checked_snapshots([100, 1000], "runs/mine")
        (100, 1000)
    """
    positive = all(map(is_whole, snapshots))
    if not positive or (snapshots and run_folder is None):
        raise InputError(
            "argument 'snapshots'",
            received=repr(snapshots) if not positive else "snapshots without a run folder",
            expected="positive iterations, and run_folder= to save them in",
        )
    return tuple(snapshots)


def check_every(every: int) -> int:
    """Return the iterations between captures.

    Raises:
        InputError: if they are not a positive integer.

    Example:
        >>> check_every(10)
        10
    """
    if not is_whole(every):
        raise InputError("argument 'every'", received=repr(every), expected="a positive integer")
    return every


def check_batches(batches: int, points: int, of: str = "points") -> None:
    """Refuse a number of batches that points cannot be cut into.

    Raises:
        InputError: if they are no integer from 2 to the number of points.

    Example:
        >>> check_batches(100, 2500)
    """
    if not is_whole(batches, least=2) or batches > points:
        raise InputError(
            "number of batches of the gradient statistics",
            received=batches,
            expected=f"from 2 to the number of {of}, {points}",
        )


def choose_probes(
    probes: Sequence[str | Probe] | None, supplied: frozenset[str], backend: str, *, fix: str
) -> list[Probe]:
    """Return the probes that are asked for; None for those of `DEFAULT_PROBES` whose signals are there.

    Args:
        probes: names or objects, or None.
        supplied: names of the signals that there are.
        backend: what supplies them, as messages call it.
        fix: what to do where one of those asked for requires another signal.

    Raises:
        InputError: for a probe that is asked for and requires a signal that is not there.
        UnknownNameError: for a name that no probe has.

    Example:
        >>> [probe.name for probe in choose_probes(None, frozenset({"adam_moments"}), "mine", fix="")]
        ['adam_snr']
    """
    if probes is None:
        known = (registry.probe(name) for name in DEFAULT_PROBES)
        return [probe for probe in known if probe.requires <= supplied]
    chosen = [registry.probe(probe) if isinstance(probe, str) else probe for probe in probes]
    for probe in chosen:
        check_declaration(probe)
        check_requirements(f"probe {probe.name!r}", probe.requires, backend, supplied, fix=fix)
    return chosen
