"""Property tests draw the same examples every time, and nothing depends on how busy the machine is."""

import math
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from phasecore import plugins
from phasecore.recording import hooks

SYNTHETIC = Path(__file__).parent / "synthetic"

# torch's threads wait actively: on a busy machine two are many times slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")

# where many processes want two cores, writing a few rows may well take ten seconds, which is warned of
hooks.LEAST_SECONDS = math.inf

settings.register_profile("reproducible", deadline=None, derandomize=True)
settings.load_profile("reproducible")


@pytest.fixture
def synthetic_backend(monkeypatch):
    """A backend without a framework, as if it were installed."""
    monkeypatch.syspath_prepend(SYNTHETIC)
    monkeypatch.delenv("SYNTHETIC_STOP", raising=False)
    plugins.loaded.cache_clear()
    yield SYNTHETIC
    plugins.loaded.cache_clear()
    sys.modules.pop("synthetic_backend", None)


def pytest_runtest_setup(item):
    """Torch tells some causes once in a process: whoever came first would hear of them, and no other."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_warn_always(True)


LONGEST_FIRST = ("test_keras_backends.py", "test_integrations.py", "test_parity.py")
"""Files whose tests run in processes of their own, for minutes."""


def pytest_collection_modifyitems(items):
    """Let what takes longest begin first, beside all the rest."""
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.name) if item.path.name in LONGEST_FIRST else 3)
