"""The synthetic backend, as if it were installed."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phasecore import plugins

collect_ignore = ["synthetic"]

SYNTHETIC = Path(__file__).parent / "synthetic"


@pytest.fixture(autouse=True)
def _synthetic_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(SYNTHETIC)
    monkeypatch.delenv("SYNTHETIC_STOP", raising=False)
    plugins.loaded.cache_clear()
    yield
    plugins.loaded.cache_clear()
    sys.modules.pop("synthetic_backend", None)
