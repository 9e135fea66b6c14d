"""Law: a capture changes nothing that the training could see, and reports nothing that it did not measure."""

# ruff: noqa: NPY002

import functools
import itertools
import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import phasecore
from phasecore.errors import InputError, PluginWarning
from phasecore.probes import Probe
from phasecore_torch import Capture, PhaseMonitor, PhysicsLoss

X = torch.linspace(-1, 1, 40)[:, None]


class Counting(nn.Module):
    """A layer whose state is whatever one can think of."""

    def __init__(self):
        super().__init__()
        self.calls, self.seen, self.by_name = 0, [], {}
        self.register_buffer("running", torch.zeros(3))
        self.register_buffer("replaced", torch.zeros(3))
        self.unregistered = torch.zeros(3)
        self.array = np.zeros(3)
        self.generator = torch.Generator().manual_seed(1)
        self.of_numpy = np.random.default_rng(2)
        self.of_python = random.Random(3)

    def forward(self, x):
        self.calls += 1
        self.seen.append(len(x))
        self.by_name[self.calls] = len(x)
        self.last = float(x.detach().mean())
        with torch.no_grad():
            self.running.mul_(0.9).add_(x.mean(0))
            self.replaced = 0.9 * self.replaced + x.mean(0)
            self.unregistered += 1
            self.array += 1
        noise = torch.rand((), generator=self.generator) + self.of_numpy.random() + self.of_python.random()
        return x * (1 + 0.01 * noise + 0.01 * torch.rand(()) + 0.01 * np.random.rand() + 0.01 * random.random())


def layers():
    torch.manual_seed(0)
    return {
        "batch_norm": nn.BatchNorm1d(3),
        "dropout": nn.Dropout(),
        "counting": Counting(),
        "spectral_norm": nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)),
        "embedding": Renormalized(),
    }


class Renormalized(nn.Module):
    """An embedding that renormalizes the rows that it looks up, in place."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 3, max_norm=0.5)

    def forward(self, x):
        return x + self.table((x[:, 0].detach().abs() * 10).long().clamp(max=49))


def network(layer):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(1, 3), layers()[layer], nn.Tanh(), nn.Linear(3, 1))


class Solver:
    """What people write around a network."""

    def __init__(self, net):
        self.nets = {"u": [net]}
        self.iteration = 0
        self.log = []

    def loss(self, x):
        self.iteration += 1
        self.log.append(self.iteration)
        return (self.nets["u"][0](x) - x.sin()).square().mean()


GLOBALS = {}


def closure(net):
    return lambda x: (net(x) - x.sin()).square().mean()


def method(net):
    return Solver(net).loss


def partial(net):
    return functools.partial(lambda inner, x: (inner(x) - x.sin()).square().mean(), net)


def forward_alone(net):
    def loss(x):
        return (net.forward(x) - x.sin()).square().mean()

    return loss


def global_name(net):
    GLOBALS["net"] = net

    def loss(x):
        return (GLOBALS["net"](x) - x.sin()).square().mean()

    return loss


def within_a_closure(net):
    inner = closure(net)

    @functools.wraps(inner)
    def loss(x):
        return inner(x)

    return loss


def out_of_sight(net):
    """Nothing that can be looked into holds the network."""
    holder = iter([net])
    found = itertools.tee(holder, 1)[0]

    def loss(x):
        nonlocal found
        found, again = itertools.tee(found)
        return (next(again)(x) - x.sin()).square().mean()

    return loss


def module(net):
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return (self.net(x) - x.sin()).square().mean()

    return Loss()


HOLDERS = {
    holder.__name__: holder
    for holder in (closure, method, partial, forward_alone, global_name, within_a_closure, out_of_sight, module)
}


def everything(net, loss):
    """All that a training could see of a network, in comparable form."""
    state = {name: value.clone() for name, value in net.state_dict().items()}
    state["random"] = torch.random.get_rng_state()
    state["numpy"] = torch.as_tensor(np.random.get_state()[1].astype(np.int64))
    state["python"] = torch.tensor([hash(random.getstate())])
    state["modes"] = torch.tensor([part.training for part in net.modules()])
    state["trained"] = torch.tensor([parameter.requires_grad for parameter in net.parameters()])
    for part in net.modules():
        if isinstance(part, Counting):
            kept = part.calls, tuple(part.seen), tuple(part.by_name.items()), hasattr(part, "last")
            state["counting"] = torch.tensor([hash(kept)])
            state["unregistered"] = part.unregistered.clone()
            state["array"] = torch.as_tensor(part.array.copy())
            state["generator"] = part.generator.get_state()
            state["of_numpy"] = torch.tensor([hash(str(part.of_numpy.bit_generator.state))])
            state["of_python"] = torch.tensor([hash(part.of_python.getstate())])
    solver = getattr(loss, "__self__", None)
    if isinstance(solver, Solver):
        state["solver"] = torch.tensor([solver.iteration, len(solver.log)])
    return state


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("layer", layers())
def test_a_capture_of_a_loss_of_ones_own_leaves_no_trace(layer, holder):
    if layer == "counting" and holder == "out_of_sight":
        pytest.skip("what is found at set-up alone are modules, whose own state is kept; so it is here")
    net = network(layer)
    loss = HOLDERS[holder](net)
    optimizer = torch.optim.Adam(net.parameters())
    before = everything(net, loss)
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=7, points=X)
    for _ in range(2):
        monitor.step()
    after = everything(net, loss)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    assert [row["snr"] > 0 for row in monitor.history] == [True, True]


@pytest.mark.parametrize("layer", layers())
def test_a_training_with_captures_is_that_without(layer):
    found = []
    for captures in (False, True):
        net = network(layer)
        loss = closure(net)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        monitor = PhaseMonitor(loss, optimizer, every=2, batches=5, points=X) if captures else None
        torch.manual_seed(5)
        np.random.seed(6)
        random.seed(7)
        for _ in range(6):
            optimizer.zero_grad()
            loss(X).backward()
            optimizer.step()
            if monitor is not None:
                monitor.step()
        found.append({name: value.clone() for name, value in net.state_dict().items()})
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know this model")
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_capture_of_a_physics_loss_leaves_no_trace(hidden, recompute):
    problem = phasecore.problem("burgers")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), Counting(), nn.Tanh(), nn.Linear(3, 1))
    model = (lambda points: net(points)) if hidden else net
    before = everything(net, None)
    loss = PhysicsLoss(problem, model, problem.sample(20, seed=0), recompute=recompute)
    monitor = PhaseMonitor(loss, torch.optim.Adam(net.parameters()), every=1, batches=4)
    monitor.step()
    monitor.step()
    after = everything(net, None)
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_what_a_loss_does_to_its_batch_is_not_found_there_again():
    points = torch.linspace(0, 1, 20)[:, None]
    targets = points.cos().numpy()
    net = nn.Linear(1, 1)

    def loss(x, y):
        x.mul_(3.0)
        y.sub_(1.0)
        return (net(x) - y).square().mean()

    given = points.clone(), targets.copy()
    capture = Capture(loss, torch.optim.SGD(net.parameters(), lr=0.1), points=given, batches=4)
    rows = [capture.measure() for _ in range(3)]
    assert rows[0] == rows[1] == rows[2]
    assert torch.equal(given[0], points)
    assert np.array_equal(given[1], targets)
    expected = float((net(3 * points) - torch.as_tensor(targets) + 1).square().mean().detach())
    assert rows[0]["loss_data"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_measured_all_the_same_without_gradients_around(mode):
    net = nn.Linear(1, 1)
    loss = closure(net)
    optimizer = torch.optim.Adam(net.parameters())
    problem = phasecore.problem("burgers")
    model = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
    physics = PhysicsLoss(problem, model, problem.sample(20, seed=0))
    for captured, parameters, points in [(loss, net, X), (physics, model, None)]:
        optimizer = torch.optim.Adam(parameters.parameters())
        usual = PhaseMonitor(captured, optimizer, every=1, batches=5, points=points).step()
        with mode():
            found = PhaseMonitor(captured, optimizer, every=1, batches=5, points=points).step()
        assert {**found, "seconds": 0} == pytest.approx({**usual, "seconds": 0}, rel=1e-6)
        assert np.isfinite(found["snr"])


def test_points_that_were_made_under_inference_mode():
    with torch.inference_mode():
        points = X.clone()
    net = nn.Linear(1, 1)
    row = Capture(closure(net), torch.optim.SGD(net.parameters()), points=points, batches=5).measure()
    assert np.isfinite(row["snr"])


@pytest.mark.parametrize("way", [torch.Tensor.detach, lambda loss: torch.tensor(loss.item())])
def test_a_loss_without_a_gradient_is_refused(way):
    net = nn.Linear(1, 1)
    loss = closure(net)
    with pytest.raises(InputError, match="a loss without a gradient"):
        PhaseMonitor(lambda x: way(loss(x)), torch.optim.SGD(net.parameters()), points=X, batches=5)


def test_a_loss_of_other_parameters_is_refused():
    net, other = nn.Linear(1, 1), nn.Linear(1, 1)
    with pytest.raises(InputError, match="a loss that depends on none"):
        PhaseMonitor(closure(net), torch.optim.SGD(other.parameters()), points=X, batches=5)


@pytest.mark.parametrize("kind", ["own", "physics"])
def test_statistics_are_absent_where_nothing_is_trained_any_more(kind):
    problem = phasecore.problem("burgers")
    if kind == "own":
        net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
        loss, points = closure(net), X
    else:
        net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        loss, points = PhysicsLoss(problem, net, problem.sample(20, seed=0)), None
    monitor = PhaseMonitor(loss, torch.optim.SGD(net.parameters()), every=1, batches=5, points=points)
    assert "snr" in monitor.step()
    net[0].requires_grad_(False)
    assert {name for name in monitor.step() if name.startswith("layer")} == {
        "layer1_mean_norm",
        "layer1_std_norm",
    }
    net.requires_grad_(False)
    with pytest.warns(UserWarning, match="Gradient statistics are left out"):
        row = monitor.step()
    assert "snr" not in row
    assert any(name.startswith("loss") for name in row)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.step()
    net.requires_grad_(True)
    assert "snr" in monitor.step()


def test_a_layer_without_part_in_the_loss_is_not_measured():
    net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
    spare = nn.Linear(2, 2)
    optimizer = torch.optim.Adam([*spare.parameters(), *net.parameters()])
    loss = closure(net)
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=5, points=X)
    for _ in range(2):
        optimizer.zero_grad()
        loss(X).backward()
        optimizer.step()
        row = monitor.step()
    assert "layer0_std_norm" not in row
    assert row["layer1_std_norm"] > 0
    assert np.isfinite(row["adam_snr"])


class Writer(Probe):
    """Writes into what it is handed."""

    name = "writer"

    def __init__(self, signal):
        self.requires = frozenset({signal})

    def measure(self, signals):
        values = signals[next(iter(self.requires))]
        while isinstance(values, (dict, tuple)):
            values = next(iter(values.values())) if isinstance(values, dict) else values[0]
        values *= 0.0
        return {"written": 1.0}


@pytest.mark.parametrize(
    "signal",
    [
        "coordinates",
        "domain",
        "point_weights",
        "residual_attention",
        "adam_moments",
        "batch_gradient_moments",
        "fields",
    ],
)
def test_a_probe_cannot_write_into_what_is_trained(signal):
    problem = phasecore.problem("burgers")
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
    loss = PhysicsLoss(problem, net, problem.sample(20, seed=0), weighting="rba")
    optimizer = torch.optim.Adam(net.parameters())
    loss().backward()
    optimizer.step()
    with pytest.warns(PluginWarning, match="'writer'.*read-only"):
        row = Capture(loss, optimizer, probes=[Writer(signal)], batches=4).measure()
    assert "written" not in row
