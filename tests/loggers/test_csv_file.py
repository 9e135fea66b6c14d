import contextlib
import csv
import json
import shutil
import warnings

import numpy as np
import pytest
from faults import Disk

from phasecore import InputError, TrainingError, detect
from phasecore.backends import Monitored
from phasecore.loggers.csv_file import CSVLogger
from phasecore.recording.reading import read_curve
from phasecore.recording.recorder import Recorder
from phasecore.runs import execute_all, open_run, prepare


def lines(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def assert_is_the_history(path, folder):
    history = open_run(folder).history
    written = lines(path)
    assert [int(line["iteration"]) for line in written] == history["iteration"].tolist()
    for name, values in history.items():
        if name != "iteration":
            column = [float(line.get(name) or "nan") for line in written]
            np.testing.assert_array_equal(column, values, err_msg=name)


def test_the_file_says_what_the_history_says(train, tmp_path):
    train("csv")
    assert_is_the_history(tmp_path / "first" / "history.csv", tmp_path / "first")


def test_phasecore_reads_it(train, tmp_path):
    train("csv:path=curve.csv")
    assert detect(read_curve(tmp_path / "curve.csv")) == detect(read_curve(tmp_path / "first"))


def test_lines_after_the_checkpoint_are_replaced_when_a_run_goes_on(train, tmp_path):
    with pytest.raises(TrainingError):
        train("csv", stop="fail:155")
    assert int(lines(tmp_path / "first" / "history.csv")[-1]["iteration"]) == 150
    train(resume=True)
    assert_is_the_history(tmp_path / "first" / "history.csv", tmp_path / "first")


def test_half_a_line_of_a_killed_process_is_dropped(tmp_path, train):
    with pytest.raises(TrainingError):
        train("csv", stop="fail:155")
    with (tmp_path / "first" / "history.csv").open("a") as stream:
        stream.write("15")
    train(resume=True)
    assert_is_the_history(tmp_path / "first" / "history.csv", tmp_path / "first")


def test_a_file_that_is_there_is_left_alone(train, tmp_path):
    (tmp_path / "mine.csv").write_text("precious\n")
    with pytest.warns(RuntimeWarning, match=r"logger 'csv' of phasecore .*mine\.csv, which exists.*disabled"):
        assert train("csv:path=mine.csv").iterations == 300
    assert (tmp_path / "mine.csv").read_text() == "precious\n"


def test_without_a_run_folder_the_file_has_the_name_of_the_training(train, tmp_path):
    train("csv", folder=None)
    assert int(lines(tmp_path / "helmholtz-uniform-seed0.csv")[-1]["iteration"]) == 300


def test_a_column_that_comes_late_is_added_to_the_whole_file(tmp_path, train):
    logger = CSVLogger("late.csv")

    class Training:
        folder = tmp_path

    logger.phasecore_run_started(Training(), resumed=False)
    logger.phasecore_captured({"iteration": 1, "snr": 2.0})
    logger.phasecore_captured({"iteration": 2, "snr": 3.0, "layers": {"first": 0.5, "second": None}})
    logger.phasecore_captured({"iteration": 3, "layers": {"second": 0.25}})
    logger.phasecore_run_finished()
    assert lines(tmp_path / "late.csv") == [
        {"iteration": "1", "snr": "2.0", "layers/first": "", "layers/second": ""},
        {"iteration": "2", "snr": "3.0", "layers/first": "0.5", "layers/second": ""},
        {"iteration": "3", "snr": "", "layers/first": "", "layers/second": "0.25"},
    ]


def test_lines_that_do_not_fit_on_the_disk_are_written_later(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    logger = CSVLogger(str(tmp_path / "curve.csv"))
    logger.phasecore_run_started(Monitored("torch"), False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(1, 9):
            if k in (3, 6):
                disk.fill(5) if k == 3 else disk.free()
            logger.phasecore_captured({"iteration": k, "snr": 0.5, **({"late": 1.0} if k >= 4 else {})})
            written = [int(line["iteration"]) for line in lines(tmp_path / "curve.csv")]
            assert written == ([1, 2] if 3 <= k < 6 else list(range(1, k + 1)))
    logger.phasecore_run_finished()
    (warning,) = caught
    assert "curve.csv (No space left on device): the training goes on" in str(warning.message)
    assert [int(line["iteration"]) for line in lines(tmp_path / "curve.csv")] == list(range(1, 9))
    assert [line["late"] for line in lines(tmp_path / "curve.csv")] == [""] * 3 + ["1.0"] * 5


def test_a_file_that_is_no_history_is_not_replaced_by_a_run_that_goes_on(tmp_path):
    (tmp_path / "precious").write_text("precious\n")
    logger = CSVLogger(str(tmp_path / "precious"))
    with pytest.raises(InputError, match="no history"):
        logger.phasecore_run_started(Monitored("torch"), True)
    assert (tmp_path / "precious").read_text() == "precious\n"


@pytest.mark.parametrize("stop", ["interrupt:155", "fail:155"])
def test_asked_for_first_when_a_run_goes_on_it_has_all_captures(train, tmp_path, stop):
    with contextlib.suppress(TrainingError, KeyboardInterrupt):
        train(stop=stop)
    assert open_run(tmp_path / "first").history["iteration"][-1] == 150
    train("csv", "csv:path=also.csv", resume=True)
    for file in (tmp_path / "first" / "history.csv", tmp_path / "also.csv"):
        assert_is_the_history(file, tmp_path / "first")


def test_what_a_policy_did_is_no_column(tmp_path):
    done = {"iteration": 1, "policy": "mine", "action": "stop", "to": 0.5, "reason": "because"}
    (tmp_path / "history.jsonl").write_text(json.dumps({"iteration": 1, "snr": None, "actions": [done]}) + "\n")
    logger = CSVLogger()
    logger.phasecore_run_started(Monitored("torch", folder=tmp_path), True)
    logger.phasecore_captured({"iteration": 2, "snr": 0.5})
    logger.phasecore_run_finished()
    assert lines(tmp_path / "history.csv") == [{"iteration": "1", "snr": "nan"}, {"iteration": "2", "snr": "0.5"}]


def test_where_earlier_captures_are_not_known_it_says_where_the_lines_begin(tmp_path):
    logger = CSVLogger(str(tmp_path / "curve.csv"))
    with pytest.warns(RuntimeWarning, match=r"curve\.csv: the lines begin where the training goes on"):
        logger.phasecore_run_started(Monitored("torch"), True)


def test_each_capture_is_written_once_whatever_names_the_file(train, tmp_path):
    train("csv", "csv")
    assert_is_the_history(tmp_path / "first" / "history.csv", tmp_path / "first")
    with pytest.warns(RuntimeWarning, match="which another logger writes"):
        train("csv:path=one.csv", "csv:path=./one.csv", folder="second")
    assert_is_the_history(tmp_path / "one.csv", tmp_path / "second")
    train("csv", "csv:path=two.csv", folder="third")
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "third" / "history.csv").read_bytes()


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_file_for_several_trainings_is_refused_before_the_first(tmp_path, jobs):
    trainings = [
        prepare("helmholtz", backend="synthetic", points=60, iterations=20, seed=seed, output=tmp_path / f"{seed}")
        for seed in (0, 1)
    ]
    for logger in ("csv:path=all.csv", CSVLogger("all.csv")):
        with pytest.raises(InputError, match=r"all\.csv for 2 trainings"):
            execute_all(trainings, jobs=jobs, loggers=[logger])
    assert not any(tmp_path.iterdir())
    execute_all(trainings[:1], jobs=jobs, loggers=["csv:path=all.csv"])
    assert_is_the_history(tmp_path / "all.csv", tmp_path / "0")


@pytest.mark.parametrize("lost", ["folder", "file", "end of the file"])
@pytest.mark.parametrize("path", [None, "own.csv"])
def test_a_file_that_vanishes_is_written_again_with_every_capture(lost, path, tmp_path):
    folder = tmp_path / "run"
    file = folder / "history.csv" if path is None else tmp_path / path
    recorder = Recorder(folder, loggers=[CSVLogger(None if path is None else str(file))])
    recorder.begin(Monitored("torch", folder=folder), iteration=0)
    for k in range(1, 6):
        if k == 4:
            vanish(lost, folder, file)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*vanished", RuntimeWarning)
            recorder.captured({"iteration": 10 * k, "snr": float("nan") if k == 2 else 0.1 * k})
    recorder.finish(50)
    assert len(lines(file)) == 5
    assert_is_the_history(file, folder)
    assert lines(file)[1]["snr"] == "nan"


def vanish(what, folder, file):
    if what == "folder":
        shutil.rmtree(folder)
        file.unlink(missing_ok=True)
    elif what == "file":
        file.unlink()
    else:
        file.write_text(file.read_text().partition("\n")[0])


def test_where_nothing_else_has_the_captures_it_says_what_is_left(tmp_path):
    recorder = Recorder(loggers=[CSVLogger(str(tmp_path / "own.csv"))])
    recorder.begin(Monitored("torch"), iteration=0)
    recorder.captured({"iteration": 10, "snr": 1.0})
    (tmp_path / "own.csv").unlink()
    with pytest.warns(RuntimeWarning, match=r"own\.csv: the lines begin where the training goes on"):
        recorder.captured({"iteration": 20, "snr": 1.0})
    recorder.finish(20)
    assert [line["iteration"] for line in lines(tmp_path / "own.csv")] == ["20"]
