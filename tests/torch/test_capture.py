"""Captures: the statistics of float64 loops over the batches, from a training that they do not disturb."""

import math

import numpy as np
import pytest
import torch
from campaigns import campaign
from normalized import Normalized
from torch import nn
from torch_oracles import (
    batch_gradients,
    double,
    gradient_statistics,
    mlp,
    nested_conditions,
    nested_residuals,
    relative,
)

import phasecore
from phasecore.errors import InputError, UnknownNameError
from phasecore.probes.gradient_snr import GradientSNR
from phasecore_torch import Capture, PhysicsLoss
from phasecore_torch.batches import GRADIENT_ENTRIES
from phasecore_torch.moments import MomentAccumulator

PROBLEMS = [name for name in phasecore.names("problem") if not phasecore.problem(name).trained_coefficients]
HELMHOLTZ = phasecore.problem("helmholtz", a1=1, a2=2)


def training(problem, weighting="rba", points=200, iterations=0, dtype=torch.float32, model=None, **options):
    model = mlp(len(problem.coordinates), len(problem.outputs), dtype=dtype) if model is None else model
    sample = problem.sample(points, seed=0)
    loss = PhysicsLoss(problem, model, sample, weighting=weighting, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(iterations):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return loss, optimizer, sample


def naive_losses(loss, sample, model, batches):
    """The loss of each batch in the model's dtype: nested derivatives, and the conditions in full every time."""
    dtype = next(model.parameters()).dtype
    residuals = nested_residuals(loss.problem, model, loss.points.to(dtype))
    conditions = nested_conditions(loss.problem, model, sample.conditions)
    weights = {term: weight.to(dtype) for term, weight in loss.point_weights().items()}
    losses = []
    for batch in np.array_split(np.arange(len(loss.points)), batches):
        parts = [(weights.get(t, torch.ones_like(r)) * r)[batch].square().mean() for t, r in residuals.items()]
        losses.append(sum(parts) + sum(r.square().mean() for r in conditions.values()))
    return losses


def largest_deviation(row, expected):
    return max(abs(row[name] - value) / abs(value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("weighting", "iterations"), [("uniform", 50), ("rba", 1), *campaign(("uniform", 1), ("rba", 50))]
)
@pytest.mark.parametrize("name", PROBLEMS)
def test_statistics_in_float32_equal_a_float64_loop(name, weighting, iterations):
    """The float64 model itself, not its float32 gradients, is the oracle; with rba's first iterations the naive
    accumulation in float32 is wrong in the third digit or worse."""
    loss, optimizer, sample = training(phasecore.problem(name), weighting, iterations=iterations)
    row = Capture(loss, optimizer, probes=["gradient_snr"]).measure()
    model = double(loss.model)
    expected = gradient_statistics(batch_gradients(model, naive_losses(loss, sample, model, 100)))
    assert set(row) == set(expected)
    assert largest_deviation(row, expected) < 1e-5
    assert row["gradient_order"] == pytest.approx(row["snr"] / math.hypot(1, row["snr"]), rel=1e-12)


@pytest.mark.parametrize(("eta", "ratio"), [(1e-4, 1e5), (1e-6, 1e9), *campaign((1e-5, 1e7))])
def test_a_mean_that_exceeds_the_deviation_a_million_times(eta, ratio):
    loss, optimizer, sample = training(HELMHOLTZ, f"rba:eta={eta}", iterations=1)
    row = Capture(loss, optimizer, probes=["gradient_snr"]).measure()
    assert row["snr"] > ratio
    model = double(loss.model)
    expected = gradient_statistics(batch_gradients(model, naive_losses(loss, sample, model, 100)))
    assert largest_deviation(row, expected) < 1e-5


def test_float64_all_the_way():
    loss, optimizer, sample = training(HELMHOLTZ, iterations=20, dtype=torch.float64)
    row = Capture(loss, optimizer, probes=["gradient_snr"]).measure()
    expected = gradient_statistics(batch_gradients(loss.model, naive_losses(loss, sample, loss.model, 100)))
    assert largest_deviation(row, expected) < 1e-10


@pytest.mark.parametrize("points", [101, 230, *campaign(100, 199)])
def test_points_that_batches_do_not_divide(points):
    loss, optimizer, sample = training(HELMHOLTZ, points=points, iterations=2, dtype=torch.float64)
    row = Capture(loss, optimizer, probes=["gradient_snr"]).measure()
    expected = gradient_statistics(batch_gradients(loss.model, naive_losses(loss, sample, loss.model, 100)))
    assert largest_deviation(row, expected) < 1e-10


@pytest.mark.parametrize("batches", [2, 50, *campaign(7)])
def test_another_number_of_batches(batches):
    loss, optimizer, sample = training(HELMHOLTZ, points=50, dtype=torch.float64)
    row = Capture(loss, optimizer, probes=["gradient_snr"], batches=batches).measure()
    expected = gradient_statistics(batch_gradients(loss.model, naive_losses(loss, sample, loss.model, batches)))
    assert largest_deviation(row, expected) < 1e-10


@pytest.mark.parametrize("style", ["shared", "tied", "weight_norm", "plain"])
def test_batches_at_once_equal_one_by_one(style, monkeypatch):
    shared, tied = nn.Linear(8, 8), nn.Linear(8, 8)
    tied.weight = shared.weight
    model = {
        "plain": mlp(dtype=torch.float64),
        "shared": nn.Sequential(nn.Linear(2, 8), nn.Tanh(), shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(8, 1)),
        "tied": nn.Sequential(nn.Linear(2, 8), nn.Tanh(), shared, nn.Tanh(), tied, nn.Tanh(), nn.Linear(8, 1)),
        "weight_norm": nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(2, 8)), nn.Tanh(), nn.Linear(8, 1)
        ),
    }[style].double()
    loss, optimizer, _ = training(HELMHOLTZ, points=130, iterations=2, model=model)
    parameters = list(model.parameters())
    at_once = Capture(loss, optimizer).measure()
    assert all(now is before for now, before in zip(model.parameters(), parameters, strict=True))
    monkeypatch.setitem(GRADIENT_ENTRIES, "cpu", 700)
    few_at_once = Capture(loss, optimizer).measure()
    by_autodiff, other_optimizer, _ = training(HELMHOLTZ, points=130, model=model, derivatives="autodiff")
    other_optimizer.load_state_dict(optimizer.state_dict())
    by_autodiff.weighting.load_state_dict(loss.weighting.state_dict())
    one_by_one = Capture(by_autodiff, other_optimizer).measure()
    for row in (few_at_once, one_by_one):
        assert set(row) == set(at_once)
        for name, value in at_once.items():
            assert row[name] == pytest.approx(value, rel=1e-9), name


def test_no_more_gradients_at_once_than_allowed(monkeypatch):
    """The memory of the gradients is bounded whatever the number of batches."""
    loss, optimizer, _ = training(HELMHOLTZ, points=100)
    entries = sum(parameter.numel() for parameter in loss.model.parameters() if parameter.ndim == 2)
    monkeypatch.setitem(GRADIENT_ENTRIES, "cpu", 10 * entries)
    chunks = []
    add = MomentAccumulator.add
    monkeypatch.setattr(MomentAccumulator, "add", lambda self, chunk: (chunks.append(len(chunk[0])), add(self, chunk)))
    Capture(loss, optimizer, probes=["gradient_snr"]).measure()
    assert chunks == [10] * 10


@pytest.mark.parametrize("biases", [False, True])
def test_biases_count_if_asked_for(biases):
    loss, optimizer, _ = training(HELMHOLTZ)
    row = Capture(loss, optimizer, probes=["gradient_snr"], biases=biases).measure()
    assert len([name for name in row if name.startswith("layer")]) == 2 * (6 if biases else 3)


def test_a_frozen_layer_does_not_count():
    model = mlp()
    model[0].weight.requires_grad_(False)
    loss, optimizer, _ = training(HELMHOLTZ, model=model)
    assert "layer2_mean_norm" not in Capture(loss, optimizer, probes=["gradient_snr"]).measure()


def test_other_probes_of_a_physics_loss():
    loss, optimizer, sample = training(HELMHOLTZ, iterations=5)
    row = Capture(loss, optimizer).measure()
    model = double(loss.model)
    grid = torch.as_tensor(HELMHOLTZ.evaluation_points())
    reference = torch.as_tensor(HELMHOLTZ.reference(grid.numpy())["u"])
    assert row["relative_l2_error"] == pytest.approx(relative(model(grid)[:, 0], reference), rel=1e-5)
    residuals = nested_residuals(HELMHOLTZ, model, loss.points.double())["pde"]
    boundary = nested_conditions(HELMHOLTZ, model, sample.conditions)["boundary"]
    weights = loss.point_weights()["pde"].double()
    assert row["loss_pde"] == pytest.approx(residuals.square().mean().item(), rel=1e-5)
    assert row["loss_boundary"] == pytest.approx(boundary.square().mean().item(), rel=1e-5)
    assert row["weighted_loss_pde"] == pytest.approx((weights * residuals).square().mean().item(), rel=1e-5)
    assert row["weighted_loss_boundary"] == row["loss_boundary"]
    assert row["training_loss"] == pytest.approx(row["weighted_loss_pde"] + row["loss_boundary"], rel=1e-12)
    assert 0 < row["residual_order"] <= 1
    assert all(type(value) is float for value in row.values())


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_moments_equal_a_computation_by_hand(kind, biases):
    model = mlp()
    loss, _, _ = training(HELMHOLTZ, "uniform", model=model)
    optimizer = kind(model.parameters(), lr=1e-3, betas=(0.8, 0.95), weight_decay=0.0)
    measure = Capture(loss, optimizer, probes=["adam_snr" if biases else phasecore.probe("adam_snr", biases=False)])
    assert measure.measure() == {}, "there are no moments before the first step"
    weights = [parameter for parameter in model.parameters() if biases or parameter.ndim == 2]
    first = [torch.zeros_like(weight, dtype=torch.float64) for weight in weights]
    second = [torch.zeros_like(weight, dtype=torch.float64) for weight in weights]
    for step in range(1, 6):
        optimizer.zero_grad()
        loss().backward()
        for k, weight in enumerate(weights):
            first[k] = 0.8 * first[k] + 0.2 * weight.grad.double()
            second[k] = 0.95 * second[k] + 0.05 * weight.grad.double().square()
        optimizer.step()
        above = math.hypot(*(float(m.norm()) / (1 - 0.8**step) for m in first))
        below = math.hypot(*(float(((v / (1 - 0.95**step)).sqrt() + 1e-8).norm()) for v in second))
        row = measure.measure()
        assert row["adam_snr"] == pytest.approx(above / below, rel=1e-5)
        assert row["adam_first_moment_norm"] == pytest.approx(above, rel=1e-5)
        assert row["adam_second_moment_root_norm"] == pytest.approx(below, rel=1e-5)
        steps = [
            (m / (1 - 0.8**step)).abs() / ((v / (1 - 0.95**step)).sqrt() + 1e-8)
            for m, v in zip(first, second, strict=True)
        ]
        assert row["adam_update_mean"] == pytest.approx(torch.cat([own.flatten() for own in steps]).mean().item())


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RMSprop])
def test_other_optimizers_have_no_adam_snr(kind):
    loss, _, _ = training(HELMHOLTZ)
    optimizer = kind(loss.model.parameters(), lr=1e-6)
    loss().backward()
    optimizer.step()
    row = Capture(loss, optimizer).measure()
    assert "snr" in row
    assert not [name for name in row if name.startswith("adam")]
    with pytest.raises(InputError, match=r"probe 'adam_snr' requires signal 'adam_moments'.*backend 'torch'"):
        Capture(loss, optimizer, probes=["adam_snr"])


class Stochastic(nn.Module):
    """Dropout, and batch normalization whose statistics every forward pass changes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), Normalized(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))

    def forward(self, points):
        return self.body(points)


def state_of(loss, model, optimizer):
    return {
        **{f"model.{name}": value.clone() for name, value in model.state_dict().items()},
        **{f"loss.{name}": value.clone() for name, value in loss.state_dict().items()},
        **{f"grad.{k}": p.grad.clone() for k, p in enumerate(model.parameters())},
        **{
            f"optimizer.{k}.{name}": torch.as_tensor(value).clone()
            for k, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        },
        "random": torch.random.get_rng_state(),
    }


@pytest.mark.parametrize("network", ["plain", "stochastic"])
@pytest.mark.parametrize("weighting", ["uniform", "rba"])
@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know")
def test_a_capture_changes_nothing(network, weighting):
    torch.manual_seed(0)
    model = mlp() if network == "plain" else Stochastic()
    loss, optimizer, _ = training(HELMHOLTZ, weighting, iterations=3, model=model)
    measure = Capture(loss, optimizer)
    losses = loss.losses
    before, mode = state_of(loss, model, optimizer), torch.is_grad_enabled()
    measure.measure()
    after = state_of(loss, model, optimizer)
    assert before.keys() == after.keys()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []
    assert loss.losses is losses
    assert model.training
    assert loss.training
    assert torch.is_grad_enabled() == mode


def test_within_no_grad():
    loss, optimizer, _ = training(HELMHOLTZ, iterations=1, dtype=torch.float64)
    measure = Capture(loss, optimizer)
    expected = measure.measure()
    with torch.no_grad():
        assert measure.measure() == expected
    autodiff, _, _ = training(HELMHOLTZ, dtype=torch.float64, model=loss.model, derivatives="autodiff")
    with torch.no_grad():
        assert Capture(autodiff, optimizer).measure()["gradient_std_norm"] > 0


def regression():
    x = torch.rand(230, 3, generator=torch.Generator().manual_seed(0))
    y = (x.sum(1, keepdim=True) * 2).sin()
    model = mlp(3, 1, nn.ReLU)
    return model, x, y, torch.optim.Adam(model.parameters(), lr=1e-3)


def test_a_loss_of_ones_own():
    model, x, y, optimizer = regression()

    def batch_loss(x, y):
        return (model(x) - y).square().mean()

    row = Capture(batch_loss, optimizer, points=(x, y)).measure()
    exact = double(model)
    losses = [
        (exact(x[batch].double()) - y[batch].double()).square().mean() for batch in np.array_split(range(230), 100)
    ]
    assert largest_deviation(row, gradient_statistics(batch_gradients(exact, losses))) < 1e-5
    everything = (exact(x.double()) - y.double()).square().mean().item()
    assert row["training_loss"] == row["unweighted_loss"] == row["loss_data"] == pytest.approx(everything, rel=1e-5)
    assert "adam_snr" not in row
    assert "residual_order" not in row


def test_a_loss_of_ones_own_as_a_module():
    """Whether or not the module holds the network, the optimizer's parameters count."""
    model, x, y, optimizer = regression()

    class Loss(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x, y):
            network = self.network if isinstance(self.network, nn.Module) else self.network[0]
            return (network(x) - y).square().mean()

    rows = [Capture(Loss(network), optimizer, points=(x, y)).measure() for network in (model, [model])]
    assert rows[0] == rows[1]
    assert len([name for name in rows[0] if name.startswith("layer")]) == 6


def test_one_tensor_of_points():
    model, x, _, optimizer = regression()
    row = Capture(lambda batch: model(batch).square().mean(), optimizer, points=x).measure()
    assert row["snr"] > 0
    with torch.no_grad():
        assert Capture(lambda batch: model(batch).square().mean(), optimizer, points=x).measure() == row


def test_a_noisy_loss_of_ones_own_keeps_the_random_state():
    model, x, _, optimizer = regression()
    measure = Capture(lambda batch: (model(batch + 0.1 * torch.randn_like(batch))).square().mean(), optimizer, points=x)
    state = torch.random.get_rng_state()
    measure.measure()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a loss of your own: received no points; expected points="),
        ({"points": (torch.zeros(5, 1), torch.zeros(6, 1))}, r"tensors of lengths \[5, 6\]"),
        ({"points": torch.zeros(99, 3)}, "received 100; expected from 2 to the number of points, 99"),
        ({"points": torch.zeros(99, 3), "batches": 1}, "received 1;"),
        ({"points": torch.zeros(200, 3), "probes": ["residual_order"]}, "probe 'residual_order' requires signals"),
    ],
)
def test_bad_arguments_for_a_loss_of_ones_own(arguments, message):
    model, _, _, optimizer = regression()
    with pytest.raises(InputError, match=message):
        Capture(lambda batch: model(batch).square().mean(), optimizer, **arguments)


def test_bad_arguments_for_a_physics_loss():
    loss, optimizer, _ = training(HELMHOLTZ, points=60)
    with pytest.raises(InputError, match="expected from 2 to the number of points, 60"):
        Capture(loss, optimizer)
    with pytest.raises(InputError, match="points beside a PhysicsLoss"):
        Capture(loss, optimizer, batches=10, points=loss.points)
    with pytest.raises(UnknownNameError, match="Did you mean 'gradient_snr'"):
        Capture(loss, optimizer, batches=10, probes=["gradient_snrr"])
    model = nn.Linear(2, 1)
    model.weight.requires_grad_(False)
    with pytest.raises(InputError, match=r"no trainable weight matrix.*biases=True"):
        Capture(PhysicsLoss(HELMHOLTZ, model, loss.points), torch.optim.SGD([model.bias]), batches=10)


def test_a_probe_as_an_object():
    loss, optimizer, _ = training(HELMHOLTZ)
    row = Capture(loss, optimizer, probes=[GradientSNR(per_layer=False)]).measure()
    assert sorted(row) == ["gradient_mean_norm", "gradient_order", "gradient_std_norm", "snr"]
