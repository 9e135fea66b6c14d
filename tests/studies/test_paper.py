"""The paper's set-ups, made small: every network gets its share of the time, and goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from benchmarks import paper
from phasecore.recording.history import HISTORY, read_rows
from phasecore.runs.preparation import problem_of

SMALL = {"points": 100, "width": 8, "depth": 2}
BOTH = [Path("helmholtz-uniform"), Path("helmholtz-rba")]


def iterations(folder: Path) -> list[int]:
    return [int(row["iteration"]) for row in read_rows(folder / HISTORY)]


def test_the_set_ups_are_the_papers() -> None:
    assert len(paper.networks(paper.PROBLEMS)) == 6
    for problem in paper.PROBLEMS:
        _, plan = problem_of(problem, "paper")
        assert (plan.width, plan.depth, plan.every, plan.iterations) == (128, 6, 100, 300_000)
        assert plan.points == (10_000 if problem == "lid_driven_cavity" else 25_600)


def test_networks_that_are_interrupted_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper.train(tmp_path, 0.0, ["helmholtz"], False, **SMALL, every=1, iterations=100_000)
    first = [iterations(tmp_path / name) for name in BOTH]
    assert all(0 < rows[-1] < 100_000 for rows in first)
    paper.train(tmp_path, 0.0, ["helmholtz"], False, **SMALL, every=1, iterations=100_000)
    for name, before in zip(BOTH, first, strict=True):
        after = iterations(tmp_path / name)
        assert after[: len(before)] == before
        assert len(after) > len(before), "each call makes an iteration at least"
        assert len(set(after)) == len(after)
    assert capsys.readouterr().out.count("ms each, error") == 4


def test_a_network_that_is_done_leaves_its_time_to_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []

    def done(folder: Path, problem: str, weighting: str, seconds: float, settings: Any) -> str:
        shares.append(seconds)
        return "done"

    monkeypatch.setattr(paper, "train_one", done)
    paper.train(tmp_path, 10.0, compiled=False)
    assert [round(share) for share in shares] == [100, 120, 150, 200, 300, 600]


def test_the_picture_has_our_curves_over_the_recorded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib.pyplot as plt
    import numpy as np

    from benchmarks.detection import Case
    from phasecore.phases import Curve

    iteration = np.arange(1, 50)
    columns = {"iteration": iteration, "gradient_mean_norm": 1.0 / iteration, "gradient_std_norm": np.ones(49)}
    monkeypatch.setattr(
        paper, "recorded_cases", lambda: [Case("helmholtz_vanilla", "recorded", Curve.from_columns(columns), {})]
    )
    figures: list[Any] = []
    monkeypatch.setattr(plt, "close", figures.append)
    small = [f"--{name}={value}" for name, value in {**SMALL, "iterations": 15}.items()]
    paper.main(["--output", str(tmp_path), "--problems", "helmholtz", "--compiled", "no", *small])
    assert (tmp_path / "paper.png").stat().st_size > 10_000
    labels = [line.get_label() for line in figures[0].axes[0].lines]
    assert labels[0] == "the authors', vanilla"
    assert {"ours, uniform", "ours, rba"} <= set(labels)
    assert iterations(tmp_path / BOTH[0])[-1] == 15
    assert "picture: " in capsys.readouterr().out
