"""One monitored training, driven in each way that there is: the same rows, actions and evaluations."""

import math

import pytest
import torch
from plans import plan

import phasecore
from phasecore.policies import SwitchOptimizer
from phasecore_torch import PhaseMonitor, PhysicsLoss

PROBLEM = phasecore.problem("helmholtz", a1=1, a2=1)


def in_blocks(monitor, closure):
    with monitor:
        monitor.optimizer.step(closure)


def by_optimize(monitor, closure):
    monitor.optimize(closure)


def by_step(monitor, closure):
    monitor.optimizer.step(closure)
    monitor.step()


WAYS = {"block": in_blocks, "optimize": by_optimize, "step": by_step, "backward": by_step}


def driven(way, name, spoilt):
    """A training that goes on with an optimizer from iteration 6 on, whose loss is spoilt in some iterations."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    loss_fn = PhysicsLoss(PROBLEM, model, PROBLEM.sample(40, seed=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    others = {
        "sgd": torch.optim.SGD(model.parameters(), lr=1e-4),
        "theirs": torch.optim.LBFGS(model.parameters(), max_iter=3),
    }
    # what is captured on the way back is acted on an iteration later
    at = 6 if way == "step" else 5
    policy = plan((at, SwitchOptimizer(name)))
    monitor = PhaseMonitor(loss_fn, optimizer, batches=10, every=1, policy=policy, optimizers=others)

    def closure():
        monitor.optimizer.zero_grad()
        loss = loss_fn() * (math.nan if monitor.iteration in spoilt else 1.0)
        monitor.backward(loss) if way == "backward" else loss.backward()
        return loss

    for _ in range(16):
        WAYS[way](monitor, closure)
    monitor.finish()
    actions = [(acted.iteration, acted.to) for acted in monitor.actions]
    rows = {row["iteration"]: {k: v for k, v in row.items() if k != "seconds"} for row in monitor.history}
    parameters = torch.cat([parameter.detach().ravel() for parameter in model.parameters()])
    return actions[1:], rows, parameters, optimizer.param_groups[0]["lr"], monitor.optimizer is optimizer


@pytest.mark.filterwarnings("ignore:iteration 12. optimizer adam:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:The training loss.*NaN from iteration 11 on:RuntimeWarning")
@pytest.mark.parametrize("spoilt", [(), (11,)], ids=["goes well", "fails"])
@pytest.mark.parametrize("name", ["lbfgs", "sgd", "theirs"])
@pytest.mark.parametrize("way", ["optimize", "step", "backward"])
def test_rows_actions_and_evaluations_are_those_of_blocks(way, name, spoilt):
    spoilt = () if name == "sgd" else spoilt
    actions, rows, parameters, rate, is_back = driven("block", name, spoilt)
    found = driven(way, name, spoilt)
    assert found[0] == actions == ([(12, "adam")] if spoilt else [])
    assert torch.allclose(found[2], parameters, rtol=1e-2, atol=1e-3)
    assert found[3] == pytest.approx(rate, rel=1e-2)
    assert found[4] == is_back == bool(spoilt)
    # the row of the switch is that of either optimizer, and that of a loss that is spoilt is seen on the way back
    for iteration in {*range(1, 17)} - {6, *spoilt}:
        one, other = found[1][iteration], rows[iteration]
        # one of 40 residuals may change its sign by rounding
        assert one.pop("residual_order", 0) == pytest.approx(other.pop("residual_order", 0), abs=0.05), iteration
        assert one == pytest.approx(other, rel=1e-2, nan_ok=True), iteration


def test_a_step_in_a_block_after_optimize_is_of_the_closure_that_it_is_given():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    loss_fn = PhysicsLoss(PROBLEM, model, PROBLEM.sample(40, seed=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    monitor = PhaseMonitor(loss_fn, optimizer, batches=10, every=50, policy=plan((1, SwitchOptimizer("lbfgs"))))
    for _ in range(4):
        monitor.optimize()
    assert monitor.optimizer is not optimizer
    measured = []

    def closure():
        monitor.optimizer.zero_grad()
        loss = 3.0 * loss_fn()
        loss.backward()
        measured.append(loss.item())
        return loss

    with monitor:
        began_with = monitor.optimizer.step(closure)
    assert began_with.item() == pytest.approx(measured[0], rel=1e-5)
