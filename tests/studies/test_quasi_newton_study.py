"""Self-scaled L-BFGS beside torch's and scipy's own: the page shows the results as they are."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks import quasi_newton

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def test_the_page_shows_the_results_as_they_are() -> None:
    assert quasi_newton.table() in PAGE.read_text()


def test_it_is_nearer_than_each_peer_in_every_training() -> None:
    results = quasi_newton.kept()
    assert len(results) >= 4
    for result in results:
        errors = result["errors"]
        assert all(errors["phasecore_torch.LBFGS"] <= error for error in errors.values()), result
