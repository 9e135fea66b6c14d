"""What a PhaseMonitor writes: a history or a whole run folder, and going on with them."""

import json
import warnings

import keras
import numpy as np
import pytest
from captures import due
from click.testing import CliRunner
from keras_models import BACKEND, mlp, pinn
from listeners import Listener

from phasecore import InputError
from phasecore.cli import main
from phasecore.recording.history import plain
from phasecore.runs import open_run
from phasecore_keras import PhaseMonitor

OPTIONS = {"every": 2, "batches": 5, "probes": ["gradient_snr", "relative_l2_error"]}


class Killed(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.at:
            raise KeyboardInterrupt


def iterations(file):
    return [json.loads(line)["iteration"] for line in file.read_text().splitlines()]


def test_a_run_folder_is_as_that_of_a_run(tmp_path):
    model, points = pinn("rba:gamma=0.99")
    folder = tmp_path / "run"
    monitor = PhaseMonitor(**OPTIONS, run_folder=folder, snapshots=[3])
    model.fit(points, epochs=5, verbose=0, callbacks=[monitor])
    run = open_run(folder)
    assert run.configuration["problem"] == "burgers"
    assert run.configuration["weighting"] == "rba:gamma=0.99"
    assert run.configuration["seed"] is None
    assert run.configuration["settings"]["points"] == 60
    assert run.configuration["gradient_points_per_batch"] == 60 / run.configuration["settings"]["batches"]
    assert run.configuration["settings"]["width"] is None
    assert run.configuration["versions"]["keras_backend"] == BACKEND
    assert run.history["iteration"].tolist() == [0, *due(2, 5)]
    assert run.snapshots == (3, 5)
    arrays = run.snapshot(5)
    assert {"points", "residual_pde", "weight_pde", "field_u", "grid"} <= set(arrays)
    for name in ("residual_pde", "weight_pde", "field_u"):
        assert not np.array_equal(run.snapshot(3)[name], arrays[name]), "each is of its own iteration"
    assert run.outcome["iterations"] == 5
    assert run.outcome["relative_l2_error"] == monitor.history[-1]["relative_l2_error"]
    assert run.outcome["phases"] == monitor.detect().to_json()
    done = CliRunner().invoke(main, ["detect", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == monitor.detect().to_json()
    model.fit(points, epochs=1, verbose=0, callbacks=[monitor])
    assert open_run(folder).history["iteration"].tolist() == [0, *due(2, 6)]
    with pytest.raises(InputError, match="already holds a run"):
        PhaseMonitor(run_folder=folder)


@pytest.mark.any_backend
def test_a_run_folder_of_an_ordinary_network(tmp_path):
    model = mlp(3, 1)
    model.compile(optimizer="adam", loss="mse")
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.zeros((40, 1))
    monitor = PhaseMonitor(every=1, batches=5, points=(x, y), run_folder=tmp_path / "run")
    model.fit(x, y, epochs=1, batch_size=20, verbose=0, callbacks=[monitor])
    run = open_run(tmp_path / "run")
    assert (run.configuration["problem"], run.snapshots) == (None, ())
    assert run.outcome["relative_l2_error"] is None
    assert run.history["iteration"].tolist() == [0, 1, 2]


@pytest.mark.any_backend
@pytest.mark.parametrize("first", ["monitor", "backup"])
def test_a_killed_training_goes_on_with_its_own_history(first, tmp_path):
    """The backup is of the third epoch; the row of the fourth iteration was written after it."""
    file, folder = tmp_path / "history.jsonl", tmp_path / "run"

    def fit(killed=()):
        model, points = pinn()
        monitor = PhaseMonitor(**OPTIONS, history_file=file, run_folder=folder, resume=True)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        callbacks = [monitor, backup] if first == "monitor" else [backup, monitor]
        model.fit(points, epochs=7, shuffle=False, verbose=0, callbacks=[*callbacks, *killed])
        return monitor

    with pytest.raises(KeyboardInterrupt):
        fit([Killed(2)])
    assert iterations(file) == [0, *due(2, 3)]
    with file.open("a") as stream:
        stream.write('{"iteration": 4, "snr": 1.0}\n{"iteration": 6, "sn')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor = fit()
    assert f"{file}: rows after iteration 3 dropped (1)" in " ".join(str(warning.message) for warning in caught)
    assert iterations(file) == iterations(folder / "history.jsonl") == [0, *due(2, 7)]
    assert [row["iteration"] for row in monitor.history] == [0, *due(2, 7)]
    seconds = [row["seconds"] for row in monitor.history]
    assert seconds == sorted(seconds)
    assert len(open_run(folder).configuration["resumed"]) == 1
    assert open_run(folder).outcome["iterations"] == 7


class KilledAtTheEnd(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
        raise KeyboardInterrupt


@pytest.mark.parametrize("first", ["monitor", "backup"])
def test_a_training_that_was_killed_after_its_last_backup_is_finished(first, tmp_path):
    """Nothing is left to train; with the backup before the monitor, the last row had not been captured either."""

    def fit(folder, *killed):
        keras.utils.set_random_seed(0)
        model, points = pinn()
        monitor = PhaseMonitor(**OPTIONS, run_folder=tmp_path / folder, resume=True)
        backup = keras.callbacks.BackupAndRestore(tmp_path / f"{folder}-backup")
        callbacks = [*killed, monitor, backup] if first == "monitor" else [backup, *killed, monitor]
        model.fit(points, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
        rows = [json.loads(line) for line in (tmp_path / folder / "history.jsonl").read_text().splitlines()]
        run = open_run(tmp_path / folder)
        return run.outcome["phases"], run.snapshots, [row | {"seconds": 0} for row in rows]

    whole = fit("whole")
    with pytest.raises(KeyboardInterrupt):
        fit("run", KilledAtTheEnd() if first == "monitor" else Killed(3))
    assert fit("run") == whole


@pytest.mark.any_backend
def test_rows_are_never_lost_to_a_training_that_starts_anew(tmp_path):
    file = tmp_path / "history.jsonl"
    for attempt in range(2):
        model, points = pinn()
        monitor = PhaseMonitor(**OPTIONS, history_file=file, resume=True)
        if attempt:
            with pytest.raises(
                InputError, match=r"begins at iteration 0, and 4 rows to iteration 3.*Restore its state"
            ):
                model.fit(points, epochs=2, verbose=0, callbacks=[monitor])
        else:
            model.fit(points, epochs=3, verbose=0, callbacks=[monitor])
    assert iterations(file) == [0, *due(2, 3)]


@pytest.mark.any_backend
@pytest.mark.parametrize("snapshots", [[0], [True], [1.5]])
def test_bad_snapshots(snapshots, tmp_path):
    with pytest.raises(InputError, match="argument 'snapshots'"):
        PhaseMonitor(run_folder=tmp_path, snapshots=snapshots)
    with pytest.raises(InputError, match="without a run folder"):
        PhaseMonitor(snapshots=[1])


@pytest.mark.any_backend
def test_loggers_and_plugins_hear_a_fit(tmp_path):
    model, points = pinn("rba:gamma=0.99")
    listener, folder = Listener(), tmp_path / "run"
    monitor = PhaseMonitor(**OPTIONS, run_folder=folder, loggers=["csv", listener])
    model.fit(points, epochs=3, verbose=0, callbacks=[monitor])
    assert listener.told == ["run_started", *["captured"] * (1 + len(due(2, 3))), "run_finished"]
    described = listener.training
    assert (described.backend, described.problem.name, described.scheme_name) == ("keras", "burgers", "rba:gamma=0.99")
    assert (described.settings.every, described.settings.points, described.settings.width) == (2, 60, None)
    assert described.folder == folder
    assert listener.rows == [plain(row) for row in monitor.history]
    assert listener.outcome.iterations == 3
    assert listener.outcome.timeline == monitor.detect()
    assert len((folder / "history.csv").read_text().splitlines()) == 2 + len(due(2, 3))
    told = len(listener.told)
    model.fit(points, epochs=1, verbose=0, callbacks=[monitor])
    assert listener.told[told:] == ["run_started", "captured", "run_finished"]
    assert listener.resumed
