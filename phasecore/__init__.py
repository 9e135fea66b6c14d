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
from phasecore.registry import backend, logger, names, policy, probe, problem, weighting_scheme

__version__ = "0.1.0"

__all__ = [
    "Curve",
    "Entry",
    "InputError",
    "MissingDependencyError",
    "Phase",
    "PhasecoreError",
    "PluginError",
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
    "tracker",
    "weighting_scheme",
]
