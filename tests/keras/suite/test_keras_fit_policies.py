"""Policies in a `fit` of one's own."""

import keras
import numpy as np
import pytest
from broken_policies import check_broken_policies, check_refused
from plans import plan

import phasecore
from phasecore import InputError
from phasecore.policies import (
    AverageWeighting,
    Call,
    HoldWeighting,
    ReleaseWeighting,
    ScaleLearningRate,
    SetLearningRate,
    Snapshot,
    Stop,
)
from phasecore.runs import open_run
from phasecore_keras import PINN, PhaseMonitor
from phasecore_keras.autodiff import to_numpy

PROBLEM = phasecore.problem("helmholtz", a1=1, a2=1)


class Sums(keras.callbacks.Callback):
    """The sum of the weights after each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(float(np.sum(to_numpy(self.model.physics.point_weights()["pde"]))))


def fitted(policy, epochs=12, rate=1e-3, callbacks=(), **options):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    pinn = PINN(network, PROBLEM, weighting="rba")
    pinn.compile(optimizer=keras.optimizers.Adam(rate))
    monitor = PhaseMonitor(every=2, batches=10, policy=policy, **options)
    pinn.fit(pinn.points(40, seed=0), epochs=epochs, callbacks=[monitor, *callbacks], verbose=0)
    return monitor


@pytest.mark.any_backend
def test_the_learning_rate_is_set_and_scaled_within_fit():
    monitor = fitted(plan((4, SetLearningRate(1e-2)), (8, ScaleLearningRate(0.5))))
    rates = {row["iteration"]: row["learning_rate"] for row in monitor.history}
    assert [rates[k] for k in (4, 6, 8, 10)] == pytest.approx([1e-3, 1e-2, 1e-2, 5e-3])
    assert [acted.iteration for acted in monitor.actions] == [4, 8]


def test_a_rate_that_is_set_is_that_of_the_next_step():
    found = {}
    for policy in (plan((6, SetLearningRate(1e-12))), None):
        monitor = fitted(policy)
        found[policy is None] = {row["iteration"]: row["training_loss"] for row in monitor.history}
    still, moving = found[False], found[True]
    assert still[6] == pytest.approx(moving[6], rel=1e-5)
    moved = {key: abs(np.log(run[12] / run[8])) for key, run in (("still", still), ("moving", moving))}
    assert moved["still"] != pytest.approx(moved["moving"], rel=1e-3)


def test_weights_are_held_and_released_within_fit():
    sums = Sums()
    fitted(plan((4, HoldWeighting()), (8, ReleaseWeighting())), callbacks=[sums])
    assert len(set(sums.seen[3:8])) == 1
    assert len(set(sums.seen)) == 8


def test_weights_are_averaged_within_fit():
    held, averaged = Sums(), Sums()
    for action, seen in ((HoldWeighting(), held), (AverageWeighting(), averaged)):
        fitted(plan((4, action)), callbacks=[seen])
    assert len(set(averaged.seen[4:])) == len(set(held.seen[4:])) == 1
    assert averaged.seen[:3] == held.seen[:3]
    assert averaged.seen[-1] > held.seen[-1] > 0, "the root of the mean of squares is above the mean"


@pytest.mark.any_backend
def test_a_policy_that_never_acts_changes_no_number():
    rows = [
        [{name: value for name, value in row.items() if name != "seconds"} for row in fitted(policy).history]
        for policy in (None, plan((10**9, Stop())))
    ]
    assert repr(rows[0]) == repr(rows[1])


@pytest.mark.any_backend
def test_a_policy_ends_fit_and_saves_and_calls(tmp_path):
    heard = []
    policy = plan((4, Snapshot()), (6, Call(lambda timeline, row: heard.append(row["iteration"]))), (8, Stop()))
    monitor = fitted(policy, epochs=40, run_folder=tmp_path / "run")
    assert monitor.stopped
    assert monitor.iteration < 12
    assert heard == [6]
    read = open_run(tmp_path / "run")
    assert 4 in read.snapshots
    assert [acted.action for acted in read.actions] == ["snapshot", "call", "stop"]


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("policy", "rate", "message"),
    [
        ("at_phase:phase=total_diffusion,do=switch_optimizer,to=lbfg", 1e-3, "(?s)unknown optimizer.*lbfgs"),
        ("at_phase:phase=diffusion,do=change_weighting,to=rbaa", 1e-3, "rba"),
        ("learning_rate_by_phase", keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9), "a number"),
        ("at_phase:phase=diffusion,do=snapshot", 1e-3, "requires action 'snapshot'"),
    ],
)
def test_what_fit_cannot_do_is_refused_before_the_first_epoch(policy, rate, message):
    with pytest.raises(InputError, match=message):
        fitted(policy, rate=rate)


@pytest.mark.any_backend
def test_a_model_of_ones_own_has_a_learning_rate_and_no_weights():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    x = np.random.default_rng(0).uniform(size=(100, 1))
    held = PhaseMonitor(every=2, points=(x, x), batches=10, policy="at_phase:phase=diffusion,do=hold_weighting")
    with pytest.raises(InputError, match="hold_weighting"):
        model.fit(x, x, epochs=1, callbacks=[held], verbose=0)
    monitor = PhaseMonitor(every=2, points=(x, x), batches=10, policy=plan((4, SetLearningRate(0.5))))
    model.fit(x, x, batch_size=20, epochs=2, callbacks=[monitor], verbose=0)
    assert {row["iteration"]: row["learning_rate"] for row in monitor.history}[6] == pytest.approx(0.5)


@pytest.mark.any_backend
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_no_faulty_policy_ends_a_fit_and_bad_input_is_refused():
    def train(policy):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
        x = np.linspace(0, 1, 40)[:, None]
        monitor = PhaseMonitor(every=1, points=(x, x), batches=4, policy=policy)
        model.fit(x, x, batch_size=40, epochs=6, callbacks=[monitor], verbose=0)
        return monitor.iteration, monitor.actions

    check_broken_policies(train)
    check_refused(lambda policy: PhaseMonitor(policy=policy))


@pytest.mark.any_backend
@pytest.mark.parametrize("goes_on", [True, False])
def test_it_is_said_once_where_a_schedule_undoes_what_a_policy_did_to_the_rate(goes_on, recwarn):
    schedule = (lambda epoch, rate: 0.99 * rate) if goes_on else (lambda epoch: 1e-3 * 0.99**epoch)
    fitted(plan((4, ScaleLearningRate(0.1))), epochs=12, callbacks=[keras.callbacks.LearningRateScheduler(schedule)])
    told = [str(item.message) for item in recwarn if "a schedule sets it anew" in str(item.message)]
    assert len(told) == (not goes_on)
