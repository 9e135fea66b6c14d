"""Phases of learning: gradient statistics, offline detection and online tracking."""

from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.curve import Curve
from phasecore.phases.offline import detect
from phasecore.phases.online import Tracker, TrackerState, tracker
from phasecore.phases.replay import declarations, replay
from phasecore.phases.timeline import Evidence, Nonfinite, Phase, Timeline, Transition

__all__ = [
    "Curve",
    "DetectorConfiguration",
    "Evidence",
    "Nonfinite",
    "Phase",
    "Timeline",
    "Tracker",
    "TrackerState",
    "Transition",
    "declarations",
    "detect",
    "replay",
    "tracker",
]
