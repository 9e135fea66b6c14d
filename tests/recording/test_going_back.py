"""Going back to an earlier state in one training leaves what a training has that never went further."""

import json
import warnings

import numpy as np
import pytest
from faults import Disk
from listeners import Listener

from phasecore import detect
from phasecore.backends import Monitored
from phasecore.errors import TrainingError
from phasecore.monitoring.monitor import Monitor
from phasecore.recording.reading import read_curve
from phasecore.recording.recorder import Recorder
from phasecore.reporting.reported import gather
from phasecore.runs import open_run

MONITORED = Monitored("torch", scheme_name="rba", known_settings={"every": 1})


class Mine(Monitor):
    """A monitor that measures a number which says of which branch it is."""

    branch = 0

    def __init__(self, folder=None, **options):
        super().__init__(every=1, run_folder=folder, **options)
        self._begin(Monitored("torch", scheme_name="rba", known_settings={"every": 1}, folder=folder), {})

    def _arrays(self):
        return {"branch": np.asarray([float(self.branch)])}

    def train(self, until):
        while self.iteration < until:
            self.iteration += 1
            if self._is_wanted(self.iteration - 1):
                self._save_snapshot()
            if self._due() is not None:
                self._record({"snr": 100.0 * self.branch + self.iteration})
        return self


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(file):
    return [(row["iteration"], row["snr"]) for row in map(json.loads, file.read_text().splitlines())]


def of_csv(file):
    curve = read_curve(file)
    return list(zip(curve.iteration.tolist(), curve.columns["snr"].tolist(), strict=True))


def saved(monitor):
    return json.loads(json.dumps(monitor.state_dict()))


WHERE = [["folder"], ["file"], ["folder", "file"], []]


@pytest.mark.parametrize("where", WHERE, ids="+".join)
@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("between", ["", "finish", "close"])
def test_files_and_listeners_have_what_the_monitor_has(where, resume, between, tmp_path):
    folder = tmp_path / "run" if "folder" in where else None
    file = tmp_path / "own.jsonl" if "file" in where else None
    snapshots = (5, 7) if folder else ()
    listener = Listener()
    loggers = ["csv:path=told.csv", listener]
    monitor = Mine(folder, history_file=file, resume=resume, loggers=loggers, snapshots=snapshots).train(3)
    state = saved(monitor)
    monitor.train(6)
    if between == "finish":
        monitor._finish()
    monitor._log.close()
    files = ([folder / "history.jsonl"] if folder else []) + ([file] if file else [])
    before = [path.read_text() for path in files]
    monitor.load_state_dict(state)
    monitor.branch = 1
    assert [path.read_text() for path in files] == before, "a state may be loaded to be looked at"
    heard = len(listener.told)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor.train(6)._finish()
    expected = [(k, float(k)) for k in (1, 2, 3)] + [(k, 100.0 + k) for k in (4, 5, 6)]
    assert [(row["iteration"], row["snr"]) for row in monitor.history] == expected
    assert [written(path) for path in files] == [expected] * len(files)
    assert of_csv(tmp_path / "told.csv") == expected
    assert listener.told[heard:] == ["run_started", *["captured"] * 3, "run_finished"]
    assert listener.resumed
    assert sorted(str(warning.message) for warning in caught) == sorted(
        f"{path}: rows after iteration 3 dropped (3): the training goes on from there" for path in files
    )
    if folder:
        run = open_run(folder)
        assert run.outcome["iterations"] == 6
        assert {k: run.snapshot(k)["branch"].tolist() for k in run.snapshots} == {5: [1.0], 6: [1.0]}
        assert detect(read_curve(folder)) == monitor.detect()
    for path in files:
        other = Recorder(history_file=path, resume=True)
        other.begin(MONITORED, iteration=6)
        assert [row["iteration"] for row in other.rows] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("until", [4, 5, 6, 9])
def test_what_came_later_is_gone_however_far_the_training_goes_now(until, tmp_path):
    monitor = Mine(tmp_path / "run", snapshots=(2, 5)).train(3)
    state = saved(monitor)
    monitor.train(6)._finish()
    monitor.load_state_dict(state)
    with pytest.warns(UserWarning, match="dropped"):
        monitor.train(until)._finish()
    run = open_run(tmp_path / "run")
    assert run.history["iteration"].tolist() == list(range(1, until + 1))
    assert run.snapshots == (*(k for k in (2, 5) if k < until), until)
    assert run.outcome["iterations"] == until


def test_states_that_are_loaded_one_after_the_other(tmp_path):
    monitor = Mine(tmp_path / "run").train(2)
    first = saved(monitor)
    later = saved(monitor.train(4))
    monitor.train(6)
    monitor.load_state_dict(first)
    monitor.load_state_dict(later)
    with pytest.warns(UserWarning, match=r"rows after iteration 4 dropped \(2\)"):
        monitor.train(5)
    assert [iteration for iteration, _ in written(tmp_path / "run" / "history.jsonl")] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("is_over", [False, True])
def test_a_state_that_is_only_looked_at_costs_nothing_though_the_training_is_finished_then(at, is_over, tmp_path):
    listener = Listener()
    monitor = Mine(tmp_path / "run", snapshots=(2, 5), loggers=[listener]).train(at)
    state = saved(monitor)
    monitor.train(6)
    if is_over:
        monitor._finish()
    monitor.load_state_dict(state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            monitor._finish()
    assert written(tmp_path / "run" / "history.jsonl") == [(k, float(k)) for k in range(1, 7)]
    run = open_run(tmp_path / "run")
    assert run.outcome["iterations"] == 6
    assert set(run.snapshots) == ({2, 5, 6} if is_over else {2, 5})
    assert listener.told.count("run_finished") == 1
    with pytest.warns(UserWarning, match=rf"rows after iteration {at} dropped \({6 - at}\)"):
        monitor.train(at + 2)._finish()
    assert written(tmp_path / "run" / "history.jsonl") == [(k, float(k)) for k in range(1, at + 3)]
    assert open_run(tmp_path / "run").outcome["iterations"] == at + 2


def test_rows_that_could_not_be_written_are_dropped_as_well(tmp_path, monkeypatch):
    monitor = Mine(tmp_path / "run", loggers="csv").train(3)
    state = saved(monitor)
    disk = Disk(monkeypatch)
    disk.fill()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monitor.train(6).load_state_dict(state)
        monitor.branch = 1
        monitor.train(5)
        disk.free()
        monitor.train(7)._finish()
    expected = [(k, float(k)) for k in (1, 2, 3)] + [(k, 100.0 + k) for k in (4, 5, 6, 7)]
    assert written(tmp_path / "run" / "history.jsonl") == of_csv(tmp_path / "run" / "history.csv") == expected


def test_a_value_that_is_no_number_is_told_of_again():
    monitor = Mine().train(1)
    state = saved(monitor)
    for _ in range(2):
        monitor.load_state_dict(state)
        monitor.iteration = 2
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for iteration in range(2, 12):
                monitor.iteration = iteration
                monitor._record({"snr": float("nan")})
        assert sum("go back to a state from before" in str(warning.message) for warning in caught) == 1


@pytest.mark.parametrize("how", ["finished", "failed"])
def test_what_says_how_it_ended_goes_when_the_training_goes_on(how, tmp_path):
    recorder = Recorder(tmp_path / "run")
    recorder.begin(Monitored("keras", scheme_name="rba", folder=tmp_path / "run"), iteration=0)
    for k in (1, 2, 3):
        recorder.captured({"iteration": 10 * k, "snr": 1.0})
    if how == "finished":
        recorder.finish(30)
    else:
        recorder.stopped(TrainingError("training", received="loss nan"))
    assert open_run(tmp_path / "run").outcome is not None or "failure" in open_run(tmp_path / "run").configuration
    for k in (4, 5):
        recorder.captured({"iteration": 10 * k, "snr": 1.0})
    recorder.close()
    run = open_run(tmp_path / "run")
    assert run.outcome is None
    assert "failure" not in run.configuration
    (reported,) = gather([tmp_path / "run"])
    assert not reported.is_complete


def test_another_training_with_the_same_recorder_is_a_new_one_to_listeners():
    listener = Listener()
    recorder = Recorder(loggers=[listener])
    for name in ("first", "second"):
        recorder.forget()
        training = Monitored("keras", scheme_name=name)
        recorder.begin(training, iteration=0)
        recorder.captured({"iteration": 10, "snr": 1.0})
        assert (listener.training, listener.resumed) == (training, False)
        recorder.finish(10)
    assert [row["iteration"] for row in recorder.rows] == [10]
