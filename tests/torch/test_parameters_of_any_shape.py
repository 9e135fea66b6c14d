"""A trained parameter may have any shape: none, as an adaptive slope has, or one with no entries."""

import numpy as np
import pytest
import torch
from campaigns import campaign
from paths import EVALUATIONS, Training, in_turn
from torch import nn

import phasecore
from phasecore_torch import Capture, PhaseMonitor, PhysicsLoss

BURGERS = phasecore.problem("burgers")
SHAPES = [(), (0,), (0, 3), (3, 0), (1,), (2, 1, 2)]
CASES = [(shape, torch.float64) for shape in SHAPES] + [((), torch.complex128), ((0,), torch.complex128)]


class Sloped(nn.Module):
    def __init__(self, shape, dtype):
        super().__init__()
        torch.manual_seed(2)
        self.slopes = nn.Parameter(torch.full(shape, 0.5, dtype=dtype))
        self.first, self.last = nn.Linear(2, 6), nn.Linear(6, 1)
        self.double()

    def forward(self, points):
        slopes = torch.view_as_real(self.slopes) if self.slopes.is_complex() else self.slopes
        return self.last(torch.tanh((1.0 + slopes.square().sum()) * self.first(points)))


def loss_of(case, points=40, weighting="rba", **options):
    model = Sloped(*case)
    sample = BURGERS.sample(points, seed=1, condition_points=6)
    return PhysicsLoss(BURGERS, model, sample, weighting=weighting, **options), model


def flat(gradients, model):
    found = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, model.parameters(), strict=True)]
    return torch.cat([(torch.view_as_real(g) if g.is_complex() else g).reshape(-1) for g in found]).numpy()


def of_batches(losses, model):
    """The norms of mean and deviation of the batches' gradients, one after the other."""
    parameters = list(model.parameters())
    rows = np.stack([flat(torch.autograd.grad(own, parameters, allow_unused=True), model) for own in losses])
    return np.linalg.norm(rows.mean(axis=0)), np.linalg.norm(rows.std(axis=0))


def assert_norms(row, expected):
    assert (row["gradient_mean_norm"], row["gradient_std_norm"]) == pytest.approx(expected, rel=1e-8)
    assert row["snr"] == pytest.approx(expected[0] / expected[1], rel=1e-8)


@pytest.mark.parametrize(("case", "evaluation", "way_back"), in_turn(CASES))
def test_the_statistics_of_a_physics_loss_are_those_of_batch_after_batch(case, evaluation, way_back):
    # batches of one size for the one half of the shapes, of two for the other
    points = 40 + 3 * (CASES.index(case) % 2)
    loss, model = loss_of(case, points, **EVALUATIONS[evaluation])
    training = Training(loss, model.parameters(), way_back, biases=True)
    for _ in range(2):
        training.gradients()
    row = dict(training.monitor.history[-1])
    batches = torch.arange(points).tensor_split(5)
    weights = loss.weighting.current
    losses = (loss.batch_loss(loss.points[own], weights(own)) + loss.shared_loss(weights()) for own in batches)
    assert_norms(row, of_batches(losses, model))
    measured = training.monitor.capture.measure()
    assert {name: row[name] for name in measured} == pytest.approx(measured, rel=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_a_capture_leaves_the_gradients_of_a_training_as_they_are(case):
    found = []
    for captured in (False, True):
        loss, model = loss_of(case, 43)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        monitor = PhaseMonitor(loss, optimizer, every=1, batches=5) if captured else None
        if monitor is not None:
            monitor.capture.prepare_backward()
        loss().backward()
        found.append(flat([parameter.grad for parameter in model.parameters()], model))
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_statistics_of_a_loss_of_ones_own_are_those_of_batch_after_batch(case):
    model, points = Sloped(*case), torch.rand(43, 2, dtype=torch.float64)

    def loss(batch):
        return (model(batch) - 1.0).square().mean()

    optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    loss(points).backward()
    optimizer.step()
    probes = ["gradient_snr", "adam_snr", "adam_learning_rates", "norm_test", "gradient_noise_scale"]
    row = Capture(loss, optimizer, points=points, batches=5, probes=probes, biases=True).measure()
    assert_norms(row, of_batches([loss(own) for own in points.tensor_split(5)], model))
    of_whole = {name: value for name, value in row.items() if not name.startswith("layer")}
    assert all(np.isfinite(value) for value in of_whole.values()), of_whole


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if 0 in shape or len(shape) < 2])
@pytest.mark.parametrize("weighting", ["grad_norm", "learning_rate_annealing", "ntk", *campaign("rba+grad_norm")])
def test_weights_by_gradients_are_those_of_the_entries(weighting, shape):
    found = []
    for used in ((shape, torch.float64), ((4,), torch.float64)):
        loss, model = loss_of(used, weighting=weighting)
        # parameters that nothing depends on change no balance, whatever their shape
        with torch.no_grad():
            model.slopes.zero_()
        loss()
        found.append([torch.as_tensor(weight).flatten() for weight in loss.weighting.current().values()])
    torch.testing.assert_close(*found, rtol=1e-9, atol=0.0)
