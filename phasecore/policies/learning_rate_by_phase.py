"""A learning rate for each phase, as a factor of the one that the training started with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from phasecore.phases import Phase, Timeline
from phasecore.policies.actions import Action, Row, ScaleLearningRate
from phasecore.policies.base import Policy
from phasecore.policies.options import check_positive, declared


class LearningRateByPhaseState(NamedTuple):
    """The phase whose learning rate was set last; fitting before any was."""

    phase: str


def learning_rate_by_phase(diffusion: float = 1.0, total_diffusion: float = 0.1) -> Policy:
    """Return a policy that scales the learning rate when a phase is declared.

    A schedule of the learning rate goes on beside it. A phase is left for a later one only.

    Args:
        diffusion: factor of the initial learning rate from the declared start of diffusion on.
        total_diffusion: likewise.

    Raises:
        InputError: for a factor that is not positive.

    Example:
        >>> learning_rate_by_phase(total_diffusion=0.2).requires
        frozenset({'scale_learning_rate'})
    """
    check_positive("learning_rate_by_phase", "diffusion", diffusion)
    check_positive("learning_rate_by_phase", "total_diffusion", total_diffusion)
    factors = {Phase.FITTING: 1.0, Phase.DIFFUSION: diffusion, Phase.TOTAL_DIFFUSION: total_diffusion}
    order = list(Phase)

    def init() -> LearningRateByPhaseState:
        return LearningRateByPhaseState(str(Phase.FITTING))

    def update(
        timeline: Timeline, row: Row, state: LearningRateByPhaseState
    ) -> tuple[Sequence[Action], LearningRateByPhaseState]:
        before = Phase(state.phase)
        begun = [transition.phase for transition in timeline.transitions]
        phase = max([before, *begun], key=order.index)
        if phase is before:
            return (), state
        reason = declared(timeline, phase) or ""
        factor = factors[phase] / factors[before]
        actions = () if factor == 1 else (ScaleLearningRate(factor, reason=reason),)
        return actions, LearningRateByPhaseState(str(phase))

    return Policy(init, update, frozenset({ScaleLearningRate.name}))
