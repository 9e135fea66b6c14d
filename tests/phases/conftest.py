"""The recorded curves with their labels, read once."""

import json
import os

import pytest
from recorded_curves import LABELS, VARIABLE, find

from phasecore.recording.reading import read_curve


@pytest.fixture(scope="session")
def recorded_curves():
    """Return by name the curve and its label; skip where there are none, fail where they should have been."""
    try:
        folder = find()
    except FileNotFoundError as missing:
        (pytest.fail if os.environ.get(VARIABLE) else pytest.skip)(str(missing))
    labels = json.loads((folder / LABELS).read_text())
    return {name: (read_curve(folder / f"{name}.csv"), label) for name, label in labels.items()}
