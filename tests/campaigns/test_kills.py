"""SIGKILL at random moments of trainings of every kind, each gone on with: `kills.py`, a few times in the suite.

`make campaigns` kills each kind 50 times, or as often as the variable KILLS says.
"""

import os
import sys
from pathlib import Path

import pytest
from campaigns import campaign
from processes import ROOT, SUITE_SECONDS, Started

CAMPAIGN = os.environ.get("KILLS", "50")
INTEGRATIONS = Path(ROOT) / ".venv" / "integrations" / "bin" / "python"
TORCH = ["run-torch", "compare-torch", "compare-torch-jobs", "torch-loop"]
KERAS = ["run-keras", "compare-keras", "keras-fit"]


@pytest.mark.parametrize(
    ("kind", "backend", "kills"),
    [
        ("run-torch", "torch", "3"),
        ("torch-loop", "torch", "1"),
        *campaign(
            *((kind, "torch", CAMPAIGN) for kind in [*TORCH, *KERAS, "lightning"]),
            *((kind, backend, CAMPAIGN) for kind in KERAS for backend in ("tensorflow", "jax")),
        ),
    ],
)
def test_a_training_that_is_killed_and_gone_on_with_is_as_one_left_alone(kind, backend, kills, tmp_path):
    python = INTEGRATIONS if kind == "lightning" else sys.executable
    command = [str(python), str(Path(__file__).with_name("kills.py")), kind, kills]
    with Started(command, tmp_path / "output", KERAS_BACKEND=backend) as process:
        status, output = process.finish(SUITE_SECONDS)
    assert status == 0, output[-8000:]
    assert f"{kills} kills in" in output
