"""From Adam to L-BFGS once a phase has come, not too early and not too late."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from phasecore.arguments import is_number, is_whole
from phasecore.errors import InputError
from phasecore.phases import Timeline
from phasecore.policies.actions import (
    Action,
    AverageWeighting,
    ChangeWeighting,
    HoldWeighting,
    Row,
    SwitchOptimizer,
)
from phasecore.policies.base import PROGRESS, Policy
from phasecore.policies.options import declared, phase_of

WEIGHTS = ("averaged", "held", "updated", "uniform")


class QuasiNewtonState(NamedTuple):
    """Whether the switch was made."""

    done: bool


def quasi_newton(
    phase: str = "diffusion",
    earliest: float = 0.1,
    latest: float = 0.25,
    weights: str = "averaged",
    optimizer: str = "lbfgs",
) -> Policy:
    """Return a policy that goes on with a quasi-Newton method once a phase is declared, within a span of moments.

    The defaults are those that were best on three problems, see `docs/policy_study.md`.

    Args:
        phase: "diffusion" or "total_diffusion".
        earliest: where the phase comes before, the switch waits until this share of the iterations is done; or, above
            1, until an iteration. A share waits for nothing in loops whose number of iterations is not known.
        latest: where the phase does not come, the share of the iterations after which the switch is made in any case;
            or, above 1, an iteration, for loops whose number of iterations is not known. It goes before `earliest`.
        weights: what becomes of the weights. "averaged": each of a term's points has the mean of their weights from
            then on, so that the terms keep the balance that the weighting has found, and no point stands out; "held":
            they stay as they are; "updated" once per step, and never within a line search; or "uniform".
        optimizer: the method.

    Raises:
        UnknownNameError: for an unknown phase.
        InputError: for another option out of range.

    Example:
        >>> sorted(quasi_newton(weights="held").requires)
        ['hold_weighting', 'switch_optimizer:lbfgs']
    """
    awaited = phase_of("quasi_newton", "phase", phase)
    for option, moment, least in (("earliest", earliest, 0.0), ("latest", latest, math.ulp(0.0))):
        if not (is_number(moment) and moment >= least and (moment <= 1 or is_whole(moment))):
            raise InputError(
                f"policy 'quasi_newton', option {option!r}",
                received=repr(moment),
                expected="a share of the iterations, above 0 and at most 1, or an iteration",
            )
    if weights not in WEIGHTS:
        raise InputError(
            "policy 'quasi_newton', option 'weights'", received=repr(weights), expected=f"one of {', '.join(WEIGHTS)}"
        )

    def actions_for(reason: str) -> Sequence[Action]:
        return (SwitchOptimizer(optimizer, reason=reason), *on_weights(weights, reason))

    def init() -> QuasiNewtonState:
        return QuasiNewtonState(done=False)

    def update(timeline: Timeline, row: Row, state: QuasiNewtonState) -> tuple[Sequence[Action], QuasiNewtonState]:
        reason = declared(timeline, awaited) if _reached(row, earliest, unknown=True) else None
        if reason is None and _reached(row, latest, unknown=False):
            reason = f"iteration {row['iteration']:.0f} is the latest, whatever the phase"
        if state.done or reason is None:
            return (), state
        return actions_for(reason), QuasiNewtonState(done=True)

    return Policy(init, update, frozenset(action.requirement for action in actions_for("")))


def on_weights(weights: str, reason: str = "") -> Sequence[Action]:
    """Return what is done to the weights at the switch.

    Args:
        weights: see `quasi_newton`.
        reason: see `Action`.

    Example:
        >>> [action.name for action in on_weights("held")], on_weights("updated")
        (['hold_weighting'], ())
    """
    actions: dict[str, Sequence[Action]] = {
        "averaged": (AverageWeighting(reason=reason),),
        "held": (HoldWeighting(reason=reason),),
        "updated": (),
        "uniform": (ChangeWeighting("uniform", reason=reason),),
    }
    return actions[weights]


def _reached(row: Row, moment: float, *, unknown: bool) -> bool:
    """Whether a moment has come; `unknown` where it is a share of what is not known."""
    if moment > 1:
        return row["iteration"] >= moment
    return row[PROGRESS] >= moment if PROGRESS in row else unknown
