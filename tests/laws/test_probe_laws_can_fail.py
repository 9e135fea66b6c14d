"""Each law of probes against a probe that breaks it."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from phasecore.probes import Probe
from phasecore.testing import PROBE_LAWS, check_probe

COUNTER = itertools.count()


@dataclass(frozen=True)
class Sketch(Probe):
    """A sound probe, the mean of the first equation's absolute residuals, unless its function is replaced."""

    function: Any = field(default=lambda residual: {"size": float(np.mean(np.abs(residual), dtype=np.float64))})
    requires: frozenset = frozenset({"residuals"})
    name = "sketch"

    def measure(self, signals):
        return self.function(next(iter(signals["residuals"].values())))


class Mutable(Probe):
    name = "mutable"
    requires = frozenset({"residuals"})

    def measure(self, signals):
        return {"size": float(abs(next(iter(signals["residuals"].values()))[0]))}


def mutates(residual):
    residual *= 2
    return {"size": float(abs(residual[0]))}


def in_half_precision(residual):
    if residual.dtype == np.float32:
        residual = residual.astype(np.float16)
    return {"size": float(np.mean(np.abs(residual)))}


BROKEN = {
    "declares_itself": Mutable(),
    "returns_finite_floats": Sketch(lambda residual: {"size": np.mean(np.abs(residual), keepdims=True)}),
    "names_are_keys_of_the_history": Sketch(lambda residual: {"mean size": float(np.mean(residual))}),
    "is_deterministic": Sketch(lambda residual: {"size": float(residual[0]) + next(COUNTER)}),
    "depends_on_its_signals": Sketch(lambda residual: {"size": float(len(residual))}),
    "agrees_across_dtypes": Sketch(in_half_precision),
    "signals_are_not_mutated": Sketch(mutates),
    "reads_what_it_requires": Sketch(requires=frozenset({"residuals", "batch_gradient_moments"})),
    "survives_a_dead_network": Sketch(lambda residual: {"size": float(residual[0]) / float(np.sum(residual**2))}),
}


def test_the_probe_that_the_broken_ones_start_from_is_sound():
    assert len(check_probe(Sketch()).passed) == len(PROBE_LAWS)


@pytest.mark.parametrize("law", PROBE_LAWS, ids=lambda law: law.__name__)
def test_each_law_can_fail_and_says_so(law):
    with pytest.raises(AssertionError, match=rf"  - {law.__name__}: (?!it raised).{{20}}"):
        check_probe(BROKEN[law.__name__])


def test_a_probe_that_reads_more_than_it_requires_is_told_to_name_it():
    @dataclass(frozen=True)
    class Greedy(Probe):
        name = "greedy"
        requires = frozenset({"residuals"})

        def measure(self, signals):
            return {"size": float(signals["term_losses"]["continuity"]) + float(signals["residuals"]["continuity"][0])}

    with pytest.raises(AssertionError, match=r"'term_losses' is not available.*'requires'"):
        check_probe(Greedy())
