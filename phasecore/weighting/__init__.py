"""Weighting schemes: signals in, per-point or per-term weights out."""

from phasecore.weighting.base import (
    State,
    WeightingScheme,
    Weights,
    check_weight_range,
    check_weight_shape,
    state_leaves,
)

__all__ = ["State", "WeightingScheme", "Weights", "check_weight_range", "check_weight_shape", "state_leaves"]
