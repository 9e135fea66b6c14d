"""Policies in `phasecore run` on torch: what is asked for is done, as told, and a resume repeats it bit by bit."""

import math

import numpy as np
import pytest
import torch
from broken_policies import check_broken_policies, check_refused
from failing_steps import losses_around_a_failure, rates_around_an_early_failure, spoil_steps
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
from phasecore.runs import execute, open_run, prepare, prepare_resumed
from phasecore_torch.blocks import Blocks
from phasecore_torch.quasi_newton import LBFGS
from phasecore_torch.training import TorchSession


def make(policy=None, folder=None, **options):
    given = {"points": 40, "width": 8, "depth": 2, "iterations": 60, "every": 10, "weighting": "rba", "seed": 3,
             "learning_rate": 1e-3}  # fmt: skip
    return prepare("helmholtz:a1=1,a2=1", backend="torch", policy=policy, output=folder, **{**given, **options})


def rows_of(outcome):
    return [{name: value for name, value in row.items() if name not in ("seconds", "actions")} for row in outcome.rows]


def test_a_policy_that_never_acts_changes_no_number():
    alone, watched = (execute(make(policy)) for policy in (None, plan((10**9, Stop()))))
    assert repr(rows_of(alone)) == repr(rows_of(watched))


def test_adam_is_switched_to_lbfgs_and_back(tmp_path):
    run = tmp_path / "run"
    outcome = execute(make(plan((20, SwitchOptimizer("lbfgs")), (40, SwitchOptimizer("adam"))), run))
    rows = {row["iteration"]: row for row in outcome.rows}
    assert [(acted.iteration, acted.to) for acted in outcome.actions] == [(20, "lbfgs"), (40, "adam")]
    assert "learning_rate" in rows[20]
    assert "learning_rate" not in rows[30], "L-BFGS has none"
    assert "adam_snr" in rows[20]
    assert "adam_snr" not in rows[30], "what is not Adam's is absent, not stale"
    assert "adam_snr" in rows[50]
    assert "evaluations" not in rows[20]
    assert rows[30]["evaluations"] >= 20 + 2 * 10, "weights move: an evaluation for each step, one for each search"
    assert rows[50]["evaluations"] == rows[40]["evaluations"] + 10
    assert rows[40]["unweighted_loss"] < rows[20]["unweighted_loss"]
    assert [acted.iteration for acted in open_run(run).actions] == [20, 40]


@pytest.mark.parametrize("weights", ["averaged", "held", "updated", "uniform"])
@pytest.mark.parametrize("stop", [30, 35])
def test_a_resume_repeats_every_number(tmp_path, weights, stop):
    further = {
        "averaged": [AverageWeighting()],
        "held": [HoldWeighting()],
        "updated": [],
        "uniform": [ChangeWeighting("uniform")],
    }[weights]
    policy = plan((20, SwitchOptimizer("lbfgs")), *((20, action) for action in further), (40, SwitchOptimizer("adam")))
    whole = execute(make(policy, tmp_path / "whole"))
    execute(make(policy, tmp_path / "parts", iterations=stop))
    resumed = execute(prepare_resumed(tmp_path / "parts", policy=policy, iterations=60), resume=True)
    at_stop = {row["iteration"]: row for row in rows_of(resumed)}
    assert at_stop.pop(stop)["iteration"] == stop
    expected = {row["iteration"]: row for row in rows_of(whole) if row["iteration"] != stop}
    assert repr(at_stop) == repr(expected)
    # the row at the stop may say more of the phases than the undisturbed training knew
    done = [
        [(acted.iteration, acted.policy, acted.action, acted.to) for acted in one.actions] for one in (resumed, whole)
    ]
    assert done[0] == done[1]


def test_where_weights_are_held_a_step_begins_with_the_evaluation_that_ended_the_one_before():
    policy = plan((20, SwitchOptimizer("lbfgs")), (20, HoldWeighting()))
    rows = {row["iteration"]: row for row in execute(make(policy)).rows}
    assert rows[60]["evaluations"] - rows[20 + 10]["evaluations"] < 2 * 30


def weights_after(policy, iterations, weighting="rba"):
    session = TorchSession(make(policy, iterations=iterations, weighting=weighting))
    session.run(_observer(session), None)
    return session, {term: weight.clone() for term, weight in session.loss.point_weights().items()}


def _observer(session):
    from phasecore.recording.recorder import Recorder

    recorder = Recorder()
    recorder.begin(session.training)
    return recorder


def test_weights_that_are_held_stay_and_released_ones_go_on():
    _, at_20 = weights_after(None, 20)
    session, held = weights_after(plan((20, HoldWeighting())), 40)
    _, released = weights_after(plan((20, HoldWeighting()), (30, ReleaseWeighting())), 40)
    assert torch.equal(at_20["pde"], held["pde"])
    assert not torch.equal(at_20["pde"], released["pde"])
    assert session.loss.weighting.held


@pytest.mark.parametrize("weighting", ["rba", "vrba", "self_adaptive", "brdr", "relobralo", "rba+grad_norm"])
def test_averaged_weights_are_the_mean_of_each_terms_and_stay(weighting):
    before, _ = weights_after(None, 20, weighting)
    session, _ = weights_after(plan((20, AverageWeighting())), 40, weighting)
    assert session.loss.weighting.held
    parts = list(zip(before.loss.weighting.parts, session.loss.weighting.parts, strict=True))
    assert any(part.weighted for part, _ in parts)
    for part, later in parts:
        for term in part.weighted:
            weight = part.weight(term).double().numpy()
            of_squares = np.sqrt(np.mean(weight**2)) if weight.ndim else weight
            expected = of_squares if part.scheme.multiplies == "residual" else np.mean(weight)
            assert np.allclose(later.weight(term).numpy(), expected, rtol=1e-5), (term, expected)
            assert later.weight(term).shape == part.weight(term).shape


@pytest.mark.parametrize("action", [AverageWeighting(), HoldWeighting()], ids=["averaged", "held"])
def test_the_attention_goes_on_while_weights_are_held(action):
    options = {"learning_rate": 1e-12, "weighting": "rba:eta=0.1,gamma=0.9"}
    held, alone = (execute(make(policy, **options)).rows for policy in (plan((20, action)), None))
    orders = [[row["residual_order"] for row in rows] for rows in (held, alone)]
    assert orders[0] == pytest.approx(orders[1], rel=1e-5)
    assert len(set(orders[0][-3:])) == 3


def test_weights_chosen_by_hand_are_in_use_before_the_first_step():
    session = TorchSession(make(weighting="fixed:boundary=10"))
    loss = session.loss.eval()
    value = float(loss().detach())
    terms = loss.losses.unweighted
    assert value == pytest.approx(float((terms["pde"] + 10 * terms["boundary"]).detach()), rel=1e-6)
    rows = execute(make(plan((20, ChangeWeighting("fixed:boundary=10")), (20, HoldWeighting())))).rows
    assert rows[-1]["weighted_loss_boundary"] == pytest.approx(10 * rows[-1]["loss_boundary"], rel=1e-5)


def test_a_resume_goes_on_with_the_options_that_the_weighting_was_changed_to(tmp_path):
    options = {"weighting": "rba:eta=0.3,gamma=0.5"}
    policy = plan((20, ChangeWeighting("rba")))
    whole = execute(make(policy, tmp_path / "whole", **options))
    execute(make(policy, tmp_path / "parts", iterations=30, **options))
    resumed = execute(prepare_resumed(tmp_path / "parts", policy=policy, iterations=60), resume=True)
    assert repr(rows_of(resumed)) == repr(rows_of(whole))


def test_released_after_they_were_averaged_the_schemes_go_on_from_their_own_state():
    averaged, held = (plan((20, action()), (30, ReleaseWeighting())) for action in (AverageWeighting, HoldWeighting))
    found = [weights_after(policy, 60)[1]["pde"] for policy in (averaged, held)]
    assert torch.allclose(*found, rtol=0.2), "but for what the training was in between"
    assert found[0].std() > 0.1 * found[0].mean()


def test_each_step_of_lbfgs_begins_with_the_loss_as_it_is_weighted_then(monkeypatch):
    seen, own = {}, TorchSession.step

    def step(self):
        fresh = float(self.loss().detach()) if self.loss.weighting.held else None
        value = own(self)
        if fresh is not None:
            seen[self.iteration] = fresh, float(value)
        return value

    monkeypatch.setattr(TorchSession, "step", step)
    weights_after(plan((20, SwitchOptimizer("lbfgs")), (20, HoldWeighting()), (30, AverageWeighting())), 40)
    assert list(seen) == list(range(20, 40))
    for iteration, (fresh, value) in seen.items():
        assert value == pytest.approx(fresh, rel=1e-5), iteration


def test_the_weighting_is_changed_and_the_attention_goes_on():
    session, weights = weights_after(plan((20, ChangeWeighting("uniform"))), 40)
    assert weights == {}
    assert session.loss.specification == "uniform"
    rows = execute(make(plan((20, ChangeWeighting("uniform"))))).rows
    alone = execute(make()).rows
    assert all("residual_order" in row for row in rows)
    same = [abs(a["residual_order"] - b["residual_order"]) for a, b in zip(rows, alone, strict=True)]
    assert max(same) < 0.2, "no jump: the attention is that of before, not a new one"


def test_weights_move_once_per_step_and_never_within_a_line_search():
    session = TorchSession(make(plan((1, SwitchOptimizer("lbfgs"))), iterations=30))
    updates = []
    own = session.loss.weighting.update
    session.loss.weighting.update = lambda *arguments: updates.append(session.iteration) or own(*arguments)
    session.run(_observer(session), None)
    assert updates == list(range(30))
    assert session.evaluations > 45


def test_the_learning_rate_is_set_and_scaled_and_the_schedule_goes_on():
    policy = plan((20, SetLearningRate(1e-2)), (40, ScaleLearningRate(0.5)))
    rows = {row["iteration"]: row["learning_rate"] for row in execute(make(policy)).rows}
    assert [round(rows[k], 12) for k in (20, 30, 50)] == [1e-3, 1e-2, 5e-3]


def test_a_policy_ends_the_training_and_a_resume_leaves_it_at_that(tmp_path):
    policy = plan((25, Stop(reason="enough")))
    outcome = execute(make(policy, tmp_path / "run"))
    read = open_run(tmp_path / "run")
    assert outcome.iterations == 26, "the first capture from 25 on"
    assert read.outcome["iterations"] == 26
    assert read.outcome["actions"][0]["reason"] == "enough"
    assert read.snapshots[-1] == 26
    again = execute(prepare_resumed(tmp_path / "run", policy=policy, iterations=90), resume=True)
    assert again.iterations == 26


def test_snapshots_are_saved_and_functions_called(tmp_path):
    heard = []
    policy = plan((20, Snapshot()), (40, Call(lambda timeline, row: heard.append(row["iteration"]))))
    execute(make(policy, tmp_path / "run"))
    assert 20 in open_run(tmp_path / "run").snapshots
    assert heard == [40]


def fails(monkeypatch, spoil, at):
    """Let the loss be spoilt from an evaluation on, until L-BFGS is given up."""
    session_step = LBFGS.step
    count = [0]

    def step(self, closure):
        def spoilt():
            count[0] += 1
            loss = closure()
            return spoil(self, loss) if count[0] > at else loss

        return session_step(self, spoilt)

    monkeypatch.setattr(LBFGS, "step", step)


def of_nan(optimizer, loss):
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad.fill_(math.nan)
    return loss * math.nan


@pytest.mark.parametrize("at", [0, 2, 9])
def test_a_loss_that_is_not_finite_leads_back_to_the_last_good_parameters_and_to_adam(monkeypatch, at):
    fails(monkeypatch, of_nan, at)
    with pytest.warns(RuntimeWarning, match="L-BFGS failed") as caught:
        outcome = execute(make(plan((20, SwitchOptimizer("lbfgs")))))
    assert sum("L-BFGS failed" in str(item.message) for item in caught) == 1
    assert [acted.to for acted in outcome.actions] == ["lbfgs", "adam"]
    assert outcome.actions[-1].policy == "phasecore"
    assert outcome.iterations == 60
    assert math.isfinite(outcome.rows[-1]["training_loss"])
    assert outcome.rows[-1]["unweighted_loss"] < 2 * outcome.rows[-5]["unweighted_loss"]
    assert "adam_snr" in outcome.rows[-1]


def test_lbfgs_says_why_it_failed_and_puts_the_parameters_back():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    optimizer = LBFGS([x])

    def closure():
        optimizer.zero_grad()
        loss = (x.square()).sum() + (math.nan if float(x.detach().abs().sum()) < 2.9 else 0.0)
        loss.backward()
        return loss

    before = x.detach().clone()
    optimizer.step(closure)
    if optimizer.failure is None:
        optimizer.step(closure)
    assert optimizer.failure is not None
    assert torch.equal(x.detach(), before)


@pytest.mark.parametrize("spoilt", ["loss", "gradient", "further on"])
@pytest.mark.parametrize("others", [0, 30])
def test_lbfgs_that_fails_leaves_parameters_and_gradients_of_where_it_began(others, spoilt):
    x = torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    optimizer, adam, scales = LBFGS([x]), torch.optim.Adam([x], lr=0.05), torch.tensor([1.0, 10.0, 100.0])
    fails = False

    def closure():
        optimizer.zero_grad()
        loss = (scales * x * x).sum()
        further_on = spoilt == "further on" and not torch.equal(x.detach(), begin)
        loss.backward()
        if fails and spoilt == "gradient":
            x.grad.mul_(math.nan)
        return loss * math.nan if fails and (spoilt == "loss" or further_on) else loss

    begin = x.detach().clone()
    for _ in range(3):
        optimizer.step(closure)
    for _ in range(others):
        adam.step(closure)
    begin, fails = x.detach().clone(), True
    loss = optimizer.step(closure)
    assert optimizer.failure is not None
    assert torch.equal(x.detach(), begin)
    if spoilt == "further on":
        assert float(loss) == pytest.approx(float((scales * begin * begin).sum()))
        assert torch.allclose(x.grad, 2 * scales * begin)
    else:
        assert math.isnan(loss), "no loss that was not measured"
        assert x.grad is None, "nothing that another optimizer could take for a gradient"


def test_lbfgs_at_a_minimum_finds_nothing_better():
    x = torch.zeros(2, requires_grad=True)
    optimizer = LBFGS([x])

    def closure():
        optimizer.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert optimizer.failure == "the line search found nothing better"


def test_lbfgs_without_a_memory_is_refused():
    with pytest.raises(InputError, match="a number of pairs"):
        LBFGS([torch.zeros(2, requires_grad=True)], memory=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_lbfgs_finds_a_minimum_in_every_precision(dtype):
    x, other = (torch.full((3,), 2.0, dtype=one, requires_grad=True) for one in (dtype, dtype))
    unused = torch.ones(2, dtype=dtype, requires_grad=True)
    optimizer = LBFGS([x, other, unused], is_fixed=lambda: True)

    def closure():
        optimizer.zero_grad()
        loss = (x - 1).abs().square().sum() + 10 * (other - x).abs().square().sum()
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)
    tolerance = 0.1 if dtype is torch.bfloat16 else 1e-3
    assert torch.allclose(x, torch.ones_like(x), atol=tolerance)
    assert torch.equal(unused, torch.ones_like(unused))


def path_of_lbfgs(loss, start, steps):
    x = start.clone().requires_grad_(True)
    optimizer, path = LBFGS([x], is_fixed=lambda: True), []

    def closure():
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        return value

    for _ in range(steps):
        optimizer.step(closure)
        if optimizer.failure is not None:
            break
        path.append(x.detach().clone())
    return path


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**30])
def test_the_steps_of_lbfgs_do_not_depend_on_the_scale_of_the_loss(factor):
    start = torch.full((6,), -0.5, dtype=torch.float64)

    def rosenbrock(x):
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    path = path_of_lbfgs(rosenbrock, start, 100)
    scaled = path_of_lbfgs(lambda x: factor * rosenbrock(x), start, 100)
    assert len(path) == len(scaled) > 30
    assert all(torch.equal(one, other) for one, other in zip(path, scaled, strict=True))
    # as fast as ever at losses of 1e-20
    assert torch.allclose(path[-1], torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-14)


def test_each_step_of_lbfgs_is_remembered_however_small_the_loss_becomes():
    curvatures = torch.logspace(0, 4, 40, dtype=torch.float64)
    x = torch.full((40,), 10.0, dtype=torch.float64, requires_grad=True)
    optimizer, path, losses = LBFGS([x], is_fixed=lambda: True), [x.detach().clone()], []

    def closure():
        optimizer.zero_grad()
        value = (curvatures * x * x + x**4).sum()
        value.backward()
        return value

    while not losses or losses[-1] > 1e-20:
        losses.append(float(optimizer.step(closure)))
        path.append(x.detach().clone())
        if len(path) > 2:
            newest = optimizer.state_dict()["self_scaled"]["inverse_hessian"]["steps"][-1]
            assert torch.allclose(newest, path[-1] - path[-2], rtol=1e-6, atol=1e-18), f"at a loss of {losses[-1]}"
    assert losses[0] > 1e6


class Rounded(torch.autograd.Function):
    """1 + c x^2, off by 1e-5 in ways that its gradient does not see, as differences of derivatives are in float32."""

    @staticmethod
    def forward(ctx, x, curvatures):
        ctx.save_for_backward(x, curvatures)
        return 1 + (curvatures * x * x).sum() + 1e-5 * torch.sin(1e6 * x.sum())

    @staticmethod
    def backward(ctx, gradient):
        x, curvatures = ctx.saved_tensors
        return gradient * 2 * curvatures * x, None


def test_lbfgs_goes_on_where_the_loss_has_no_digits_left():
    curvatures = torch.logspace(-2, 2, 20)
    path = path_of_lbfgs(lambda x: Rounded.apply(x, curvatures), torch.full((20,), 0.01), 200)
    assert float((curvatures * path[-1]).abs().max()) < 3e-5


def test_blocks_are_used_by_lbfgs(monkeypatch):
    session = TorchSession(make(plan((10, SwitchOptimizer("lbfgs"))), iterations=20))
    calls, own = [], Blocks.__call__
    monkeypatch.setattr(Blocks, "__call__", lambda blocks, points: calls.append(len(points)) or own(blocks, points))
    session.run(_observer(session), None)
    assert len(calls) >= session.evaluations


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("at_phase:phase=diffusion,do=switch_optimizer,to=muon", "unknown optimizer"),
        ("at_phase:phase=diffusion,do=change_weighting,to=nobody", "unknown weighting"),
    ],
)
def test_what_torch_cannot_do_is_refused_before_the_first_iteration(policy, message):
    with pytest.raises(InputError, match=message):
        make(policy)


def test_a_scheme_that_the_problem_has_nothing_for_is_refused_too():
    with pytest.raises(phasecore.PhasecoreError):
        make("at_phase:phase=diffusion,do=change_weighting,to=causal")


def test_no_faulty_policy_ends_a_run_and_bad_input_is_refused():
    def train(policy):
        outcome = execute(make(policy, iterations=6, every=1))
        return outcome.iterations if not outcome.actions else 6, outcome.actions

    check_broken_policies(train)
    check_refused(make)


def test_a_direction_that_leads_nowhere_is_forgotten_before_the_method_fails():
    x = torch.tensor([3.0, -1.0], requires_grad=True)
    optimizer = LBFGS([x])

    def closure():
        optimizer.zero_grad()
        loss = (x.square() * torch.tensor([1.0, 10.0])).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    # pairs that say that uphill is downhill
    state = optimizer.state_dict()
    known = state["self_scaled"]["inverse_hessian"]
    known["first"], known["products"] = -known["first"], -known["products"]
    optimizer.load_state_dict(state)
    before = closure().item()
    optimizer.step(closure)
    assert optimizer.failure is None
    assert closure().item() < before


def test_adam_undoes_nothing_of_what_lbfgs_reached_before_it_failed(monkeypatch):
    spoil_steps(monkeypatch, LBFGS, after=100)
    switched, before, after = losses_around_a_failure(make)
    assert before[-1] < 0.5 * switched
    assert max(after) < 1.2 * before[-1]


def test_adam_is_as_fast_as_before_where_lbfgs_had_won_nothing_when_it_failed(monkeypatch):
    spoil_steps(monkeypatch, LBFGS, after=1)
    before, after = rates_around_an_early_failure(make)
    assert set(after) == set(before)
