"""The synthetic backend, as if it were installed, here and in child processes; an empty working folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phasecore import plugins

SYNTHETIC = Path(__file__).parents[1] / "runs" / "synthetic"


@pytest.fixture(autouse=True)
def _synthetic_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.syspath_prepend(SYNTHETIC)
    monkeypatch.setenv("PYTHONPATH", str(SYNTHETIC))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNTHETIC_STOP", raising=False)
    plugins.loaded.cache_clear()
    yield
    plugins.loaded.cache_clear()
    sys.modules.pop("synthetic_backend", None)
