"""The policies of a training: asked after each capture, guarded, and what they had done."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, final

from phasecore import registry
from phasecore.backends import Acted
from phasecore.errors import PluginError, PluginWarning
from phasecore.foreign import random_state_kept
from phasecore.phases import Timeline
from phasecore.policies.actions import (
    Action,
    AverageWeighting,
    Call,
    ChangeWeighting,
    HoldWeighting,
    ReleaseWeighting,
    Resample,
    SwitchOptimizer,
)
from phasecore.policies.base import PROGRESS, Policy
from phasecore.policies.checks import check_carried_out, decided, first_state, plain_state, restored_state
from phasecore.recording.display import level_outside
from phasecore.signals import check_requirements
from phasecore.weighting.checks import check_can_move


class Decision(NamedTuple):
    """An action, and the policy that asks for it."""

    policy: str
    action: Action


class Standing(NamedTuple):
    """What is different by what policies had done; None and False where nothing was.

    Attributes:
        optimizer: the name of the one in charge.
        weighting: the specification of the weighting in use.
        held: whether its weights are held.
    """

    optimizer: str | None = None
    weighting: str | None = None
    held: bool = False


def standing_of(actions: Iterable[Acted]) -> Standing:
    """Return what is different after some actions, for a training that goes on from its history.

    Example:
        >>> done = [Acted(10, "mine", "hold_weighting", None, ""), Acted(20, "mine", "switch_optimizer", "lbfgs", "")]
        >>> standing_of(done)
        Standing(optimizer='lbfgs', weighting=None, held=True)
    """
    standing = Standing()
    for acted in actions:
        if acted.action == SwitchOptimizer.name:
            standing = standing._replace(optimizer=str(acted.to))
        elif acted.action == ChangeWeighting.name:
            standing = standing._replace(weighting=str(acted.to), held=False)
        elif acted.action in (HoldWeighting.name, AverageWeighting.name, ReleaseWeighting.name):
            standing = standing._replace(held=acted.action != ReleaseWeighting.name)
    return standing


@final
class Acting:
    """Asks policies, and switches off one that breaks its contract.

    Args:
        policies: by the names to call them by.
        iterations: how many there are to be, None where that is not known.
        warn: takes one sentence for each policy that is switched off.

    Example:
        >>> from phasecore.phases import Phase
        >>> acting = Acting({"stop": registry.policy("at_phase", phase="fitting", do="stop")}, 100, print)
        >>> [decision.action.name for decision in acting.decide(Timeline((), Phase.FITTING, ""), {"iteration": 10})]
        ['stop']
    """

    def __init__(self, policies: Mapping[str, Policy], iterations: int | None, warn: Callable[[str], None]) -> None:
        self._policies = dict(policies)
        self._iterations = iterations
        self._warn = warn
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self._states: dict[str, Any] = {}
        self._off: set[str] = set()
        self._pending: list[Action] = []
        for name, policy in self._policies.items():
            with self._guarded(name):
                self._states[name] = first_state(name, policy)

    def decide(self, timeline: Timeline, row: Mapping[str, float]) -> list[Decision]:
        """Return what is to be done now.

        Args:
            timeline: the phases so far.
            row: what was measured, with its "iteration".
        """
        seen = MappingProxyType(row_for_policies(row, self._iterations))
        found: list[Decision] = []
        for name, policy in self._policies.items():
            if name in self._off:
                continue
            with self._guarded(name):
                actions, self._states[name] = decided(name, policy, timeline, seen, self._states[name])
                found += [Decision(name, action) for action in actions]
        return found

    def act(self, timeline: Timeline, row: Mapping[str, float]) -> list[Acted]:
        """Decide what is to be done now, which is then to be taken, and return the record of it."""
        decisions, iteration = self.decide(timeline, row), int(row["iteration"])
        self._pending += [decision.action for decision in decisions]
        return [
            Acted(iteration, policy, action.name, action.to, action.reason or timeline.reason)
            for policy, action in decisions
        ]

    def taken(self) -> list[Action]:
        """Return what is to be done and was not taken yet."""
        pending, self._pending = self._pending, []
        return pending

    def replay(self, timeline: Timeline, row: Mapping[str, float], actions: Iterable[Acted]) -> None:
        """Go on from a row of an earlier session; what was not done there is still to be decided.

        Args:
            timeline: the phases so far.
            row: what was measured, with its "iteration".
            actions: what policies had done in that session.
        """
        done = {acted.policy for acted in actions if acted.iteration == row["iteration"]}
        before = dict(self._states)
        undone = {decision.policy for decision in self.decide(timeline, row)} - done
        self._states |= {name: before[name] for name in undone}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint carries, as JSON has it: each policy's state, None for one that is switched off."""
        return {name: None if name in self._off else plain_state(self._states[name]) for name in self._policies}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        for name, state in saved.items():
            if name in self._policies and state is None:
                self._off.add(name)
            elif name in self._states:
                self._off.discard(name)
                self._states[name] = restored_state(state, type(self._states[name]))

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            with random_state_kept():
                yield
        except PluginError as error:
            self._off.add(name)
            self._warn(f"{str(error).rstrip('.')}; it is disabled for the rest of this run, which goes on without it")


def row_for_policies(row: Mapping[str, Any], iterations: int | None) -> dict[str, Any]:
    """Return a row of the history as a policy is given it: NaN for what was not finite, and the progress.

    Example:
        >>> row_for_policies({"iteration": 10, "snr": None, "actions": []}, 100)
        {'iteration': 10, 'snr': nan, 'progress': 0.1}
    """
    numbers = {name: math.nan if value is None else value for name, value in row.items() if name != "actions"}
    return numbers if iterations is None else {**numbers, PROGRESS: row["iteration"] / iterations}


def call(action: Call, timeline: Timeline, row: Mapping[str, Any]) -> None:
    """Call a function that a policy asks for; what it raises becomes a warning, and the training goes on.

    Example:
        >>> call(Call(lambda timeline, row: print(row["iteration"])), Timeline((), None, ""), {"iteration": 10})
        10
    """
    try:
        with random_state_kept():
            action.function(timeline, MappingProxyType(dict(row)))
    except (Exception, SystemExit) as error:
        warnings.warn(
            f"{action.to}, called by a policy, raised {type(error).__name__}: {error}; the training goes on",
            PluginWarning,
            stacklevel=level_outside(),
        )


def check_policies(
    policies: Mapping[str, Policy],
    backend: str,
    declared: Iterable[str],
    supplies: Iterable[str] = (),
    fix: str = "Use another backend, or another policy.",
) -> None:
    """Refuse policies whose actions cannot be carried out, before the first iteration.

    Args:
        policies: by name.
        backend: what carries them out, as messages call it.
        declared: the actions that it can carry out.
        supplies: the signals that it supplies, for weightings to change to.
        fix: what to do instead.

    Raises:
        InputError: naming the policy, and the action, optimizer, weighting or signal.
    """
    declared = frozenset(declared)
    for name, policy in policies.items():
        check_carried_out(name, policy, backend, declared, fix)
        for weighting in changes_of(policy):
            for scheme_name, scheme in registry.as_schemes(weighting).items():
                check_requirements(
                    f"policy {name!r}: weighting {scheme_name!r}",
                    scheme.requires,
                    backend,
                    supplies,
                    fix="Let the policy change to another weighting.",
                )
                if may_resample(policies):
                    check_can_move({scheme_name: scheme})


def changes_of(policy: Policy) -> list[str]:
    """Return the weightings that a policy may change to.

    Example:
        >>> changes_of(registry.policy("quasi_newton", weights="uniform"))
        ['uniform']
    """
    prefix = f"{ChangeWeighting.name}:"
    return [item.removeprefix(prefix) for item in sorted(policy.requires) if item.startswith(prefix)]


def may_resample(policies: Mapping[str, Policy]) -> bool:
    """Return whether one of some policies may ask for other collocation points.

    Example:
        >>> may_resample(registry.as_policies("at_phase:phase=diffusion,do=resample"))
        True
    """
    return Resample.name in required_by(policies)


def required_by(policies: Mapping[str, Policy]) -> frozenset[str]:
    """Return the requirements of all actions that some policies may ask for.

    Example:
        >>> required_by(registry.as_policies("at_phase:phase=diffusion,do=stop"))
        frozenset({'stop'})
    """
    return frozenset().union(*(policy.requires for policy in policies.values()))
