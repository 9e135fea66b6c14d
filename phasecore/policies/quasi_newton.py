"""From Adam to L-BFGS at a phase, or where that phase does not come in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from phasecore.arguments import is_number, is_whole
from phasecore.errors import InputError
from phasecore.phases import Timeline
from phasecore.policies.actions import Action, ChangeWeighting, HoldWeighting, Row, SwitchOptimizer
from phasecore.policies.base import PROGRESS, Policy
from phasecore.policies.options import declared, phase_of

WEIGHTS = ("updated", "held", "uniform")


class QuasiNewtonState(NamedTuple):
    """Whether the switch was made."""

    done: bool


def quasi_newton(
    phase: str = "total_diffusion", latest: float = 0.5, weights: str = "updated", optimizer: str = "lbfgs"
) -> Policy:
    """Return a policy that goes on with a quasi-Newton method when a phase is declared, or at the latest at a moment.

    Args:
        phase: "diffusion" or "total_diffusion".
        latest: where the phase does not come, the share of the iterations after which the switch is made in any case;
            or, above 1, an iteration, for loops whose number of iterations is not known.
        weights: what becomes of the weights: "updated" once per step and never within a line search, "held" as they
            are then, or "uniform".
        optimizer: the method.

    Raises:
        UnknownNameError: for an unknown phase.
        InputError: for another option out of range.

    Example:
        >>> sorted(quasi_newton(weights="held").requires)
        ['hold_weighting', 'switch_optimizer:lbfgs']
    """
    awaited = phase_of("quasi_newton", "phase", phase)
    if not (is_number(latest) and latest > 0 and (latest <= 1 or is_whole(latest))):
        raise InputError(
            "policy 'quasi_newton', option 'latest'",
            received=repr(latest),
            expected="a share of the iterations, above 0 and at most 1, or an iteration",
        )
    if weights not in WEIGHTS:
        raise InputError(
            "policy 'quasi_newton', option 'weights'", received=repr(weights), expected=f"one of {', '.join(WEIGHTS)}"
        )

    def actions_for(reason: str) -> Sequence[Action]:
        own: dict[str, Sequence[Action]] = {
            "updated": (),
            "held": (HoldWeighting(reason=reason),),
            "uniform": (ChangeWeighting("uniform", reason=reason),),
        }
        return (SwitchOptimizer(optimizer, reason=reason), *own[weights])

    def init() -> QuasiNewtonState:
        return QuasiNewtonState(done=False)

    def update(timeline: Timeline, row: Row, state: QuasiNewtonState) -> tuple[Sequence[Action], QuasiNewtonState]:
        reason = declared(timeline, awaited)
        if reason is None and _is_late(row, latest):
            reason = f"no {awaited.replace('_', ' ')} until iteration {row['iteration']:.0f}"
        if state.done or reason is None:
            return (), state
        return actions_for(reason), QuasiNewtonState(done=True)

    return Policy(init, update, frozenset(action.requirement for action in actions_for("")))


def _is_late(row: Row, latest: float) -> bool:
    return row["iteration"] >= latest if latest > 1 else row.get(PROGRESS, 0.0) >= latest
