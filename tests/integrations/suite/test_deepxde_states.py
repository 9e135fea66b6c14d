"""DeepXDE's callbacks from one model to another: a training that goes on in a new model, or another training."""

import numpy as np
import pytest
from plans import plan
from test_deepxde import (
    BACKEND,
    PhaseMonitor,
    Weighting,
    compiled,
    dde,
    derivative,
    parameters,
    problem,
    train,
    values_of,
)

from phasecore.errors import InputError
from phasecore.policies import ChangeWeighting, HoldWeighting
from phasecore.runs import open_run

pytestmark = pytest.mark.filterwarnings("ignore:distutils Version classes are deprecated:DeprecationWarning")

HALF, WHOLE = 7, 13
BATCHES = 6


def gone_on(model, iteration=HALF):
    """A new model of the same parameters and points, as a process that goes on makes it."""
    data = problem()
    again = dde.Model(data, model.net)
    again.compile("sgd", lr=0.01, verbose=0)
    if BACKEND == "jax":
        again.params = model.params
    again.train_state.iteration = again.train_state.step = iteration
    return again


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize(
    ("scheme", "policy"),
    [
        pytest.param("rba:gamma=0.5,eta=0.5+grad_norm:every=3", None),
        pytest.param(None, None, marks=pytest.mark.any_backend),
        pytest.param("soft_adapt:every=2", None, marks=pytest.mark.any_backend),
        pytest.param("rba", plan((4, ChangeWeighting("brdr"))), marks=pytest.mark.any_backend),
        pytest.param("rba", plan((4, HoldWeighting())), marks=pytest.mark.any_backend),
    ],
)
def test_a_training_goes_on_in_a_new_model_as_if_it_had_not_stopped(scheme, policy, tmp_path):
    def made(**options):
        monitor = PhaseMonitor(every=1, batches=BATCHES, policy=policy, **options)
        return [monitor] if scheme is None else [monitor, Weighting(scheme)]

    whole, model = made(), compiled()
    train(model, *whole, iterations=WHOLE)

    file = tmp_path / "rows.jsonl"
    first, model_of_first = made(history_file=file), compiled()
    train(model_of_first, *first, iterations=HALF)
    states = [callback.state_dict() for callback in first]
    second = made(history_file=file, resume=True)
    for callback, state in zip(second, states, strict=True):
        callback.load_state_dict(state)
    again = gone_on(model_of_first)
    train(again, *second, iterations=WHOLE - HALF)

    assert without_seconds(second[0].history) == without_seconds(whole[0].history)
    assert len(file.read_text().splitlines()) == len(whole[0].history)
    for one, other in zip(parameters(again), parameters(model), strict=True):
        np.testing.assert_array_equal(one, other)
    if scheme is not None:
        assert {term: f.tolist() for term, f in second[1].factors.items()} == {
            term: f.tolist() for term, f in whole[1].factors.items()
        }


@pytest.mark.any_backend
@pytest.mark.parametrize("made", [lambda: Weighting("rba"), lambda: PhaseMonitor(batches=BATCHES)])
def test_a_callback_is_of_one_model(made):
    callback, model = made(), compiled()
    train(model, callback)
    model.compile("sgd", lr=0.001, verbose=0)
    train(model, callback)
    with pytest.raises(InputError, match=r"another model than .* Make a callback for each model"):
        train(compiled(seed=1), callback)


@pytest.mark.any_backend
def test_a_model_that_was_restored_without_its_iteration_is_refused(tmp_path):
    file = tmp_path / "rows.jsonl"
    model, monitor = compiled(), PhaseMonitor(batches=BATCHES, history_file=file)
    train(model, monitor, iterations=HALF)
    before = file.read_text()
    told = r"(?s)begins at iteration 0.*model\.train_state\.iteration.*model\.train_state\.step"
    with pytest.raises(InputError, match=told):
        train(gone_on(model, iteration=0), PhaseMonitor(batches=BATCHES, history_file=file, resume=True))
    again = PhaseMonitor(batches=BATCHES, history_file=file, resume=True)
    again.load_state_dict(monitor.state_dict())
    with pytest.raises(InputError, match=told):
        train(gone_on(model, iteration=0), again)
    assert file.read_text() == before
    train(gone_on(model), PhaseMonitor(batches=BATCHES, history_file=file, resume=True), iterations=3)
    assert file.read_text().startswith(before)


@pytest.mark.any_backend
def test_going_back_in_the_same_model_leaves_one_history(tmp_path):
    model, monitor = compiled(), PhaseMonitor(every=1, batches=BATCHES, run_folder=tmp_path / "run")
    train(model, monitor, iterations=HALF)
    state = monitor.state_dict()
    train(model, monitor, iterations=WHOLE - HALF)
    monitor.load_state_dict(state)
    model.train_state.iteration = model.train_state.step = HALF
    with pytest.warns(UserWarning, match=f"rows after iteration {HALF} dropped"):
        train(model, monitor, iterations=3)
    run = open_run(tmp_path / "run")
    iterations = [row["iteration"] for row in monitor.history]
    assert run.history["iteration"].tolist() == iterations == sorted(set(iterations))
    assert iterations[-1] == run.outcome["iterations"] == run.snapshots[-1] == HALF + 3


@pytest.mark.any_backend
def test_the_state_of_another_weighting_or_of_other_points_is_refused():
    model, weighting = compiled(), Weighting("rba:gamma=0.5,eta=0.5")
    train(model, weighting, iterations=3)
    state = weighting.state_dict()
    for other in ("rba", "grad_norm"):
        with pytest.raises(InputError, match=r"received that of rba:gamma=0\.5,eta=0\.5; expected one of"):
            Weighting(other).load_state_dict(state)
    again = Weighting("rba:gamma=0.5,eta=0.5")
    again.load_state_dict(state)
    moved = gone_on(model, iteration=3)
    moved.data.resample_train_points()
    with pytest.raises(InputError, match="other collocation points than before"):
        train(moved, again)


@pytest.mark.any_backend
def test_time_by_itself_is_called_t():
    """What DeepXDE's examples of ordinary differential equations have."""
    time = dde.geometry.TimeDomain(0, 1)
    start = dde.icbc.IC(time, lambda x: np.ones((len(x), 1)), lambda _, on_initial: on_initial)
    dde.config.set_random_seed(0)
    data = dde.data.PDE(time, lambda x, y: derivative(y, x) + values_of(y), [start], num_domain=20, num_boundary=2)
    weighting = Weighting("causal:slabs=5")
    train(compiled(data, lambda: dde.nn.FNN([1, 4, 1], "tanh", "Glorot normal")), weighting, iterations=2)
    assert weighting.factors["pde"].shape == (22,)
