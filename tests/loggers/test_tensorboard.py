"""Read back with TensorBoard's own reader."""

import numpy as np
import pytest
from processes import python
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from phasecore import Phase, TrainingError, Transition
from phasecore.loggers.tensorboard import TensorBoardLogger
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
