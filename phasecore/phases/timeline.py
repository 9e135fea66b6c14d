"""What a detector answers: phases, the transitions between them, and the evidence for each.

Sources: the three phases are those of Anagnostopoulos et al., "Learning in PINNs: phase transition, total
diffusion, and generalization" (arXiv 2403.18494).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, final


class Phase(enum.StrEnum):
    """A learning phase, in the order in which a network passes through them.

    Example:
        >>> Phase("total_diffusion") is Phase.TOTAL_DIFFUSION
        True
    """

    FITTING = "fitting"
    DIFFUSION = "diffusion"
    TOTAL_DIFFUSION = "total_diffusion"


@final
@dataclass(frozen=True)
class Evidence:
    """What one recorded quantity says about one transition.

    Args:
        quantity: the column that it was read from ("snr", "residual_order", ...).
        statement: the observation in words and numbers.
        log_odds: the natural logarithm of the likelihood ratio "transition" to "no transition"; positive
            values speak for the transition, negative ones against it.

    Example:
        >>> Evidence("snr", "SNR rose 2.1 decades from 0.008 at 8 900 to 1.9", 3.2).log_odds
        3.2
    """

    quantity: str
    statement: str
    log_odds: float


@final
@dataclass(frozen=True)
class Transition:
    """The beginning of a phase.

    Args:
        phase: the phase that begins.
        iteration: the optimizer iteration at which it begins.
        interval: the first and last iteration at which the evidence allows it to begin (about 80%).
        confidence: the probability that the transition took place at all, in [0, 1].
        evidence: what each quantity contributed, strongest first.
        declared_at: online only: the iteration at which the tracker first said so.

    Example:
        >>> Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ()).iteration
        150
    """

    phase: Phase
    iteration: int
    interval: tuple[int, int]
    confidence: float
    evidence: tuple[Evidence, ...]
    declared_at: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the transition as plain dictionaries, lists, strings and numbers."""
        document: dict[str, Any] = {
            "phase": str(self.phase),
            "iteration": self.iteration,
            "confidence": round(self.confidence, 4),
            "interval": list(self.interval),
            "evidence": [
                {"quantity": item.quantity, "statement": item.statement, "log_odds": round(item.log_odds, 3)}
                for item in self.evidence
            ],
        }
        if self.declared_at is not None:
            document["declared_at"] = self.declared_at
        return document


@final
@dataclass(frozen=True)
class Nonfinite:
    """The end of what can be told: from an iteration on what was measured is NaN or infinite.

    Args:
        iteration: the first capture of which nothing can be told.
        statement: which quantities are no numbers, and from which iteration on, in words.
        before: the phase until then, or None for "cannot tell".

    Example:
        >>> Nonfinite(1230, "the SNR is NaN from iteration 1230 on", Phase.FITTING).iteration
        1230
    """

    iteration: int
    statement: str
    before: Phase | None


@final
@dataclass(frozen=True)
class Timeline:
    """The phases of a training, as far as they can be told.

    Args:
        transitions: the transitions found, in order; an absent one was not found.
        current: the phase at the last capture, or None for "cannot tell".
        reason: one sentence on why the current phase is what it is.
        nonfinite: from where on what is measured is no number, or None if it is.

    Example:
        >>> begun = Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ())
        >>> timeline = Timeline((begun,), Phase.DIFFUSION, "no total diffusion yet: the SNR has not risen")
        >>> timeline.phase_at(100), timeline.start(Phase.DIFFUSION), timeline.start(Phase.TOTAL_DIFFUSION)
        (<Phase.FITTING: 'fitting'>, 150, None)
        >>> [(str(phase), start, end) for phase, start, end in timeline.spans(1000)]
        [('fitting', 0, 150), ('diffusion', 150, 1000)]
    """

    transitions: tuple[Transition, ...]
    current: Phase | None
    reason: str
    nonfinite: Nonfinite | None = None

    def transition(self, phase: Phase) -> Transition | None:
        """Return the transition to a phase, or None where it was not found."""
        return next((transition for transition in self.transitions if transition.phase is phase), None)

    def start(self, phase: Phase) -> int | None:
        """Return the iteration at which a phase begins, or None where that is not known.

        Fitting begins at iteration 0 wherever it was seen at all.
        """
        found = self.transition(phase)
        if found is not None:
            return found.iteration
        saw_fitting = self._last is Phase.FITTING or self.transition(Phase.DIFFUSION) is not None
        return 0 if phase is Phase.FITTING and saw_fitting else None

    def phase_at(self, iteration: int) -> Phase | None:
        """Return the phase at an iteration, or None where that is not known."""
        if self.nonfinite is not None and iteration >= self.nonfinite.iteration:
            return None
        found = Phase.FITTING if self.start(Phase.FITTING) is not None else None
        if not self.transitions:
            return self._last
        for transition in self.transitions:
            if iteration >= transition.iteration:
                found = transition.phase
        return found

    def spans(self, last_iteration: int) -> list[tuple[Phase, int, int]]:
        """Return `(phase, first iteration, last iteration)` for each known phase up to an iteration."""
        if self.nonfinite is not None:
            last_iteration = min(last_iteration, self.nonfinite.iteration)
        starts = [(phase, self.start(phase)) for phase in Phase]
        known = [(phase, start) for phase, start in starts if start is not None and start <= last_iteration]
        ends = [*(start for _, start in known[1:]), last_iteration][: len(known)]
        return [(phase, start, end) for (phase, start), end in zip(known, ends, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Return the timeline as the JSON document of `phasecore detect --json`.

        Example:
            >>> Timeline((), Phase.FITTING, "no diffusion yet").to_json()
            {'current': 'fitting', 'transitions': [], 'reason': 'no diffusion yet'}
        """
        document: dict[str, Any] = {
            "current": None if self.current is None else str(self.current),
            "transitions": [transition.to_json() for transition in self.transitions],
            "reason": self.reason,
        }
        if self.nonfinite is not None:
            document["nonfinite"] = {"iteration": self.nonfinite.iteration, "statement": self.nonfinite.statement}
        return document

    @property
    def _last(self) -> Phase | None:
        """The last phase that was known."""
        return self.current if self.nonfinite is None else self.nonfinite.before
