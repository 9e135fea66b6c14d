"""Weighting schemes: signals in, per-point or per-term weights out."""

from phasecore.weighting.base import State, WeightingScheme, Weights, state_leaves
from phasecore.weighting.checks import check_weight_range, check_weight_shape

__all__ = ["State", "WeightingScheme", "Weights", "check_weight_range", "check_weight_shape", "state_leaves"]
