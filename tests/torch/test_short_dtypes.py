"""A network in a short dtype: its loss, and the averages of weighting schemes, are kept in float32."""

import warnings

import pytest
import torch
from torch import nn

import phasecore
from phasecore import registry
from phasecore_torch import PhysicsLoss

UPDATES = 300
SHORT = (torch.bfloat16, torch.float16)
SCHEMES = {"fixed": "fixed:pde=3", "causal": None}


def specifications():
    names = (SCHEMES.get(name, name) for name in registry.names("weighting"))
    return [*filter(None, names), "rba+learning_rate_annealing"]


def loss_of(dtype, weighting, problem=None, scale=1.0):
    problem = problem or phasecore.problem("helmholtz", a1=1, a2=1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    with torch.no_grad():
        model[2].weight *= scale
    # both from what the shorter one can hold
    model = model.to(torch.bfloat16).to(dtype)
    with warnings.catch_warnings():
        # with 3 digits jets and autodiff may differ too much to tell whether the model was read rightly
        warnings.filterwarnings("ignore", message="Taylor-mode derivatives")
        return PhysicsLoss(problem, model, problem.sample(40, seed=0), weighting=weighting)


def after_updates(loss):
    with torch.no_grad():
        for _ in range(UPDATES):
            value = loss()
    return value, loss.weighting.current(None)


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("weighting", specifications())
def test_weights_are_those_of_a_long_dtype(dtype, weighting):
    value, weights = after_updates(loss_of(dtype, weighting))
    expected, long = after_updates(loss_of(torch.float64, weighting))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=0.1)
    assert weights.keys() == long.keys()
    for name, weight in weights.items():
        assert weight.dtype == torch.float32
        assert weight.double().mean().item() == pytest.approx(long[name].mean().item(), rel=0.05)


@pytest.mark.parametrize("dtype", SHORT)
def test_causal_weights_too(dtype):
    problem = phasecore.problem("burgers")
    value, weights = after_updates(loss_of(dtype, "causal", problem))
    expected, long = after_updates(loss_of(torch.float64, "causal", problem))
    assert value.item() == pytest.approx(expected.item(), rel=0.1)
    for name, weight in weights.items():
        assert weight.double().mean().item() == pytest.approx(long[name].mean().item(), rel=0.05)


def test_squares_of_residuals_do_not_overflow():
    loss = loss_of(torch.float16, "uniform", scale=2000.0)
    residual = loss.residuals()["pde"]
    assert residual.isfinite().all()
    assert residual.abs().max() > 256
    assert loss().isfinite()
    assert all(value.isfinite() for value in loss.losses.unweighted.values())


def test_a_state_that_was_kept_in_a_short_dtype_goes_on():
    state = loss_of(torch.bfloat16, "rba").state_dict()
    older = {name: value.bfloat16() if value.is_floating_point() else value for name, value in state.items()}
    loss = loss_of(torch.bfloat16, "rba")
    loss.load_state_dict(older)
    loss()
    assert loss.point_weights()["pde"].dtype == torch.float32
