"""Weighting schemes: signals in, per-point or per-term weights out."""

from phasecore.weighting.base import State, WeightingScheme, Weights

__all__ = ["State", "WeightingScheme", "Weights"]
