"""The pages of the studies are made of whatever runs are there, and say which."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import matplotlib

from benchmarks import evidence, schemes
from benchmarks.evidence import STUDIES
from benchmarks.pool import PAIR, Run, planned
from benchmarks.study import runs

matplotlib.use("Agg")


def stored(run: Run) -> dict[str, Any] | None:
    """Runs of two problems: residual-based attention begins total diffusion, uniform weights never do."""
    if run.problem not in ("helmholtz", "burgers") or run.steps != "all points" or run.weighting not in PAIR:
        return None
    x = np.log10(iteration := np.unique(np.geomspace(1, 20_000, 400).astype(int)))
    begins = math.log10(2000.0 + 300 * run.seed)
    rises = np.interp(x - begins, [-0.02, 0.02], [0.0, 1.0 if run.weighting == "rba" else 0.0])
    noise = 0.05 * np.random.default_rng(run.seed).normal(size=len(x))
    error = 10 ** (noise / 5 - 1.5 * np.interp(x - begins, [-0.05, 0.3], [0.0, 1.0]) * (run.weighting == "rba"))
    history = {
        "iteration": iteration.tolist(),
        "snr": (10 ** (np.interp(x, [0.0, 2.0], [3.0, -2.0]) + 2 * rises + noise)).tolist(),
        "layer0_mean_norm": (10 ** (np.interp(x, [0.0, 2.0], [3.0, -2.0]) + rises)).tolist(),
        "layer0_std_norm": np.ones(len(x)).tolist(),
        "residual_order": (0.6 + 0.3 * rises).tolist(),
        "training_loss": (error**2).tolist(),
        "unweighted_loss": (error**2).tolist(),
        "relative_l2_error": error.tolist(),
        "layer0_saturation": (0.2 + 0.1 * rises).tolist(),
        "layer0_entropy_bits": (9.0 - rises).tolist(),
    }
    settings = {"seed": run.seed, "points": 100, "depth": 2, "width": 8, "learning_rate": 1e-3, "iterations": 20_000}
    configuration = {
        "problem": run.problem,
        "parameters": {"k": 1.0},
        "weighting": run.weighting,
        "settings": settings,
    }
    return {"configuration": configuration, "processor_seconds": 10.0, "history": history}


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "result", stored)
    monkeypatch.setattr(schemes, "result", stored)
    monkeypatch.setattr(evidence, "DOCS", tmp_path)
    monkeypatch.setattr(schemes, "PAGE", tmp_path / "schemes.md")
    runs.measured.cache_clear()
    yield
    runs.measured.cache_clear()


@pytest.mark.usefixtures("pages")
def test_the_evidence_says_what_is_there_and_what_it_shows(tmp_path: Path) -> None:
    evidence.main()
    page = (tmp_path / "evidence_quick.md").read_text()
    assert f"20 of the {len(planned())} runs" in page
    assert "| helmholtz | 0 | 5 | 0 | 0 | 1 (0.65 to 1; 5 runs) | none | none |" in page
    assert "| allen_cahn | 0 | 0 | 0 | 0 | none | none | none |" in page
    lines = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    assert "| holds |" in lines["Residuals become homogeneous over the domain."]
    assert "| holds |" in lines["Activations saturate: a larger share lies in the end bins."]
    assert "too few runs" in next(line for statement, line in lines.items() if statement.startswith("It takes fewer"))
    assert "| brdr | 0 of 0 |" in page
    pictures = sorted(f"images/{file.name}" for file in tmp_path.glob("images/*.png"))
    assert len(pictures) == 3 * len(STUDIES)
    pages = "".join(file.read_text() for file in tmp_path.glob("*.md"))
    assert all(f"({name})" in pages for name in pictures)


@pytest.mark.usefixtures("pages")
def test_the_page_of_three_phases_has_the_runs_of_the_presets_that_show_them(tmp_path: Path) -> None:
    evidence.main()
    page = (tmp_path / "evidence.md").read_text()
    assert "| burgers | phases | rba | 5 |" in page
    assert "| allen_cahn | quick | rba | 0 |" in page
    assert "| lid_driven_cavity | regularized | rba | 0 |" in page
    assert STUDIES[0].runs.planned == tuple(dict.fromkeys(STUDIES[0].runs.planned))


@pytest.mark.usefixtures("pages")
def test_the_table_of_schemes_is_sorted_by_error_and_says_what_is_missing() -> None:
    schemes.main()
    page = schemes.PAGE.read_text()
    assert page.index("| `rba` | 3 |") < page.index("| `uniform` | 3 |")
    assert "3 of 3, from" in page
    assert "0 of 3" in page
    assert "## lid_driven_cavity\nNone of " in page


@pytest.mark.parametrize("page", [*(partial(evidence.page, study) for study in STUDIES), schemes.page])
def test_pages_are_made_of_no_runs_too(
    page: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (runs, schemes):
        monkeypatch.setattr(module, "result", lambda run: None)
    monkeypatch.setattr(evidence, "DOCS", tmp_path)
    runs.measured.cache_clear()
    text = page()
    runs.measured.cache_clear()
    assert "0 of the" in text or "None of" in text
