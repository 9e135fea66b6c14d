"""Signals of the activation and gradient probes: what torch supplies, from models that stay as they are."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch_oracles import mlp

import phasecore
from phasecore.errors import InputError
from phasecore.probes import Probe
from phasecore.probes.layer_entropy import LayerEntropy
from phasecore.signals import Signals
from phasecore_torch import Capture, PhysicsLoss
from phasecore_torch.activations import HiddenActivations
from phasecore_torch.capture import SUPPLIES

HELMHOLTZ = phasecore.problem("helmholtz", a1=1, a2=2)
POINTS = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))


class Recording(Probe):
    """Keeps the signals that it required."""

    name = "recording"

    def __init__(self, *required):
        self.requires = frozenset(required)
        self.seen = {}

    def measure(self, signals):
        self.seen = {name: signals[name] for name in self.requires}
        return {}


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 1)
        self.function = function

    def forward(self, points):
        return self.last(self.function(self.second(self.function(self.first(points)))))


class Swish(nn.Module):
    def forward(self, values):
        return values * torch.sigmoid(values)


class Adaptive(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.5))

    def forward(self, values):
        return torch.tanh(self.slope * values)


def in_place(values):
    return values.tanh_()


def residual_in_place(values):
    activation = torch.tanh(values)
    activation += values
    return activation


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nn.Tanh(), torch.tanh),
        (torch.tanh, torch.tanh),
        (torch.Tensor.tanh, torch.tanh),
        (in_place, torch.tanh),
        (nn.SiLU(), functional.silu),
        (functional.gelu, functional.gelu),
        (nn.ReLU(inplace=True), torch.relu),
        (torch.sin, torch.sin),
        (functional.softplus, functional.softplus),
        (nn.Softplus(beta=2.0), nn.Softplus(beta=2.0)),
        (Swish(), functional.silu),
        (Adaptive(), lambda values: torch.tanh(1.5 * values)),
    ],
)
def test_activations_are_those_of_a_pass_by_hand(function, expected):
    model = Functional(function)
    first = expected(model.first(POINTS))
    second = expected(model.second(first))
    found = HiddenActivations(model)(POINTS)
    assert len(found) == 2
    for values, by_hand in zip(found, (first, second), strict=True):
        torch.testing.assert_close(values, by_hand.detach())
        assert not values.requires_grad


def test_what_follows_in_place_does_not_change_what_was_recorded():
    model = Functional(residual_in_place)
    found = HiddenActivations(model)(POINTS)
    torch.testing.assert_close(found[0], torch.tanh(model.first(POINTS)).detach())


def test_embeddings_of_the_inputs_and_the_models_own_output_are_not_hidden():
    class Embedded(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("frequencies", torch.ones(2, 5))
            self.body = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid())

        def forward(self, points):
            angles = points @ self.frequencies
            return self.body(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1))

    assert [tuple(values.shape) for values in HiddenActivations(Embedded())(POINTS)] == [(30, 8)]
    assert HiddenActivations(nn.Linear(2, 1)).count(POINTS) == 0


def test_the_model_stays_untouched():
    model = mlp()
    before = [(name, len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in model.named_modules()]
    everywhere = len(nn.modules.module._global_forward_hooks), len(nn.modules.module._global_forward_pre_hooks)
    HiddenActivations(model)(POINTS)
    assert HiddenActivations(model).count(torch.zeros(3, 7)) == 0, "a model that fails is not watched"
    assert [(name, len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in model.named_modules()] == before
    now = len(nn.modules.module._global_forward_hooks), len(nn.modules.module._global_forward_pre_hooks)
    assert now == everywhere
    assert all(p.grad is None for p in model.parameters())


def loss_of(model, points=150, problem=HELMHOLTZ):
    loss = PhysicsLoss(problem, model, problem.sample(points, seed=0))
    return loss, torch.optim.SGD(model.parameters(), lr=1e-3)


def test_activations_of_a_physics_loss_in_blocks(monkeypatch):
    monkeypatch.setattr("phasecore_torch.sources.BLOCK", 64)
    model = mlp()
    loss, optimizer = loss_of(model)
    probe = Recording("activations")
    Capture(loss, optimizer, probes=[probe]).measure()
    values, expected = loss.points, {}
    for module in model[:-1]:
        values = module(values)
        if isinstance(module, nn.Tanh):
            expected[f"layer{len(expected)}"] = values.detach().numpy()
    assert list(probe.seen["activations"]) == list(expected)
    for layer, by_hand in expected.items():
        np.testing.assert_allclose(probe.seen["activations"][layer], by_hand, rtol=1e-6, atol=1e-7)


def test_targets_are_the_reference_at_the_collocation_points():
    problem = phasecore.problem("burgers")
    loss, optimizer = loss_of(mlp(), problem=problem)
    probe = Recording("targets", "coordinates")
    Capture(loss, optimizer, probes=[probe]).measure()
    np.testing.assert_allclose(probe.seen["targets"]["u"], problem.reference(probe.seen["coordinates"])["u"])


@pytest.mark.parametrize(("points", "sizes"), [(150, [50, 50, 50]), (151, [51, 50, 50])])
def test_batch_sizes(points, sizes):
    model = mlp()
    loss, optimizer = loss_of(model, points)
    own = Recording("batch_sizes")
    Capture(loss, optimizer, probes=[own], batches=3).measure()
    assert own.seen["batch_sizes"].tolist() == sizes
    Capture(lambda x: model(x).square().mean(), optimizer, points=loss.points, probes=[own], batches=3).measure()
    assert own.seen["batch_sizes"].tolist() == sizes


def test_gradients_of_terms_and_traces_of_kernels_are_those_of_the_loss():
    loss, optimizer = loss_of(mlp(dtype=torch.float64), 20)
    probe = Recording("term_gradients", "tangent_kernel_traces")
    Capture(loss, optimizer, probes=[probe], batches=2).measure()
    for term, gradients in probe.seen["term_gradients"].items():
        every = {**loss.residuals(), **loss._conditions()}
        mean = every[term].square().mean()
        expected = torch.autograd.grad(mean, list(loss.model.parameters()), retain_graph=True)
        for (name, _), gradient in zip(loss.model.named_parameters(), expected, strict=True):
            np.testing.assert_allclose(gradients[name], gradient.numpy(), rtol=1e-9, atol=1e-14)
        trace = 0.0
        for k in range(len(every[term])):
            row = torch.autograd.grad(
                every[term][k], list(loss.model.parameters()), retain_graph=True, allow_unused=True
            )
            trace += sum(float(part.square().sum()) for part in row if part is not None)
        np.testing.assert_allclose(probe.seen["tangent_kernel_traces"][term], trace, rtol=1e-9)


def test_activations_of_a_loss_of_ones_own():
    model = mlp(3, 1, nn.ReLU)
    x = torch.rand(230, 3, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = Recording("activations")
    Capture(
        lambda batch, y: (model(batch) - y).square().mean(), optimizer, points=(x, x[:, :1]), probes=[probe]
    ).measure()
    np.testing.assert_allclose(probe.seen["activations"]["layer0"], model[:2](x).detach().numpy(), rtol=1e-5, atol=1e-7)
    assert [values.shape for values in probe.seen["activations"].values()] == [(230, 16), (230, 16)]


@pytest.mark.parametrize("name", phasecore.names("probe"))
def test_every_built_in_probe_measures_a_torch_training(name):
    loss, _ = loss_of(mlp())
    optimizer = torch.optim.Adam(loss.model.parameters())
    loss().backward()
    optimizer.step()
    before = [parameter.clone() for parameter in loss.model.parameters()]
    row = Capture(loss, optimizer, probes=[name], batches=10).measure()
    assert row
    assert all(isinstance(value, float) for value in row.values())
    assert all(torch.equal(now, then) for now, then in zip(loss.model.parameters(), before, strict=True))


def test_costly_probes_are_measured_only_if_asked_for():
    loss, _ = loss_of(mlp())
    optimizer = torch.optim.Adam(loss.model.parameters())
    assert [probe.name for probe in Capture(loss, optimizer).probes] == list(phasecore.probes.DEFAULT_PROBES)


def test_a_model_without_activation_functions_is_refused_by_the_probes_that_need_them():
    loss, optimizer = loss_of(nn.Linear(2, 1))
    with pytest.raises(InputError, match=r"probe 'saturation' requires signal 'activations'.*'torch'"):
        Capture(loss, optimizer, probes=["saturation"])
    x = torch.rand(200, 1)
    with pytest.raises(InputError, match=r"probe 'layer_entropy' requires signal 'activations'.*activation functions"):
        Capture(lambda batch: batch.mean(), torch.optim.SGD([nn.Parameter(x)]), points=x, probes=["layer_entropy"])


def test_the_entropy_probe_sees_the_activations():
    loss, optimizer = loss_of(mlp())
    row = Capture(loss, optimizer, probes=["layer_entropy"]).measure()
    activations = {f"layer{k}": v.numpy() for k, v in enumerate(HiddenActivations(loss.model)(loss.points))}
    assert row == LayerEntropy().measure(Signals({"activations": activations}, np))
    assert "activations" in SUPPLIES
