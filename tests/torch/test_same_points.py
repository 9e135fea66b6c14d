"""A loss's state is of its points: it is refused where there are others, and comes back where there are the same."""

from __future__ import annotations

import pytest
import torch

import phasecore
from phasecore import InputError
from phasecore_torch import PhaseMonitor, PhysicsLoss, Resampling

PROBLEM = phasecore.problem("burgers")


def made(weighting="rba", seed=0, dtype=torch.float32, count=50):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).to(dtype)
    return PhysicsLoss(PROBLEM, model, PROBLEM.sample(count, seed=seed), weighting=weighting)


def trained(loss, resampling=None, steps=6):
    optimizer = torch.optim.Adam(loss.model.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if resampling is not None:
            resampling.step()
    return loss


@pytest.mark.parametrize("weighting", ["rba", "vrba", "self_adaptive", "rba+grad_norm"])
def test_a_state_of_other_points_is_refused_and_changes_nothing(weighting):
    state = trained(made(weighting)).state_dict()
    other = made(weighting, seed=1)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(InputError, match=r"weights of other points than its 50 of now; .*Resampling"):
        other.load_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    other.load_state_dict({name: value for name, value in state.items() if name != "weighting_at"})
    assert torch.equal(other.point_weights()["pde"], state_weights(weighting, state))


def state_weights(weighting, state):
    same = made(weighting)
    same.load_state_dict(state)
    return same.point_weights()["pde"]


def test_another_number_of_points_says_so():
    with pytest.raises(InputError, match="other points than its 40 of now"):
        made(count=40).load_state_dict(trained(made()).state_dict())


@pytest.mark.parametrize("moves", ["rad:every=2", "r3:every=2", "uniform:every=2", "rar_d:every=2,added=5"])
def test_with_points_that_moved_the_order_is_kept_to(moves):
    loss = made()
    resampling = Resampling(loss, moves, seed=0)
    trained(loss, resampling)
    states = loss.state_dict(), resampling.state_dict()
    wrong = made()
    again = Resampling(wrong, moves, seed=0)
    with pytest.raises(InputError, match="Load the state of its Resampling"):
        wrong.load_state_dict(states[0])
    again.load_state_dict(states[1])
    wrong.load_state_dict(states[0])
    assert torch.equal(wrong.points, loss.points)
    assert torch.equal(wrong.point_weights()["pde"], loss.point_weights()["pde"])


def test_states_that_do_not_say_of_which_points_they_are_are_taken():
    state = trained(made()).state_dict()
    older = {name: value for name, value in state.items() if "weighting_at" not in name}
    assert len(older) == len(state) - 1
    made().load_state_dict(older)


def test_a_state_goes_into_another_precision():
    state = trained(made()).state_dict()
    made(dtype=torch.float64).load_state_dict(state)
    made(dtype=torch.bfloat16).load_state_dict(state)


def test_a_loss_that_weights_no_points_goes_on_with_others():
    state = trained(made("grad_norm")).state_dict()
    assert not [name for name in state if "weighting_at" in name]
    made("grad_norm", seed=1).load_state_dict(state)


def test_a_loss_within_a_module_says_so_too():
    class Both(torch.nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.loss = made(seed=seed)

    with pytest.raises(InputError, match="weights of other points"):
        Both(1).load_state_dict(Both(0).state_dict())
    Both(0).load_state_dict(Both(0).state_dict())


def test_a_monitor_that_tracks_the_attention_makes_it_of_points():
    loss = made("uniform")
    PhaseMonitor(loss, torch.optim.Adam(loss.model.parameters()), batches=10)
    with pytest.raises(InputError, match="weights of other points"):
        made("uniform", seed=1).load_state_dict(loss.state_dict())
