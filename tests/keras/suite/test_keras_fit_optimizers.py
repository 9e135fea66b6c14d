"""Policies that switch the optimizer, and the weighting, in a `fit` of one's own."""

import math

import keras
import numpy as np
import pytest
from failing_steps import spoil_evaluations
from plans import plan

import phasecore
from phasecore import InputError
from phasecore.backends import Settings
from phasecore.policies import AverageWeighting, ChangeWeighting, HoldWeighting, Stop, SwitchOptimizer
from phasecore.runs import execute, prepare
from phasecore_keras import PINN, PhaseMonitor
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.quasi_newton import LBFGS
from phasecore_keras.training import network

PROBLEM = phasecore.problem("helmholtz", a1=1, a2=1)
THERE_AND_BACK = (4, SwitchOptimizer("lbfgs")), (8, SwitchOptimizer("adam"))


def made(weighting="rba", optimizer=None):
    settings = Settings(iterations=1, points=40, width=6, depth=1, seed=3)
    pinn = PINN(network(2, 1, settings), PROBLEM, weighting=weighting)
    pinn.compile(optimizer=optimizer or keras.optimizers.Adam(1e-3, epsilon=1e-8))
    return pinn


def fitted(policy, epochs=12, pinn=None, callbacks=(), batch_size=None, **options):
    pinn = pinn or made()
    monitor = PhaseMonitor(every=2, policy=policy, **{"batches": 10, **options})
    pinn.fit(pinn.points(40, seed=3), epochs=epochs, batch_size=batch_size, callbacks=[monitor, *callbacks], verbose=0)
    return monitor


def rows_of(history):
    return {row["iteration"]: {k: v for k, v in row.items() if k not in ("seconds", "actions")} for row in history}


def test_fit_goes_on_with_lbfgs_and_back_as_a_run_does():
    logs = keras.callbacks.History()
    options = {"points": 40, "width": 6, "depth": 1, "iterations": 12, "every": 2, "weighting": "rba", "seed": 3,
               "learning_rate": 1e-3}  # fmt: skip
    run = prepare("helmholtz:a1=1,a2=1", backend="keras", policy=plan(*THERE_AND_BACK), **options)
    batches = run.settings.batches
    found = rows_of(fitted(plan(*THERE_AND_BACK), callbacks=[logs], batches=batches).history)
    expected = rows_of(execute(run).rows)
    for iteration, row in expected.items():
        assert found[iteration] == pytest.approx(row, rel=2e-4, nan_ok=True), iteration
    assert "adam_snr" not in found[8], "what is not Adam's is absent, not stale"
    assert found[8]["evaluations"] >= 4 + 2 * 4
    terms = [logs.history[f"{term}_loss"][8] for term in PROBLEM.terms]
    assert sum(terms) == pytest.approx(found[8]["unweighted_loss"], rel=1e-4)
    assert 0 < logs.history["loss"][8] < sum(terms)


@pytest.mark.any_backend
def test_each_step_is_on_all_points_whatever_the_batches_are():
    monitor = fitted(plan(*THERE_AND_BACK), epochs=3, batch_size=10)
    rows = rows_of(monitor.history)
    assert max(rows) == 12
    assert rows[8]["unweighted_loss"] < rows[4]["unweighted_loss"]
    assert monitor.model.quasi_newton.steps == 4
    assert monitor.model.optimizer.iterations == 8


@pytest.mark.any_backend
def test_the_losses_of_the_terms_add_up_where_lbfgs_begins_within_an_epoch_of_batches():
    logs = keras.callbacks.History()
    pinn = made("uniform", keras.optimizers.SGD(0.05))
    fitted(plan((4, SwitchOptimizer("lbfgs"))), epochs=1, pinn=pinn, callbacks=[logs], batch_size=7)
    assert pinn.quasi_newton.steps == 2
    terms = [logs.history[f"{term}_loss"][0] for term in PROBLEM.terms]
    assert sum(terms) == pytest.approx(logs.history["loss"][0], rel=1e-5)


def test_the_weighting_is_changed_within_fit():
    monitor = fitted(plan((4, ChangeWeighting("uniform"))), epochs=8)
    rows = rows_of(monitor.history)
    assert monitor.model.specification == "uniform"
    assert rows[8]["training_loss"] == pytest.approx(rows[8]["unweighted_loss"], rel=1e-5)
    assert rows[4]["training_loss"] != pytest.approx(rows[4]["unweighted_loss"], rel=1e-2)
    assert "residual_order" in rows[8]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_failure_leads_back_to_adam_which_makes_the_step(monkeypatch):
    spoil_evaluations(monkeypatch, LBFGS, after=5)
    with pytest.warns(RuntimeWarning, match="L-BFGS failed") as caught:
        monitor = fitted(plan((4, SwitchOptimizer("lbfgs"))))
    assert sum("L-BFGS failed" in str(item.message) for item in caught) == 1
    assert [(acted.policy, acted.to) for acted in monitor.actions] == [("plan", "lbfgs"), ("phasecore", "adam")]
    rows = rows_of(monitor.history)
    assert max(rows) == 12, "the iteration that failed was made by Adam"
    assert "adam_snr" in rows[12]
    assert math.isfinite(rows[12]["training_loss"])


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "actions",
    [(), (AverageWeighting(),), (HoldWeighting(),), (ChangeWeighting("uniform"),)],
    ids=["", "averaged", "held", "other"],
)
def test_a_fit_that_is_restored_goes_on_as_the_whole(tmp_path, actions):
    policy = plan((4, SwitchOptimizer("lbfgs")), *((4, action) for action in actions), (10, SwitchOptimizer("adam")))
    whole = fitted(policy)
    options = {"history_file": tmp_path / "rows.jsonl", "resume": True}
    with pytest.raises(KeyboardInterrupt):
        fitted(policy, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup"), Ended(7)], **options)
    monitor = fitted(policy, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")], **options)
    assert monitor.actions == whole.actions
    found, expected = rows_of(monitor.history), rows_of(whole.history)
    assert found.keys() == expected.keys()
    for iteration, row in expected.items():
        assert found[iteration] == pytest.approx(row, rel=1e-3, nan_ok=True), iteration


class Ended(keras.callbacks.Callback):
    """Interrupts a training at the beginning of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.any_backend
def test_a_second_fit_goes_on_with_lbfgs_and_one_without_the_monitor_does_not():
    pinn = made()
    monitor = PhaseMonitor(every=2, batches=10, policy=plan((4, SwitchOptimizer("lbfgs"))))
    points = pinn.points(40, seed=3)
    for _ in range(2):
        pinn.fit(points, epochs=6, callbacks=[monitor], verbose=0)
    assert (pinn.quasi_newton.steps, int(pinn.optimizer.iterations), monitor.iteration) == (8, 4, 12)
    with pytest.raises(KeyboardInterrupt):
        pinn.fit(points, epochs=6, callbacks=[monitor, Ended(2)], verbose=0)
    pinn.fit(points, epochs=3, verbose=0)
    assert int(pinn.optimizer.iterations) == 4 + 3


@pytest.mark.any_backend
def test_a_policy_that_never_switches_changes_no_variable():
    found = []
    for policy in (None, plan((10**9, SwitchOptimizer("lbfgs")), (10**9, Stop()))):
        model = fitted(policy, epochs=4).model
        found.append([to_numpy(variable.value).copy() for variable in model.trainable_variables])
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (keras.optimizers.Adam(1e-3, gradient_accumulation_steps=2), "accumulates gradients"),
        (keras.optimizers.Adam(1e-3, use_ema=True), "use_ema"),
    ],
)
def test_what_lbfgs_would_not_do_is_refused_before_the_first_epoch(optimizer, message):
    with pytest.raises(InputError, match=rf"requires action 'switch_optimizer:lbfgs'(?s:.*){message}"):
        fitted("quasi_newton", pinn=made(optimizer=optimizer))


@pytest.mark.any_backend
def test_a_model_that_is_no_pinn_has_no_lbfgs():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    x = np.linspace(0, 1, 40)[:, None]
    with pytest.raises(InputError, match="a model that is no PINN"):
        model.fit(x, x, callbacks=[PhaseMonitor(points=(x, x), batches=10, policy="quasi_newton")], verbose=0)
