"""Read back with TensorBoard's own reader."""

import numpy as np
import pytest
from processes import python
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from phasecore import Phase, TrainingError, Transition
from phasecore.backends import Monitored
from phasecore.loggers.tensorboard import TensorBoardLogger
from phasecore.recording.recorder import Recorder
from phasecore.runs import open_run


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def assert_is_the_history(events, folder):
    history = open_run(folder).history
    for name, values in history.items():
        if name == "iteration":
            continue
        finite = np.isfinite(values)
        scalars = events.Scalars(name) if finite.any() else []
        assert [item.step for item in scalars] == history["iteration"][finite].tolist()
        np.testing.assert_allclose([item.value for item in scalars], values[finite], rtol=1e-6)


def texts(events, tag):
    return [item.tensor_proto.string_val[0].decode() for item in events.Tensors(tag)]


def test_captures_configuration_and_outcome_are_read_back(train, tmp_path):
    outcome = train("tensorboard")
    events = read(tmp_path / "first" / "tensorboard" / "first")
    assert_is_the_history(events, tmp_path / "first")
    (configuration,) = texts(events, "configuration")
    assert '"problem": "helmholtz"' in configuration
    assert '"settings.points": 60' in configuration
    (error,) = events.Scalars("final/relative_l2_error")
    assert (error.step, error.value) == (300, pytest.approx(outcome.relative_l2_error))


def test_runs_share_a_folder(train, tmp_path):
    train("tensorboard:path=board")
    train("tensorboard:path=board", folder="second")
    for name in ("first", "second"):
        assert_is_the_history(read(tmp_path / "board" / name), tmp_path / name)


def test_captures_after_the_checkpoint_are_forgotten_when_a_run_goes_on(train, tmp_path):
    with pytest.raises(TrainingError):
        train("tensorboard", stop="fail:155")
    train(resume=True)
    assert_is_the_history(read(tmp_path / "first" / "tensorboard" / "first"), tmp_path / "first")


def test_a_phase_is_a_text(tmp_path):
    logger = TensorBoardLogger("board")

    class Training:
        folder = tmp_path

    logger.phasecore_run_started(Training(), resumed=True)
    logger.phasecore_phase_changed(Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, (), declared_at=200))
    logger.phasecore_run_stopped()
    (item,) = read(tmp_path / "board" / tmp_path.name).Tensors("phase")
    assert item.step == 200
    assert item.tensor_proto.string_val[0].startswith(b"diffusion from iteration 150")


def test_writing_imports_no_framework(tmp_path):
    code = (
        "import sys, types, pathlib\n"
        "from phasecore.loggers.tensorboard import TensorBoardLogger\n"
        "logger = TensorBoardLogger('board')\n"
        "logger.phasecore_run_started(types.SimpleNamespace(folder=pathlib.Path('run')), resumed=True)\n"
        "logger.phasecore_captured({'iteration': 1, 'snr': 2.0})\n"
        "assert not {'tensorflow', 'torch', 'keras', 'jax'} & set(sys.modules)\n"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_runs_of_one_name_in_one_folder_are_kept_apart_and_each_goes_on_in_its_own(train, tmp_path):
    board = f"tensorboard:path={tmp_path / 'board'}"
    names = {"helmholtz/uniform": "uniform", "burgers/uniform": "uniform-2", "third/uniform": "uniform-3"}
    for folder in names:
        (tmp_path / folder).parent.mkdir()
        with pytest.raises(TrainingError):
            train(board, folder=folder, stop="fail:155")
    for folder in reversed(names):
        train(folder=folder, resume=True)
    assert {path.name for path in (tmp_path / "board").iterdir()} == set(names.values())
    for folder, name in names.items():
        events = read(tmp_path / "board" / name)
        assert_is_the_history(events, tmp_path / folder)
        assert len(texts(events, "configuration")) == 1


def test_a_logger_that_is_asked_for_when_a_run_goes_on_takes_no_other_runs_folder(train, tmp_path):
    train("tensorboard:path=board")
    (tmp_path / "other").mkdir()
    with pytest.raises(TrainingError):
        train(folder="other/first", stop="fail:155")
    train("tensorboard:path=board", folder="other/first", resume=True)
    assert_is_the_history(read(tmp_path / "board" / "first"), tmp_path / "first")
    assert read(tmp_path / "board" / "first-2").Scalars("snr")[0].step > 10


def heard(*rows, iteration=0, name="rba"):
    recorder = Recorder(loggers="tensorboard")
    recorder.begin(Monitored("torch", scheme_name=name), iteration=iteration)
    for step, value in rows:
        recorder.captured({"iteration": step, "snr": value})
    return recorder


def scalars(name):
    return [(item.step, item.value) for item in read(f"tensorboard/{name}").Scalars("snr")]


def test_without_a_run_folder_each_training_has_a_folder_and_goes_on_in_it(tmp_path):
    first = heard((10, 1.0), (20, 2.0))
    first.finish(20)
    heard((10, 5.0)).finish(10)
    first.captured({"iteration": 30, "snr": 3.0})
    first.finish(30)
    heard((20, 6.0), iteration=10).finish(20)
    assert scalars("training-rba") == [(10, 1.0), (20, 2.0), (30, 3.0)]
    assert scalars("training-rba-2") == [(10, 5.0), (20, 6.0)]


@pytest.mark.parametrize("between", [True, False])
def test_a_training_that_goes_back_has_the_captures_of_now(between):
    recorder = heard((10, 1.0), (20, 2.0), (30, 3.0))
    if between:
        recorder.finish(30)
    recorder.replay(recorder.rows[:1])
    recorder.captured({"iteration": 20, "snr": 7.0})
    recorder.finish(20)
    assert scalars("training-rba") == [(10, 1.0), (20, 7.0)]
    recorder.forget()
    recorder.begin(Monitored("torch", scheme_name="rba"), iteration=5)
    recorder.captured({"iteration": 10, "snr": 9.0})
    recorder.finish(10)
    assert scalars("training-rba") == [(10, 1.0), (20, 7.0)]
