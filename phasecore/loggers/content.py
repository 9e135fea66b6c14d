"""What the loggers write: the configuration and the rows of a training, flattened to names and numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from phasecore.backends import Monitored, Outcome, Training
from phasecore.phases import Transition
from phasecore.recording.configuration import configuration_of
from phasecore.recording.history import flat


def name_of(training: Training | Monitored) -> str:
    """Return a name for a training: that of its run folder, or else made of problem, weighting and seed if known.

    Example:
        >>> name_of(Monitored("keras")), name_of(Monitored("torch", scheme_name="rba"))
        ('training', 'training-rba')
    """
    if training.folder is not None:
        return training.folder.resolve().name
    seed = training.settings.seed
    parts = "training" if training.problem is None else training.problem.name, training.scheme_name
    return "-".join([part for part in parts if part] + ([] if seed is None else [f"seed{seed}"]))


def folder_of(training: Training | Monitored) -> Path:
    """Return where a logger writes unless told otherwise: the run folder, or else the working folder."""
    return Path() if training.folder is None else training.folder


def parameters_of(training: Training | Monitored) -> dict[str, Any]:
    """Return the configuration of a training as one level of names and values: "problem", "settings.points"."""
    return dict(flat(configuration_of(training), "."))


def results_of(outcome: Outcome) -> dict[str, float]:
    """Return how a training ended: its error and time, and the iteration at which each phase began.

    Example:
        >>> from phasecore.phases import Phase, Timeline
        >>> found = Timeline((Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ()),), Phase.DIFFUSION, "found")
        >>> results_of(Outcome(1000, 2.5, math.nan, found))
        {'final/seconds': 2.5, 'final/diffusion_from_iteration': 150.0}
    """
    results = {"final/seconds": outcome.seconds, "final/relative_l2_error": outcome.relative_l2_error}
    for transition in outcome.timeline.transitions:
        results[f"final/{transition.phase}_from_iteration"] = transition.iteration
    return {name: float(value) for name, value in results.items() if math.isfinite(value)}


def sentence_of(transition: Transition) -> str:
    """Return a transition in words.

    Example:
        >>> from phasecore.phases import Phase
        >>> sentence_of(Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ()))
        'diffusion from iteration 150 (between 120 and 190), confidence 0.90'
    """
    first, last = transition.interval
    return (
        f"{transition.phase} from iteration {transition.iteration} (between {first} and {last}), "
        f"confidence {transition.confidence:.2f}"
    )
