"""The synthetic backend for all of these."""

import pytest


@pytest.fixture(autouse=True)
def _synthetic_backend(synthetic_backend):
    """As if it were installed."""
