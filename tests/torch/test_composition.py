"""Schemes of terms beside schemes of points: what they balance is what is minimized."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import nn

import phasecore
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS
from phasecore.weighting import WeightingScheme, grad_norm, ntk, rba
from phasecore_torch import PhysicsLoss

BURGERS = phasecore.problem("burgers")
POINT_SCHEMES = [
    "rba",
    "vrba",
    "causal:epsilon=0.5",
    "self_adaptive",
    "brdr",
    "rba+causal:slabs=4,epsilon=3.0,cut=count",
]


def mlp():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 1)).double()


def loss_of(weighting):
    model = mlp()
    return PhysicsLoss(BURGERS, model, BURGERS.sample(40, seed=1, condition_points=12), weighting=weighting), model


class Nothing(NamedTuple):
    pass


def constant(weight, multiplies, terms=("pde",)):
    """The same weight for every point of some terms."""

    def update(signals, state):
        every = {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}
        return {term: weight * signals.namespace.ones_like(every[term]) for term in terms}, state

    requires = frozenset({RESIDUALS, CONDITION_RESIDUALS})
    return WeightingScheme(lambda signals: Nothing(), update, requires, multiplies=multiplies)


def naive_factors(loss, term, indices):
    """What multiplies the residual of each point, from the weights of every scheme one by one."""
    factor = 1.0
    for part in loss.weighting.parts:
        weight = part.weight(term)
        if weight is not None and weight.ndim:
            weight = weight if indices is None or term != "pde" else weight[indices]
            factor = factor * (weight if part.scheme.multiplies == "residual" else weight.sqrt())
    return factor


def naive_residuals(loss, indices):
    found = {**loss.residuals(), **loss.evaluate().condition_residuals}
    return {term: r if indices is None or term != "pde" else r[indices] for term, r in found.items()}


def naive_norms(loss, model, indices):
    """The norm of the gradient of `mean((f r)^2)`, term by term."""
    found = {}
    for term, residual in naive_residuals(loss, indices).items():
        weighted = (naive_factors(loss, term, indices) * residual).square().mean()
        gradients = torch.autograd.grad(weighted, list(model.parameters()), retain_graph=True)
        found[term] = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    return found


def naive_mean_traces(loss, model, indices):
    """`mean_i norm2(d(f_i r_i))^2`, residual by residual."""
    found = {}
    for term, residual in naive_residuals(loss, indices).items():
        total = 0.0
        weighted = naive_factors(loss, term, indices) * residual
        for one in weighted:
            gradients = torch.autograd.grad(one, list(model.parameters()), retain_graph=True)
            total += sum(float(g.square().sum()) for g in gradients)
        found[term] = total / len(residual)
    return found


def term_weights(loss):
    part = loss.weighting.parts[-1]
    return {term: float(part.weight(term)) for term in part.weighted}


@pytest.mark.parametrize(
    ("multiplies", "terms", "expected"),
    [
        ("residual", ("pde",), 4.0),
        ("squared_residual", ("pde",), 2.0),
        ("residual", ("initial",), 0.25),
        ("squared_residual", ("pde", "initial", "boundary"), 1.0),
    ],
)
@pytest.mark.parametrize("balance", [grad_norm(alpha=0.0), ntk(alpha=0.0)])
def test_halved_points_are_made_up_for(multiplies, terms, expected, balance):
    """Of terms with equal gradients, or traces, the one whose points all weigh one half gets four times the weight."""
    alone, _ = loss_of({"balance": balance})
    halved, _ = loss_of({"halved": constant(0.5, multiplies, terms), "balance": balance})
    turned, _ = loss_of({"balance": balance, "halved": constant(0.5, multiplies, terms)})
    ratios = []
    for loss in (alone, halved, turned):
        loss()
        weights = {part.scheme_name: part for part in loss.weighting.parts}["balance"]
        ratios.append(float(weights.weight("pde") / weights.weight("initial")))
    assert ratios[1] / ratios[0] == pytest.approx(expected, rel=1e-12)
    assert ratios[2] == pytest.approx(ratios[1], rel=1e-12)


@pytest.mark.parametrize("points", POINT_SCHEMES)
def test_weighted_gradients_are_balanced_at_every_step(points):
    loss, model = loss_of(f"{points}+grad_norm:alpha=0.0,every=1")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for indices in (None, torch.tensor([4, 2, 39, 7]), torch.tensor([1, 4, 30]), None):
        optimizer.zero_grad()
        value = loss(indices)
        norms = naive_norms(loss, model, indices)
        expected = {term: sum(norms.values()) / len(norms) / norm for term, norm in norms.items()}
        assert term_weights(loss) == pytest.approx(expected, rel=1e-9)
        for term, weighted in loss.losses.weighted.items():
            size = naive_factors(loss, term, indices) * naive_residuals(loss, indices)[term]
            assert float(weighted) == pytest.approx(expected[term] * size.square().mean().item(), rel=1e-9)
        value.backward()
        optimizer.step()


@pytest.mark.parametrize("points", ["rba", "self_adaptive", "causal:epsilon=0.5"])
def test_weighted_traces_are_balanced_at_every_step(points):
    loss, model = loss_of(f"{points}+ntk:alpha=0.0,every=1")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for indices in (None, torch.tensor([4, 2, 39, 7])):
        optimizer.zero_grad()
        value = loss(indices)
        traces = naive_mean_traces(loss, model, indices)
        expected = {term: sum(traces.values()) / trace for term, trace in traces.items()}
        assert term_weights(loss) == pytest.approx(expected, rel=1e-9)
        value.backward()
        optimizer.step()


def test_what_a_probe_reads_stays_without_weights():
    loss, model = loss_of({"halved": constant(0.5, "residual"), "balance": grad_norm(alpha=0.0)})
    loss()
    (expected, *_) = torch.autograd.grad(loss.residuals()["pde"].square().mean(), list(model.parameters()))
    torch.testing.assert_close(loss.term_gradients()["pde"]["0.weight"], expected)
    torch.testing.assert_close(loss.term_gradients(weighted=True)["pde"]["0.weight"], expected / 4)
    torch.testing.assert_close(
        loss.tangent_kernel_traces(weighted=True)["pde"], loss.tangent_kernel_traces()["pde"] / 4
    )


def test_losses_of_terms_are_those_without_weights():
    """A weight of points that grows is no loss that does."""
    plain, _ = loss_of("soft_adapt:loss_weighted=True")
    beside, _ = loss_of("rba+soft_adapt:loss_weighted=True")
    for loss in (plain, beside):
        loss()
    assert term_weights(beside) == pytest.approx(term_weights(plain), rel=1e-12)


def test_composed_schemes_rest_each_as_long_as_it_says():
    loss, model = loss_of({"rba": rba(), "balance": grad_norm(alpha=0.0, every=3)})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for iteration in range(5):
        optimizer.zero_grad()
        value = loss()
        if iteration % 3 == 0:
            norms = naive_norms(loss, model, None)
            expected = {term: sum(norms.values()) / len(norms) / norm for term, norm in norms.items()}
        assert term_weights(loss) == pytest.approx(expected, rel=1e-9)
        value.backward()
        optimizer.step()
