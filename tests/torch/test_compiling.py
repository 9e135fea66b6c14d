"""`torch.compile(fullgraph=True)` of the loss, weights and all: the numbers of eager mode."""

import shutil

import pytest
import torch
from campaigns import campaign
from torch_oracles import mlp

import phasecore
from phasecore_torch import PhysicsLoss


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def pair(name, weighting):
    problem = phasecore.problem(name)
    model = mlp(len(problem.coordinates), len(problem.outputs), width=8)
    sample = problem.sample(20, seed=0)
    return [PhysicsLoss(problem, model, sample, weighting=weighting) for _ in range(2)], model


def same(compiled, eager, model, *arguments, tolerance):
    values, gradients = [], []
    for function in (compiled, eager):
        value = function(*arguments)
        gradients.append(torch.autograd.grad(value, list(model.parameters()), allow_unused=True))
        values.append(value.detach())
    torch.testing.assert_close(values[0], values[1], rtol=tolerance, atol=0)
    for got, expected in zip(*gradients, strict=True):
        if expected is not None:
            torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("name", "weighting"),
    [
        ("helmholtz", "rba:start=residuals,normalization=minmax"),
        *campaign(("lid_driven_cavity", "rba:start=residuals,normalization=minmax"), ("burgers", "uniform")),
    ],
)
def test_the_loss_compiles_whole(name, weighting):
    (loss, eager), model = pair(name, weighting)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for _ in range(3):
        same(compiled, eager, model, tolerance=1e-6)
    same(compiled, eager, model, torch.arange(5, 15), tolerance=1e-6)
    for term, expected in eager.point_weights().items():
        torch.testing.assert_close(loss.point_weights()[term], expected)
    assert set(loss.losses.weighted) == set(eager.losses.weighted)


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default compiler needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_with_the_default_compiler():
    """It recomputes in the backward pass what it can, which must not see the weights of the next iteration."""
    (loss, eager), model = pair("helmholtz", "rba:gamma=0.5,eta=0.5")
    compiled = torch.compile(loss, fullgraph=True)
    same(compiled, eager, model, tolerance=1e-5)
    same(compiled, eager, model, tolerance=1e-5)
    with torch.compiler.set_stance("fail_on_recompile"):
        for _ in range(3):
            same(compiled, eager, model, tolerance=1e-5)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("scheme", ["grad_norm:every=2", "rba+learning_rate_annealing", "rba+ntk:every=2"])
def test_schemes_that_read_gradients_of_terms_weight_a_compiled_loss(scheme, recompute):
    """Their backward passes go through one graph several times, which compiled code forbids."""
    problem, weights = phasecore.problem("burgers"), []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = mlp()
        points = problem.sample(60, seed=0, condition_points=10)
        options = {"weighting": scheme, "compiled": compiled, "recompute": recompute}
        loss = PhysicsLoss(problem, model, points, **options)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for _ in range(3):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        assert loss.blocks.compiled == compiled
        weights.append(loss.weighting.current(None))
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, rtol=1e-3, atol=1e-5)
