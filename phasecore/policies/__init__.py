"""Policies: the phases so far in, actions out, which change the training.

A policy is made by its function here, `phasecore.policies.at_phase("total_diffusion", "lbfgs")`, which editors and type
checkers know, or by its name, "at_phase:phase=total_diffusion,do=lbfgs".
"""

from phasecore.policies.actions import (
    Action,
    AverageWeighting,
    Call,
    ChangeWeighting,
    HoldWeighting,
    ReleaseWeighting,
    Resample,
    Row,
    ScaleLearningRate,
    SetLearningRate,
    Snapshot,
    Stop,
    SwitchOptimizer,
)
from phasecore.policies.at_phase import at_phase
from phasecore.policies.base import Policy, State
from phasecore.policies.learning_rate_by_phase import learning_rate_by_phase
from phasecore.policies.optimizer_by_phase import optimizer_by_phase
from phasecore.policies.quasi_newton import quasi_newton
from phasecore.policies.stop_when_done import stop_when_done

__all__ = [
    "Action",
    "AverageWeighting",
    "Call",
    "ChangeWeighting",
    "HoldWeighting",
    "Policy",
    "ReleaseWeighting",
    "Resample",
    "Row",
    "ScaleLearningRate",
    "SetLearningRate",
    "Snapshot",
    "State",
    "Stop",
    "SwitchOptimizer",
    "at_phase",
    "learning_rate_by_phase",
    "optimizer_by_phase",
    "quasi_newton",
    "stop_when_done",
]
