"""The contract of a policy: pure functions over the timeline and what was measured, with explicit state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from phasecore.phases import Timeline
from phasecore.policies.actions import Action, Row

State = Any
"""A policy's own NamedTuple of plain values: numbers, strings, True, False, None, and tuples of these."""

PROGRESS = "progress"
"""In the row that a policy is given: the share of the iterations that is done; absent where it is not known."""


class Policy(NamedTuple):
    """What a policy's factory returns; the style is that of a weighting scheme.

    Both functions are pure: what is remembered is in the state, which checkpoints carry.

    Attributes:
        init: `init() -> state`.
        update: `update(timeline, row, state) -> (actions, state)`, called after each capture: the phases so far,
            found without looking ahead, and what was measured, with "iteration", where known "seconds", and
            "progress". Most of the time there is nothing to do: `((), state)`.
        requires: what a backend must be able to carry out: the `requirement` of every action that `update` may return,
            such as "stop" or "switch_optimizer:lbfgs".

    Example:
        >>> from phasecore.policies.at_phase import at_phase
        >>> policy = at_phase("total_diffusion", "lbfgs")
        >>> sorted(policy.requires), policy.update(Timeline((), None, "not yet"), {"iteration": 10}, policy.init())
        (['switch_optimizer:lbfgs'], ((), AtPhaseState(done=False)))
    """

    init: Callable[[], State]
    update: Callable[[Timeline, Row, State], tuple[Sequence[Action], State]]
    requires: frozenset[str]
