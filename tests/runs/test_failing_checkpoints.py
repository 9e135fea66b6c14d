"""A checkpoint that cannot be saved ends no training: the one that was saved last stays."""

import errno
import json
import os
import warnings

import pytest
from faults import Disk

from phasecore import files
from phasecore.errors import InputError
from phasecore.recording.recorder import Recorder
from phasecore.recording.schedule import Schedule
from phasecore.runs import open_run, prepare, session


class Counting(session.Session):
    """Trains nothing; its state is where it stands."""

    def step(self):
        return 1.0

    def check(self, loss):
        pass

    def interior(self):
        return self.training.points.interior

    def move(self, resampler):
        pass

    def learning_rate(self):
        return None

    def measure(self, due):
        return {"snr": 1.0}

    def arrays(self):
        return {}

    def carry_out(self, action):
        pass

    def write(self, stream, standing):
        try:
            stream.write(str(standing["iteration"]).encode())
            stream.flush()
        except OSError:
            raise RuntimeError("as torch says it") from None

    def read(self, file):
        return {"iteration": int(file.read_bytes()), "seconds": 0.0}


@pytest.fixture
def disk(monkeypatch):
    monkeypatch.setattr(session, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)  # after each iteration
    return Disk(monkeypatch)


def prepared(folder):
    return prepare("helmholtz", backend="synthetic", points=60, iterations=30, every=10, output=folder)


def recorder_of(training):
    recorder = Recorder(training.folder)
    recorder.begin(training, {})
    return recorder


@pytest.mark.parametrize("to_the_end", [True, False])
def test_the_training_goes_on_and_the_last_checkpoint_stays(tmp_path, disk, monkeypatch, to_the_end):
    training = prepared(tmp_path / "run")
    file = tmp_path / "run" / "checkpoint" / "state"
    step, seen = Counting.step, []

    def stepping(self):
        seen.append(file.read_text())
        if self.iteration == 10:
            disk.fill()
        if self.iteration == 20 and not to_the_end:
            disk.free()
        return step(self)

    monkeypatch.setattr(Counting, "step", stepping)
    recorder = recorder_of(training)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Counting(training).run(recorder, file)
        outcome = recorder.finish(30)
    told = [str(warning.message) for warning in caught]
    assert len(told) == 1 + to_the_end, told
    assert "No space left" in told[0]
    assert [int(text) for text in seen] == [*range(11), *[10] * 9, *([10] * 10 if to_the_end else [10, *range(21, 30)])]
    assert outcome.iterations == 30
    assert file.read_text() == ("10" if to_the_end else "30")
    assert [path.name for path in file.parent.iterdir()] == ["state"]
    if not to_the_end:
        assert open_run(tmp_path / "run").history["iteration"][-1] == 30


@pytest.mark.parametrize("to_the_end", [True, False])
def test_no_state_is_saved_beyond_the_rows_that_are_written(tmp_path, disk, monkeypatch, to_the_end):
    training = prepared(tmp_path / "run")
    file, rows = tmp_path / "run" / "checkpoint" / "state", tmp_path / "run" / "history.jsonl"
    schedule = Schedule(training.settings.every, training.probes)
    add, step, states, fails = files.Growing.add, Counting.step, [], []

    def adding(self, text):
        if fails:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        add(self, text)

    def stepping(self):
        written = {json.loads(line)["iteration"] for line in rows.read_text().splitlines()} if rows.exists() else set()
        states.append(int(file.read_text()))
        assert set(schedule.until(states[-1])) == {iteration for iteration in written if iteration <= states[-1]}
        if self.iteration == 12:
            fails.append(True)
        if self.iteration == 25 and not to_the_end:
            fails.clear()
        return step(self)

    monkeypatch.setattr(files.Growing, "add", adding)
    monkeypatch.setattr(Counting, "step", stepping)
    recorder = recorder_of(training)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Counting(training).run(recorder, file)
        recorder.finish(30)
    assert states[12] == 12
    # those that lie between two captures go on with all rows there are
    last = next(iteration for iteration in range(13, 30) if schedule.due(iteration) is not None) - 1
    assert states[24] == last
    assert int(file.read_text()) == (last if to_the_end else 30)


def test_a_first_checkpoint_that_does_not_fit_is_refused_before_the_first_iteration(tmp_path, disk, monkeypatch):
    training = prepared(tmp_path / "run")
    recorder = recorder_of(training)
    monkeypatch.setattr(Counting, "step", lambda self: pytest.fail("an iteration was made"))
    disk.fill()
    with pytest.raises(InputError, match=r"cannot write the first checkpoint.*No space left.*Free space"):
        Counting(training).run(recorder, tmp_path / "run" / "checkpoint" / "state")
    recorder.close()
