"""Policies in DeepXDE's training, on the backend that DDE_BACKEND names."""

import numpy as np
import pytest
from broken_policies import check_broken_policies, check_refused
from plans import plan
from test_deepxde import BACKEND, PhaseMonitor, Weighting, compiled, parameters, problem, train

from phasecore.errors import InputError
from phasecore.policies import (
    AverageWeighting,
    Call,
    ChangeWeighting,
    HoldWeighting,
    ReleaseWeighting,
    Resample,
    ScaleLearningRate,
    SetLearningRate,
    Snapshot,
    Stop,
    SwitchOptimizer,
)
from phasecore.runs import open_run

pytestmark = pytest.mark.filterwarnings("ignore:distutils Version classes are deprecated:DeprecationWarning")


def monitored(policy, *callbacks, model=None, iterations=12, **options):
    monitor = PhaseMonitor(every=2, batches=6, policy=policy, **options)
    model = model or compiled()
    train(model, *callbacks, monitor, iterations=iterations)
    return model, monitor


def settable():
    """An optimizer whose learning rate can be set."""
    if BACKEND != "tensorflow":
        return "sgd"
    import keras

    return keras.optimizers.SGD(0.01)


def test_the_learning_rate_is_that_of_the_next_step_or_the_action_is_refused():
    policy = plan((4, SetLearningRate(1e-12)), (8, ScaleLearningRate(0.5)))
    if BACKEND == "jax":
        with pytest.raises(InputError, match="_learning_rate"):
            monitored(policy)
        return
    _, monitor = monitored(policy, model=compiled(optimizer=settable()))
    assert [acted.iteration for acted in monitor.actions] == [4, 8]
    losses = {row["iteration"]: row["training_loss"] for row in monitor.history}
    assert losses[4] == pytest.approx(losses[12], rel=1e-6)
    assert losses[2] != pytest.approx(losses[4], rel=1e-5)


@pytest.mark.parametrize(("decay", "undoes"), [(("inverse time", 100, 0.5), True), (("step", 4, 0.9), False)])
def test_a_decay_that_undoes_what_policies_do_is_told_once(decay, undoes, recwarn):
    model = compiled(optimizer="adam")
    policy = plan((2, ScaleLearningRate(0.1)), (6, ScaleLearningRate(0.1)))
    if BACKEND != "pytorch":
        with pytest.raises(InputError, match="_learning_rate"):
            monitored(policy, model=model)
        return
    model.compile("adam", lr=1e-3, decay=decay, verbose=0)
    monitored(policy, model=model)
    told = [str(item.message) for item in recwarn if "a schedule sets it anew" in str(item.message)]
    assert len(told) == undoes
    assert all("from 0.00099" in text and "to 9.9" in text for text in told)


def test_weights_are_held_released_and_changed():
    sums = []
    weighting = Weighting("rba:gamma=0.9,eta=0.5")

    def heard(row):
        sums.append(float(np.sum(weighting.factors["pde"])))

    policy = plan((4, HoldWeighting()), (8, ReleaseWeighting()), (10, ChangeWeighting("uniform")))
    _, monitor = monitored(policy, weighting, on_capture=heard)
    by_iteration = dict(zip([row["iteration"] for row in monitor.history], sums, strict=True))
    assert by_iteration[4] == by_iteration[6] == by_iteration[8] != by_iteration[10]
    assert by_iteration[12] == 1.0
    orders = [row["residual_order"] for row in monitor.history]
    assert np.isfinite(orders).all(), "the attention goes on as a statistic"


def test_weights_are_averaged_over_the_points_of_a_term():
    found = []
    weighting = Weighting("rba:gamma=0.9,eta=0.5")
    policy = plan((4, HoldWeighting()), (8, AverageWeighting()))
    monitored(policy, weighting, on_capture=lambda row: found.append(weighting.factors["pde"].copy()))
    held, averaged = found[-4], found[-1]
    assert np.ptp(held) > 0
    assert np.allclose(averaged, np.sqrt(np.mean(held**2)))


@pytest.mark.any_backend
def test_a_policy_ends_the_training_saves_and_calls_and_a_second_training_goes_on(tmp_path):
    heard = []
    policy = plan((4, Snapshot()), (6, Call(lambda timeline, row: heard.append(row["iteration"]))), (8, Stop()))
    model, monitor = monitored(policy, iterations=40, run_folder=tmp_path / "run")
    assert (monitor.iteration, monitor.stopped, heard) == (8, True, [6])
    assert {4, 8} <= set(open_run(tmp_path / "run").snapshots)
    assert [acted.action for acted in open_run(tmp_path / "run").actions] == ["snapshot", "call", "stop"]
    train(model, monitor, iterations=8)
    assert monitor.iteration == 16


def test_points_are_drawn_anew_where_nothing_is_kept_of_each():
    data = problem(train_distribution="pseudo")
    before = data.train_x.copy()
    monitored(plan((4, Resample())), Weighting("relobralo"), model=compiled(data, seed=1))
    assert not np.array_equal(before, data.train_x)
    for weighting, other in ((Weighting("rba"), data), (Weighting("relobralo"), problem())):
        with pytest.raises(InputError, match="requires action 'resample'"):
            monitored(plan((4, Resample())), weighting, model=compiled(other))


@pytest.mark.any_backend
def test_a_policy_that_never_acts_changes_no_parameter():
    found = [parameters(monitored(policy)[0]) for policy in (None, plan((10**9, Stop())))]
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.any_backend
def test_a_training_gone_on_with_from_its_history_repeats_nothing(tmp_path):
    file = tmp_path / "rows.jsonl"
    policy = plan((4, HoldWeighting()), (8, Stop()))
    model, _ = monitored(policy, Weighting("rba"), iterations=6, history_file=file)
    weighting = Weighting("rba")
    with pytest.warns(RuntimeWarning, match="the history does not have them"):
        _, again = monitored(policy, weighting, model=model, history_file=file, resume=True)
    assert [(acted.iteration, acted.action) for acted in again.actions] == [(4, "hold_weighting"), (8, "stop")]
    assert weighting.held


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (plan((4, SwitchOptimizer("lbfgs"))), r"(?s)switch_optimizer:lbfgs.*model.compile\('L-BFGS'\)"),
        (plan((4, HoldWeighting())), "(?s)hold_weighting.*a Weighting among the callbacks"),
        (plan((4, Snapshot())), "requires action 'snapshot'"),
    ],
)
def test_what_the_training_cannot_do_is_refused_before_the_first_step(policy, message):
    model = compiled()
    with pytest.raises(InputError, match=message):
        monitored(policy, model=model)
    assert model.train_state.step in (None, 0)


@pytest.mark.any_backend
def test_no_faulty_policy_ends_a_training_and_bad_input_is_refused():
    def trained(policy):
        monitor = PhaseMonitor(every=1, batches=6, policy=policy)
        train(compiled(), monitor, iterations=6)
        return monitor.iteration, monitor.actions

    check_broken_policies(trained)
    check_refused(lambda policy: PhaseMonitor(policy=policy))
