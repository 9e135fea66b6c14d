"""Each law of probes against a probe that breaks it."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import phasecore
from phasecore import InputError
from phasecore.probes import Probe
from phasecore.signals import DESCRIPTIONS
from phasecore.testing import PROBE_LAWS, ProbeSubject, check_probe, checks_of, made_signals
from phasecore.testing.laws import run_laws
from phasecore.testing.made_signals import Layout, make_signals

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
    with pytest.raises(AssertionError, match=rf"  - (\w+, )*{law.__name__}(, \w+)*: (?!it raised).{{20}}"):
        run_laws("probe", [law], ProbeSubject(BROKEN[law.__name__]))


def test_a_probe_that_reads_more_than_it_requires_is_told_to_name_it():
    @dataclass(frozen=True)
    class Greedy(Probe):
        name = "greedy"
        requires = frozenset({"residuals"})

        def measure(self, signals):
            return {"size": float(signals["term_losses"]["continuity"]) + float(signals["residuals"]["continuity"][0])}

    with pytest.raises(AssertionError, match=r"'term_losses' is not available.*'requires'"):
        check_probe(Greedy())


@pytest.mark.parametrize("seed", range(3))
def test_made_up_signals_fit_together(seed):
    """Gradients, losses, kernels and batches of one and the same made-up training."""
    layout = Layout()
    made = make_signals(DESCRIPTIONS, layout, seed)
    assert made["term_gradients"].keys() == made["tangent_kernel_traces"].keys() == set(layout.terms)
    assert int(made["batch_sizes"].sum()) == layout.points
    weights = {term: made["residual_attention"].get(term, np.ones(1)) for term in layout.terms}
    for layer, moments in made["batch_gradient_moments"].items():
        parameter = f"{layer}.weight"
        for term, gradients in made["term_gradients"].items():
            residual = {**made["residuals"], **made["condition_residuals"]}[term]
            # Cauchy and Schwarz: |2/n sum_i r_i J_i| <= 2 sqrt(mean r^2) sqrt(trace / n)
            bound = 2 * np.sqrt(made["term_losses"][term] * made["tangent_kernel_traces"][term] / len(residual))
            assert 0 < np.linalg.norm(gradients[parameter]) <= bound
        assert moments.mean.shape == made["term_gradients"][layout.terms[0]][parameter].shape
        conditions = sum(made["term_gradients"][term][parameter] for term in layout.conditions)
        size = sum(
            np.sqrt(np.mean(weights[term] ** 4 * made["residuals"][term] ** 2) * made["tangent_kernel_traces"][term])
            for term in layout.equations
        )
        assert 0 < np.linalg.norm(moments.mean - conditions) < size
    assert all(values.shape[0] == layout.points for values in made["activations"].values())
    assert made["targets"].keys() == made["fields"].keys()


def test_gradients_of_all_batches_of_an_unweighted_training_add_up():
    """With attention 1 and batches of one size the mean of the batch gradients would be the sum of the terms'."""
    layout = Layout(points=36)
    generator = np.random.default_rng(0)
    residuals = {term: generator.standard_normal(36) for term in layout.equations}
    conditions = {term: generator.standard_normal(7) for term in layout.conditions}
    tangents = made_signals._tangents(layout, generator)
    ones = {term: np.ones(36) for term in residuals}
    batches = np.array_split(np.arange(36), 6)
    found = made_signals._batch_gradients(residuals, conditions, ones, tangents, batches)
    for layer, values in found.items():
        total = sum(
            made_signals._gradient(residual, tangents[term][layer])
            for term, residual in {**residuals, **conditions}.items()
        )
        np.testing.assert_allclose(values.mean(axis=0), total, rtol=1e-12)


@dataclass(frozen=True)
class MomentumShare(Probe):
    """Bound to the terms and fields of the lid-driven cavity."""

    name = "momentum_share"
    requires = frozenset({"term_losses", "fields"})

    def measure(self, signals):
        losses, fields = signals["term_losses"], signals["fields"]
        total = float(losses["momentum_x"]) + float(losses["momentum_y"])
        return {
            "momentum_share": float(losses["momentum_x"]) / total if total else math.nan,
            "u": float(fields["u"][0]),
        }


@pytest.mark.parametrize("problem", ["lid_driven_cavity:reynolds=400", phasecore.problem("lid_driven_cavity")])
def test_a_probe_of_one_problems_terms_is_checked_with_them(problem):
    assert not check_probe(MomentumShare(), problem=problem).skipped
    for check in checks_of(MomentumShare, problem=problem):
        check()


def test_without_its_problem_it_is_said_to_give_it_once():
    with pytest.raises(AssertionError) as caught:
        check_probe(MomentumShare())
    text = str(caught.value)
    assert text.count("KeyError: 'momentum_x'; the terms of the made-up training are continuity, energy, inlet") == 1
    assert "check_probe(probe, problem=...)" in text
    with pytest.raises(AssertionError, match="KeyError: 'momentum_x'; the terms of the made-up training are pde"):
        check_probe(MomentumShare(), problem="helmholtz")
    with pytest.raises(InputError, match="Did you mean 'lid_driven_cavity'"):
        check_probe(MomentumShare(), problem="lid_driven_cavty")


@pytest.mark.parametrize("name", phasecore.names("problem"))
def test_made_signals_have_the_names_of_a_problem(name):
    problem = phasecore.problem(name)
    layout = Layout.of(problem)
    assert set(layout.terms) == set(problem.terms)
    assert set(layout.fields) == set(problem.reference(problem.sample(2).interior))
    values = make_signals(["residuals", "term_losses", "targets", "domain", "unit_coordinates"], layout, seed=0)
    assert list(values["residuals"]) == list(problem.equations)
    assert set(values["term_losses"]) == set(problem.terms)
    assert list(values["unit_coordinates"]) == list(problem.coordinates)
