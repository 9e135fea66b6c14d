"""Adam's effective learning rates, against its recursions by hand and against the steps that it makes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from phasecore.errors import InputError
from phasecore_torch.capture import Capture
from phasecore_torch.optimizers import adam_learning_rates, adam_moments

COMMON = {"lr": 2e-3, "betas": (0.8, 0.95), "eps": 1e-6}
KINDS = {
    "Adam": lambda weights: torch.optim.Adam(weights, **COMMON),
    "AdamW": lambda weights: torch.optim.AdamW(weights, **COMMON, weight_decay=0.0),
    "NAdam": lambda weights: torch.optim.NAdam(weights, **COMMON),
    "RAdam": lambda weights: torch.optim.RAdam(weights, **COMMON),
    "AMSGrad": lambda weights: torch.optim.Adam(weights, **COMMON, amsgrad=True),
    "a tensor as learning rate": lambda weights: torch.optim.Adam(weights, **COMMON | {"lr": torch.tensor(2e-3)}),
}
X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def rectified(step):
    """The factor of RAdam's algorithm, None in its first steps."""
    longest = 2 / (1 - 0.95) - 1
    length = longest - 2 * step * 0.95**step / (1 - 0.95**step)
    if length <= 5:
        return None
    return math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_the_recursions(kind):
    net = network()
    optimizer = KINDS[kind](net.parameters())

    def loss(x):
        return (net(x) - torch.sin(3 * x)).square().mean()

    capture = Capture(loss, optimizer, points=X, batches=4, probes=["adam_learning_rates"])
    assert capture.measure() == {}, "there are none before the first step"
    weights = list(net.parameters())
    second = [torch.zeros_like(w) for w in weights]
    largest = [torch.zeros_like(w) for w in weights]
    seen = set()
    for step in range(1, 13):
        optimizer.zero_grad()
        (loss(X) / step**2).backward()
        for place, weight in enumerate(weights):
            second[place] = 0.95 * second[place] + 0.05 * weight.grad.square()
            largest[place] = torch.maximum(largest[place], second[place])
        before = [weight.detach().clone() for weight in weights]
        optimizer.step()
        used = largest if kind == "AMSGrad" else second
        rates = [2e-3 / ((v / (1 - 0.95**step)).sqrt() + 1e-6) for v in used]
        if kind == "RAdam":
            factor = rectified(step)
            seen.add(factor is None)
            rates = [torch.full_like(own, 2e-3) if factor is None else factor * own for own in rates]
        every = torch.cat([own.flatten() for own in rates]).numpy()
        row = capture.measure()
        assert row["adam_learning_rate_mean"] == pytest.approx(every.mean(), rel=1e-6)
        assert row["adam_learning_rate_variation"] == pytest.approx(every.std() / every.mean(), rel=1e-6, abs=1e-12)
        assert row["layer1_adam_learning_rate_mean"] == pytest.approx(rates[2].mean().item(), rel=1e-6)
        if kind == "NAdam":
            continue  # its step has a part of the gradient's own
        for old, weight in zip(before, weights, strict=True):
            moved = adam_learning_rates(optimizer, weight) * adam_moments(optimizer, weight).first
            # RAdam adds epsilon to the root before its bias is corrected
            np.testing.assert_allclose(moved, (old - weight.detach()).numpy(), rtol=5e-3 if kind == "RAdam" else 1e-6)
    assert row.keys() == {
        f"{layer}adam_learning_rate_{what}" for layer in ("", "layer0_", "layer1_") for what in ("mean", "variation")
    }
    assert seen == ({True, False} if kind == "RAdam" else set())


@pytest.mark.parametrize("kind", [torch.optim.Adamax, torch.optim.SGD, torch.optim.RMSprop])
def test_what_has_no_second_moment_of_adam_s_is_refused(kind):
    net = network()
    with pytest.raises(InputError, match="requires signal 'adam_learning_rates'"):
        Capture(
            lambda x: net(x).square().mean(),
            kind(net.parameters(), lr=1e-3),
            points=X,
            batches=4,
            probes=["adam_learning_rates"],
        )


def test_what_is_trained_beside_the_model_counts():
    net, coefficient = network(), nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = torch.optim.Adam([*net.parameters(), coefficient], lr=1e-3)

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return (self.net(x) - coefficient).square().mean()

    capture = Capture(Loss(), optimizer, points=X, batches=4, probes=["adam_learning_rates", "adam_snr"])
    Loss()(X).backward()
    optimizer.step()
    gradients = torch.cat([p.grad.flatten() for p in (*net.parameters(), coefficient)])
    row = capture.measure()
    rates = 1e-3 / (gradients.abs() + 1e-8)
    assert row["adam_learning_rate_mean"] == pytest.approx(rates.mean().item(), rel=1e-6)
    assert row["adam_snr"] == pytest.approx((gradients.norm() / (gradients.abs() + 1e-8).norm()).item(), rel=1e-9)
