"""Policies in `phasecore run` with Keras: what is asked for is done, as told, and a resume goes on with it."""

import math
import warnings

import numpy as np
import pytest
from failing_steps import losses_around_a_failure, rates_around_an_early_failure, spoil_evaluations
from keras import ops
from keras_models import BACKEND
from plans import plan
from repeats import repeated

from phasecore.policies import (
    AverageWeighting,
    ChangeWeighting,
    HoldWeighting,
    ReleaseWeighting,
    ScaleLearningRate,
    SetLearningRate,
    Snapshot,
    Stop,
    SwitchOptimizer,
)
from phasecore.recording.recorder import Recorder
from phasecore.runs import execute, open_run, prepare, prepare_resumed
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.quasi_newton import LBFGS
from phasecore_keras.steps import synchronize
from phasecore_keras.training import KerasSession


def make(policy=None, folder=None, **options):
    given = {"points": 40, "width": 6, "depth": 1, "iterations": 16, "every": 4, "weighting": "rba", "seed": 3,
             "learning_rate": 1e-3}  # fmt: skip
    return prepare("helmholtz:a1=1,a2=1", backend="keras", policy=policy, output=folder, **{**given, **options})


def rows_of(outcome):
    return [{name: value for name, value in row.items() if name not in ("seconds", "actions")} for row in outcome.rows]


@pytest.mark.any_backend
def test_a_policy_that_never_acts_changes_no_number():
    alone, watched = (execute(make(policy)) for policy in (None, plan((10**9, Stop()))))
    assert repr(rows_of(alone)) == repr(rows_of(watched))


def test_adam_is_switched_to_lbfgs_and_back():
    rows = execute(make(plan((4, SwitchOptimizer("lbfgs")), (12, SwitchOptimizer("adam"))))).rows
    rows = {row["iteration"]: row for row in rows}
    assert "learning_rate" in rows[4]
    assert "learning_rate" not in rows[8]
    assert "adam_snr" in rows[4]
    assert "adam_snr" not in rows[8], "what is not Adam's is absent, not stale"
    assert "adam_snr" in rows[16]
    assert rows[8]["evaluations"] >= 4 + 2 * 4
    assert rows[16]["evaluations"] == rows[12]["evaluations"] + 4


@repeated
@pytest.mark.parametrize(
    "actions",
    [(), (AverageWeighting(),), (HoldWeighting(),), (ChangeWeighting("uniform"),)],
    ids=["", "averaged", "held", "uniform"],
)
def test_a_resume_goes_on_as_the_whole_training(tmp_path, actions):
    policy = plan((4, SwitchOptimizer("lbfgs")), *((4, action) for action in actions), (12, SwitchOptimizer("adam")))
    whole = execute(make(policy, tmp_path / "whole"))
    execute(make(policy, tmp_path / "parts", iterations=8))
    resumed = execute(prepare_resumed(tmp_path / "parts", policy=policy, iterations=16), resume=True)
    assert resumed.actions == whole.actions
    for row, expected in zip(rows_of(resumed), rows_of(whole), strict=True):
        assert row == pytest.approx(expected, rel=1e-4, nan_ok=True)


def trained(policy, monkeypatch, weighting="rba"):
    """The session after its training, and the weights of points before each iteration."""
    seen, own = [], KerasSession.step

    def step(self):
        synchronize(self.model)
        weights = self.model.physics.point_weights()
        seen.append({term: to_numpy(weight).copy() for term, weight in weights.items()})
        return own(self)

    monkeypatch.setattr(KerasSession, "step", step)
    session, recorder = KerasSession(make(policy, weighting=weighting)), Recorder()
    recorder.begin(session.training)
    session.run(recorder, None)
    return session, seen


def test_weights_that_are_held_stay_and_released_ones_go_on(monkeypatch):
    _, seen = trained(plan((8, HoldWeighting()), (12, ReleaseWeighting())), monkeypatch)
    still = [k for k in range(1, 16) if np.array_equal(seen[k]["pde"], seen[k - 1]["pde"])]
    assert still == [9, 10, 11, 12], "the iterations after the eighth and up to the twelfth"


@pytest.mark.parametrize("weighting", ["rba", "self_adaptive", "rba+grad_norm"])
def test_averaged_weights_are_the_mean_of_each_terms_and_stay(monkeypatch, weighting):
    held, averaged = (
        trained(plan((8, action)), monkeypatch, weighting)[0].model.weighting.parts
        for action in (HoldWeighting(), AverageWeighting())
    )
    assert any(part.weighted for part in held)
    for part, later in zip(held, averaged, strict=True):
        for term in part.weighted:
            weight, found = (to_numpy(own.weight(term)) for own in (part, later))
            of_squares = np.sqrt(np.mean(np.square(weight, dtype=np.float64))) if weight.ndim else weight
            expected = of_squares if part.scheme.multiplies == "residual" else np.mean(weight)
            assert np.allclose(found, expected, rtol=1e-4), (term, expected)
            assert found.shape == weight.shape


def test_each_step_of_lbfgs_begins_with_the_loss_as_it_is_weighted_then(monkeypatch):
    ends, own = [], LBFGS.step

    def step(self):
        value = own(self)
        ends.append((value, self._evaluate()[0]))
        return value

    monkeypatch.setattr(LBFGS, "step", step)
    policy = plan((4, SwitchOptimizer("lbfgs")), (4, HoldWeighting()), (8, AverageWeighting()))
    _, weights = trained(policy, monkeypatch)
    others = [k for k in range(5, 16) if not np.array_equal(weights[k]["pde"], weights[k - 1]["pde"])]
    assert others == [8]
    unlike_the_last_end = [4 + k for k in range(1, 12) if ends[k][0] != pytest.approx(ends[k - 1][1], rel=1e-4)]
    assert unlike_the_last_end == others


def test_the_weighting_is_changed(monkeypatch):
    session, seen = trained(plan((8, ChangeWeighting("uniform"))), monkeypatch)
    assert [k for k, weights in enumerate(seen) if not weights] == list(range(8, 16))
    assert session.model.specification == "uniform"


@repeated
def test_the_attention_goes_on_where_the_weighting_is_changed():
    rows, alone = (execute(make(policy)).rows for policy in (plan((8, ChangeWeighting("uniform"))), None))
    assert max(abs(a["residual_order"] - b["residual_order"]) for a, b in zip(rows, alone, strict=True)) < 0.2


@pytest.mark.any_backend
def test_the_learning_rate_is_set_and_scaled():
    policy = plan((4, SetLearningRate(1e-2)), (12, ScaleLearningRate(0.5)))
    rows = {row["iteration"]: row["learning_rate"] for row in execute(make(policy)).rows}
    assert [rows[k] for k in (4, 8, 16)] == pytest.approx([1e-3, 1e-2, 5e-3])


@pytest.mark.any_backend
def test_a_policy_ends_the_training_and_saves_a_snapshot(tmp_path):
    outcome = execute(make(plan((8, Snapshot()), (12, Stop())), tmp_path / "run"))
    assert outcome.iterations == 12
    assert {8, 12} <= set(open_run(tmp_path / "run").snapshots)


@pytest.mark.any_backend
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_adam_undoes_nothing_of_what_lbfgs_reached_before_it_failed(monkeypatch):
    spoil_evaluations(monkeypatch, LBFGS, after=120)
    switched, before, after = losses_around_a_failure(make)
    assert min(before) < 0.5 * switched
    assert max(after) < 2.5 * min(before)


@pytest.mark.any_backend
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_adam_is_as_fast_as_before_where_lbfgs_had_won_nothing_when_it_failed(monkeypatch):
    spoil_evaluations(monkeypatch, LBFGS, after=3)
    before, after = rates_around_an_early_failure(make)
    assert set(after) == set(before)


@pytest.mark.any_backend
@pytest.mark.parametrize("at", [0, 5])
def test_a_loss_that_is_not_finite_leads_back_to_adam(monkeypatch, at):
    spoil_evaluations(monkeypatch, LBFGS, after=at)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        outcome = execute(make(plan((4, SwitchOptimizer("lbfgs")))))
    assert sum("L-BFGS failed" in str(item.message) for item in caught) == 1
    assert [acted.to for acted in outcome.actions] == ["lbfgs", "adam"]
    assert math.isfinite(outcome.rows[-1]["training_loss"])


class Held:
    """A variable, in double precision on every backend, too: JAX has none of its own."""

    def __init__(self, value):
        self.shape, self.dtype = value.shape, str(value.dtype)
        self.assign(value)

    def assign(self, value):
        self.held = value
        self.value = ops.convert_to_tensor(value) if BACKEND == "torch" else value


def path_of_lbfgs(evaluate, start, steps):
    x, path = Held(start), []
    optimizer = LBFGS([x], lambda: evaluate(x.held), is_fixed=lambda: True)
    for _ in range(steps):
        optimizer.step()
        if optimizer.failure is not None:
            break
        path.append(x.held)
    return path


@pytest.mark.any_backend
@pytest.mark.parametrize("factor", [2.0**-40, 2.0**30])
def test_the_steps_of_lbfgs_do_not_depend_on_the_scale_of_the_loss(factor):
    from scipy.optimize import rosen, rosen_der

    path = path_of_lbfgs(lambda x: (rosen(x), [rosen_der(x)]), np.full(6, -0.5), 60)
    scaled = path_of_lbfgs(lambda x: (factor * rosen(x), [factor * rosen_der(x)]), np.full(6, -0.5), 60)
    assert len(path) == len(scaled) > 30
    assert np.array_equal(path, scaled)
    assert np.allclose(path[-1], 1.0, atol=1e-6)


@pytest.mark.any_backend
@pytest.mark.parametrize("by_others", [0.0, 1e-3, 5.0])
def test_lbfgs_that_fails_leaves_the_variables_where_it_began(by_others):
    x, scales, factor = Held(np.asarray([3.0, -1.0])), np.asarray([1.0, 10.0]), [1.0]
    optimizer = LBFGS([x], lambda: (factor[0] * (scales @ x.held**2), [2 * scales * x.held]))
    for _ in range(3):
        optimizer.step()
    x.assign(x.held + by_others)
    begin, factor[0] = x.held, math.nan
    assert math.isnan(optimizer.step()), "no loss that was not measured"
    assert optimizer.failure == "the loss was not finite"
    assert np.array_equal(x.held, begin)


@pytest.mark.any_backend
def test_lbfgs_goes_on_where_the_loss_has_no_digits_left():
    curvatures = np.logspace(-2, 2, 20)

    def rounded(x):
        """1 + c x^2, off by 1e-5 in ways that its gradient does not see: differences of derivatives in float32."""
        return np.float32(1 + curvatures @ (x * x) + 1e-5 * np.sin(1e6 * x.sum())), [2 * curvatures * x]

    path = path_of_lbfgs(rounded, np.full(20, 0.01, np.float32), 200)
    assert np.abs(curvatures * path[-1]).max() < 3e-5


@pytest.mark.any_backend
def test_lbfgs_agrees_with_scipys_own_on_a_function_of_many_variables():
    from scipy.optimize import minimize, rosen, rosen_der

    x = Held(np.full(6, -0.5))
    optimizer = LBFGS([x], lambda: (rosen(x.held), [rosen_der(x.held)]), is_fixed=lambda: True)
    losses = []
    while optimizer.failure is None and len(losses) < 100 and (not losses or losses[-1] > 1e-14):
        losses.append(optimizer.step())
    theirs = minimize(rosen, np.full(6, -0.5), jac=rosen_der, method="L-BFGS-B", options={"maxcor": 150, "ftol": 0})
    assert np.allclose(x.held, 1.0, atol=1e-5)
    assert optimizer.evaluations < 1.5 * theirs.nfev
    assert losses == sorted(losses, reverse=True)
