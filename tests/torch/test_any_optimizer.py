"""Laws: any optimizer, any number of them, any number of ways back in an iteration; weights move once in a step."""

import gc
import itertools
import math
import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from campaigns import campaign
from captures import due
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import phasecore
from phasecore.errors import InputError
from phasecore_torch import LBFGS, Capture, PhaseMonitor, PhysicsLoss

PROBLEM = phasecore.problem("burgers")
X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]


def network(inputs=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1)).double()


def physics(weighting="rba", **options):
    net = network()
    return net, PhysicsLoss(PROBLEM, net, PROBLEM.sample(40, seed=0), weighting=weighting, **options)


class Stepping(torch.optim.Optimizer):
    """Keeps what a subclass says, in its state or in its groups."""

    in_group = True
    more: ClassVar = {}

    def __init__(self, parameters, **defaults):
        super().__init__(parameters, {"lr": 1e-3, "betas": (0.9, 0.99), **defaults})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if self.in_group:
                group["step"] = group.get("step", 0) + 1
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                    state |= {name: make(p) for name, make in self.more.items()}
                if not self.in_group:
                    state["step"] = state.get("step", 0) + 1
                state["exp_avg"].mul_(0.9).add_(p.grad, alpha=0.1)
                state["exp_avg_sq"].mul_(0.99).addcmul_(p.grad, p.grad.conj(), value=0.01)
                p.sub_(1e-3 * state["exp_avg"] / (state["exp_avg_sq"].sqrt() + 1e-8))


class FusedAdam(Stepping):
    """Apex' way: the number of steps is the group's."""


class SOAP(Stepping):
    """Its second moments are those in another basis."""

    in_group = False
    more: ClassVar = {"Q": lambda p: [torch.eye(len(p))], "GG": lambda p: [torch.eye(len(p))]}


class AdamWithMore(Stepping):
    """Named after Adam, but what it keeps has another meaning."""

    more: ClassVar = {"s": torch.zeros_like}


class Lion(Stepping):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.state[p]["exp_avg"] = p.grad.clone()
                    p.data.sub_(1e-3 * p.grad.sign())


FOREIGN = {
    **{kind.__name__: kind for kind in (FusedAdam, SOAP, AdamWithMore, Lion)},
    "Adamax": torch.optim.Adamax,
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "Rprop": torch.optim.Rprop,
    "ASGD": torch.optim.ASGD,
    "RMSprop": torch.optim.RMSprop,
    "SGD": torch.optim.SGD,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "AdamW": torch.optim.AdamW,
    "amsgrad": lambda parameters: torch.optim.Adam(parameters, amsgrad=True),
    "foreach": lambda parameters: torch.optim.Adam(parameters, foreach=True),
    "fused": lambda parameters: torch.optim.Adam(parameters, fused=True),
}
OF_ADAM = {"FusedAdam", "NAdam", "RAdam", "AdamW", "amsgrad", "foreach", "fused"}


@pytest.mark.parametrize("kind", FOREIGN)
def test_adam_s_statistics_are_those_of_adam_alone(kind):
    net, loss = physics()
    optimizer = FOREIGN[kind](net.parameters())
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=5)
    weights = list(net.parameters())
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    decays = optimizer.param_groups[0].get("betas", (0.9, 0.99))
    for step in range(1, 4):
        optimizer.zero_grad()
        loss().backward()
        for k, weight in enumerate(weights):
            first[k] = decays[0] * first[k] + (1 - decays[0]) * weight.grad
            second[k] = decays[1] * second[k] + (1 - decays[1]) * weight.grad.square()
        optimizer.step()
        row = monitor.step()
        assert np.isfinite(row["snr"])
        above = math.hypot(*(float(m.norm()) / (1 - decays[0] ** step) for m in first))
        below = math.hypot(*(float(((v / (1 - decays[1] ** step)).sqrt() + 1e-8).norm()) for v in second))
        assert row.get("adam_snr") == (pytest.approx(above / below, rel=1e-5) if kind in OF_ADAM else None)


def switched(first, second, change):
    """Rows of a training whose optimizer changes, by one monitor of the first."""
    net, loss = physics("uniform")
    optimizer = first(net.parameters())
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=5)
    for iteration in range(8):
        if iteration == change:
            optimizer = second(net.parameters())

        def closure(optimizer=optimizer):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return value

        optimizer.step(closure)
        monitor.step()
    return monitor.history


@pytest.mark.parametrize("change", [1, 4])
@pytest.mark.parametrize(
    "second",
    [
        lambda parameters: torch.optim.LBFGS(parameters, line_search_fn="strong_wolfe"),
        lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    ],
    ids=["lbfgs", "sgd"],
)
def test_after_a_switch_adam_s_statistics_are_absent_not_stale(second, change):
    rows = switched(torch.optim.Adam, second, change)
    assert ["adam_snr" in row for row in rows] == [place < change for place in range(8)]
    assert all(np.isfinite(row["snr"]) for row in rows)


def test_after_a_switch_to_another_adam_its_own_statistics_count():
    rows = switched(torch.optim.Adam, lambda parameters: torch.optim.Adam(parameters, betas=(0.0, 0.0)), 4)
    assert all("adam_snr" in row for row in rows)
    assert all(row["adam_snr"] == pytest.approx(1.0, rel=1e-3) for row in rows[4:])
    assert rows[3]["adam_snr"] < 0.999


def moved_by_hand(net):
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(net.parameters()) * 0.99, net.parameters())


def moved_through_data(net):
    for parameter in net.parameters():
        parameter.data.mul_(0.99)


@pytest.mark.parametrize("move", [moved_by_hand, moved_through_data])
def test_moments_of_parameters_that_something_else_moves_are_absent(move):
    net, loss = physics()
    optimizer = torch.optim.Adam(net.parameters())
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=5)
    found = []
    for adam in (True, True, False, False, True):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step() if adam else move(net)
        found.append("adam_snr" in monitor.step())
    assert found == [True, True, False, False, True]


def test_clipping_weights_after_a_step_keeps_adam_s_statistics():
    net, loss = physics()
    optimizer = torch.optim.Adam(net.parameters())
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=5)
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.clamp_(-0.1, 0.1)
        assert "adam_snr" in monitor.step()


@pytest.mark.parametrize("every", [1, 3])
def test_no_capture_is_lost_when_the_way_back_changes(every):
    net, loss = physics()
    optimizer = torch.optim.Adam(net.parameters())
    monitor = PhaseMonitor(loss, optimizer, every=every, batches=5)
    for iteration in range(30):
        optimizer.zero_grad()
        value = loss()
        monitor.backward(value) if iteration // 10 == 1 else value.backward()
        optimizer.step()
        monitor.step()
    iterations = [row["iteration"] for row in monitor.history]
    assert iterations == sorted(set(iterations))
    gaps = np.diff([0, *iterations, 31])
    assert gaps.max() <= every + 1
    assert len(iterations) >= 30 // every - 1


def test_the_last_capture_is_taken_by_finish(tmp_path):
    net, loss = physics()
    optimizer = torch.optim.Adam(net.parameters())
    monitor = PhaseMonitor(loss, optimizer, every=5, batches=5, run_folder=tmp_path / "run")
    for _ in range(10):
        optimizer.zero_grad()
        monitor.backward(loss())
        optimizer.step()
        monitor.step()
    monitor.finish()
    assert [row["iteration"] for row in monitor.history] == due(5, 10)


def test_several_ways_back_in_an_iteration_give_one_row():
    net, loss = physics()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=5)

    def closure():
        optimizer.zero_grad()
        value = loss()
        monitor.backward(value)
        return value

    for _ in range(4):
        optimizer.step(closure)
        monitor.step()
    assert [row["iteration"] for row in monitor.history] == [1, 2, 3]


@pytest.mark.parametrize("factor", [65536.0, 0.5, -3.0])
def test_a_factor_of_the_loss_is_no_part_of_the_statistics(factor):
    rows, gradients = [], []
    for scaled in (1.0, factor):
        net, loss = physics()
        loss.eval()
        monitor = PhaseMonitor(loss, torch.optim.SGD(net.parameters(), lr=0.0), every=1, batches=5)
        monitor.capture.prepare_backward(measure=True)
        rows.append(monitor.capture.backward(scaled * loss()))
        gradients.append([p.grad / scaled for p in net.parameters()])
    assert rows[0] == pytest.approx(rows[1], rel=1e-9)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)


def test_a_grad_scaler_that_overflows_leaves_a_capture_apart():
    net = network().float()
    loss = PhysicsLoss(PROBLEM, net, PROBLEM.sample(40, seed=0))
    monitor = PhaseMonitor(loss, torch.optim.SGD(net.parameters(), lr=0.0), every=1, batches=5)
    loss.eval()
    expected = monitor.capture.measure()
    monitor.capture.prepare_backward(measure=True)
    row = monitor.capture.backward(1e38 * (1e3 * loss()))
    assert row == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("interruptions", [(1, 3, 11), *campaign(range(1, 20))], ids=["some", "all"])
@pytest.mark.parametrize("way_back", ["loss", "monitor"])
def test_a_training_that_is_restored_gives_the_same_rows(way_back, interruptions):
    def trained(interruption):
        net, loss = physics()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        monitor = PhaseMonitor(loss, optimizer, every=3, batches=5)
        for iteration in range(20):
            if iteration == interruption:
                kept = [part.state_dict() for part in (net, loss, optimizer, monitor)]
                net, loss = physics()
                optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
                monitor = PhaseMonitor(loss, optimizer, every=3, batches=5)
                for part, state in zip((net, loss, optimizer, monitor), kept, strict=True):
                    part.load_state_dict(state)
            optimizer.zero_grad()
            value = loss()
            monitor.backward(value) if way_back == "monitor" else value.backward()
            optimizer.step()
            monitor.step()
        return [{**row, "seconds": 0} for row in monitor.history]

    undisturbed = trained(None)
    for interruption in interruptions:
        assert trained(interruption) == undisturbed


SCHEMES = ["rba", "brdr", "self_adaptive", "vrba", "soft_adapt", "rba+grad_norm:every=2"]


class Twice(torch.optim.Optimizer):
    """Sharpness-aware minimization evaluates its closure twice."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    def step(self, closure):
        closure()
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p.add_(1e-3 * p.grad if p.grad is not None else 0)
        return closure()


LINE_SEARCHES = {
    "strong_wolfe": lambda parameters: torch.optim.LBFGS(parameters, max_iter=20, line_search_fn="strong_wolfe"),
    "fixed": lambda parameters: torch.optim.LBFGS(parameters, max_iter=7),
    "self_scaled": LBFGS,
    "twice": Twice,
    "adam": torch.optim.Adam,
}


@pytest.mark.parametrize(
    ("weighting", "kind", "recompute"),
    [
        *itertools.product(SCHEMES, ["strong_wolfe"], [False, True]),
        *itertools.product(["rba"], ["self_scaled", "fixed", "twice", "adam"], [False, True]),
        *campaign(*itertools.product(SCHEMES[1:], ["self_scaled", "fixed", "twice", "adam"], [False, True])),
    ],
)
def test_weights_move_once_in_a_step_whatever_the_closure_does(weighting, kind, recompute):
    net, loss = physics(weighting, recompute=recompute)
    optimizer = LINE_SEARCHES[kind](net.parameters())
    evaluations, states = [], []

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        evaluations[-1] += 1
        states[-1].append({name: state.clone() for name, state in loss.state_dict().items()})
        return value

    for step in range(1, 4):
        evaluations.append(0)
        states.append([])
        optimizer.step(closure)
        assert loss.updates == step
        for state in states[-1]:
            assert all(torch.equal(state[name], states[-1][0][name]) for name in state)
    assert (max(evaluations) > 1) == (kind != "adam")
    moved = [not torch.equal(states[0][0][name], states[2][0][name]) for name in states[0][0]]
    assert any(moved)


def test_a_closure_of_several_batches_updates_the_weights_of_all():
    net, loss = physics()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=5)
    parts = torch.arange(40).chunk(4)

    def closure():
        optimizer.zero_grad()
        value = sum(loss(part) for part in parts)
        value.backward()
        return value

    optimizer.step(closure)
    assert loss.updates == 4
    assert bool((loss.point_weights()["pde"] > 0).all())


def test_a_loss_that_is_compiled_whole_follows_the_law_too():
    net, loss = physics()
    compiled = torch.compile(loss, backend="eager")
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=5)
    states = []

    def closure():
        optimizer.zero_grad()
        value = compiled()
        value.backward()
        states.append(loss.point_weights()["pde"].clone())
        return value

    for _ in range(2):
        states.clear()
        optimizer.step(closure)
        assert len(states) > 1
        assert all(torch.equal(state, states[0]) for state in states)


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 5, dtype=torch.complex128))
        self.last = nn.Linear(5, 1).double()

    def forward(self, points):
        hidden = torch.tanh(points.to(torch.complex128) @ self.weight)
        return self.last((hidden * hidden.conj()).real)


def by_pairs(gradients):
    return torch.cat([torch.view_as_real(g).flatten() if g.is_complex() else g.flatten() for g in gradients])


def test_complex_gradients_count_as_pairs_of_real_ones():
    weight = nn.Parameter(torch.tensor([[1.0 + 0j]], dtype=torch.complex128))
    x = torch.linspace(0, 3, 40, dtype=torch.float64)

    def loss(x):
        return (weight.real + x.mean() * weight.imag).sum()

    optimizer = torch.optim.Adam([weight], lr=1e-3)
    monitor = PhaseMonitor(loss, optimizer, every=1, points=x, batches=10)
    means = x.reshape(10, 4).mean(1)
    first, second = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for step in range(1, 5):
        optimizer.zero_grad()
        (loss(x) * step).backward()
        gradient = torch.view_as_real(weight.grad).flatten()
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient.square()
        optimizer.step()
        row = monitor.step()
        expected = math.hypot(1.0, float(means.mean())) / float(means.std(correction=0))
        assert row["snr"] == pytest.approx(expected, rel=1e-9)
        above, below = first / (1 - 0.9**step), (second / (1 - 0.999**step)).sqrt() + 1e-8
        assert row["adam_snr"] == pytest.approx(float(above.norm() / below.norm()), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know this model")
@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"block": 7}], ids=["plain", "recomputed", "blocks"])
def test_a_model_with_complex_weights(options):
    torch.manual_seed(0)
    net = Complex()
    loss = PhysicsLoss(PROBLEM, net, PROBLEM.sample(40, seed=0, condition_points=8), **options)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=5)
    for _ in range(3):
        optimizer.zero_grad()
        expected = torch.autograd.grad(loss(), list(net.parameters()), allow_unused=True, materialize_grads=True)
        optimizer.zero_grad()
        monitor.backward(loss())
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
        torch.testing.assert_close(by_pairs(found), by_pairs(expected), rtol=1e-9, atol=1e-12)
        optimizer.step()
        monitor.step()
    weights = [net.weight, net.last.weight]
    shared = torch.autograd.grad(loss.shared_loss(loss.weighting.current()), weights)
    rows = []
    for part in torch.arange(40).tensor_split(5):
        own = torch.autograd.grad(loss.batch_loss(loss.points[part], loss.weighting.current(part)), weights)
        rows.append(by_pairs(own) + by_pairs(shared))
    stacked = torch.stack(rows)
    expected = float(stacked.mean(0).norm() / stacked.std(0, correction=0).norm())
    assert monitor.capture.measure()["snr"] == pytest.approx(expected, rel=1e-9)
    traces = loss.tangent_kernel_traces()["pde"]
    by_hand = [
        torch.autograd.grad(r, list(net.parameters()), retain_graph=True, allow_unused=True)
        for r in loss.residuals()["pde"]
    ]
    total = sum(float(by_pairs([g for g in row if g is not None]).square().sum()) for row in by_hand)
    assert float(traces) == pytest.approx(total, rel=1e-9)


def test_sparse_gradients_of_an_embedding():
    torch.manual_seed(0)
    table, last = nn.Embedding(10, 4, sparse=True), nn.Linear(4, 1)
    indices, y = torch.arange(40) % 10, torch.linspace(0, 1, 40)[:, None]

    def loss(indices, y):
        return (last(table(indices)) - y).square().mean()

    parameters = [*table.parameters(), *last.parameters()]
    row = Capture(loss, torch.optim.SGD(parameters, lr=0.1), points=(indices, y), batches=4).measure()
    rows = [
        [g.to_dense() if g.is_sparse else g for g in torch.autograd.grad(loss(i, t), [table.weight, last.weight])]
        for i, t in zip(indices.chunk(4), y.chunk(4), strict=True)
    ]
    stacked = torch.stack([by_pairs(own) for own in rows]).double()
    expected = float(stacked.mean(0).norm() / stacked.std(0, correction=0).norm())
    assert row["snr"] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(InputError, match="a loss of your own"):
        Capture(lambda i, t: (loss(i, t), 1.0), torch.optim.SGD(parameters, lr=0.1), points=(indices, y), batches=4)


def test_nothing_is_said_of_a_sound_training():
    net, loss = physics()
    optimizer = torch.optim.Adam(net.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor = PhaseMonitor(loss, optimizer, every=1, batches=5)
        for _ in range(3):
            optimizer.zero_grad()
            monitor.backward(loss())
            optimizer.step()
            monitor.step()


def test_monitors_come_and_go_while_a_step_is_told_to_them():
    net, loss = physics()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    monitors = [PhaseMonitor(loss, optimizer, every=100, batches=5)]

    def come_and_go(*unused):
        monitors.clear()
        gc.collect()
        monitors.append(PhaseMonitor(loss, optimizer, every=100, batches=5))

    handle = register_optimizer_step_post_hook(come_and_go)
    lasting = PhaseMonitor(loss, optimizer, every=1, batches=5, probes=["adam_snr"])
    try:
        for _ in range(2):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            lasting.step()
    finally:
        handle.remove()
    assert all("adam_snr" in row for row in lasting.history)
