"""The page on which scheme helps against what is made of whatever runs are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from benchmarks import which_scheme
from benchmarks.pool import PROBLEMS, Run
from benchmarks.study import runs as of_pool
from benchmarks.which_scheme import BOTH, FRONT, SYMPTOMS, against_uniform, runs

LOSSES = {"uniform": 0.1, "rba": 0.01, "grad_norm": 0.4}


def stored(run: Run) -> dict[str, Any] | None:
    """Three schemes everywhere, of seed 2 uniform weights alone; rba is better than these, grad_norm worse."""
    if run.weighting not in LOSSES or run.steps != "all points" or (run.seed == 2 and run.weighting != "uniform"):
        return None
    loss = LOSSES[run.weighting] * (1 + run.seed)
    history = {
        "iteration": [1, 100],
        "loss_pde": [1.0, 5.0],
        "loss_boundary": [1.0, loss / 2],
        "loss_initial": [1.0, loss / 2],
        "absolute_residual_order": [0.1, 0.9 - loss],
        "relative_l2_error": [1.0, loss**0.5],
    }
    settings = {"seed": run.seed, "points": 100, "depth": 2, "width": 8, "learning_rate": 1e-3, "iterations": 100}
    configuration = {"problem": run.problem, "parameters": {}, "weighting": run.weighting, "settings": settings}
    return {"configuration": configuration, "processor_seconds": 10.0, "history": history}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    def clear() -> None:
        of_pool.measured.cache_clear()
        which_scheme.compared.cache_clear()

    monkeypatch.setattr(of_pool, "result", stored)
    clear()
    yield
    clear()


def test_each_run_is_held_against_uniform_weights_of_its_seed() -> None:
    conditions, equations, corner, front, _, time = SYMPTOMS
    assert against_uniform(conditions, "burgers", "rba") == pytest.approx([0.1, 0.1])
    assert against_uniform(equations, "burgers", "rba") == [1.0, 1.0]
    assert against_uniform(corner, "burgers", "rba") == pytest.approx([0.09, 0.18])
    assert against_uniform(front, FRONT, "grad_norm") == pytest.approx([2.0, 2.0])
    assert against_uniform(time, "burgers", "grad_norm") == [1.0, 1.0]
    assert against_uniform(conditions, "burgers", "ntk") == []


def test_the_best_scheme_stands_first_and_what_is_missing_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(which_scheme, "PAGE", tmp_path / "which_scheme.md")
    monkeypatch.setattr("sys.argv", ["which_scheme"])
    which_scheme.main()
    page = which_scheme.PAGE.read_text()
    first = page[page.index("## One condition") : page.index("## Conditions are met")]
    assert (
        first.index("| `rba` | 0.1 | 0.1 (0.1 to 0.1)") < first.index("| `grad_norm` | 4 |") < first.index("| `ntk` |")
    )
    assert f"| `{BOTH}` | - | - | - | - | - |" in first
    assert "| [One condition is ignored](#one-condition-is-ignored) | `rba` 0.1, `grad_norm` 4 |" in page
    assert "(+0.09 to +0.18)" in page[page.index("## Residuals sit") :]


def test_a_page_is_made_of_no_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_pool, "result", lambda run: None)
    assert which_scheme.page().count("No run is there yet.") == len(SYMPTOMS)


def test_every_problem_and_the_front_have_uniform_weights_to_be_held_against() -> None:
    planned = runs()
    assert len(set(planned)) == len(planned)
    assert {run.problem for run in planned if run.weighting == "uniform"} == {*PROBLEMS, FRONT}
