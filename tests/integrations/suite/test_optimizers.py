"""Optimizers of another package, named once: policies switch to them, and nothing of Adam's is read off them."""

import copy
import itertools
import math

import pytest
import torch
from plans import plan
from pytorch_optimizer import SOAP, Muon

import phasecore
from phasecore.policies import ScaleLearningRate, SwitchOptimizer
from phasecore_torch import PhaseMonitor, PhysicsLoss

PROBLEM = phasecore.problem("helmholtz", a1=1, a2=1)


def soap(parameters):
    return SOAP(parameters, lr=3e-3, betas=(0.99, 0.99), weight_decay=0.0, precondition_frequency=2)


def muon(parameters):
    parameters = list(parameters)
    hidden, others = parameters[2:3], [*parameters[:2], *parameters[3:]]
    return Muon([{"params": hidden, "lr": 0.02, "use_muon": True}, {"params": others, "lr": 1e-3, "use_muon": False}])


def made(policy, make):
    torch.manual_seed(0)
    widths = (2, 8, 8, 1)
    layers = [torch.nn.Linear(*sizes) for sizes in itertools.pairwise(widths)]
    model = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])
    loss_fn = PhysicsLoss(PROBLEM, model, PROBLEM.sample(40, seed=0), weighting="rba")
    optimizer, other = torch.optim.Adam(model.parameters(), lr=1e-3), make(model.parameters())
    monitor = PhaseMonitor(loss_fn, optimizer, batches=10, policy=policy, optimizers={"theirs": other})
    return model, loss_fn, optimizer, other, monitor


def numbers(monitor):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in monitor.history]


@pytest.mark.parametrize("make", [soap, muon])
def test_it_takes_its_turn_and_gives_it_back(make):
    policy = plan((10, SwitchOptimizer("theirs")), (15, ScaleLearningRate(0.5)), (20, SwitchOptimizer("adam")))
    _, _, optimizer, other, monitor = made(policy, make)
    rates = [group["lr"] for group in other.param_groups]
    for _ in range(30):
        monitor.optimize()
    rows = {row["iteration"]: row for row in monitor.history}
    assert [acted.to for acted in monitor.actions] == ["theirs", 0.5, "adam"]
    assert monitor.optimizer is optimizer
    assert [group["lr"] for group in other.param_groups] == [0.5 * rate for rate in rates]
    assert {"adam_snr" in rows[iteration] for iteration in (10, 30)} == {True}
    assert "adam_snr" not in rows[20], "what is not Adam's is absent, not stale"
    assert all(math.isfinite(row["snr"]) for row in rows.values())
    assert rows[20]["unweighted_loss"] < rows[10]["unweighted_loss"]


@pytest.mark.parametrize("make", [soap, muon])
@pytest.mark.parametrize("where", [5, 15])
def test_a_restored_monitor_goes_on_with_it(make, where):
    policy = plan((10, SwitchOptimizer("theirs")))
    model, loss_fn, optimizer, other, monitor = made(policy, make)
    parts = monitor, model, loss_fn, optimizer, other
    for _ in range(where):
        monitor.optimize()
    saved = copy.deepcopy([part.state_dict() for part in parts])
    for _ in range(20 - where):
        monitor.optimize()
    model, loss_fn, optimizer, other, again = made(policy, make)
    for part, state in zip((again, model, loss_fn, optimizer, other), saved, strict=True):
        part.load_state_dict(state)
    for _ in range(20 - where):
        again.optimize()
    assert repr(numbers(again)) == repr(numbers(monitor))


def test_the_pages_example_runs(run_section):
    run_section("Optimizers of other packages")
