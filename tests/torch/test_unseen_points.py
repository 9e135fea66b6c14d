"""Until a point was in a batch it counts like the mean of those that were: in captures, held weights, the attention."""

from __future__ import annotations

import pytest
import torch

import phasecore
from phasecore import registry
from phasecore.weighting.indexed import UNSEEN
from phasecore_torch import PhaseMonitor, PhysicsLoss

PROBLEM = phasecore.problem("burgers")
COUNT, SIZE = 60, 12


def made(weighting, problem=PROBLEM, **monitoring):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 12), torch.nn.Tanh(), torch.nn.Linear(12, 1))
    loss_fn = PhysicsLoss(problem, model, problem.sample(COUNT, seed=0), weighting=weighting)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return loss_fn, optimizer, PhaseMonitor(loss_fn, optimizer, every=1, batches=10, **monitoring)


def trained(loss_fn, optimizer, monitor, batches):
    for indices in batches:
        with monitor:
            optimizer.zero_grad()
            loss_fn(indices).backward()
            optimizer.step()
        yield indices


def with_weights_of_points():
    for name in registry.names("weighting"):
        try:
            loss_fn, *_ = made(name)
        except phasecore.InputError:
            continue
        if "pde" in loss_fn.point_weights():
            yield name


@pytest.mark.parametrize("weighting", [*with_weights_of_points(), "rba+grad_norm", "vrba+rba"])
def test_points_that_were_in_no_batch_have_the_mean_weight_of_the_others(weighting):
    loss_fn, optimizer, monitor = made(weighting)
    seen = torch.zeros(COUNT, dtype=torch.bool)
    for indices in trained(loss_fn, optimizer, monitor, torch.randperm(COUNT).split(SIZE)):
        seen[indices] = True
        for part in loss_fn.weighting.parts:
            weight = part.weight("pde")
            if weight is None or not weight.ndim:
                continue
            of_residual = part.scheme.multiplies == "residual"
            mean = weight[seen].square().mean().sqrt() if of_residual else weight[seen].mean()
            torch.testing.assert_close(weight[~seen], mean.expand_as(weight[~seen]))
            torch.testing.assert_close(weight[indices], part.weight("pde", indices), rtol=0, atol=0)
        assert all((weight != UNSEEN).all() for weight in loss_fn.point_weights().values())


@pytest.mark.parametrize("weighting", ["rba", "vrba", "rba+grad_norm"])
def test_captures_of_the_first_epoch_are_of_the_loss_that_is_trained(weighting):
    loss_fn, optimizer, monitor = made(weighting)
    own = [
        float(loss_fn.losses.weighted["pde"].detach())
        for _ in trained(loss_fn, optimizer, monitor, torch.randperm(COUNT).split(SIZE))
    ]
    captured = [row["weighted_loss_pde"] for row in monitor.history]
    assert len(captured) == len(own)
    for one, other in zip(captured, own, strict=True):
        assert 0.1 < one / other < 10
    snr = [row["snr"] for row in monitor.history]
    assert max(snr) < 100 * min(snr), "no jump where the last point was in a batch"


def test_the_attention_that_is_tracked_has_the_mean_of_the_others_too():
    loss_fn, optimizer, monitor = made("uniform", probes=["residual_order"])
    order = [
        monitor.history[-1]["residual_order"]
        for _ in trained(loss_fn, optimizer, monitor, torch.arange(COUNT).split(SIZE))
    ]
    attention = loss_fn.residual_attention()["pde"]
    assert (attention > 0).all()
    assert min(order) > 0.7


def test_a_state_of_an_unfinished_epoch_is_loaded_as_it_is():
    loss_fn, *_ = made("rba")
    first, second = torch.arange(COUNT)[:SIZE], torch.arange(COUNT)[SIZE : 2 * SIZE]
    loss_fn(first)
    other, *_ = made("rba")
    other.load_state_dict(loss_fn.state_dict())
    for each in (loss_fn, other):
        each(second)
    assert torch.equal(loss_fn.point_weights()["pde"], other.point_weights()["pde"])
    assert torch.equal(loss_fn.eval()(), other.eval()())


def test_a_loss_that_has_seen_all_its_points_takes_the_state_of_one_that_has_not():
    unfinished, *_ = made("rba")
    unfinished(torch.arange(SIZE))
    whole, *_ = made("rba")
    whole()
    whole.load_state_dict(unfinished.state_dict())
    assert torch.equal(whole.point_weights()["pde"], unfinished.point_weights()["pde"])
    assert (whole.point_weights()["pde"] > 0).all()


@pytest.mark.parametrize("indices", [[-1, 0], [0, COUNT], []])
def test_indices_of_no_points_are_refused(indices):
    loss_fn, *_ = made("rba")
    with pytest.raises(phasecore.InputError, match=f"indices of collocation points: .*some from 0 to {COUNT - 1}"):
        loss_fn(torch.tensor(indices, dtype=torch.int64))


def test_a_name_in_the_place_of_a_list_of_probes_is_refused():
    with pytest.raises(phasecore.InputError, match=r"probes: received the text 'gradient_snr'; expected a list"):
        made("rba", probes="gradient_snr")
