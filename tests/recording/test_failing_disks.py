"""A disk that is full, a folder that vanishes, a clock that jumps, two processes: a training never ends for that."""

import errno
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from faults import Disk
from processes import ROOT, SECONDS, python

from phasecore.backends import Monitored
from phasecore.errors import InputError
from phasecore.files import Growing, replacing
from phasecore.recording.history import read_rows
from phasecore.recording.locks import Lock
from phasecore.recording.recorder import Recorder
from phasecore.runs import open_run

ROWS = [{"iteration": k, "snr": 100.0 / k, "seconds": 0.5 * k} for k in range(1, 31)]
MONITORED = Monitored("torch", None, "rba", {"every": 1, "points": 50})


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


MADE = []


@pytest.fixture(autouse=True)
def _close():
    yield
    while MADE:
        MADE.pop().close()


def made(*arguments, **options):
    MADE.append(Recorder(*arguments, **options))
    return MADE[-1]


def begun(folder, **options):
    recorder = made(folder, **options)
    recorder.begin(MONITORED, {}, iteration=0)
    return recorder


def lines(file):
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


@pytest.mark.parametrize(
    ("room", "error"), [(0, errno.ENOSPC), (1, errno.EDQUOT), (50, errno.EFBIG), (51, errno.EROFS), (130, errno.EIO)]
)
def test_rows_that_cannot_be_written_are_so_later_and_no_reader_sees_a_part(tmp_path, disk, room, error):
    recorder = begun(tmp_path / "run", history_file=tmp_path / "own.jsonl")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for place, row in enumerate(ROWS):
            if place == 5:
                disk.fill(room, error)
            if place == 20:
                disk.free()
            recorder.captured(row)
            for file in (tmp_path / "run" / "history.jsonl", tmp_path / "own.jsonl"):
                seen = lines(file)
                assert seen == ROWS[: len(seen)]
                assert len(seen) >= 5 if 5 <= place < 20 else len(seen) == place + 1
        recorder.finish(30)
    assert recorder.rows == ROWS
    (warning,) = caught
    assert os.strerror(error) in str(warning.message)
    assert "jsonl" in str(warning.message)
    assert "the training goes on" in str(warning.message)


def test_what_cannot_be_written_to_the_end_is_named_and_finish_may_be_called_again(tmp_path, disk):
    recorder = begun(tmp_path / "run")
    recorder.captured(ROWS[0])
    disk.fill()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recorder.captured(ROWS[1])
        recorder.snapshot(2, {"field_u": np.arange(4.0)})
        outcome = recorder.finish(2)
    assert outcome.iterations == 2
    assert len(caught) == 2
    for what in ("1 rows of", "history.jsonl", "outcome.json", "iteration_00000002.npz", "lost when this process ends"):
        assert what in str(caught[1].message)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *("checkpoint", "history.jsonl", "run.json", "snapshots"),
    ]
    disk.free()
    recorder.finish(2)
    run = open_run(tmp_path / "run")
    assert run.history["iteration"].tolist() == [1, 2]
    assert run.outcome["iterations"] == 2
    assert run.snapshot(2)["field_u"].tolist() == [0, 1, 2, 3]


def test_a_snapshot_that_waits_holds_what_was_measured_then(tmp_path, disk):
    recorder = begun(tmp_path / "run")
    field = np.zeros(3)
    disk.fill()
    with pytest.warns(RuntimeWarning, match="No space left"):
        recorder.snapshot(1, {"field_u": field})
    field += 7.0
    disk.free()
    recorder.captured(ROWS[0])
    assert open_run(tmp_path / "run").snapshot(1)["field_u"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_folder_that_vanishes_is_made_again_with_all_that_was_measured(tmp_path, is_closed):
    recorder = begun(tmp_path / "run")
    configuration = (tmp_path / "run" / "run.json").read_text()
    for row in ROWS[:4]:
        recorder.captured(row)
    if is_closed:
        recorder.close()
    shutil.rmtree(tmp_path / "run")
    with pytest.warns(RuntimeWarning, match="run vanished: it is written again") as caught:
        recorder.captured(ROWS[4])
    assert len(caught) == 1
    recorder.snapshot(5, {"field_u": np.zeros(2)})
    recorder.finish(5)
    assert lines(tmp_path / "run" / "history.jsonl") == ROWS[:5]
    assert (tmp_path / "run" / "run.json").read_text() == configuration
    assert open_run(tmp_path / "run").outcome["iterations"] == 5


def test_a_history_that_was_removed_or_cut_is_written_again(tmp_path):
    recorder = begun(None, history_file=tmp_path / "own.jsonl")
    recorder.captured(ROWS[0])
    (tmp_path / "own.jsonl").unlink()
    with pytest.warns(RuntimeWarning, match=r"own\.jsonl vanished"):
        recorder.captured(ROWS[1])
    (tmp_path / "own.jsonl").write_text("")
    recorder.captured(ROWS[2])
    assert lines(tmp_path / "own.jsonl") == ROWS[:3]


def test_a_folder_that_another_run_has_taken_meanwhile_is_left_alone(tmp_path):
    recorder = begun(tmp_path / "run")
    recorder.captured(ROWS[0])
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"problem": "another"}')
    with pytest.warns(RuntimeWarning, match="another run was begun there"):
        recorder.captured(ROWS[1])
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {"problem": "another"}
    assert not (tmp_path / "run" / "history.jsonl").exists()


@pytest.mark.parametrize("place", ["/proc/none/run", "{}/file/run"])
def test_what_cannot_be_written_at_the_beginning_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("")
    place = Path(place.format(tmp_path))
    for options in ({"folder": place}, {"history_file": place / "own.jsonl"}):
        recorder = made(**options)
        with pytest.raises(InputError, match=r"cannot (write|make)"):
            recorder.begin(MONITORED, {}, iteration=0)


def test_a_full_disk_at_the_beginning_is_refused_and_nothing_is_left_locked(tmp_path, disk):
    disk.fill()
    recorder = made(tmp_path / "run")
    with pytest.raises(InputError, match="No space left"):
        recorder.begin(MONITORED, {}, iteration=0)
    disk.free()
    shutil.rmtree(tmp_path / "run")
    begun(tmp_path / "run").finish(0)


def test_a_resumed_run_on_a_full_disk_loses_no_row_of_the_file_that_is_there(tmp_path, disk):
    first = begun(tmp_path / "run")
    for row in ROWS[:6]:
        first.captured(row)
    first.finish(6)
    later = made(tmp_path / "run", resume=True)
    later.begin(MONITORED, {}, iteration=None)
    disk.fill()
    with pytest.warns(RuntimeWarning, match="No space left"):
        later.captured(ROWS[4])
    assert lines(tmp_path / "run" / "history.jsonl") == ROWS[:6]
    disk.free()
    later.captured(ROWS[5])
    assert lines(tmp_path / "run" / "history.jsonl") == ROWS[:6]
    later.captured(ROWS[6])
    assert lines(tmp_path / "run" / "history.jsonl") == ROWS[:7]


def test_a_display_whose_stream_is_full_ends_nothing(tmp_path):
    class Full:
        def __getattr__(self, name):
            def fail(*arguments):
                raise OSError(errno.ENOSPC, "No space left on device")

            return fail

    recorder = made(tmp_path / "run", display=Full())
    recorder.begin(MONITORED, {}, iteration=0)
    recorder.captured(ROWS[0])
    recorder.finish(1)
    assert lines(tmp_path / "run" / "history.jsonl") == ROWS[:1]


@pytest.mark.parametrize("room", [0, 3, 5])
def test_a_whole_file_is_the_old_one_where_the_new_one_does_not_fit(tmp_path, disk, room):
    file = tmp_path / "state"
    file.write_bytes(b"old")
    disk.fill(room)

    def as_torch_does(stream):
        try:
            stream.write(b"new content")
            stream.flush()
        except OSError:
            raise RuntimeError("PytorchStreamWriter failed writing file") from None

    with pytest.raises(OSError, match="No space left"), replacing(file) as stream:
        as_torch_does(stream)
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_lines_that_another_tool_adds_are_kept(tmp_path):
    growing = Growing(tmp_path / "lines")
    growing.add("one\n")
    growing.close()
    with (tmp_path / "lines").open("a") as stream:
        stream.write("theirs\n")
    assert not growing.is_gone()
    growing.add("two\n")
    growing.close()
    assert (tmp_path / "lines").read_text() == "one\ntheirs\ntwo\n"


HOLDING = """
import sys
from phasecore.backends import Monitored
from phasecore.recording.recorder import Recorder
recorder = Recorder(sys.argv[1])
recorder.begin(Monitored("torch", None, "rba", {}), {}, iteration=0)
recorder.captured({"iteration": 1, "snr": 2.0})
print("recording", flush=True)
sys.stdin.read()
"""


def test_two_processes_on_one_folder_are_refused_by_name_until_the_first_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as other:
        try:
            assert other.stdout.readline().strip() == "recording"
            recorder = made(tmp_path / "run", resume=True)
            with pytest.raises(InputError, match=rf"history\.jsonl.*process {other.pid} on .*choose another folder"):
                recorder.begin(MONITORED, {}, iteration=1)
            assert open_run(tmp_path / "run").history["snr"].tolist() == [2.0]
        finally:
            other.kill()
            other.wait(SECONDS)
    recorder.begin(MONITORED, {}, iteration=1)
    recorder.captured({"iteration": 2, "snr": 1.0})
    recorder.finish(2)
    assert [row["iteration"] for row in read_rows(tmp_path / "run" / "history.jsonl")] == [1, 2]
    assert not (tmp_path / "run" / ".history.jsonl.lock").exists()


def test_a_lock_follows_no_link(tmp_path):
    (tmp_path / "precious").write_text("precious")
    lock = Lock(tmp_path / "history.jsonl")
    lock.file.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        lock.take()
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_child_that_was_forked_holds_no_lock(tmp_path):
    lock = Lock(tmp_path / "history.jsonl")
    lock.take()
    child = os.fork()
    if child == 0:
        os._exit(7 if lock.is_held() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lock.is_held()
    lock.release()


LIMITED = """
import resource, sys, warnings
from phasecore.backends import Monitored
from phasecore.recording.recorder import Recorder
recorder = Recorder(sys.argv[1])
recorder.begin(Monitored("torch", None, "rba", {}), {}, iteration=0)
told = []
warnings.showwarning = lambda message, *_: told.append(str(message))
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
for k in range(1, 401):
    if k == 300:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    recorder.captured({"iteration": k, "snr": 1.0 / k})
    text = open(sys.argv[1] + "/history.jsonl").read()
    assert not text or text.endswith(chr(10)), text[-50:]
recorder.finish(400)
assert len(told) == 1 and "File too large" in told[0], told
"""


def test_a_real_limit_of_the_size_of_files_is_outlived(tmp_path):
    done = python("-c", LIMITED, tmp_path / "run", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert open_run(tmp_path / "run").history["iteration"].tolist() == list(range(1, 401))


def test_no_time_of_a_training_is_that_of_a_clock_that_can_be_set():
    sources = [file for package in ("phasecore", "phasecore_torch", "phasecore_keras") for file in
               (Path(ROOT) / package).rglob("*.py")]  # fmt: skip
    by_wall_clock = [file.name for file in sources if "time.time(" in file.read_text(encoding="utf-8")]
    assert by_wall_clock == ["tensorboard.py"], "TensorBoard wants the wall clock; all else counts with perf_counter"
