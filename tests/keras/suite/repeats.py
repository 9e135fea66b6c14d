"""What repeats a law: torch tries all of it, as nothing is compiled there; the other backends the most telling part.

Each mechanism is tested on every backend: weights per point, per term from losses, gradients and traces, compositions,
jets and nested autodiff, points that move, captures, saved and resumed trainings. What `make test` leaves out on a
backend that compiles, `make campaigns` runs there.
"""

import keras
import pytest
from campaigns import campaign

COMPILES = keras.backend.backend() != "torch"


def further(*values):
    """Return parameters of `pytest.mark.parametrize`, of which backends that compile are spared all but campaigns."""
    return campaign(*values) if COMPILES else list(values)


def repeated(test):
    """Mark a test whose mechanism another one tests on every backend."""
    return pytest.mark.campaign(test) if COMPILES else test
