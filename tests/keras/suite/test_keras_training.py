import json
import math

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras_models import BACKEND
from repeats import repeated

import phasecore
from phasecore import InputError, TrainingError
from phasecore.cli import main
from phasecore.runs import execute, prepare, prepare_resumed

SMALL = {"points": 40, "width": 6, "depth": 1, "iterations": 12, "every": 4}


def rows(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def without_time(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.usefixtures("compiled_by_default")
def test_run_writes_a_run_folder(tmp_path):
    folder = tmp_path / "run"
    command = ["run", "burgers", "--backend", "keras", "--weighting", "rba", "--points", "40", "--width", "6"]
    command += ["--depth", "1", "--iterations", "12", "--every", "4", "--json", "--output", str(folder)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["backend"], document["iterations"]) == ("keras", 12)
    assert math.isfinite(document["relative_l2_error"])
    versions = json.loads((folder / "run.json").read_text())["versions"]
    assert versions["keras_backend"] == BACKEND
    assert versions["keras"] == keras.__version__
    with np.load(min((folder / "snapshots").glob("*.npz"))) as snapshot:
        assert {"points", "residual_pde", "weight_pde", "field_u", "grid"} <= set(snapshot.files)
        assert snapshot["residual_pde"].shape == snapshot["weight_pde"].shape == (40,)


@repeated
def test_two_runs_with_one_seed_give_one_history_and_a_resumed_one_the_same(tmp_path):
    for name in ("first", "second"):
        execute(prepare("burgers", weighting="rba", backend="keras", output=tmp_path / name, **SMALL))
    assert without_time(rows(tmp_path / "first")) == without_time(rows(tmp_path / "second"))
    half = SMALL | {"iterations": 6}
    execute(prepare("burgers", weighting="rba", backend="keras", output=tmp_path / "half", **half))
    execute(prepare_resumed(tmp_path / "half", iterations=12), resume=True)
    whole = {row["iteration"]: row for row in without_time(rows(tmp_path / "first"))}
    for row in without_time(rows(tmp_path / "half")):
        if row["iteration"] in whole:
            assert row == pytest.approx(whole[row["iteration"]], rel=1e-4, nan_ok=True)


@pytest.mark.any_backend
def test_a_state_of_another_network_is_refused(tmp_path):
    execute(prepare("burgers", backend="keras", output=tmp_path / "run", **SMALL))
    state = tmp_path / "run" / "checkpoint" / "state.npz"
    with np.load(state) as whole:
        kept = {name: whole[name] for name in whole.files[:-1]}
    np.savez(state, **kept)
    with pytest.raises(InputError, match="resuming from"):
        execute(prepare_resumed(tmp_path / "run", iterations=14), resume=True)


@pytest.mark.any_backend
def test_a_loss_that_explodes_ends_the_training():
    with pytest.raises(TrainingError, match="expected a finite number"):
        execute(prepare("burgers", backend="keras", **{**SMALL, "iterations": 60}, learning_rate=1e25))


@pytest.mark.any_backend
def test_what_the_backend_supplies():
    backend = phasecore.registry.backend("keras")
    assert backend.supplies >= {"residuals", "batch_gradient_moments", "adam_moments"}
