"""phasecore: the learning phases of physics-informed networks, and the weighting schemes that hasten them.

Importing it brings in numpy and pluggy only; frameworks are imported by the adapters `phasecore_torch` and
`phasecore_keras`, when used.
"""

from phasecore.errors import (
    InputError,
    MissingDependencyError,
    PhasecoreError,
    PluginError,
    TrainingError,
    UnknownNameError,
)
from phasecore.hookspecs import Entry, hookimpl
from phasecore.phases import Curve, Phase, Timeline, Transition, detect, tracker
from phasecore.problems.base import Problem
from phasecore.problems.coefficients import trained
from phasecore.problems.conditions import Data, Periodic, Prescribed
from phasecore.problems.domains import Ball, Box, Disk, Polygon
from phasecore.problems.general import Integral, ResidualCondition
from phasecore.problems.reference_data import ReferenceData
from phasecore.registry import backend, logger, names, policy, probe, problem, sampling_scheme, weighting_scheme

__version__ = "0.1.0"

__all__ = [
    "Ball",
    "Box",
    "Curve",
    "Data",
    "Disk",
    "Entry",
    "InputError",
    "Integral",
    "MissingDependencyError",
    "Periodic",
    "Phase",
    "PhasecoreError",
    "PluginError",
    "Polygon",
    "Prescribed",
    "Problem",
    "ReferenceData",
    "ResidualCondition",
    "Timeline",
    "TrainingError",
    "Transition",
    "UnknownNameError",
    "backend",
    "detect",
    "hookimpl",
    "logger",
    "names",
    "policy",
    "probe",
    "problem",
    "sampling_scheme",
    "tracker",
    "trained",
    "weighting_scheme",
]
