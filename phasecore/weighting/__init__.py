"""Weighting schemes: signals in, per-point or per-term weights out.

A scheme is made by its function here, `phasecore.weighting.rba(gamma=0.99)`, which editors and type checkers know, or
by its name, "rba:gamma=0.99".
"""

from phasecore.weighting.base import State, WeightingScheme, Weights
from phasecore.weighting.brdr import brdr
from phasecore.weighting.causal import causal
from phasecore.weighting.checks import check_weight_range, check_weight_shape
from phasecore.weighting.fixed import fixed
from phasecore.weighting.grad_norm import grad_norm
from phasecore.weighting.learning_rate_annealing import learning_rate_annealing
from phasecore.weighting.ntk import ntk
from phasecore.weighting.rba import rba
from phasecore.weighting.relobralo import relobralo
from phasecore.weighting.self_adaptive import self_adaptive
from phasecore.weighting.soft_adapt import soft_adapt
from phasecore.weighting.states import state_leaves
from phasecore.weighting.uniform import uniform
from phasecore.weighting.vrba import vrba

__all__ = [
    "State",
    "WeightingScheme",
    "Weights",
    "brdr",
    "causal",
    "check_weight_range",
    "check_weight_shape",
    "fixed",
    "grad_norm",
    "learning_rate_annealing",
    "ntk",
    "rba",
    "relobralo",
    "self_adaptive",
    "soft_adapt",
    "state_leaves",
    "uniform",
    "vrba",
]
