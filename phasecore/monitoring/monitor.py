"""What the monitors of all adapters have in common: what they show of their captures, and what they check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from phasecore import registry
from phasecore.arguments import is_whole
from phasecore.backends import Acted, Monitored
from phasecore.errors import InputError
from phasecore.losses import ResidualLoss
from phasecore.monitoring.clock import Clock
from phasecore.monitoring.rates_kept import RatesKept
from phasecore.phases import Phase, Timeline
from phasecore.policies.actions import Action, Call, Snapshot, Stop
from phasecore.probes import DEFAULT_PROBES, Default, Probe
from phasecore.probes.checks import check_declaration
from phasecore.recording.acting import call, check_policies
from phasecore.recording.applying import check_changes_apply
from phasecore.recording.recorder import Loggers, Recorder
from phasecore.recording.schedule import Schedule
from phasecore.signals import check_requirements


class Monitor(ABC):
    """What every monitor is: a recorder, a clock and a schedule. Base class, beside those of a framework's callbacks.

    Args:
        every: iterations between captures, see `phasecore.recording.schedule`.
        history_file: see `Recorder`, as for `resume`, `loggers` and `on_capture`.
        run_folder: the recorder's folder.
        snapshots: iterations after which snapshots are saved.
        policy: what changes the training while it goes on, see `phasecore.policies`.

    Attributes:
        every: iterations between captures.
        iteration: optimizer steps done.
        stopped: whether a policy asks for the end of the training.

    Raises:
        InputError: for a bad argument, or a file or run that exists without `resume`.
    """

    def __init__(
        self,
        *,
        every: int,
        history_file: str | Path | None = None,
        run_folder: str | Path | None = None,
        snapshots: Sequence[int] = (),
        resume: bool = False,
        loggers: Loggers = (),
        on_capture: Callable[[Mapping[str, float]], None] | None = None,
        policy: registry.Policies | None = None,
    ) -> None:
        super().__init__()
        self.every = check_every(every)
        self.iteration = 0
        self.stopped = False
        self._policies = registry.as_policies(policy)
        self._policy_name = policy if isinstance(policy, str) else "+".join(self._policies) or None
        self._log = Recorder(
            run_folder, history_file=history_file, resume=resume, loggers=loggers, on_capture=on_capture
        )
        self._wanted = checked_snapshots(snapshots, run_folder)
        self._clock = Clock()
        self._rates_kept = RatesKept()
        self._schedule = Schedule(every, [])
        self._saved = -1
        self._saves_together = False
        """Whether processes make snapshots together, and not all of them see the files."""

    @abstractmethod
    def _arrays(self) -> Mapping[str, NDArray[Any]] | None:
        """Return what a snapshot holds of the training now, or None where it cannot be told."""

    @property
    def _up_to_date(self) -> Recorder:
        """The recorder, after whatever is still to be captured of the iterations so far."""
        return self._log

    @property
    def history(self) -> list[dict[str, float]]:
        """The rows captured so far."""
        return self._up_to_date.rows

    @property
    def timeline(self) -> Timeline:
        """The phases so far, found without looking ahead."""
        return self._up_to_date.timeline

    @property
    def phase(self) -> Phase | None:
        """The phase that the training is in, or None while that cannot be told."""
        return self.timeline.current

    @property
    def actions(self) -> tuple[Acted, ...]:
        """What policies had done so far."""
        return tuple(self._up_to_date.actions)

    def detect(self) -> Timeline:
        """Return the phases found offline in the whole history: better than `timeline`, once training is over.

        Raises:
            InputError: if nothing was captured yet.
        """
        return self._up_to_date.detect()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: the iteration, the history and the time so far."""
        rows = [dict(row) for row in self._log.rows]
        state = {"iteration": self.iteration, "seconds": self._clock.seconds, "history": rows}
        if self._policies:
            done = [acted.to_json() for acted in self._log.actions]
            state["policies"] = {**self._log.policy_state(), "actions": done, "stopped": self.stopped}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; the phases so far are replayed from the history.

        In a training that has begun this goes back: what its files have of later is dropped once it goes on.
        """
        self.iteration, self._saved = int(state["iteration"]), -1
        self._clock.set(float(state["seconds"]))
        self._log.replay(state["history"], iteration=self.iteration)
        if self._policies and "policies" in state:
            acted = state["policies"]
            self._log.restore_policies(acted)
            self._log.actions, self.stopped = [Acted.of(item) for item in acted["actions"]], acted["stopped"]

    def _begin(self, training: Monitored, versions: Mapping[str, str]) -> None:
        """Begin the record, once: time goes on from that of the rows that are taken over."""
        if self._log.begun:
            return
        restored = bool(self._log.rows)
        if self._policies:
            training = replace(training, policies=self._policies, policy_name=self._policy_name)
        self._log.begin(training, versions, iteration=self.iteration)
        if self._log.rows and not restored:
            self._clock.set(float(self._log.rows[-1].get("seconds", 0.0)))

    def _check_policies(
        self,
        backend: str,
        declared: Iterable[str],
        supplies: Iterable[str] = (),
        *,
        saves: bool,
        fix: str,
        loss: object = None,
    ) -> None:
        """Refuse policies whose actions cannot be carried out, before the first iteration.

        Args:
            backend: what carries them out, as messages call it.
            declared: the actions that only the framework can do.
            supplies: the signals that it supplies, for weightings to change to.
            saves: whether there are snapshots.
            fix: what to do instead.
            loss: the training's: of a problem's, weightings to change to are tried on it.

        Raises:
            InputError: naming the policy, and the action, optimizer, weighting or signal; of a weighting that the
                problem has nothing for.
        """
        every = {*declared, Stop.name, Call.name, *([Snapshot.name] if saves else [])}
        check_policies(self._policies, backend, every, supplies, fix=fix)
        if isinstance(loss, ResidualLoss) and loss.collocation is not None:
            check_changes_apply(self._policies, loss.problem, loss.collocation)

    def _measures(self, probes: Sequence[Probe]) -> None:
        """Hear which probes there are, from now on."""
        self._schedule = Schedule(self.every, probes)

    def _due(self, since: int | None = None) -> list[Probe] | None:
        """Return the probes to measure now; None if no capture is due, or it was made already.

        Args:
            since: the iteration at which this was asked last, where several steps were made at once.
        """
        captured = self._log.rows[-1]["iteration"] if self._log.rows else 0
        return self._schedule.due(self.iteration, since) if self.iteration > captured else None

    def _is_wanted(self, since: int) -> bool:
        """Whether a snapshot is to be saved of an iteration since another one."""
        return any(since < snapshot <= self.iteration for snapshot in self._wanted)

    def _save_snapshot(self) -> None:
        self._saved = self.iteration
        arrays = self._arrays()
        if arrays is not None:
            self._log.snapshot(self.iteration, arrays)

    def _record(self, measured: Mapping[str, float], further: Mapping[str, float] | None = None) -> dict[str, float]:
        """Keep a capture, and return its row."""
        if further and "learning_rate" in further:
            self._rates_kept.look(further["learning_rate"])
        row = {"iteration": self.iteration, **(further or {}), "seconds": self._clock.seconds, **measured}
        self._log.captured(row)
        self._log.close()
        return row

    def _act(self) -> None:
        """Carry out what policies decided at the captures so far."""
        for action in self._log.decided():
            if isinstance(action, Stop):
                self.stopped = True
            elif isinstance(action, Snapshot):
                self._save_snapshot()
            elif isinstance(action, Call):
                call(action, self._log.timeline, self._log.rows[-1])
            else:
                self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        """Do what a policy asks for and what only the framework can do."""
        raise NotImplementedError(action.name)

    def _finish(self) -> None:
        """Save the last snapshot, and say that the training is over, if it ever began; it may go on later."""
        if self._log.begun:
            is_saved = self._saved == self.iteration if self._saves_together else self._log.has_snapshot(self.iteration)
            if not is_saved:
                self._save_snapshot()
            self._log.finish(self.iteration, self._clock.seconds)


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
        probes: specifications such as "saturation:every=500", or objects, or None.
        supplied: names of the signals that there are.
        backend: what supplies them, as messages call it.
        fix: what to do where one of those asked for requires another signal.

    Raises:
        InputError: for a probe that is asked for and requires a signal that is not there, or a text.
        UnknownNameError: for a name that no probe has.

    Example:
        >>> [probe.name for probe in choose_probes(None, frozenset({"adam_moments"}), "mine", fix="")]
        ['adam_snr']
    """
    if isinstance(probes, str):
        raise InputError("probes", received=f"the text {probes!r}", expected=f"a list of names, such as [{probes!r}]")
    chosen = []
    for given in DEFAULT_PROBES if probes is None else probes:
        probe = registry.as_probe(given)
        check_declaration(probe)
        if isinstance(given, Default) and not probe.requires <= supplied:
            continue
        check_requirements(f"probe {probe.name!r}", probe.requires, backend, supplied, fix=fix)
        chosen.append(probe)
    return chosen
