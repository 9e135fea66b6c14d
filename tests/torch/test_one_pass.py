"""Blocks, compiled or not, and captures in the training's own backward pass: the same numbers as the slow way."""

import copy
import itertools
import warnings

import pytest
import torch
from campaigns import campaign
from captures import due
from torch import nn

import phasecore
from phasecore.errors import InputError
from phasecore_torch import PhaseMonitor, PhysicsLoss
from phasecore_torch.batches import BatchedResiduals
from phasecore_torch.blocks import Blocks
from phasecore_torch.gradients import trained

BURGERS = phasecore.problem("burgers")
CAVITY = phasecore.problem("lid_driven_cavity")


def mlp(problem, dtype=torch.float64, width=9):
    torch.manual_seed(3)
    sizes = len(problem.coordinates), len(problem.outputs)
    layers = nn.Linear(sizes[0], width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, sizes[1])
    return nn.Sequential(*layers).to(dtype)


def loss_of(problem=BURGERS, points=53, weighting="rba", dtype=torch.float64, **options):
    model = mlp(problem, dtype)
    sample = problem.sample(points, seed=1, condition_points=12)
    return PhysicsLoss(problem, model, sample, weighting=weighting, **options), model


def gradients(loss, model, indices=None):
    model.zero_grad()
    value = loss(indices)
    value.backward()
    return value.detach(), [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("problem", [BURGERS, CAVITY], ids=["burgers", "cavity"])
@pytest.mark.parametrize("block", [1, 7, 52, *campaign(10, 53, 1000)])
def test_blocks_change_nothing(problem, block):
    whole, blocked = loss_of(problem), loss_of(problem, block=block)
    for indices in (None, torch.tensor([3, 1, 1, 50]), None):
        expected, found = gradients(*whole, indices), gradients(*blocked, indices)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(whole[0].point_weights(), blocked[0].point_weights(), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("block", [0, -3, 2.5, True])
def test_a_block_that_is_none(block):
    with pytest.raises(InputError, match="argument 'block'"):
        loss_of(block=block)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled_blocks_change_nothing():
    plain, compiled = loss_of(), loss_of(compiled=True, block=20)
    assert compiled[0].blocks.compile_seconds is None
    for indices in (None, torch.arange(18), torch.arange(11), None):
        torch.testing.assert_close(gradients(*compiled, indices), gradients(*plain, indices), rtol=1e-9, atol=1e-14)
    assert compiled[0].blocks.compile_seconds > 0
    torch.testing.assert_close(compiled[0].evaluate(), plain[0].evaluate(), rtol=1e-9, atol=1e-14)


def test_what_cannot_be_compiled_goes_on_without_and_says_so(monkeypatch):
    def refuse(function, **options):
        def compiled(points):
            raise RuntimeError("no compiler found\nmore of it")

        return compiled

    monkeypatch.setattr(torch, "compile", refuse)
    loss, model = loss_of(compiled=True)
    expected = gradients(*loss_of())
    with pytest.warns(UserWarning, match=r"torch.compile failed \(RuntimeError: no compiler found\); residuals are"):
        found = gradients(loss, model)
    torch.testing.assert_close(found, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradients(loss, model)


def test_the_size_of_blocks_follows_the_width():
    sizes = []
    for width in (8, 128, 1000):
        model = nn.Linear(2, width)
        blocks = Blocks(lambda points: sizes.append(len(points)) or {"r": points[:, 0]}, model)
        assert torch.equal(blocks(torch.arange(80_000.0).reshape(-1, 2))["r"], torch.arange(0, 80_000.0, 2))
    assert [max(size for size in sizes[start:]) for start in (0, 3, 43)] == [13334, 1000, 255]


def rows_of_a_training(loss, model, monitor, iterations, one_pass):
    optimizer = monitor.capture._optimizer
    rows, slow = [], []
    for _ in range(iterations):
        optimizer.zero_grad()
        value = loss()
        if one_pass:
            row = monitor.backward(value)
            if row is not None:
                rows.append(row)
                slow.append(monitor.capture.measure())
        else:
            value.backward()
        optimizer.step()
        assert monitor.step() is None or not one_pass
    return rows, slow


@pytest.mark.parametrize("weighting", ["uniform", "rba", "self_adaptive"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
@pytest.mark.parametrize("options", [{}, {"biases": True}])
def test_one_pass_captures_what_a_capture_of_its_own_does(weighting, dtype, tolerance, options):
    parts = []
    for _ in range(2):
        loss, model = loss_of(weighting=weighting, dtype=dtype, block=16)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        parts.append((loss, model, PhaseMonitor(loss, optimizer, every=2, batches=10, **options)))
    rows, slow = rows_of_a_training(*parts[0], 9, one_pass=True)
    rows_of_a_training(*parts[1], 9, one_pass=False)
    assert [row["iteration"] for row in rows] == due(2, 8)
    for row, expected in zip(rows, slow, strict=True):
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=tolerance)
    for one, other in zip(parts[0][1].parameters(), parts[1][1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    assert [row["iteration"] for row in parts[1][2].history] == due(2, 9)


def test_gradients_are_added_to_those_that_are_there():
    loss, model = loss_of()
    monitor = PhaseMonitor(loss, torch.optim.SGD(model.parameters(), lr=0.0), every=1, batches=10)
    loss.eval()
    monitor.capture.prepare_backward(measure=True)
    monitor.capture.backward(loss())
    once = [p.grad.clone() for p in model.parameters()]
    torch.testing.assert_close(once, gradients(loss, model)[1])
    monitor.capture.backward(loss())
    for parameter, expected in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * expected)


def test_a_loss_of_some_points_is_captured_apart():
    loss, model = loss_of()
    monitor = PhaseMonitor(loss, torch.optim.SGD(model.parameters(), lr=0.0), every=1, batches=10)
    monitor.backward(loss(torch.arange(5)))
    monitor.step()
    model.zero_grad()
    row = monitor.backward(loss(torch.arange(5)))
    found = [p.grad.clone() for p in model.parameters()]
    expected = monitor.capture.measure()
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    loss.eval()
    torch.testing.assert_close(found, gradients(loss, model, torch.arange(5))[1])


def test_a_loss_of_ones_own_goes_backward_too():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.linspace(0, 1, 40)[:, None]

    def batch_loss(x):
        return (model(x) - x.sin()).square().mean()

    monitor = PhaseMonitor(batch_loss, optimizer, every=2, points=x, batches=10)
    rows = []
    for _ in range(23):
        optimizer.zero_grad()
        expected = torch.autograd.grad(batch_loss(x), model.weight)[0]
        rows.append(monitor.backward(batch_loss(x)))
        torch.testing.assert_close(model.weight.grad, expected)
        optimizer.step()
        monitor.step()
    captured = due(2, 22)
    assert [row and row["iteration"] for row in rows] == [k if k in captured else None for k in range(23)]


def test_a_frozen_parameter_gets_no_gradient():
    loss, model = loss_of()
    model[0].weight.requires_grad_(False)
    trainable = [p for p in model.parameters() if p.requires_grad]
    monitor = PhaseMonitor(loss, torch.optim.SGD(trainable, lr=0.1), every=1, batches=10)
    for _ in range(2):
        monitor.backward(loss())
        monitor.step()
    assert model[0].weight.grad is None
    assert len(monitor.history) == 1
    assert copy.deepcopy(monitor.history[0])["snr"] > 0


def networks():
    """Models whose parameters are used in several ways, and one that cannot be vectorized over batches."""
    torch.manual_seed(5)

    class Frequencies(nn.Module):
        def __init__(self):
            super().__init__()
            self.frequency = nn.Parameter(torch.tensor([1.0, 2.0]))
            self.inner = nn.Linear(2, 5)
            self.outer = nn.Linear(5, 1, bias=False)

        def forward(self, points):
            return self.outer(torch.sin(self.inner(points * self.frequency))) * self.frequency.sum()

    shared = nn.Linear(6, 6)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 5))
    elsewhere = nn.Linear(2, 4).double()

    class Borrowing(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(4, 1)

        def forward(self, points):
            return self.last(torch.tanh(elsewhere(points)))

    return {
        "plain": nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)),
        "frequencies": Frequencies(),
        "shared": nn.Sequential(nn.Linear(2, 6), nn.Tanh(), shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(6, 1)),
        "weight_norm": nn.Sequential(normed, nn.Tanh(), nn.Linear(5, 1)),
        "group_norm": nn.Sequential(nn.Linear(2, 6), nn.GroupNorm(2, 6), nn.Tanh(), nn.Linear(6, 1)),
        "borrowing": Borrowing(),
    }


@pytest.mark.parametrize(
    ("style", "batches", "compiled"),
    [
        *itertools.product(networks(), [7, 53], [False]),
        ("frequencies", 4, True),
        *campaign(*itertools.product(networks(), [4], [False]), ("plain", 7, True)),
    ],
)
@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know this model")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_moments_and_gradient_are_those_of_a_loop_over_batches(style, batches, compiled):
    model = networks()[style].double()
    loss = PhysicsLoss(BURGERS, model, BURGERS.sample(53, seed=1, condition_points=12), compiled=compiled)
    assert loss.is_stackable == (style not in ("weight_norm", "group_norm"))
    every = trained(model, list(loss.residuals().values()))
    assert len(every) == len(list(model.parameters())) + (2 if style == "borrowing" else 0)
    own_parameters = dict(model.named_parameters())
    batched = BatchedResiduals(
        loss.residuals_at,
        6,
        own_parameters,
        list(own_parameters),
        loss.points,
        batches,
        stackable=loss.is_stackable,
        compiled=compiled,
    )
    measured = list(every.values())
    assert batched.take() is None
    own = []
    for indices in torch.arange(53).tensor_split(batches):
        residual = loss.residuals_at(loss.points[indices])["pde"]
        own.append(torch.autograd.grad(residual.square().mean(), measured))
    residual = batched(loss.points)["pde"]
    torch.testing.assert_close(residual, loss.residuals()["pde"], rtol=1e-11, atol=1e-13)
    found = torch.autograd.grad(residual.square().mean(), measured)
    whole = torch.autograd.grad(loss.residuals()["pde"].square().mean(), measured)
    torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-13)
    taken = batched.take()
    assert batched.take() is None
    moments_found = taken.moments({})
    for place, name in enumerate(own_parameters):
        samples = torch.stack([gradient[place] for gradient in own])
        moments = moments_found[name]
        torch.testing.assert_close(moments.mean, samples.mean(0), rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(moments.standard_deviation, samples.std(0, correction=0), rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(taken.totals[name], whole[place], rtol=1e-10, atol=1e-13)


@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know this model")
def test_nested_autodiff_is_not_compiled_and_says_so():
    model = networks()["group_norm"]
    with pytest.warns(UserWarning, match="torch.compile does not go through nested autodiff"):
        loss = PhysicsLoss(BURGERS, model, BURGERS.sample(20, seed=1), compiled=True)
    assert not loss.blocks.compiled
    loss().backward()
    assert loss.blocks.compile_seconds is None


def test_the_usual_backward_after_a_prepared_capture_trains_as_usual():
    """Whoever goes back by `loss.backward()` all the same gets the gradients of the loss."""
    loss, model = loss_of()
    monitor = PhaseMonitor(loss, torch.optim.SGD(model.parameters(), lr=0.0), every=1, batches=10)
    monitor.capture.prepare_backward(measure=True)
    loss.eval()
    prepared = gradients(loss, model)
    monitor.capture.prepare_backward(measure=False)
    torch.testing.assert_close(prepared, gradients(loss, model), rtol=1e-11, atol=1e-14)


def test_what_else_the_loss_has_is_common_to_all_batches():
    """A regularization that the user adds counts in the mean of the batches' gradients, and not in their deviation."""
    loss, model = loss_of()
    monitor = PhaseMonitor(loss, torch.optim.SGD(model.parameters(), lr=0.0), every=1, batches=10)
    loss.eval()
    rows = []
    for strength in (0.0, 0.3):
        monitor.capture.prepare_backward(measure=True)
        penalty = sum(p.square().sum() for p in model.parameters())
        rows.append(monitor.capture.backward(loss() + strength * penalty))
    assert rows[1]["gradient_std_norm"] == pytest.approx(rows[0]["gradient_std_norm"], rel=1e-9)
    assert rows[1]["gradient_mean_norm"] != pytest.approx(rows[0]["gradient_mean_norm"], rel=1e-2)


@pytest.mark.parametrize("batches", [2, 3])
def test_a_parameter_that_the_last_batch_does_without_has_its_gradient(batches):
    slope, offset = (torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    points = torch.arange(1.0, 9.0, dtype=torch.float64)[:, None]

    originals = {"slope": slope, "offset": offset}

    def evaluate(points, parameters=originals):
        rises = points[:, 0] * parameters["slope"]
        return {"r": rises + parameters["offset"] if points[0, 0] < 4 else rises}

    batched = BatchedResiduals(evaluate, 1, originals, ["slope"], points, batches, stackable=False)
    batched(points)["r"].mean().backward()
    first = sum(len(batch) for batch in points.tensor_split(batches) if batch[0, 0] < 4)
    assert slope.grad.item() == pytest.approx(points.mean().item())
    assert offset.grad.item() == pytest.approx(first / len(points))


def test_an_unused_parameter_stays_without_a_gradient():
    """The bias of a last layer has no part in derivatives: an optimizer must see None there, as without a capture."""
    problem = phasecore.problem("burgers")
    model = mlp(problem)
    model.spare = nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    model.forward = lambda points: nn.Sequential.forward(nn.Sequential(*list(model)[:5]), points)
    loss = PhysicsLoss(problem, model, problem.sample(30, seed=0, condition_points=5))
    monitor = PhaseMonitor(loss, torch.optim.SGD(model.parameters(), lr=0.0), every=1, batches=5)
    monitor.capture.prepare_backward(measure=True)
    row = monitor.capture.backward(loss())
    assert model.spare.grad is None
    assert row["snr"] > 0


@pytest.mark.parametrize("compiled", [False, *campaign(True)])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_evaluating_again_changes_nothing_but_what_is_kept(compiled):
    plain, again = loss_of(), loss_of(compiled=compiled, recompute=True, block=20)
    for indices in (None, torch.tensor([3, 1, 1, 50]), None):
        expected, found = gradients(*plain, indices), gradients(*again, indices)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(again[0].evaluate(), plain[0].evaluate(), rtol=1e-9, atol=1e-14)


def test_evaluating_again_keeps_no_activations():
    kept = []
    for options in ({}, {"recompute": True}):
        loss, _ = loss_of(points=500, weighting="uniform", **options)
        sizes = {}
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.update({tensor.data_ptr(): tensor.numel()}) or tensor, lambda t: t
        )
        with hooks:
            loss()
        kept.append(sum(sizes.values()))
    assert kept[0] > 10 * 500 * 9
    assert kept[1] < 5 * 500


@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know this model")
@pytest.mark.parametrize("style", ["frequencies", "group_norm", "borrowing"])
def test_any_model_can_be_evaluated_again(style):
    model = networks()[style].double()
    points = BURGERS.sample(30, seed=1, condition_points=5)
    found = [gradients(PhysicsLoss(BURGERS, model, points, recompute=again, block=7), model) for again in (False, True)]
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-14)


def test_a_way_back_that_nobody_asked_for_leaves_nothing_to_the_next_one():
    loss, model = loss_of()
    loss.eval()
    monitor = PhaseMonitor(loss, torch.optim.SGD(model.parameters(), lr=0.0), every=1, batches=10)
    expected = monitor.capture.measure()
    monitor.capture.prepare_backward(measure=True)
    loss().backward()
    row = monitor.capture.backward(loss(torch.arange(5)))
    assert row == pytest.approx(expected, rel=1e-9)
