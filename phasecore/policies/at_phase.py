"""At a phase: one action, once, when the online tracker declares the phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from phasecore.phases import Timeline
from phasecore.policies.actions import Action, Row, make_action
from phasecore.policies.base import Policy
from phasecore.policies.options import declared, phase_of


class AtPhaseState(NamedTuple):
    """Whether the phase was there already."""

    done: bool


def at_phase(phase: str, do: str | Callable[[Timeline, Row], Any], to: object = None) -> Policy:
    """Return a policy that acts once, when a phase is declared.

    Args:
        phase: "fitting", "diffusion" or "total_diffusion".
        do: an action's name, such as "stop" or "hold_weighting"; an optimizer's, "lbfgs" or "adam", for the switch to
            it; or a function of yours, called with the timeline and the row.
        to: what the action takes: an optimizer's name, a learning rate or a factor of it, a weighting.

    Raises:
        UnknownNameError: for an unknown phase or action.
        InputError: for a missing, needless or wrong `to`.

    Example:
        >>> at_phase("total_diffusion", "scale_learning_rate", 0.1).requires
        frozenset({'scale_learning_rate'})
    """
    awaited = phase_of("at_phase", "phase", phase)
    action = make_action(do, to, policy="at_phase")

    def init() -> AtPhaseState:
        return AtPhaseState(done=False)

    def update(timeline: Timeline, row: Row, state: AtPhaseState) -> tuple[Sequence[Action], AtPhaseState]:
        found = declared(timeline, awaited)
        if state.done or found is None:
            return (), state
        return (replace(action, reason=found),), AtPhaseState(done=True)

    return Policy(init, update, frozenset({action.requirement}))
