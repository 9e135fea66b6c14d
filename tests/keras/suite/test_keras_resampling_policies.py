"""The action `resample` with Keras: in `phasecore run` and in a `fit` of one's own."""

import keras
import numpy as np
import pytest
from plans import plan

import phasecore
from phasecore import InputError
from phasecore.policies import Resample, SwitchOptimizer
from phasecore.runs import execute, prepare, prepare_resumed
from phasecore_keras import PINN, PhaseMonitor, Resampling
from phasecore_keras.training import KerasSession

PROBLEM = phasecore.problem("helmholtz", a1=1, a2=1)


def make(policy, folder=None, **options):
    given = {"points": 30, "width": 6, "depth": 1, "iterations": 12, "every": 4, "weighting": "rba", "seed": 3}
    return prepare("helmholtz:a1=1,a2=1", backend="keras", policy=policy, output=folder, **{**given, **options})


def numbers(outcome):
    return [{name: value for name, value in row.items() if name not in ("seconds", "actions")} for row in outcome.rows]


@pytest.mark.any_backend
def test_a_run_draws_points_anew_when_asked_and_a_resume_goes_on_there(tmp_path, monkeypatch):
    seen, own = {}, KerasSession.step

    def step(self):
        seen.setdefault(str(self.training.folder.name), []).append(self.interior().copy())
        return own(self)

    monkeypatch.setattr(KerasSession, "step", step)
    policy = plan((4, Resample()), (8, SwitchOptimizer("lbfgs")))
    whole = execute(make(policy, tmp_path / "whole"))
    points = seen["whole"]
    assert [k for k in range(1, 12) if not np.array_equal(points[k], points[k - 1])] == [4]
    assert {row["points"] for row in whole.rows} == {30}
    execute(make(policy, tmp_path / "parts", iterations=4))
    resumed = execute(prepare_resumed(tmp_path / "parts", policy=policy, iterations=12), resume=True)
    assert all(np.array_equal(one, other) for one, other in zip(points, seen["parts"], strict=True))
    for row, expected in zip(numbers(resumed), numbers(whole), strict=True):
        assert row == pytest.approx(expected, rel=1e-4, nan_ok=True)


class Points(keras.callbacks.Callback):
    """Where the points are after each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.physics.collocation.interior.copy())


def fitted(policy, resampling, *, listed=False, epochs=10):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    pinn = PINN(network, PROBLEM, weighting="rba")
    pinn.compile(optimizer=keras.optimizers.Adam(1e-3))
    monitor, points = PhaseMonitor(every=2, batches=10, policy=policy, resampling=resampling), Points()
    callbacks = [monitor, *([resampling] if listed else []), points]
    pinn.fit(pinn.points(30, seed=0), epochs=epochs, callbacks=callbacks, verbose=0)
    return pinn, points.seen


@pytest.mark.any_backend
def test_points_move_within_fit_when_a_policy_asks():
    pinn, seen = fitted(plan((4, Resample())), Resampling("rar_d:every=1000,added=5,candidates=100", seed=0))
    assert [len(points) for points in seen] == [30] * 3 + [35] * 7, "at the end of the fourth epoch"
    assert len(pinn.points()["coordinates"]) == 35


@pytest.mark.any_backend
def test_points_that_move_of_themselves_go_on_with_their_schedule():
    resampling = Resampling("rar_d:every=4,added=5,candidates=100", seed=0)
    _, seen = fitted(plan((2, Resample()), (4, Resample())), resampling, listed=True)
    assert [len(points) for points in seen] == [30] + [35] * 2 + [40] * 5 + [45] * 2, (
        "at 4 both ask, and they move once"
    )


@pytest.mark.any_backend
def test_without_a_resampling_it_is_refused_before_the_first_epoch():
    with pytest.raises(InputError, match=r"requires action 'resample'.*resampling=phasecore_keras"):
        fitted(plan((4, Resample())), None)
    with pytest.raises(InputError, match="argument 'resampling'"):
        PhaseMonitor(resampling="rad")
