"""Schemes of terms beside schemes of points: what they balance is what is minimized."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops
from keras_models import pinn, still
from repeats import further, repeated

from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS
from phasecore.weighting import WeightingScheme, grad_norm, ntk
from phasecore_keras.autodiff import autodiff, to_numpy


class Nothing(NamedTuple):
    pass


def constant(weight, multiplies, terms=("pde",)):
    """The same weight for every point of some terms."""

    def update(signals, state):
        every = {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}
        return {term: weight * signals.namespace.ones_like(every[term]) for term in terms}, state

    requires = frozenset({RESIDUALS, CONDITION_RESIDUALS})
    return WeightingScheme(lambda signals: Nothing(), update, requires, multiplies=multiplies)


def term_weights(model, place=-1):
    part = model.weighting.parts[place]
    return {term: float(to_numpy(part.weight(term))) for term in part.weighted}


def term_residuals(model):
    points = ops.convert_to_tensor(model.physics.points)
    return {**model.physics.residuals_at(points), **model.physics.condition_residuals()}


def factors(model):
    """What multiplies each point's residual, from the weights of every scheme one by one."""
    found = {}
    for term in model.problem.terms:
        factor = np.ones(())
        for part in model.weighting.parts:
            weight = part.weight(term)
            if weight is not None and len(weight.shape):
                weight = to_numpy(weight).astype(np.float64)
                factor = factor * (weight if part.scheme.multiplies == "residual" else np.sqrt(weight))
        found[term] = factor.astype(np.float32)
    return found


def jacobians(model):
    """The gradient of each residual by itself, {term: shape (n, parameters)}."""
    variables = list(model.network.trainable_variables)
    others = [v for v in model.network.variables if not v.trainable]
    found = {}
    for term, residual in term_residuals(model).items():
        gradient = autodiff().gradients(
            lambda row, term=term: ops.sum(row * term_residuals(model)[term]), variables, others
        )
        rows = (gradient(ops.convert_to_tensor(row)) for row in np.eye(len(residual), dtype="float32"))
        found[term] = np.stack([np.concatenate([to_numpy(v).ravel() for v in row]) for row in rows]).astype(np.float64)
    return found


def naive_weights(model, kind, rows=None):
    """The mean over the terms of the weighted gradients' norms, or the sum of the traces per point, over each's own."""
    sizes = {}
    weights, residuals = factors(model), term_residuals(model)
    for term, own in (rows or jacobians(model)).items():
        factor = np.broadcast_to(weights[term], len(own)).astype(np.float64)
        if kind == "grad_norm":
            sizes[term] = np.linalg.norm(2 * np.mean((factor**2 * to_numpy(residuals[term]))[:, None] * own, axis=0))
        else:
            sizes[term] = np.mean(factor**2 * np.square(own).sum(axis=1))
    common = sum(sizes.values()) / (len(sizes) if kind == "grad_norm" else 1)
    return {term: common / size for term, size in sizes.items()}


@repeated
@pytest.mark.parametrize("balance", [grad_norm(alpha=0.0), ntk(alpha=0.0)])
@pytest.mark.parametrize(
    ("multiplies", "terms", "expected"), [("residual", ("pde",), 4.0), ("squared_residual", ("initial",), 0.5)]
)
def test_halved_points_are_made_up_for(multiplies, terms, expected, balance):
    """Of terms with equal gradients, or traces, the one whose points all weigh one half gets four times the weight."""
    ratios = []
    for schemes in ([balance], [balance, constant(0.5, multiplies, terms)]):
        keras.utils.set_random_seed(0)
        model, points = still(schemes)
        model.fit(points, epochs=1, verbose=0)
        weights = term_weights(model, 0)
        ratios.append(weights["pde"] / weights["initial"])
    assert ratios[1] / ratios[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        ("causal:epsilon=0.5,cut=count+brdr", "grad_norm"),
        ("self_adaptive", "ntk"),
        *further(
            ("rba", "grad_norm"),
            ("rba", "ntk"),
            ("self_adaptive", "grad_norm"),
            ("causal:epsilon=0.5,cut=count+brdr", "ntk"),
        ),
    ],
)
def test_weighted_terms_are_balanced_as_the_step_weights_them(points, kind):
    """A network that does not move: the weights that the step used are those that are there after it."""
    model, data = still(f"{points}+{kind}:alpha=0.0,every=1", condition_points=5)
    rows = jacobians(model)
    for _ in range(2):
        model.fit(data, epochs=1, verbose=0)
        assert term_weights(model) == pytest.approx(naive_weights(model, kind, rows), rel=2e-4)


@repeated
def test_weights_that_rest_are_used_as_they_are():
    """A scheme of points that is updated between the steps too is updated before those that balance."""
    resting = constant(0.5, "residual")._replace(every=5)
    model, data = still([grad_norm(alpha=0.0, every=5), resting])
    model.fit(data, epochs=1, verbose=0)
    assert to_numpy(model.weighting.parts[1].weight("pde"))[0] == 0.5
    assert term_weights(model, 0) == pytest.approx(naive_weights(model, "grad_norm"), rel=2e-4)


@repeated
def test_batches_are_balanced_as_all_points_would_be_weighted():
    model, data = pinn("rba:gamma=0.0,eta=1.0+grad_norm:alpha=0.0,every=1", optimizer=keras.optimizers.SGD(0.0))
    model.fit(data, epochs=1, batch_size=60, verbose=0)
    expected = naive_weights(model, "grad_norm")
    model.fit(data, epochs=1, batch_size=20, shuffle=False, verbose=0)
    assert term_weights(model) == pytest.approx(expected, rel=2e-4)


@repeated
def test_looking_ahead_changes_nothing():
    """Weights of points, and what is remembered of them, are those of a training without a scheme that balances."""
    states = []
    for weighting in ("self_adaptive", "self_adaptive+grad_norm:every=1"):
        keras.utils.set_random_seed(0)
        model, data = still(weighting)
        model.fit(data, epochs=3, verbose=0)
        states.append([to_numpy(variable.value) for variable in model.weighting.parts[0].variables])
    assert states[0]
    for one, other in zip(*states, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
