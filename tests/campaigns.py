"""Parameters that `make campaigns` goes through, and the suite does not: more of what it tests in short."""

import pytest


def campaign(*values):
    """Return parameters of `pytest.mark.parametrize`, a tuple for several arguments, that only campaigns use."""
    each = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*value, marks=pytest.mark.campaign) for value in each]
