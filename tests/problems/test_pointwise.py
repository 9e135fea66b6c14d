"""Residuals and networks are of one point each: whatever else is evaluated with it."""

import pytest
import torch
from torch import nn

import phasecore
from phasecore import registry
from phasecore.errors import PluginError
from phasecore.problems.pointwise import check_pointwise
from phasecore_torch import PhysicsLoss


def made(residuals):
    return type(
        "Mine", (phasecore.Problem,), {"domain": {"x": (0, 1), "t": (0, 1)}, "outputs": ("u",), "residuals": residuals}
    )()


MIXED = {
    "a mean": lambda self, x, u, xp: u["u_t"] - xp.mean(u["u"]),
    "a method": lambda self, x, u, xp: u["u_t"] - u["u"].mean(),
    "a small mean": lambda self, x, u, xp: u["u_t"] - 1e-6 * xp.mean(u["u"] * x["x"]),
    "a spread": lambda self, x, u, xp: u["u_t"] / xp.std(u["u_x"]),
    "one of two": lambda self, x, u, xp: {"first": u["u_t"], "second": u["u_x"] - xp.max(u["u"])},
    "coordinates": lambda self, x, u, xp: u["u_t"] - xp.mean(x["x"]),
    "neighbours": lambda self, x, u, xp: u["u_t"] - xp.flip(u["u"], axis=0),
}
OF_ONE_POINT = {
    "sums": lambda self, x, u, xp: u["u_t"] - u["u_xx"] + xp.sin(x["x"]) * u["u"],
    "a choice": lambda self, x, u, xp: xp.where(x["x"] > 0.5, u["u_t"], u["u_x"]),
    "not finite": lambda self, x, u, xp: xp.sqrt(u["u"]) + u["u_t"],
}


@pytest.mark.parametrize("name", MIXED)
def test_a_residual_that_mixes_points_is_refused(name):
    with pytest.raises(PluginError, match=r"depends at one point on the other points.*Integral"):
        check_pointwise(made(MIXED[name]))


@pytest.mark.parametrize("name", OF_ONE_POINT)
def test_others_are_not(name):
    check_pointwise(made(OF_ONE_POINT[name]))


@pytest.mark.parametrize("name", registry.names("problem"))
def test_nor_are_those_of_phasecore(name):
    check_pointwise(registry.problem(name))


def test_a_loss_refuses_it():
    problem = made(MIXED["a mean"])
    with pytest.raises(PluginError, match="depends at one point"):
        PhysicsLoss(problem, nn.Linear(2, 1), problem.sample(20))


class OfBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(2, 1)

    def forward(self, points):
        return self.last(points - points.mean(dim=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [OfBatch, lambda: nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))])
def test_a_network_that_mixes_points_is_warned_of(make, dtype):
    torch.manual_seed(0)
    problem, model = phasecore.problem("helmholtz"), make().to(dtype)
    with pytest.warns(UserWarning, match="depends on the other points"):
        PhysicsLoss(problem, model, problem.sample(20), derivatives="autodiff")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(4).eval(), nn.LayerNorm(4), nn.Tanh()])
def test_a_network_that_does_not_or_is_random_is_not(layer, dtype, recwarn):
    problem, model = phasecore.problem("helmholtz"), nn.Sequential(nn.Linear(2, 4), layer, nn.Linear(4, 1)).to(dtype)
    PhysicsLoss(problem, model, problem.sample(20), derivatives="autodiff")
    assert not [warning for warning in recwarn if "other points" in str(warning.message)]
