"""Policies in a torch loop of one's own."""

import copy
import math

import pytest
import torch
from broken_policies import check_broken_policies, check_refused
from failing_steps import spoil_steps
from plans import plan

import phasecore
from phasecore import InputError
from phasecore.policies import (
    AverageWeighting,
    Call,
    ChangeWeighting,
    HoldWeighting,
    ReleaseWeighting,
    ScaleLearningRate,
    SetLearningRate,
    Snapshot,
    Stop,
    SwitchOptimizer,
)
from phasecore.runs import open_run
from phasecore_torch import PhaseMonitor, PhysicsLoss
from phasecore_torch.quasi_newton import LBFGS

PROBLEM = phasecore.problem("helmholtz", a1=1, a2=1)


def made(policy=None, others=None, weighting="rba", **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    loss_fn = PhysicsLoss(PROBLEM, model, PROBLEM.sample(40, seed=0), weighting=weighting)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    optimizers = {name: make(model.parameters()) for name, make in (others or {}).items()}
    monitor = PhaseMonitor(loss_fn, optimizer, batches=10, policy=policy, optimizers=optimizers, **options)
    return model, loss_fn, optimizer, monitor


def in_blocks(monitor, loss_fn, iterations):
    def closure():
        monitor.optimizer.zero_grad()
        loss = loss_fn()
        loss.backward()
        return loss

    for _ in range(iterations):
        with monitor:
            monitor.optimizer.step(closure)
        if monitor.stopped:
            break


def by_optimize(monitor, loss_fn, iterations):
    for _ in range(iterations):
        monitor.optimize()
        if monitor.stopped:
            break


def by_hand(monitor, loss_fn, iterations):
    for _ in range(iterations):
        with monitor:
            monitor.optimizer.zero_grad()
            loss_fn().backward()
            monitor.optimizer.step()


def numbers(monitor):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in monitor.history]


@pytest.mark.parametrize("loop", [in_blocks, by_optimize, by_hand])
def test_a_policy_that_never_acts_changes_no_number(loop):
    found = []
    for policy in (None, plan((10**9, SwitchOptimizer("lbfgs")))):
        _, loss_fn, _, monitor = made(policy)
        loop(monitor, loss_fn, 25)
        found.append(repr(numbers(monitor)))
    assert found[0] == found[1]


@pytest.mark.parametrize("loop", [in_blocks, by_optimize])
def test_adam_is_switched_to_lbfgs_and_back(loop, tmp_path):
    policy = plan((10, SwitchOptimizer("lbfgs")), (20, SwitchOptimizer("adam")))
    _, loss_fn, optimizer, monitor = made(policy, weighting="uniform", run_folder=tmp_path / "run")
    loop(monitor, loss_fn, 30)
    monitor.finish()
    rows = {row["iteration"]: row for row in monitor.history}
    assert [acted.to for acted in monitor.actions] == ["lbfgs", "adam"]
    assert monitor.optimizer is optimizer
    assert {"adam_snr" in rows[k] for k in (10, 30)} == {True}
    assert "adam_snr" not in rows[20], "what is not Adam's is absent, not stale"
    assert "evaluations" not in rows[10]
    assert rows[20]["evaluations"] > 20
    assert rows[20]["unweighted_loss"] < rows[10]["unweighted_loss"]
    assert [acted.iteration for acted in open_run(tmp_path / "run").actions] == [
        acted.iteration for acted in monitor.actions
    ]


def test_optimizers_of_ones_own_take_their_turns():
    others = {"sgd": lambda p: torch.optim.SGD(p, lr=1e-4), "mine": lambda p: torch.optim.LBFGS(p, max_iter=1)}
    made("optimizer_by_phase:diffusion=sgd,total_diffusion=mine", others)
    seen = []
    monitor = made(plan((5, SwitchOptimizer("sgd")), (10, SwitchOptimizer("mine"))), others)[3]
    for _ in range(15):
        seen.append(type(monitor.optimizer).__name__)
        monitor.optimize()
    assert seen == ["Adam"] * 6 + ["SGD"] * 5 + ["LBFGS"] * 4, "a row is captured, and acted on, an iteration later"


def test_weights_of_a_loss_are_held_changed_and_released():
    _, loss_fn, _, monitor = made(
        plan((5, HoldWeighting()), (10, ReleaseWeighting()), (15, ChangeWeighting("uniform")))
    )
    seen = []
    for _ in range(20):
        monitor.optimize()
        seen.append(loss_fn.point_weights().get("pde", torch.zeros(())).sum().item())
    assert len(set(seen[5:11])) == 1
    assert len(set(seen[:16])) == 11
    assert loss_fn.specification == "uniform"


def test_weights_of_a_loss_are_averaged_over_the_points_of_a_term():
    _, loss_fn, _, monitor = made(plan((5, SwitchOptimizer("lbfgs")), (5, HoldWeighting()), (15, AverageWeighting())))
    weights, fresh, losses = [], [], []
    for _ in range(20):
        fresh.append(loss_fn().item() if loss_fn.weighting.held else None)
        losses.append(monitor.optimize().item())
        weights.append(loss_fn.point_weights()["pde"].clone())
    held, averaged = weights[10], weights[-1]
    assert torch.allclose(averaged, held.square().mean().sqrt().expand_as(held))
    others = [k for k in range(7, 20) if not torch.equal(weights[k], weights[k - 1])]
    assert len(others) == 1
    assert losses[7:] == pytest.approx(fresh[7:], rel=1e-5), "a step begins with the loss as it is weighted then"


@pytest.mark.parametrize("action", [AverageWeighting(), HoldWeighting()], ids=["averaged", "held"])
@pytest.mark.parametrize("weighting", ["rba", "vrba", "brdr"])
def test_points_that_no_batch_had_yet_are_held_at_the_mean_of_the_others(action, weighting):
    _, loss_fn, optimizer, monitor = made(plan((2, action)), weighting=weighting)
    batches = torch.arange(40).split(8)
    for k in range(4):

        def closure(indices=batches[k]):
            optimizer.zero_grad()
            loss = loss_fn(indices)
            loss.backward()
            return loss

        monitor.optimize(closure)
        if loss_fn.weighting.held:
            break
    number = 8 * (k + 1)
    seen, others = loss_fn.point_weights()["pde"][:number], loss_fn.point_weights()["pde"][number:]
    assert number < 40
    (part,) = loss_fn.weighting.parts
    of_residual = part.scheme.multiplies == "residual"
    mean = seen.square().mean().sqrt() if of_residual else seen.mean()
    assert torch.allclose(others, mean.expand_as(others), rtol=1e-5)


def test_a_weighting_to_change_to_that_the_problem_has_nothing_for_is_refused_at_once():
    with pytest.raises(InputError, match="unknown term of weighting 'fixed': received 'bondary'"):
        made(plan((10, ChangeWeighting("fixed:bondary=10"))))


def test_learning_rates_are_those_of_the_optimizer_that_has_one():
    policy = plan((5, SetLearningRate(0.01)), (10, SwitchOptimizer("lbfgs")), (15, ScaleLearningRate(0.5)))
    _, _, optimizer, monitor = made(policy)
    for _ in range(20):
        monitor.optimize()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    assert monitor.optimizer.param_groups[0]["lr"] == 1


def test_a_policy_stops_the_loop_saves_and_calls(tmp_path):
    heard = []
    policy = plan((5, Snapshot()), (6, Call(lambda timeline, row: heard.append(row["iteration"]))), (10, Stop()))
    _, loss_fn, _, monitor = made(policy, run_folder=tmp_path / "run")
    by_optimize(monitor, loss_fn, 30)
    monitor.finish()
    assert (monitor.stopped, monitor.iteration, heard) == (True, 11, [6])
    assert {6, 11} <= set(open_run(tmp_path / "run").snapshots)


@pytest.mark.parametrize(
    "further", [(), ((10, AverageWeighting()),), ((10, HoldWeighting()),)], ids=["", "mean", "held"]
)
@pytest.mark.parametrize("where", [5, 12, 13, 18])
def test_a_restored_monitor_goes_on_with_the_optimizer_in_charge(where, further):
    policy = plan((10, SwitchOptimizer("lbfgs")), *further, (15, SwitchOptimizer("adam")))
    model, loss_fn, optimizer, monitor = made(policy)
    by_optimize(monitor, loss_fn, where)
    saved = copy.deepcopy([part.state_dict() for part in (monitor, model, loss_fn, optimizer)])
    by_optimize(monitor, loss_fn, 20 - where)
    again = made(policy)
    for part, state in zip((again[3], again[0], again[1], again[2]), saved, strict=True):
        part.load_state_dict(state)
    by_optimize(again[3], again[1], 20 - where)
    assert repr(numbers(again[3])) == repr(numbers(monitor))
    assert again[3].actions == monitor.actions


@pytest.mark.parametrize("loop", [in_blocks, by_optimize])
def test_a_failure_leads_back_to_the_former_optimizer_and_is_said_once(loop, monkeypatch):
    _, loss_fn, optimizer, monitor = made(plan((5, SwitchOptimizer("lbfgs"))))
    spoil_steps(monkeypatch, LBFGS, after=3)
    with pytest.warns(RuntimeWarning, match="lbfgs failed") as caught:
        loop(monitor, loss_fn, 20)
    assert sum("lbfgs failed" in str(item.message) for item in caught) == 1
    assert monitor.optimizer is optimizer
    assert math.isfinite(monitor.history[-1]["training_loss"])


def test_what_adam_won_is_kept_where_lbfgs_comes_back_to_a_loss_that_is_not_finite():
    policy = plan((2, SwitchOptimizer("lbfgs")), (4, SwitchOptimizer("adam")), (60, SwitchOptimizer("lbfgs")))
    model, loss_fn, optimizer, monitor = made(policy, weighting="uniform", every=1)

    def closure():
        monitor.optimizer.zero_grad()
        loss = loss_fn() * (math.nan if monitor.optimizer is not optimizer and monitor.iteration > 50 else 1.0)
        loss.backward()
        return loss

    def parameters():
        return torch.cat([parameter.detach().ravel().clone() for parameter in model.parameters()])

    def before_the_failure():
        while len(monitor.actions) < 4:
            before = parameters()
            monitor.optimize(closure)
        return before

    with pytest.warns(RuntimeWarning, match="lbfgs failed"):
        before = before_the_failure()
    assert [(acted.iteration, acted.to) for acted in monitor.actions[2:]] == [(60, "lbfgs"), (61, "adam")]
    assert torch.equal(parameters(), before)


def test_a_users_own_lbfgs_is_guarded_too():
    model, loss_fn, optimizer, monitor = made(
        plan((3, SwitchOptimizer("mine"))), {"mine": lambda p: torch.optim.LBFGS(p, lr=math.inf, max_iter=1)}
    )
    with pytest.warns(RuntimeWarning, match="mine failed"):
        by_optimize(monitor, loss_fn, 10)
    assert monitor.optimizer is optimizer
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("at_phase:phase=diffusion,do=switch_optimizer,to=muon", {}, "unknown optimizer"),
        ("at_phase:phase=diffusion,do=snapshot", {}, "requires action 'snapshot'"),
        ("at_phase:phase=diffusion,do=resample", {}, "requires action 'resample'.*resampling=phasecore_torch"),
        ("stop_when_done", {"others": {"adam": lambda p: torch.optim.SGD(p, lr=1)}}, "a name of its own"),
    ],
)
def test_what_the_loop_cannot_do_is_refused_when_the_monitor_is_made(policy, options, message):
    with pytest.raises(InputError, match=message):
        made(policy, **options)


def test_weights_are_for_a_physics_loss_and_a_closure_is_needed_without_one():
    x = torch.ones(3, 2, requires_grad=True)
    options = {"points": torch.rand(40, 2), "batches": 4}
    with pytest.raises(InputError, match="hold_weighting"):
        PhaseMonitor(
            lambda batch: (batch @ x.T).square().mean(),
            torch.optim.Adam([x]),
            policy="at_phase:phase=diffusion,do=hold_weighting",
            **options,
        )
    monitor = PhaseMonitor(lambda batch: (batch @ x.T).square().mean(), torch.optim.Adam([x]), **options)
    with pytest.raises(InputError, match="no closure"):
        monitor.optimize()


def test_no_faulty_policy_ends_a_loop_and_bad_input_is_refused():
    def train(policy):
        _, loss_fn, _, monitor = made(policy, every=1)
        by_optimize(monitor, loss_fn, 6)
        return monitor.iteration, monitor.actions

    check_broken_policies(train)
    check_refused(made)


def test_a_step_under_another_weighting_begins_with_its_loss():
    model, loss_fn, _, monitor = made(plan((5, SwitchOptimizer("lbfgs")), (8, ChangeWeighting("uniform"))))
    plain = PhysicsLoss(PROBLEM, model, PROBLEM.sample(40, seed=0))
    for _ in range(14):
        expected, changed = plain().item(), loss_fn.specification == "uniform"
        loss = monitor.optimize().item()
        assert (loss == pytest.approx(expected, rel=1e-5)) == changed
    assert changed
