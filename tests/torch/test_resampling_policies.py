"""The action `resample` on torch: in `phasecore run` and in a loop of one's own."""

import copy
import itertools
import sys

import numpy as np
import pytest
import torch
from plans import plan

import phasecore
from phasecore import InputError
from phasecore.policies import ChangeWeighting, HoldWeighting, Resample, SwitchOptimizer
from phasecore.recording.recorder import Recorder
from phasecore.runs import execute, prepare, prepare_resumed
from phasecore_torch import PhaseMonitor, PhysicsLoss, Resampling
from phasecore_torch.training import TorchSession

PROBLEM = phasecore.problem("helmholtz", a1=1, a2=1)
NEVER = 10**9


def make(policy=None, folder=None, **options):
    given = {"points": 40, "width": 6, "depth": 1, "iterations": 40, "every": 10, "weighting": "rba", "seed": 3}
    return prepare("helmholtz:a1=1,a2=1", backend="torch", policy=policy, output=folder, **{**given, **options})


def trained(training):
    """The session after the training, and where the points were before each step."""
    session, seen = TorchSession(training), []
    own = session.step
    session.step = lambda: (seen.append(session.interior().copy()), own())[1]
    recorder = Recorder()
    recorder.begin(training)
    session.run(recorder, None)
    return session, seen, recorder.rows


def moves(seen):
    """The iterations after which the points moved."""
    return [k for k in range(1, len(seen)) if not np.array_equal(seen[k], seen[k - 1])]


def numbers(rows):
    return [{name: value for name, value in row.items() if name not in ("seconds", "actions")} for row in rows]


def test_points_that_stay_are_drawn_anew_once_and_the_row_is_that_of_those_trained_on():
    _, seen, rows = trained(make(plan((20, Resample()))))
    _, _, alone = trained(make())
    assert moves(seen) == [20]
    strata = [sorted(np.floor((seen[-1][:, axis] + 1) / 2 * 40).astype(int)) for axis in (0, 1)]
    assert strata == [list(range(40))] * 2, "as the first ones were, by Latin hypercube sampling"
    until = [{name: value for name, value in row.items() if name != "points"} for row in numbers(rows)]
    at_20 = next(k for k, row in enumerate(until) if row["iteration"] == 20)
    assert repr(until[: at_20 + 1]) == repr(numbers(alone)[: at_20 + 1])
    assert {row["points"] for row in rows} == {40}


def test_a_sampling_that_moves_points_does_so_when_asked_and_its_schedule_goes_on():
    policy = plan((10, Resample()), (20, Resample()))
    _, seen, _ = trained(make(policy, sampling="rar_d:every=20,added=5,candidates=200", iterations=60))
    assert moves_of_size(seen) == {10: 45, 20: 50, 40: 55}, "at 20 both ask, and they move once"


def moves_of_size(seen):
    return {k: len(seen[k]) for k in range(1, len(seen)) if len(seen[k]) != len(seen[k - 1])}


def test_a_policy_that_never_asks_changes_no_number():
    runs = [numbers(trained(make(policy))[2]) for policy in (None, plan((NEVER, Resample())))]
    runs[1] = [{name: value for name, value in row.items() if name != "points"} for row in runs[1]]
    assert repr(runs[0]) == repr(runs[1])


@pytest.mark.parametrize("stop", [20, 25])
@pytest.mark.parametrize("sampling", ["sobol", "r3:every=20"])
def test_a_resume_repeats_every_number(tmp_path, sampling, stop):
    policy = plan((20, Resample()), (20, HoldWeighting()), (30, SwitchOptimizer("lbfgs")))
    options = {"sampling": sampling, "iterations": 50}
    whole = execute(make(policy, tmp_path / "whole", **options))
    execute(make(policy, tmp_path / "parts", **{**options, "iterations": stop}))
    resumed = execute(prepare_resumed(tmp_path / "parts", policy=policy, iterations=50), resume=True)
    found = {row["iteration"]: row for row in numbers(resumed.rows) if row["iteration"] != 25}
    assert repr(found) == repr({row["iteration"]: row for row in numbers(whole.rows) if row["iteration"] != 25})


def refusing():
    scheme = phasecore.weighting_scheme("rba")._replace(on_move="refused")
    return lambda: scheme


def test_a_weighting_that_forbids_moves_is_named_before_the_first_iteration(monkeypatch):
    monkeypatch.setattr(sys.modules["phasecore.weighting.rba"], "rba", refusing())
    with pytest.raises(InputError, match=r"moving the collocation points.*'rba'"):
        make(plan((20, Resample())))
    with pytest.raises(InputError, match=r"moving the collocation points.*'rba'"):
        make(plan((20, Resample()), (20, ChangeWeighting("rba"))), weighting="uniform")
    assert make(plan((20, ChangeWeighting("rba"))), weighting="uniform").policies


def loop(policy, sampling="uniform", weighting="rba"):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
    loss_fn = PhysicsLoss(PROBLEM, model, PROBLEM.sample(40, seed=0), weighting=weighting)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    resampling = Resampling(loss_fn, sampling, seed=0)
    monitor = PhaseMonitor(loss_fn, optimizer, batches=10, policy=policy, resampling=resampling)
    return model, loss_fn, optimizer, monitor, resampling


def run_loop(parts, iterations):
    seen = []
    for _ in range(iterations):
        seen.append(parts[1].collocation.interior.copy())
        parts[3].optimize()
    return seen


def test_points_move_in_a_loop_when_a_policy_asks_each_time_elsewhere():
    parts = loop(plan((5, Resample()), (10, Resample())))
    seen = run_loop(parts, 15)
    assert moves(seen) == [6, 11], "a row is captured, and acted on, within the iteration after it"
    assert not np.array_equal(seen[8], seen[13])
    assert [acted.words for acted in parts[3].actions] == ["points resampled"] * 2


def test_a_loop_that_moves_points_of_itself_goes_on_with_its_schedule():
    *_, monitor, resampling = loop(plan((5, Resample())), sampling="rar_d:every=6,added=5,candidates=200")
    sizes = []
    for _ in range(14):
        monitor.optimize()
        resampling.step()
        sizes.append(len(resampling.loss.collocation.interior))
    assert sizes == [40] * 5 + [45] * 6 + [50] * 3, "the policy's move after iteration 6 is that of the schedule"


@pytest.mark.parametrize("where", [4, 8])
def test_a_restored_loop_goes_on_at_the_points(where):
    policy = plan((5, Resample()), (8, SwitchOptimizer("lbfgs")))
    parts = loop(policy)
    run_loop(parts, where)
    saved = copy.deepcopy([parts[k].state_dict() for k in (3, 0, 1, 2)])
    run_loop(parts, 14 - where)
    again = loop(policy)
    for k, state in zip((3, 0, 1, 2), saved, strict=True):
        again[k].load_state_dict(state)
    run_loop(again, 14 - where)
    assert repr(numbers(again[3].history)) == repr(numbers(parts[3].history))
    assert np.array_equal(again[1].collocation.interior, parts[1].collocation.interior)


@pytest.mark.parametrize("given", [True, False], ids=["of the policies", "of the loop alone"])
@pytest.mark.parametrize("weighting", ["uniform", "rba"])
@pytest.mark.parametrize("order", [*itertools.permutations(["monitor", "resampling", "network"])])
def test_a_loop_goes_on_alike_whatever_is_restored_first(order, weighting, given):
    def made():
        model, loss_fn, optimizer, monitor, resampling = loop(None, "rad:every=3,candidates=100", weighting)
        policy = plan((4, SwitchOptimizer("lbfgs")), (4, HoldWeighting()))
        options = {"resampling": resampling} if given else {}
        monitor = PhaseMonitor(loss_fn, optimizer, batches=10, every=2, policy=policy, **options)
        parts = {"monitor": monitor, "resampling": resampling, "network": model, "optimizer": optimizer}
        return {**parts, "loss": loss_fn}

    def run(parts, iterations):
        for _ in range(iterations):
            parts["monitor"].optimize()
            parts["resampling"].step()

    whole = made()
    run(whole, 8)
    saved = copy.deepcopy({name: part.state_dict() for name, part in whole.items()})
    run(whole, 6)
    again = made()
    for name in (*order, "optimizer", "loss"):
        again[name].load_state_dict(saved[name])
    run(again, 6)
    assert repr(numbers(again["monitor"].history)) == repr(numbers(whole["monitor"].history))
    assert np.array_equal(again["loss"].collocation.interior, whole["loss"].collocation.interior)


def test_lbfgs_begins_with_a_new_evaluation_where_points_have_moved():
    _, loss_fn, _, monitor, _ = loop(plan((2, SwitchOptimizer("lbfgs")), (6, Resample())), weighting="uniform")
    for _ in range(12):
        with torch.no_grad():
            expected = float(loss_fn())
        assert float(monitor.optimize().detach()) == pytest.approx(expected, rel=1e-5)


def test_what_is_no_resampling_of_the_loss_is_refused():
    _, loss_fn, optimizer, _, _ = loop(None)
    other = loop(None)[4]
    for given, message in ((other, "that of another loss"), ("uniform", "'uniform'")):
        with pytest.raises(InputError, match=message):
            PhaseMonitor(loss_fn, optimizer, batches=10, policy=plan((1, Resample())), resampling=given)
