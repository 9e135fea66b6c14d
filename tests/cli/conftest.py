"""The synthetic backend, as if it were installed, here and in child processes; an empty working folder."""

import pytest


@pytest.fixture(autouse=True)
def _synthetic_backend(synthetic_backend, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(synthetic_backend))
    monkeypatch.chdir(tmp_path)
