"""`DistributedDataParallel` around a model with buffers takes part in as many evaluations, however points are cut."""

import numpy as np
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

import phasecore
from phasecore_torch import PhaseMonitor, PhysicsLoss

BURGERS = phasecore.problem("burgers")
POINTS = BURGERS.sample(40, seed=0, condition_points=8)


@pytest.fixture(autouse=True)
def alone():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


class Waves(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
        self.register_buffer("frequencies", torch.tensor([[1.0, 0.5], [0.3, -1.0]]))

    def forward(self, points):
        return self.network(torch.sin(points @ self.frequencies))


@pytest.fixture
def trained(monkeypatch):
    """A function that trains a wrapped model, and returns how often its buffers were handed out, and the parameters."""
    times = []
    before = DistributedDataParallel._sync_buffers
    monkeypatch.setattr(DistributedDataParallel, "_sync_buffers", lambda self: times.append(before(self)))

    def train(batches, loss_of):
        times.clear()
        model = DistributedDataParallel(Waves())
        loss, points = loss_of(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        monitor = PhaseMonitor(loss, optimizer, every=2, batches=batches, points=points)
        for _ in range(4):
            with monitor:
                optimizer.zero_grad()
                loss(*(() if points is None else (points,))).backward()
                optimizer.step()
            assert model.require_forward_param_sync
            assert "forward" not in vars(model)
        monitor.finish()
        return len(times), torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()

    return train


@pytest.mark.parametrize("options", [{}, {"derivatives": "autodiff"}, {"derivatives": "autodiff", "recompute": True}])
def test_buffers_are_handed_out_as_often_however_points_are_cut(options, trained):
    (one, expected), (other, found) = (
        trained(batches, lambda model, block=block: (PhysicsLoss(BURGERS, model, POINTS, block=block, **options), None))
        for batches, block in ((4, None), (9, 7))
    )
    assert one == other > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_so_they_are_for_a_loss_of_ones_own(trained):
    points = torch.rand(40, 2)

    def loss_of(model):
        return lambda batch: (model(batch) - batch.sum(1, keepdim=True)).square().mean(), points

    assert trained(4, loss_of)[0] == trained(9, loss_of)[0] > 0
