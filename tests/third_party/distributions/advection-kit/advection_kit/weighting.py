from typing import NamedTuple

from phasecore import InputError
from phasecore.weighting import WeightingScheme


class State(NamedTuple):
    sizes: dict


def tempered(temperature=1.0, memory=0.9):
    """Weight squared residuals by `exp(size / (temperature max size))`, of the smoothed sizes."""
    if not temperature > 0:
        raise InputError("weighting 'tempered', option 'temperature'", received=temperature, expected="above 0")

    def init(signals):
        xp = signals.namespace
        return State({term: xp.zeros_like(residual) for term, residual in signals["residuals"].items()})

    def update(signals, state):
        xp = signals.namespace
        sizes, weights = {}, {}
        for term, residual in signals["residuals"].items():
            sizes[term] = memory * state.sizes[term] + (1 - memory) * xp.abs(residual)
            largest = signals.maximum(sizes[term])
            weights[term] = xp.exp(sizes[term] / (temperature * xp.where(largest > 0, largest, xp.ones_like(largest))))
        return weights, State(sizes)

    return WeightingScheme(init, update, frozenset({"residuals"}), "squared_residual", per_point=("sizes",))
