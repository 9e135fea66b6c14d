"""Why a table has another iteration than what was announced during the training: the whole curve is known by now."""

from __future__ import annotations

from phasecore.errors import InputError
from phasecore.phases import Phase, Timeline, Transition, declarations
from phasecore.phases.curve import Recorded
from phasecore.reporting.palette import PHASE_NAMES

_WHERE = {
    Phase.DIFFUSION: "in the whole curve fitting ends at",
    Phase.TOTAL_DIFFUSION: "in the whole curve the evidence for its start is strongest at",
}


def moved(timeline: Timeline, curve: Recorded) -> list[str]:
    """Return a sentence for each transition that was declared online and lies elsewhere, or nowhere, offline.

    It lies elsewhere where the iteration that was announced is outside the interval found offline.

    Args:
        timeline: found offline.
        curve: in which; columns that make no curve say nothing.

    Example:
        >>> import numpy as np
        >>> iteration = np.arange(1, 2000, 5)
        >>> curve = {"iteration": iteration, "snr": np.where(iteration < 100, 30.0, 0.03)}
        >>> late = Transition(Phase.DIFFUSION, 300, (250, 350), 0.9, ())
        >>> for sentence in moved(Timeline((late,), Phase.DIFFUSION, ""), curve):
        ...     print(sentence.replace("; ", chr(10)))
        diffusion: declared at iteration 126 as begun at 101, by what was known then
        in the whole curve fitting ends at 300 (250 to 350)
    """
    try:
        declared = declarations(curve)
    except InputError:
        return []
    return [note for first in declared if (note := _note(first, timeline))]


def _note(first: Transition, timeline: Timeline) -> str:
    found = timeline.transition(first.phase)
    told = f"{PHASE_NAMES[first.phase]}: declared at iteration {first.declared_at} as begun at {first.iteration}"
    if found is None:
        return f"{told}, by what was known then; the whole curve speaks against it"
    low, high = found.interval
    if low <= first.iteration <= high:
        return ""
    return f"{told}, by what was known then; {_WHERE[first.phase]} {found.iteration} ({low} to {high})"
