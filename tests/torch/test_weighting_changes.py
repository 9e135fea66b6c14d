"""A torch loop whose policies changed its weighting goes on, from a saved state, as if nothing had come between."""

import io
import itertools
import math

import pytest
import torch

import phasecore
from phasecore_torch import PhaseMonitor, PhysicsLoss

HOLD, RELEASE, AVERAGE = "hold_weighting", "release_weighting", "average_weighting"
OTHER = "change_weighting,to=(rba:gamma=0.9,eta=0.1)"
NONE, BACK = "change_weighting,to=uniform", "change_weighting,to=(rba:gamma=0.5,eta=0.5)"
CHAINS = [
    *itertools.permutations((HOLD, RELEASE, OTHER, NONE), 2),
    (HOLD, RELEASE, AVERAGE),
    (NONE, BACK),
    (OTHER, NONE, BACK),
    (AVERAGE, HOLD, RELEASE),
    ("change_weighting,to=vrba", NONE),
]


def made(policy):
    torch.manual_seed(0)
    problem = phasecore.problem("helmholtz", a1=1, a2=2)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    points = problem.sample(40, seed=0, condition_points=8)
    loss = PhysicsLoss(problem, model, points, weighting="rba:gamma=0.5,eta=0.5")
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "monitor": PhaseMonitor(loss, optimizer, every=4, batches=5, policy=policy),
        "loss": loss,
    }


def trained(policy, iterations, saved_at=None):
    parts = made(policy)
    for iteration in range(iterations):
        if iteration == saved_at:
            stream = io.BytesIO()
            torch.save({name: part.state_dict() for name, part in parts.items()}, stream)
            stream.seek(0)
            state, parts = torch.load(stream), made(policy)
            for name, part in parts.items():
                part.load_state_dict(state[name])
        parts["monitor"].optimize()
    rows = parts["monitor"].history
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows], parts


def same(one, other):
    return one == other or (math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize("chain", CHAINS, ids=" ".join)
def test_a_saved_state_goes_on_after_any_changes(chain):
    policy = "+".join(f"at_phase:phase=fitting,do={change}" for change in chain)
    whole, _ = trained(policy, 28)
    again, parts = trained(policy, 28, saved_at=18)
    assert len(parts["monitor"].actions) == len(chain)
    assert len(whole) == len(again)
    for row, other in zip(whole, again, strict=True):
        assert row.keys() == other.keys()
        assert all(same(row[name], other[name]) for name in row)


def test_a_state_goes_on_in_the_loss_that_it_is_of():
    policy = f"at_phase:phase=fitting,do={OTHER}+at_phase:phase=fitting,do={HOLD}"
    _, parts = trained(policy, 12)
    states = {name: part.state_dict() for name, part in parts.items()}
    done = list(parts["loss"].changes.done)
    for name, part in parts.items():
        part.load_state_dict(states[name])
    assert parts["loss"].changes.done == done == [("changed", "rba:gamma=0.9,eta=0.1"), ("held", "")]


def test_a_state_of_before_that_tells_the_last_change_alone_goes_on():
    policy = f"at_phase:phase=fitting,do={OTHER}+at_phase:phase=fitting,do={HOLD}"
    _, parts = trained(policy, 12)
    states = {name: part.state_dict() for name, part in parts.items()}
    own = next(key for key, value in states["monitor"].items() if isinstance(value, dict) and "weighting" in value)
    states["monitor"][own]["weighting"] = ("rba:gamma=0.9,eta=0.1", True)
    other = made(policy)
    for name, part in other.items():
        part.load_state_dict(states[name])
    assert other["loss"].weighting.held
