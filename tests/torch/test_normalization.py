"""Derivatives of networks with layer normalization: of torch's own they are wrong from the third order on."""

import itertools
from typing import ClassVar

import pytest
import torch
from torch import nn

import phasecore
from phasecore_torch import PhysicsLoss
from phasecore_torch.derivatives import PartialDerivatives
from phasecore_torch.normalization import OWN, layer_norm

NAMES = ("u", "u_x", "u_xx", "u_xxx", "u_xxxx")
STEP = 1e-4


class Grouped(nn.Module):
    """Normalizes two axes of several features each."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(2, 12), nn.LayerNorm((3, 4)), nn.Linear(12, 1)

    def forward(self, points):
        return self.last(torch.sin(self.norm(self.first(points).reshape(-1, 3, 4))).reshape(-1, 12))


class Called(nn.Module):
    """Calls the function by its other name, without weights."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 6), nn.Linear(6, 1)

    def forward(self, points):
        return self.last(torch.tanh(torch.layer_norm(self.first(points), (6,), eps=0.1)))


def models():
    torch.manual_seed(3)
    made = {
        "plain": nn.Sequential(nn.Linear(2, 6), nn.LayerNorm(6, eps=0.1), nn.Tanh(), nn.Linear(6, 1)),
        "without a bias": nn.Sequential(
            nn.Linear(2, 6), nn.LayerNorm(6, eps=0.1, bias=False), nn.Tanh(), nn.Linear(6, 1)
        ),
        "beside what jets do not know": nn.Sequential(
            nn.Linear(2, 6), nn.LayerNorm(6, eps=0.1), nn.CELU(1.5), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1)
        ),
        "two axes": Grouped(),
        "a function": Called(),
    }
    for model in made.values():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.7)
    return made


def points():
    return torch.rand((4, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know this model")
@pytest.mark.parametrize("method", ["auto", "autodiff"])
@pytest.mark.parametrize("name", models())
def test_derivatives_are_finite_differences_of_those_before(name, method):
    model, at = models()[name].double(), points()
    evaluate = PartialDerivatives(model, ["u"], ["x", "y"], NAMES, at, method)
    knows = method == "auto" and name != "beside what jets do not know"
    assert evaluate.method == ("jets" if knows else "autodiff")
    step = torch.tensor([[STEP, 0.0]], dtype=torch.float64)
    with torch.no_grad():
        found, above, below = evaluate(at), evaluate(at + step), evaluate(at - step)
    for lower, higher in itertools.pairwise(NAMES):
        expected = (above[lower] - below[lower]) / (2 * STEP)
        torch.testing.assert_close(found[higher], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


class Laplace(phasecore.Problem):
    domain: ClassVar = {"x": (0, 1), "y": (0, 1)}
    outputs = ("u",)

    def residuals(self, x, u, xp):
        return u["u_xx + u_yy"]


@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know this model")
@pytest.mark.parametrize("method", ["auto", "autodiff"])
@pytest.mark.parametrize("name", models())
def test_gradients_of_the_loss_are_finite_differences(name, method):
    model = models()[name].double()
    loss_fn = PhysicsLoss(Laplace(), model, Laplace().sample(10, seed=0), derivatives=method)
    loss_fn().backward()
    for parameter in model.parameters():
        gradient = 0.0 if parameter.grad is None else parameter.grad.flatten()[0].item()
        with torch.no_grad():
            parameter.view(-1)[0] += STEP
            above = loss_fn().item()
            parameter.view(-1)[0] -= 2 * STEP
            below = loss_fn().item()
            parameter.view(-1)[0] += STEP
        assert gradient == pytest.approx((above - below) / (2 * STEP), rel=1e-3, abs=1e-4 * abs(loss_fn().item()))


@pytest.mark.parametrize("own", OWN, ids=["functional", "torch"])
def test_values_are_those_of_torch(own):
    x = torch.randn(5, 3, 4)
    weight, bias = torch.randn(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(layer_norm(x, (3, 4), weight, bias, 0.01), own(x, (3, 4), weight, bias, 0.01))
    torch.testing.assert_close(layer_norm(x, [4]), own(x, [4]))
