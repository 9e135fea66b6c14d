"""An optimizer for each phase: the switch is made when the online tracker declares it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from phasecore.errors import InputError
from phasecore.phases import Phase, Timeline
from phasecore.policies.actions import Action, Row, SwitchOptimizer
from phasecore.policies.base import Policy
from phasecore.policies.options import declared


class OptimizerByPhaseState(NamedTuple):
    """The phase that the last switch was made for, empty before the first."""

    phase: str


def optimizer_by_phase(diffusion: str | None = None, total_diffusion: str | None = None) -> Policy:
    """Return a policy that goes on with another optimizer in each phase that is given one.

    Args:
        diffusion: the optimizer from the declared start of diffusion on; None goes on with the one before.
        total_diffusion: likewise.

    Raises:
        InputError: for no optimizer at all, or one that is no name.

    Example:
        >>> sorted(optimizer_by_phase(diffusion="adamw", total_diffusion="lbfgs").requires)
        ['switch_optimizer:adamw', 'switch_optimizer:lbfgs']
    """
    given = {Phase.DIFFUSION: diffusion, Phase.TOTAL_DIFFUSION: total_diffusion}
    switches = {phase: SwitchOptimizer(name) for phase, name in given.items() if name is not None}
    if not switches:
        raise InputError(
            "policy 'optimizer_by_phase'",
            received="no optimizer",
            expected="diffusion=NAME or total_diffusion=NAME, or both",
        )

    def init() -> OptimizerByPhaseState:
        return OptimizerByPhaseState("")

    def update(
        timeline: Timeline, row: Row, state: OptimizerByPhaseState
    ) -> tuple[Sequence[Action], OptimizerByPhaseState]:
        begun = [phase for phase in switches if timeline.start(phase) is not None]
        made = list(switches).index(Phase(state.phase)) if state.phase else -1
        if not begun or list(switches).index(begun[-1]) <= made:
            return (), state
        phase = begun[-1]
        reason = declared(timeline, phase) or ""
        return (SwitchOptimizer(switches[phase].optimizer, reason=reason),), OptimizerByPhaseState(str(phase))

    return Policy(init, update, frozenset(switch.requirement for switch in switches.values()))
