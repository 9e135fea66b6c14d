"""The synthetic backend, as if it were installed, here and in child processes; an empty working folder; no figures."""

import pytest


@pytest.fixture(autouse=True)
def _synthetic_backend(synthetic_backend, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(synthetic_backend))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _no_figure(request, monkeypatch):
    """Drawing takes seconds, and is tested by itself: an empty file stands for the figure of a comparison."""
    if "drawn_figures" not in request.fixturenames:
        monkeypatch.setattr("phasecore.reporting.comparison_figure.draw_comparison", lambda runs, file: file.touch())


@pytest.fixture
def drawn_figures():
    """Have the figures of comparisons drawn."""
