"""One recorder keeps every training: what is written, told and taken up again, whoever drives it."""

import contextlib
import dataclasses
import json
import math
import re

import pytest
from listeners import Listener

import phasecore
from phasecore import plugins
from phasecore.backends import Monitored, Settings, Training
from phasecore.errors import InputError, PluginError, TrainingError, UnknownNameError
from phasecore.phases import Phase
from phasecore.recording.history import plain
from phasecore.recording.recorder import Recorder
from phasecore.registry import as_schemes
from phasecore.runs import open_run
from phasecore.testing.curves import synthetic_curve

HELMHOLTZ = phasecore.problem("helmholtz")
CURVE = synthetic_curve("sigmoid", seed=3, rise=(2.0, 2.0), noise=(0.2, 0.2))
ROWS = [
    {"iteration": int(iteration), "snr": float(snr), "seconds": 0.5 * place}
    for place, (iteration, snr) in enumerate(zip(CURVE.columns["iteration"], CURVE.columns["snr"], strict=True))
]
MONITORED = Monitored("torch", HELMHOLTZ, "rba", {"every": 10, "points": 50})
MADE = []
DRIVEN = Training(
    HELMHOLTZ,
    as_schemes("rba"),
    "rba",
    "torch",
    Settings(iterations=100, points=50, width=4, depth=1),
    HELMHOLTZ.sample(50, seed=0),
    probes=[],
)


def begun(training, *arguments, iteration=None, **options):
    recorder = made(*arguments, **options)
    recorder.begin(training, {"torch": "0"}, iteration=iteration)
    return recorder


def made(*arguments, **options):
    MADE.append(Recorder(*arguments, **options))
    return MADE[-1]


@pytest.fixture(autouse=True)
def _close():
    yield
    while MADE:
        MADE.pop().close()


@pytest.mark.parametrize("training", [MONITORED, DRIVEN])
def test_listeners_hear_the_same_whoever_drives_the_training(training, tmp_path):
    listener = Listener()
    training = dataclasses.replace(training, folder=tmp_path / "run")
    recorder = begun(training, training.folder, loggers=["csv", listener], iteration=0)
    for row in ROWS:
        recorder.captured(row)
    outcome = recorder.finish(ROWS[-1]["iteration"])
    assert listener.told[0] == "run_started"
    assert listener.told[-1] == "run_finished"
    assert listener.training is training
    assert not listener.resumed
    assert listener.rows == [plain(row) for row in ROWS] == [plain(row) for row in recorder.rows]
    assert [item.phase for item in listener.transitions] == [Phase.DIFFUSION, Phase.TOTAL_DIFFUSION]
    assert listener.outcome is outcome
    assert outcome.timeline == recorder.detect()
    run = open_run(tmp_path / "run")
    assert run.history["snr"].tolist() == [row["snr"] for row in ROWS]
    assert {name: run.outcome[name] for name in ("problem", "weighting", "backend", "iterations", "seconds")} == {
        "problem": "helmholtz",
        "weighting": "rba",
        "backend": "torch",
        "iterations": ROWS[-1]["iteration"],
        "seconds": ROWS[-1]["seconds"],
    }
    assert run.configuration["loggers"] == ["csv"]
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 1 + len(ROWS)


def test_an_installed_plugin_hears_a_monitored_training_too(monkeypatch):
    listener = Listener()
    loaded = plugins.loaded()
    monkeypatch.setattr(type(loaded), "listeners", lambda self: [plugins.Listener("mine 1.0", listener)])
    recorder = begun(MONITORED, iteration=0)
    recorder.captured(ROWS[0])
    assert listener.told == ["run_started", "captured"]


@pytest.mark.parametrize("files", [["folder"], ["file"], ["folder", "file"]])
@pytest.mark.parametrize("restored", [0, 1, 57, len(ROWS) - 1])
def test_a_training_that_goes_on_from_any_row_is_recorded_as_if_undisturbed(files, restored, tmp_path):
    def recorder_at(iteration, listener, resume):
        folder = tmp_path / "run" if "folder" in files else None
        file = tmp_path / "own.jsonl" if "file" in files else None
        return begun(MONITORED, folder, history_file=file, resume=resume, loggers=[listener], iteration=iteration)

    first = recorder_at(0, Listener(), resume=False)
    written = min(restored + 30, len(ROWS))
    for row in ROWS[:written]:
        first.captured(row)
    first.close()
    listener = Listener()
    iteration = ROWS[restored]["iteration"]
    lost = written - restored - 1
    expected = pytest.warns(UserWarning, match=rf"after iteration {iteration} dropped \({lost}\)")
    with expected if lost else contextlib.nullcontext():
        later = recorder_at(iteration, listener, resume=True)
    assert later.rows == ROWS[: restored + 1]
    for row in ROWS[restored + 1 :]:
        later.captured(row)
    later.finish(ROWS[-1]["iteration"])
    whole = begun(MONITORED, iteration=0)
    for row in ROWS:
        whole.captured(row)
    assert later.rows == whole.rows
    assert later.timeline == whole.timeline
    told_before = {item.phase for item in begun_with(ROWS[: restored + 1]).timeline.transitions}
    assert {item.phase for item in listener.transitions} == {
        item.phase for item in whole.timeline.transitions
    } - told_before
    for path in ([tmp_path / "run" / "history.jsonl"] if "folder" in files else []) + (
        [tmp_path / "own.jsonl"] if "file" in files else []
    ):
        assert [json.loads(line) for line in path.read_text().splitlines()] == ROWS


def begun_with(rows):
    recorder = begun(MONITORED, iteration=0)
    for row in rows:
        recorder.captured(row)
    return recorder


@pytest.mark.parametrize("lost", [1, 20, 39])
def test_rows_that_a_state_has_and_the_file_lacks_are_written_when_it_goes_on(tmp_path, lost):
    file = tmp_path / "own.jsonl"
    first = begun(MONITORED, history_file=file, iteration=0)
    for row in ROWS[: 40 - lost]:
        first.captured(row)
    first.close()
    later = Recorder(history_file=file, resume=True)
    later.replay(ROWS[:40])
    later.begin(MONITORED, iteration=ROWS[39]["iteration"])
    for row in ROWS[40:]:
        later.captured(row)
    later.close()
    assert [json.loads(line)["iteration"] for line in file.read_text().splitlines()] == [
        row["iteration"] for row in ROWS
    ]


def test_where_the_iteration_is_not_known_the_first_row_says_from_where_it_goes_on(tmp_path):
    first = begun(DRIVEN, tmp_path / "run")
    for row in ROWS[:40]:
        first.captured(row)
    first.close()
    later = begun(DRIVEN, tmp_path / "run", resume=True)
    later.captured(ROWS[25])
    assert later.rows == ROWS[:26]
    later.close()
    done = begun(DRIVEN, tmp_path / "run", resume=True)
    assert done.finish(100).seconds == ROWS[25]["seconds"]


def test_a_training_may_go_on_after_its_end_and_listeners_hear_of_it():
    listener = Listener()
    recorder = begun(MONITORED, loggers=[listener], iteration=0)
    recorder.captured(ROWS[0])
    recorder.finish(10)
    recorder.captured(ROWS[1])
    recorder.stopped(KeyboardInterrupt())
    recorder.captured(ROWS[2])
    assert listener.told == [
        *("run_started", "captured", "run_finished"),
        *("run_started", "captured", "run_stopped"),
        *("run_started", "captured"),
    ]
    assert listener.resumed


def test_what_ended_a_training_is_its_last_row():
    listener = Listener()
    recorder = begun(MONITORED, loggers=[listener], iteration=0)
    recorder.captured(ROWS[0])
    recorder.stopped(TrainingError("training", received="loss nan", row={"iteration": 11, "training_loss": math.nan}))
    assert [row["iteration"] for row in recorder.rows] == [ROWS[0]["iteration"], 11]
    assert listener.told[-2:] == ["captured", "run_stopped"]


def test_rows_are_kept_before_anybody_else_can_fail_on_them(tmp_path):
    def fails(row):
        raise ZeroDivisionError

    recorder = begun(MONITORED, tmp_path / "run", on_capture=fails, iteration=0)
    with pytest.raises(ZeroDivisionError):
        recorder.captured(ROWS[0])
    assert json.loads((tmp_path / "run" / "history.jsonl").read_text()) == ROWS[0]


def test_a_listener_that_raises_is_switched_off_and_the_training_goes_on():
    class Broken:
        @phasecore.hookimpl
        def phasecore_captured(self):
            raise OSError("no space left")

    listener = Listener()
    recorder = begun(MONITORED, loggers=[Broken(), listener], iteration=0)
    with pytest.warns(RuntimeWarning, match="'phasecore_captured' raised OSError: no space left; it is disabled"):
        recorder.captured(ROWS[0])
    recorder.captured(ROWS[1])
    assert len(listener.rows) == 2


@pytest.mark.parametrize("files", [{"folder": "run"}, {"history_file": "own.jsonl"}])
def test_two_trainings_that_write_one_file_are_refused_by_name(files, tmp_path):
    where = {name: tmp_path / path for name, path in files.items()}
    one, other = made(**where), made(**where, resume=True)
    one.begin(MONITORED, iteration=0)
    one.captured(ROWS[0])
    other.begin(MONITORED, iteration=ROWS[0]["iteration"])
    with pytest.raises(InputError, match=r"jsonl: received rows of two trainings; expected one that writes it"):
        one.captured(ROWS[1])
    other.captured(ROWS[1])
    assert len(other.rows) == 2


def test_a_second_run_in_a_folder_is_refused_when_made_and_when_begun(tmp_path):
    one, other = made(tmp_path / "run"), made(tmp_path / "run")
    one.begin(MONITORED, iteration=0)
    with pytest.raises(InputError, match="already holds a run"):
        other.begin(MONITORED, iteration=0)
    with pytest.raises(InputError, match="already holds a run"):
        Recorder(tmp_path / "run")


def test_going_on_removes_what_a_killed_process_left_half_written(tmp_path):
    run, history = tmp_path / "run", tmp_path / "own.jsonl"
    begun(MONITORED, run, history_file=history, iteration=0).close()
    left = [f"{place}.{name}.0123456789ab.part" for place, name in
            [("run/", "history.jsonl"), ("run/", "run.json"), ("run/checkpoint/", "state.pt"),
             ("run/snapshots/", "iteration_00000010.npz"), ("", "own.jsonl")]]  # fmt: skip
    kept = [".other.jsonl.0123456789ab.part", "run/.mine.part", "run/checkpoint/.state.pt.part"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("half")
    begun(MONITORED, run, history_file=history, resume=True, iteration=0)
    assert [name for name in (*left, *kept) if (tmp_path / name).exists()] == kept


@pytest.mark.parametrize("row", [{"snr": 2.0}, {"iteration": 1.5}, {"iteration": 1, "snr": "high"}, None])
def test_a_row_that_is_none_is_refused_and_not_kept(row, tmp_path):
    recorder = begun(MONITORED, tmp_path / "run", iteration=0)
    with pytest.raises(PluginError, match="backend 'torch', row of the history"):
        recorder.captured(row)
    assert recorder.rows == []
    assert not (tmp_path / "run" / "history.jsonl").exists()


def test_a_hook_with_a_wrong_argument_names_the_logger_and_the_argument():
    class Misspelt:
        @phasecore.hookimpl
        def phasecore_captured(self, rwo):
            """Never called."""

    with pytest.raises(
        PluginError, match=r"logger of type Misspelt: hook 'phasecore_captured'.* 'rwo'.*'training', 'row'"
    ):
        Recorder(loggers=[Misspelt()])


def test_bad_loggers_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownNameError, match="nobody"):
        Recorder(tmp_path / "run", loggers="nobody")
    with pytest.raises(PluginError, match="logger of type int"):
        Recorder(tmp_path / "run", loggers=[3])
    assert not (tmp_path / "run").exists()


def test_each_call_of_a_hook_is_said_where_the_environment_asks(monkeypatch, capfd):
    listener = Listener()
    recorder = begun(MONITORED, loggers=[listener], iteration=0)
    recorder.captured(ROWS[0])
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("PHASECORE_TRACE", "1")
    recorder.captured(ROWS[1])
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "Listener" in line]
    assert re.fullmatch(r"phasecore_captured of logger Listener: \d+\.\d{3} ms", line)
