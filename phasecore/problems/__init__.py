"""Problems: partial differential equations with conditions, sampling, reference solutions and presets."""

from phasecore.problems.base import CollocationPoints, Preset, Problem, relative_l2_error
from phasecore.problems.conditions import Condition, Data, Periodic, Prescribed

__all__ = [
    "CollocationPoints",
    "Condition",
    "Data",
    "Periodic",
    "Prescribed",
    "Preset",
    "Problem",
    "relative_l2_error",
]
