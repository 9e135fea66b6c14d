"""A training that has gone to NaN: monitors and runs say so once, in the words of the timeline, and keep it."""

import contextlib
import json
import math
import warnings

import pytest

from phasecore.backends import Monitored
from phasecore.errors import TrainingError
from phasecore.phases import Phase, detect
from phasecore.phases.rows import recorded_columns
from phasecore.recording.reading import read_curve
from phasecore.recording.recorder import Recorder
from phasecore.runs import execute, open_run, prepare

NAN = math.nan
STATEMENT = "the training loss and the SNR are NaN from iteration 500 on"


def row(iteration, lost=False):
    return {"iteration": iteration, "snr": NAN if lost else 30.0, "training_loss": NAN if lost else 0.1}


def rows(last, lost):
    return [row(iteration, lost(iteration)) for iteration in range(10, last + 1, 10)]


def begun(*arguments, iteration=0, **options):
    recorder = Recorder(*arguments, **options)
    recorder.begin(Monitored("torch"), iteration=iteration)
    return recorder


def taken(log, captures):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for capture in captures:
            log.captured(capture)
    log.close()
    return caught


def test_a_log_warns_once_and_names_the_caller_and_the_iteration():
    log = begun()
    (warning,) = taken(log, rows(800, lambda iteration: iteration >= 500))
    assert issubclass(warning.category, RuntimeWarning)
    assert warning.filename == __file__
    assert f"T{STATEMENT[1:]}" in str(warning.message)
    assert "lower learning rate" in str(warning.message)
    for timeline in (log.timeline, log.detect()):
        assert timeline.current is None
        assert STATEMENT in timeline.reason


def test_it_warns_at_the_second_capture_and_not_at_the_first():
    log = begun()
    assert not taken(log, [*rows(490, lambda _: False), row(500, lost=True)])
    assert log.timeline.current is Phase.FITTING
    assert len(taken(log, [row(510, lost=True)])) == 1


def test_gaps_are_no_warning():
    log = begun()
    assert not taken(log, rows(800, lambda iteration: iteration % 70 == 0))
    assert log.timeline.reason == "no diffusion yet: the SNR has not fallen for good"


def test_a_training_that_goes_on_is_told_of_the_nan_before_once_more(tmp_path):
    file = tmp_path / "history.jsonl"
    first = begun(history_file=file)
    taken(first, rows(600, lambda iteration: iteration >= 500))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = begun(history_file=file, resume=True, iteration=600)
    assert later.timeline == first.timeline
    assert len(taken(later, [row(610, lost=True), row(620, lost=True)])) == 1


def test_the_file_the_log_and_its_rows_say_the_same(tmp_path):
    log = begun(history_file=tmp_path / "history.jsonl")
    captures = [
        capture | {"adam_snr": 2.0} if capture["iteration"] < 300 else capture for capture in rows(800, lambda _: False)
    ]
    taken(log, [*captures, row(810, lost=True)])
    assert log.detect() == detect(read_curve(tmp_path / "history.jsonl"))
    assert log.detect().reason.endswith("the training loss and the SNR are NaN from iteration 810 on")
    assert recorded_columns(log.rows)["adam_snr"][-1] is None


class Heard:
    """A display that keeps its warnings."""

    def __init__(self):
        self.warnings = []

    def started(self, training):
        pass

    def resumed(self, iteration, folder):
        pass

    def progressed(self, iteration, loss):
        pass

    def captured(self, row, timeline):
        self.timeline = timeline

    def warned(self, message):
        self.warnings.append(message)

    def finished(self, outcome):
        pass


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return `train(row_of, error)`: a run whose rows are made, ended by an error; its folder and what was heard."""
    import synthetic_backend

    def train(row_of, error=None):
        monkeypatch.setattr(synthetic_backend, "synthetic_row", lambda _, iteration: row_of(iteration))
        if error is not None:
            monkeypatch.setenv("SYNTHETIC_STOP", f"fail:{error.row['iteration']}")
            monkeypatch.setattr(synthetic_backend, "_stop", lambda *_: _raise(error))
        display = Heard()
        training = prepare("helmholtz", backend="synthetic", points=60, iterations=800, output=tmp_path / "run")
        with contextlib.nullcontext() if error is None else pytest.raises(TrainingError):
            execute(training, display=display, loggers="csv")
        return tmp_path / "run", display

    return train


def _raise(error):
    raise error


def test_a_run_warns_once_and_its_outcome_its_history_and_its_table_say_the_same(train):
    folder, display = train(lambda iteration: row(iteration, iteration >= 500))
    (message,) = display.warnings
    assert STATEMENT[1:] in message
    outcome = json.loads((folder / "outcome.json").read_text())["phases"]
    assert outcome["current"] is None
    assert outcome["nonfinite"] == {"iteration": 500, "statement": STATEMENT}
    for path in (folder, folder / "history.jsonl", folder / "history.csv"):
        assert detect(read_curve(path)).to_json() == outcome
    assert detect(open_run(folder).recorded).to_json() == outcome
    assert display.timeline.nonfinite.statement == STATEMENT


def test_a_run_that_its_loss_ended_keeps_it_as_the_last_row(train):
    error = TrainingError("training", received="loss nan", row={"iteration": 555, "training_loss": NAN})
    folder, display = train(row, error)
    assert display.warnings == []
    assert json.loads((folder / "history.jsonl").read_text().splitlines()[-1]) == {
        "iteration": 555,
        "training_loss": None,
    }
    assert detect(read_curve(folder)).reason.endswith("; the training loss is NaN from iteration 555 on")
    assert not (folder / "outcome.json").exists()
