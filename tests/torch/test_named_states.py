"""States whose arrays are hard to name are kept whole by torch: in training, in checkpoints and where points move."""

import named_states
import pytest
import torch
from named_states import PROBLEM

from phasecore.weighting import rba
from phasecore.weighting.states import state_entries
from phasecore_torch import PhysicsLoss

every_state = pytest.mark.parametrize("fields", named_states.STATES.values(), ids=named_states.STATES)


def loss_of(scheme, points=20, seed=0):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    return PhysicsLoss(PROBLEM, model, PROBLEM.sample(points, seed=seed), weighting=scheme)


def kept(loss):
    return {entry: leaf.flatten()[0].item() for entry, leaf in state_entries(loss.weighting.parts[0].state)}


@every_state
def test_every_array_has_a_place_of_its_own_and_goes_through_checkpoints(fields):
    loss = loss_of(named_states.made(fields))
    assert kept(loss) == named_states.expected(fields, 0)
    for _ in range(3):
        loss()
    assert kept(loss) == named_states.expected(fields, 3)
    total = sum(named_states.expected(fields, 3).values())
    torch.testing.assert_close(loss.weighting.parts[0].weight("pde"), torch.full((20,), total).double())
    again = loss_of(named_states.made(fields))
    again.load_state_dict(loss.state_dict())
    again()
    assert kept(again) == named_states.expected(fields, 4)


def test_points_that_share_a_name_move_and_come_in_batches():
    fields = {"mean": named_states.TERMS, "mean_square": named_states.TERMS}
    loss = loss_of(named_states.made(fields, per_point=("mean", "mean_square")))
    loss(torch.arange(10))
    loss.resample(PROBLEM.sample(15, seed=1))
    loss()
    for entry, leaf in state_entries(loss.weighting.parts[0].state):
        none, both = named_states.expected(fields, 1)[entry], named_states.expected(fields, 2)[entry]
        assert leaf.shape == (15,)
        assert set(leaf.tolist()) <= {none, both}


def test_names_that_were_free_are_what_they_were():
    names = {
        "a mapping": ({"mean": named_states.TERMS}, ["state_mean_pde", "state_mean_square_pde"]),
        "an array": ({"mean": None}, ["state_mean"]),
        "a slash": ({"norms": ("0/weight",)}, ["state_norms_0/weight"]),
    }
    for fields, expected in names.values():
        found = loss_of({"mine": named_states.made(fields)}).weighting.state_dict()
        assert [name for name in found if "state_" in name] == [f"mine.{name}" for name in expected]
    assert "weighting.rba.state_visited_pde" in loss_of(rba()).state_dict()
