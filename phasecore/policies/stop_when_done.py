"""Stopping: when nothing is gained any more, after total diffusion was declared and never before."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from phasecore.errors import InputError, PluginWarning
from phasecore.phases import Phase, Timeline
from phasecore.policies.actions import Action, Row, Stop
from phasecore.policies.base import PROGRESS, Policy
from phasecore.policies.options import check_positive


class StopWhenDoneState(NamedTuple):
    """The lowest value since total diffusion was declared that counted as a gain, and its iteration; -1 before.

    And whether the column was found, or it was said that it is not there.
    """

    lowest: float
    at: int
    checked: bool = False


def stop_when_done(
    quantity: str = "unweighted_loss", patience: float = 0.25, gain: float = 0.05, least: int = 200
) -> Policy:
    """Return a policy that ends a training that is on a plateau after total diffusion.

    From the iteration at which total diffusion is declared on, the lowest value so far is followed. Where it has not
    become lower by the share `gain` for a quarter of all iterations so far, and for at least `least` of them, the
    training ends. A plateau before total diffusion, as in diffusion, ends nothing.

    Args:
        quantity: the column of the history that is to become lower. Weights do not move the unweighted loss. Where the
            first row lacks it, a warning names the columns that there are.
        patience: how long nothing may be gained, as a share of the iterations so far.
        gain: what counts, as a share of the lowest value.
        least: iterations that are waited at least.

    Raises:
        InputError: for an option out of range.

    Example:
        >>> stop_when_done(patience=0.5).requires
        frozenset({'stop'})
    """
    if not isinstance(quantity, str):
        raise InputError(
            "policy 'stop_when_done', option 'quantity'", received=repr(quantity), expected="a column's name"
        )
    check_positive("stop_when_done", "patience", patience, most=1)
    check_positive("stop_when_done", "gain", gain, most=1)
    check_positive("stop_when_done", "least", least)

    def init() -> StopWhenDoneState:
        return StopWhenDoneState(math.inf, -1)

    def update(timeline: Timeline, row: Row, state: StopWhenDoneState) -> tuple[Sequence[Action], StopWhenDoneState]:
        if not state.checked:
            _check_there(quantity, row)
            state = state._replace(checked=True)
        value, iteration = row.get(quantity), int(row["iteration"])
        if timeline.current is not Phase.TOTAL_DIFFUSION or value is None or not math.isfinite(value):
            return (), state
        if state.at < 0 or value < state.lowest * (1 - gain):
            return (), StopWhenDoneState(float(value), iteration, checked=True)
        if iteration - state.at < max(patience * iteration, least):
            return (), state
        reason = f"{quantity} {state.lowest:.3g} at iteration {state.at}, after total diffusion; nothing gained since"
        return (Stop(reason=reason),), state

    return Policy(init, update, frozenset({Stop.name}))


def _check_there(quantity: str, row: Row) -> None:
    """Warn where the first row, which has the columns of all probes, lacks the one that is to be followed."""
    names = sorted(name for name in row if name not in ("iteration", PROGRESS))
    if quantity in row:
        return
    near = difflib.get_close_matches(quantity, names, n=1)
    warnings.warn(
        f"policy 'stop_when_done' stops nothing as long as the history has no column {quantity!r}; "
        f"it has {', '.join(names) or 'none'}." + (f" Did you mean {near[0]!r}?" if near else ""),
        PluginWarning,
        stacklevel=2,
    )
