"""Its schemes break the contract: one returns a wrong shape, the other is none."""

from typing import NamedTuple

import phasecore
from phasecore.probes.adam_snr import AdamSNR
from phasecore.weighting import WeightingScheme


@phasecore.hookimpl
def phasecore_entries():
    return [
        phasecore.Entry("weighting", "one_short", "broken_shape:one_short"),
        phasecore.Entry("weighting", "a_probe_really", "broken_shape:AdamSNR"),
    ]


class State(NamedTuple):
    seen: dict


def one_short():
    """Weight all points but the last."""

    def init(signals):
        return State({term: signals.namespace.zeros_like(values) for term, values in signals["residuals"].items()})

    def update(signals, state):
        xp = signals.namespace
        return {term: xp.ones_like(values)[1:] for term, values in signals["residuals"].items()}, state

    return WeightingScheme(init, update, frozenset({"residuals"}), per_point=("seen",))


__all__ = ["AdamSNR", "one_short", "phasecore_entries"]
