"""Offline runs, read back with wandb's own reader of its files, `wandb leet inspect`."""

import json

import numpy as np
import pytest
from listeners import goes_on_and_back
from processes import python

from phasecore import Phase, TrainingError, Transition, hookimpl
from phasecore.loggers.wandb import WandbLogger
from phasecore.recording.recorder import Recorder
from phasecore.runs import open_run

OFFLINE = "wandb:mode=offline,project=trials"


@pytest.fixture(autouse=True)
def _keeps_to_the_folder(monkeypatch, tmp_path):
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-own"))


def records(folder):
    """Every record of every offline run in a folder, oldest first, by type."""
    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime):
        done = python("-m", "wandb", "leet", "inspect", "--json", file)
        assert done.returncode == 0, done.stderr
        found += [json.loads(line) for line in done.stdout.splitlines()]
    return {kind: [item[kind] for item in found if item["type"] == kind] for kind in {item["type"] for item in found}}


def summary(read):
    return {name: value for item in read["summary"] for name, value in item["update"].items()}


def test_captures_configuration_and_outcome_are_read_back(train, tmp_path):
    outcome = train(OFFLINE)
    read = records(tmp_path / "first")
    (run,) = read["run"]
    assert (run["project"], run["display_name"]) == ("trials", "first")
    assert run["config"]["update"]["problem"] == "helmholtz"
    assert run["config"]["update"]["settings.points"] == 60
    history = open_run(tmp_path / "first").history
    rows = [item["item"] for item in read["history"]]
    assert [row["iteration"] for row in rows] == history["iteration"].tolist()
    for name in ("snr", "relative_l2_error"):
        np.testing.assert_array_equal([row.get(name, np.nan) for row in rows], history[name])
    assert summary(read)["final/relative_l2_error"] == outcome.relative_l2_error
    assert "iteration" in {item.get("step_metric") for item in read["metric"]}
    assert read["exit"][-1].get("exit_code", 0) == 0


def test_a_run_that_stops_is_ended_and_goes_on_as_the_same_run(train, tmp_path):
    with pytest.raises(TrainingError):
        train(OFFLINE, stop="fail:155")
    assert records(tmp_path / "first")["exit"][-1]["exit_code"] == 1
    train(resume=True)
    read = records(tmp_path / "first")
    first, again = read["run"]
    assert first["run_id"] == again["run_id"] == (tmp_path / "first" / "wandb_run.txt").read_text().split()[0]
    assert {row["item"]["iteration"] for row in read["history"]} == set(
        open_run(tmp_path / "first").history["iteration"]
    )


def test_a_phase_is_in_the_summary(tmp_path, train):
    logger = WandbLogger(mode="offline")
    transition = Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ())

    class Phases:
        """Tells the logger of a phase in the middle of a training, whatever the tracker finds."""

        phasecore_run_started = logger.phasecore_run_started
        phasecore_run_finished = logger.phasecore_run_finished

        @hookimpl
        def phasecore_captured(self, row):
            if row["iteration"] == 200:
                logger.phasecore_phase_changed(transition)

    train(Phases())
    found = summary(records(tmp_path / "first"))
    assert found["phase"] == "diffusion"
    assert found["phase.diffusion"].startswith("diffusion from iteration 150")


def test_a_run_of_the_user_is_left_alone(train, tmp_path):
    import wandb

    with wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(quiet=True)) as mine:
        train(OFFLINE)
        assert wandb.run is mine
        mine.log({"after": 1})
    assert records(tmp_path)["history"][-1]["item"]["after"] == 1


def test_an_unknown_mode_is_refused_before_the_training(train, tmp_path):
    with pytest.raises(ValueError, match=r"option 'mode': received 'off'; expected one of online, offline"):
        train("wandb:mode=off")
    assert not (tmp_path / "first").exists()


def test_each_of_two_loggers_goes_on_with_its_own_run(train, tmp_path):
    loggers = [f"wandb:mode=offline,project={name}" for name in ("one", "two", "three")]
    with pytest.raises(TrainingError):
        train(*loggers[:2], stop="fail:155")
    train(*loggers, resume=True)
    started = {name: [] for name in ("one", "two", "three")}
    for run in records(tmp_path / "first")["run"]:
        started[run["project"]].append(run["run_id"])
    assert [len(ids) for ids in started.values()] == [2, 2, 1]
    assert [len(set(ids)) for ids in started.values()] == [1, 1, 1]
    assert len({ids[0] for ids in started.values()}) == 3


@pytest.mark.parametrize("folder", [None, "run"])
def test_a_training_that_goes_on_after_its_end_or_goes_back_has_one_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = None if folder is None else tmp_path / folder
    recorder = Recorder(folder, loggers=OFFLINE)
    goes_on_and_back(recorder, folder)
    read = records(folder or tmp_path)
    assert len({run["run_id"] for run in read["run"]}) == 1
    assert [row["item"]["iteration"] for row in read["history"]] == [10, 20, 20]
