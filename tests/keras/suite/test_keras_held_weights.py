"""Weights that are held, averaged, changed or chosen by hand: in use from then on, whatever happens around it."""

import keras
import numpy as np
import pytest
from keras import ops
from plans import plan

import phasecore
from phasecore import InputError
from phasecore.policies import AverageWeighting, ChangeWeighting, HoldWeighting, Resample, ScaleLearningRate
from phasecore_keras import PINN, PhaseMonitor, Resampling
from phasecore_keras.autodiff import to_numpy

PROBLEM = phasecore.problem("helmholtz", a1=1, a2=1)


def made(weighting):
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    pinn = PINN(network, PROBLEM, weighting=weighting)
    pinn.compile(optimizer=keras.optimizers.Adam(1e-3))
    return pinn


def factors(pinn):
    """What each term's loss is multiplied by, all in all."""
    evaluation = pinn.physics.evaluate(ops.convert_to_tensor(pinn.physics.points))
    pairs = ((term, loss, evaluation.unweighted[term]) for term, loss in evaluation.weighted.items())
    return {term: float(to_numpy(loss)) / float(to_numpy(unweighted)) for term, loss, unweighted in pairs}


@pytest.mark.any_backend
def test_weights_chosen_by_hand_are_in_use_before_the_first_step():
    pinn = made("fixed:boundary=10")
    points = pinn.points(40, seed=0)
    found = pinn.evaluate(points, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(found["pde_loss"] + 10 * found["boundary_loss"], rel=1e-5)
    monitor = PhaseMonitor(every=2, batches=10)
    pinn.fit(points, epochs=2, callbacks=[monitor], verbose=0)
    first = monitor.history[0]
    assert first["iteration"] == 0
    assert first["training_loss"] == pytest.approx(first["loss_pde"] + 10 * first["loss_boundary"], rel=1e-5)
    assert factors(pinn) == pytest.approx({"pde": 1.0, "boundary": 10.0}, rel=1e-5)


def test_a_weighting_that_is_changed_to_and_held_at_once_is_in_use():
    pinn = made("rba")
    policy = plan((4, ChangeWeighting("fixed:boundary=10")), (4, HoldWeighting()))
    pinn.fit(pinn.points(40, seed=0), epochs=8, callbacks=[PhaseMonitor(every=2, batches=10, policy=policy)], verbose=0)
    assert factors(pinn) == pytest.approx({"pde": 1.0, "boundary": 10.0}, rel=1e-5)


@pytest.mark.parametrize("action", [AverageWeighting(), HoldWeighting()], ids=["averaged", "held"])
def test_other_points_have_the_weights_that_are_held(action):
    pinn = made("rba:eta=0.3,gamma=0.7+fixed:boundary=10")
    monitor = PhaseMonitor(every=2, batches=10, policy=plan((4, action)))
    pinn.fit(pinn.points(40, seed=0), epochs=8, callbacks=[monitor], verbose=0)
    before = to_numpy(pinn.physics.point_weights()["pde"]).copy()
    pinn.fit(pinn.points(60, seed=1), epochs=3, verbose=0)
    after = to_numpy(pinn.physics.point_weights()["pde"])
    assert len(after) == 60
    assert set(np.unique(after)) <= set(np.unique(before))
    assert pinn.weighting.held
    assert factors(pinn)["boundary"] == pytest.approx(10, rel=1e-5)


@pytest.mark.any_backend
def test_points_that_no_batch_had_yet_are_held_at_the_mean_of_the_others():
    pinn = made("rba")
    monitor = PhaseMonitor(every=1, batches=10, policy=plan((2, HoldWeighting())))
    pinn.fit(pinn.points(40, seed=0), epochs=1, batch_size=8, callbacks=[monitor], verbose=0)
    weights = to_numpy(pinn.physics.point_weights()["pde"])
    values, counts = np.unique(weights, return_counts=True)
    others = weights[weights != values[counts.argmax()]]
    assert counts.max() == 40 - 2 * 8
    assert values[counts.argmax()] == pytest.approx(np.sqrt(np.mean(others**2)), rel=1e-4)


class Ended(keras.callbacks.Callback):
    """Interrupts a training at a step."""

    def __init__(self, step):
        super().__init__()
        self.steps_left = step

    def on_train_batch_begin(self, batch, logs=None):
        if not self.steps_left:
            raise KeyboardInterrupt
        self.steps_left -= 1


def described(pinn):
    return pinn.weighting.held, pinn.specification, float(to_numpy(pinn.optimizer.learning_rate.value))


@pytest.mark.filterwarnings("ignore:.*rows after")
@pytest.mark.parametrize(
    "action",
    [AverageWeighting(), HoldWeighting(), ChangeWeighting("fixed:boundary=10"), ScaleLearningRate(0.1), Resample()],
    ids=lambda action: action.name,
)
def test_what_was_done_just_after_a_backup_between_steps_is_done_again(tmp_path, action):
    def trained(folder, end):
        folder.mkdir(exist_ok=True)
        pinn = made("rba:eta=0.1,gamma=0.9")
        options = {"resampling": Resampling("uniform", seed=0)} if isinstance(action, Resample) else {}
        monitor = PhaseMonitor(
            every=5, batches=10, history_file=folder / "rows.jsonl", resume=True, policy=plan((10, action)), **options
        )
        backup = keras.callbacks.BackupAndRestore(folder / "backup", save_freq=5, double_checkpoint=True)
        pinn.fit(pinn.points(40, seed=0), epochs=16, callbacks=[monitor, backup, Ended(end)], verbose=0)
        return pinn, monitor

    whole, _ = trained(tmp_path / "whole", 100)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", 12)
    parts, found = trained(tmp_path / "parts", 100)
    assert [(acted.iteration, acted.action) for acted in found.actions] == [(10, action.name)]
    assert described(parts) == described(whole)
    if isinstance(action, Resample):
        assert not np.array_equal(parts.physics.points, made("rba").points(40, seed=0)["coordinates"])
    if isinstance(action, AverageWeighting):
        weights = to_numpy(parts.physics.point_weights()["pde"])
        assert np.allclose(weights, to_numpy(whole.physics.point_weights()["pde"]), rtol=1e-5)


def test_a_change_that_is_refused_leaves_the_weights_as_they_were():
    pinn = made("rba:eta=0.5,gamma=0.5")
    pinn.fit(pinn.points(40, seed=0), epochs=3, verbose=0)
    before = factors(pinn)
    with pytest.raises(InputError, match="unknown term of weighting 'fixed'"):
        pinn.change_weighting("fixed:bondary=10")
    assert pinn.weighting is pinn.physics.weighting
    assert factors(pinn) == before != {"pde": 1.0, "boundary": 1.0}


def test_a_weighting_to_change_to_that_the_problem_has_nothing_for_is_refused_at_once():
    pinn = made("rba")
    monitor = PhaseMonitor(every=2, batches=10, policy=plan((4, ChangeWeighting("fixed:bondary=10"))))
    with pytest.raises(InputError, match="unknown term of weighting 'fixed'"):
        pinn.fit(pinn.points(40, seed=0), epochs=1, callbacks=[monitor], verbose=0)
    assert not int(to_numpy(pinn.optimizer.iterations.value))


@pytest.mark.any_backend
@pytest.mark.parametrize("action", [AverageWeighting(), HoldWeighting()], ids=["averaged", "held"])
def test_the_attention_goes_on_while_weights_are_held(action):
    rows = []
    for policy in (plan((4, action)), None):
        pinn = made("rba:eta=0.1,gamma=0.9")
        pinn.optimizer.learning_rate = 1e-12
        monitor = PhaseMonitor(every=2, batches=10, policy=policy)
        pinn.fit(pinn.points(40, seed=0), epochs=12, callbacks=[monitor], verbose=0)
        rows.append([row["residual_order"] for row in monitor.history if "residual_order" in row])
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)
    assert len(set(rows[0][-4:])) > 1
