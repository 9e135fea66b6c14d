"""The channels a detector listens to: one logarithm per quantity, oriented so that total diffusion raises it.

| channel | value at a capture |
|---|---|
| snr | log10 of the gradient SNR |
| layer_snr | log10 of the median SNR of the layers that have one |
| adam_snr | log10 of the Adam SNR, from the tenth iteration on |
| residual_order | minus log10 of the residuals' coefficient of variation, `sqrt(1 / order^2 - 1)`; at most 1.25 |
| training_loss | minus log10 of the training loss |
| relative_l2_error | minus log10 of the relative error |

The Adam SNR of the first ten iterations is left out: the bias correction makes it 1 at the first step whatever
the gradients are, and its first moment averages over `1 / (1 - 0.9)` iterations. Residuals that vary by less than
6% are called uniform: below that the coefficient of variation says nothing about training. A ratio of two zeros is no
number: of a gradient that is zero everywhere nothing can be said. A loss that is zero or negative, as an energy may be,
has no logarithm, and is absent. No channel depends on the unit of the loss.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.arguments import is_number
from phasecore.errors import InputError
from phasecore.phases.curve import LAYER_COLUMN, MAY_BE_NEGATIVE, RATIOS, Curve
from phasecore.phases.statistics import snr_of_order

FloatArray = npt.NDArray[np.float64]

CHANNELS = ("snr", "layer_snr", "adam_snr", "residual_order", "training_loss", "relative_l2_error")
SNR, LAYER_SNR, ADAM_SNR, RESIDUAL_ORDER, TRAINING_LOSS, RELATIVE_L2_ERROR = range(6)
ADAM_MEMORY = 10
MOST = 12.0
"""Largest logarithm of a ratio, either way."""
UNIFORM = 1.25


def channels_of(curve: Curve) -> FloatArray:
    """Return the channels of a curve, shape `(6, captures)`, NaN where absent.

    Ratios are clipped to 1e-12 and 1e12, so that a vanishing gradient is low and not missing.

    Example:
        >>> curve = Curve.from_columns({"iteration": [1, 2], "snr": [10.0, 0.0], "training_loss": [1.0, 0.01]})
        >>> channels_of(curve)[[SNR, TRAINING_LOSS]].tolist()
        [[1.0, -12.0], [-0.0, 2.0]]
    """
    channels = np.full((len(CHANNELS), curve.captures), np.nan)
    channels[SNR] = _log_ratio(curve, "snr")
    layers = [_log_ratio(curve, f"layer{number}") for number in curve.layers]
    if layers:
        channels[LAYER_SNR] = _median(np.asarray(layers))
    channels[ADAM_SNR] = np.where(curve.iteration >= ADAM_MEMORY, _log_ratio(curve, "adam_snr"), np.nan)
    if "residual_order" in curve.columns:
        order = curve.columns["residual_order"]
        channels[RESIDUAL_ORDER] = np.minimum(_bounded(_logarithm(snr_of_order(order))), UNIFORM)
    for place, name in ((TRAINING_LOSS, "training_loss"), (RELATIVE_L2_ERROR, "relative_l2_error")):
        if name in curve.columns:
            values = curve.columns[name]
            channels[place] = -_logarithm(np.where(values > 0.0, values, np.nan))
    return channels


def _log_ratio(curve: Curve, name: str) -> FloatArray:
    ratio = curve.ratio(name)
    if ratio is None:
        return np.full(curve.captures, np.nan)
    with np.errstate(invalid="ignore"):
        return _bounded(_logarithm(ratio[0]) - _logarithm(ratio[1]))


def _median(layers: FloatArray) -> FloatArray:
    """Return the median along the first axis, leaving NaN out."""
    ordered = np.sort(layers, axis=0)
    held = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(held - 1, 0) // 2, np.minimum(held // 2, len(layers) - 1)
    pair = np.take_along_axis(ordered, np.stack([low, high]), axis=0)
    return np.asarray(0.5 * pair.sum(axis=0))


def _logarithm(values: FloatArray) -> FloatArray:
    """The logarithm, minus infinity of zero."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(values))


def _bounded(logarithms: FloatArray) -> FloatArray:
    return np.clip(logarithms, -MOST, MOST)


def channels_of_capture(capture: Mapping[str, float]) -> tuple[float, list[float]]:
    """Return the iteration and the six channels of one capture, as `channels_of` does for a curve.

    Args:
        capture: column names and numbers; NaN, None and infinity make a channel absent.

    Raises:
        InputError: the iteration is missing or not a whole number, or a quantity is negative or not a number.

    Example:
        >>> channels_of_capture({"iteration": 20, "snr": 100.0, "training_loss": 0.1})
        (20.0, [2.0, nan, nan, nan, 1.0, nan])
    """
    iteration = capture.get("iteration")
    if not is_number(iteration) or iteration < 0 or iteration % 1:
        raise InputError(
            "iteration of a capture", received=repr(iteration), expected="a whole number, 0 or more, as 'iteration'"
        )
    plan = _plan_of(tuple(capture))
    snr = _measured(capture, plan.snr)
    per_layer = sorted([value for pair in plan.layers if (value := _measured(capture, pair)) == value])
    middle = len(per_layer) // 2
    layer_snr = 0.5 * (per_layer[middle] + per_layer[~middle]) if per_layer else math.nan
    adam = _measured(capture, plan.adam_snr) if iteration >= ADAM_MEMORY else math.nan
    order = _order_logarithm(capture, "residual_order") if plan.residual_order else math.nan
    loss = -_positive(capture, plan.training_loss)
    error = -_positive(capture, plan.relative_l2_error)
    if plan.gradient_order:
        snr = _order_logarithm(capture, "gradient_order")
    return float(iteration), [snr, layer_snr, adam, min(order, UNIFORM), loss, error]


def lost_in(curve: Curve) -> FloatArray:
    """Return what was measured for the channels and is no number, shape `(6, captures)`: NaN, infinity, or 0 for none.

    That of `layer_snr` is left out: it is the SNR's.

    Example:
        >>> curve = Curve.from_columns({"iteration": [1, 2, 3], "snr": [1.0, None, float("nan")]})
        >>> lost_in(curve)[SNR].tolist()
        [0.0, 0.0, nan]
    """
    lost = np.zeros((len(CHANNELS), curve.captures))
    for place, names in _sources(tuple(curve.columns)):
        for name in names:
            lost[place] += np.abs(curve.nonfinite.get(name, 0.0))
        if len(names) == 2:
            lost[place, (curve.columns[names[0]] == 0.0) & (curve.columns[names[1]] == 0.0)] = np.nan
    lost[ADAM_SNR, curve.iteration < ADAM_MEMORY] = 0.0
    return lost


def lost_in_capture(capture: Mapping[str, float], channels: list[float]) -> list[float] | None:
    """Return what was measured for each channel and is no number, as `lost_in` does; None where nothing is.

    Args:
        capture: as `channels_of_capture` takes it.
        channels: those that it returned.

    Example:
        >>> capture = {"iteration": 20, "snr": float("inf"), "training_loss": None}
        >>> lost_in_capture(capture, channels_of_capture(capture)[1])
        [inf, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    absent = [source for source in _sources(tuple(capture)) if channels[source[0]] != channels[source[0]]]
    lost = [0.0] * len(CHANNELS)
    for place, names in absent:
        values = [capture[name] for name in names if capture[name] is not None]
        if place != ADAM_SNR or capture["iteration"] >= ADAM_MEMORY:
            lost[place] = sum((abs(value) for value in values if not math.isfinite(value)), 0.0)
            if len(values) == 2 and not any(values):
                lost[place] = math.nan
    return lost if any(lost) else None


@functools.lru_cache(maxsize=64)
def _sources(names: tuple[str, ...]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Return the channels that were measured, and the columns that each is made of."""
    plan = _plan_of(names)
    sources = (
        (SNR, plan.snr or ("gradient_order",) * plan.gradient_order),
        (ADAM_SNR, plan.adam_snr),
        (RESIDUAL_ORDER, ("residual_order",) * plan.residual_order),
        (TRAINING_LOSS, plan.training_loss),
        (RELATIVE_L2_ERROR, plan.relative_l2_error),
    )
    return tuple((place, columns) for place, columns in sources if columns)


class _Plan(NamedTuple):
    """Which columns of a capture make which channel: a numerator and a denominator, one alone, or none."""

    snr: tuple[str, ...]
    adam_snr: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]
    training_loss: tuple[str, ...]
    relative_l2_error: tuple[str, ...]
    residual_order: bool
    gradient_order: bool


@functools.lru_cache(maxsize=64)
def _plan_of(names: tuple[str, ...]) -> _Plan:
    def ratio(name: str) -> tuple[str, ...]:
        pair = RATIOS.get(name) or (f"{name}_mean_norm", f"{name}_std_norm")
        if pair[0] in names and pair[1] in names:
            return pair
        return (name,) if name in names else ()

    means = [match for match in map(LAYER_COLUMN.fullmatch, names) if match is not None and match[2] == "mean"]
    layers = tuple(pair for pair in (ratio(f"layer{match[1]}") for match in means) if len(pair) == 2)
    snr = ratio("snr")
    return _Plan(
        snr,
        ratio("adam_snr"),
        layers,
        ("training_loss",) * ("training_loss" in names),
        ("relative_l2_error",) * ("relative_l2_error" in names),
        "residual_order" in names,
        not snr and "gradient_order" in names,
    )


def _measured(capture: Mapping[str, float], columns: tuple[str, ...]) -> float:
    """Return log10 of a ratio, given as such or by what it is of, NaN where absent."""
    if not columns:
        return math.nan
    above = capture[columns[0]]
    below = capture[columns[1]] if len(columns) == 2 else 1.0
    if not (above.__class__ is float is below.__class__ and 0.0 < above < math.inf and 0.0 < below < math.inf):
        above, below = _number(columns[0], above), below if len(columns) == 1 else _number(columns[1], below)
    return _ratio_logarithm(above, below)


def _ratio_logarithm(above: float, below: float) -> float:
    """Return log10 of a ratio of numbers that are not negative, bounded; NaN where one is, or both are zero."""
    if above > 0.0 and below > 0.0:
        found = math.log10(above) - math.log10(below)
        return found if -MOST < found < MOST else math.copysign(MOST, found)
    if above != above or below != below or above == below:
        return math.nan
    return MOST if above > 0.0 else -MOST


def _positive(capture: Mapping[str, float], columns: tuple[str, ...]) -> float:
    """Return log10 of a quantity, NaN where it is absent or has none."""
    value = _number(columns[0], capture[columns[0]]) if columns else math.nan
    return math.log10(value) if value > 0.0 else math.nan


def _number(name: str, value: float | None) -> float:
    if value is None:
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"capture, {name!r}", received=repr(value), expected="a number") from None
    if not math.isfinite(number):
        return math.nan
    if number < 0.0 and name not in MAY_BE_NEGATIVE:
        raise InputError(f"capture, {name!r}", received=f"{number:g}", expected="a value that is not negative")
    return number


def _order_logarithm(capture: Mapping[str, float], name: str) -> float:
    order = min(_number(name, capture[name]), 1.0)
    return _ratio_logarithm(order, math.sqrt((1.0 - order) * (1.0 + order)))
