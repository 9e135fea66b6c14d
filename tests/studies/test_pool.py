"""The pool of runs that the studies read: what is stored comes back, and a run of another set-up does not count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
from benchmarks import pool
from benchmarks.pool import PROBLEMS, Run, planned, result, store, train
from phasecore import registry
from phasecore.backends import Training
from phasecore.phases import detect
from phasecore.runs import prepare

ITERATIONS = 30


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the real kind, but with few iterations of a small network, in a pool of their own."""

    def training(run: Run) -> Training:
        return prepare(
            run.problem,
            weighting=run.weighting,
            backend="torch",
            seed=run.seed,
            probes=pool.PROBES,
            points=64,
            width=8,
            depth=2,
            iterations=ITERATIONS,
            every=5,
        )

    monkeypatch.setattr(pool, "POOL", tmp_path)
    monkeypatch.setattr(Run, "training", training)


@pytest.mark.parametrize("steps", ["all points", "mini-batches"])
def test_a_stored_run_comes_back_with_its_curves(steps: pool.Steps) -> None:
    run = Run("helmholtz", "rba", 1, steps)
    assert result(run) is None
    kept = train(run)
    store(run, kept)
    assert result(run) == json.loads(json.dumps(kept))
    history = kept["history"]
    assert history["iteration"][-1] == ITERATIONS
    assert {len(values) for values in history.values()} == {len(history["iteration"])}
    assert detect(history).reason
    for column in ("snr", "residual_order", "relative_l2_error", "adam_learning_rate_variation", "layer1_saturation"):
        assert all(value is not None for value in history[column])


def test_whole_batch_and_mini_batches_are_other_trainings() -> None:
    whole, parts = (train(Run("helmholtz", "uniform", 0, steps)) for steps in ("all points", "mini-batches"))
    assert whole["history"]["training_loss"][-1] != parts["history"]["training_loss"][-1]
    assert Run("helmholtz", "uniform", 0).file != Run("helmholtz", "uniform", 0, "mini-batches").file


def test_a_run_of_another_set_up_counts_as_missing() -> None:
    run = Run("helmholtz", "uniform", 0)
    kept = train(run)
    kept["configuration"]["settings"]["learning_rate"] *= 2
    store(run, kept)
    assert result(run) is None


def test_what_is_there_is_not_trained_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["pool", "--problems", "helmholtz", "--schemes", "uniform,rba", "--seeds", "3"]
    monkeypatch.setattr("sys.argv", asked)
    pool.main()
    assert capsys.readouterr().out.count("error") == 2
    monkeypatch.setattr(pool, "train", lambda run: pytest.fail(f"trained {run} again"))
    pool.main()
    monkeypatch.setattr("sys.argv", [*asked, "--list"])
    pool.main()
    assert "helmholtz: 2 of 2 runs" in capsys.readouterr().out


def test_a_training_that_diverges_is_kept_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    from phasecore.errors import TrainingError

    def diverges(training: Training) -> None:
        raise TrainingError("training", received="loss nan", row={})

    monkeypatch.setattr(pool, "execute", diverges)
    run = Run("helmholtz", "uniform", 0)
    store(run, train(run))
    kept = result(run)
    assert kept is not None
    assert "loss nan" in kept["diverged"]
    assert "history" not in kept


def test_every_scheme_is_planned_where_it_applies() -> None:
    runs = planned()
    assert len(set(runs)) == len(runs)
    assert {run.weighting for run in runs if run.problem == "burgers"} == set(registry.names("weighting")) - {"fixed"}
    assert "causal" not in {run.weighting for run in runs if run.problem == "helmholtz"}
    first = runs[: len(PROBLEMS) * 2]
    assert {(run.weighting, run.seed) for run in first} == {("uniform", 0), ("rba", 0)}
