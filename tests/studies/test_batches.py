"""One training captured with 10, 100 and 400 batches has the same phases, whichever of them one looks at."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from captures import due

from benchmarks import batches
from benchmarks.batches import NUMBERS, TRAININGS, curves, farthest, file_of
from benchmarks.pool import Run, written
from phasecore.backends import Training
from phasecore.phases import detect, replay
from phasecore.runs import prepare

STORED = [run for run in TRAININGS if file_of(run).exists()]


@pytest.mark.parametrize("run", STORED, ids=lambda run: run.file.stem)
def test_the_number_of_batches_does_not_move_the_phases(run: Run) -> None:
    """Online, what is found with a confidence near one half may be declared with one number and not with another."""
    assert farthest(file_of(run), detect) <= 0.15
    assert farthest(file_of(run), replay, sure=0.7) <= 0.15


@pytest.mark.parametrize("run", STORED, ids=lambda run: run.file.stem)
def test_the_level_of_the_snr_goes_with_the_root_of_the_points_per_batch(run: Run) -> None:
    """Otherwise the stored curves would not try what they are for."""
    snr = {number: np.asarray(columns["snr"], dtype=float) for number, columns in curves(file_of(run)).items()}
    for few, many in itertools.pairwise(NUMBERS):
        factor = float(np.nanmedian(snr[few] / snr[many]))
        assert math.sqrt(many / few) == pytest.approx(factor, rel=0.3)


def test_one_network_is_measured_with_each_number_of_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(problem: str, **options: Any) -> Training:
        return prepare(problem, **{**options, "every": 2}, points=60, width=6, depth=2, iterations=12)

    monkeypatch.setattr(batches, "prepare", small)
    monkeypatch.setattr(batches, "NUMBERS", (2, 30))
    monkeypatch.setattr(batches, "EVERY", 2)
    kept = batches.train(Run("helmholtz", "rba", 0))
    file = tmp_path / "kept.json"
    written(file, kept, ("history", "by_batches"))
    two, thirty = curves(file).values()
    assert json.loads(file.read_text())["points_per_batch"] == {"2": 30.0, "30": 2.0}
    assert two["iteration"] == thirty["iteration"] == due(2, 12)
    assert two["training_loss"] == thirty["training_loss"]
    assert two["gradient_mean_norm"] == pytest.approx(thirty["gradient_mean_norm"], rel=1e-3)
    assert all(more > less for more, less in zip(two["snr"], thirty["snr"], strict=True))
