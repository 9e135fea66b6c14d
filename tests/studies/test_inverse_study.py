"""The study of unknown coefficients: what its page shows is what its results hold."""

import json
from pathlib import Path

from benchmarks import inverse

PAGE = Path(inverse.__file__).parents[1] / "docs" / "inverse.md"


def test_the_page_shows_the_results_as_they_are():
    assert inverse.table() in PAGE.read_text()


def test_every_result_is_of_a_case_and_says_how_it_was_made():
    for file in inverse.RESULTS.glob("*.json"):
        run = json.loads(file.read_text())
        assert file == inverse.file_of(run["case"], run["seed"])
        problem, aim, policy, options = inverse.CASES[run["case"]]
        kept = [run[key] for key in ("problem", "aim", "policy", "iterations")]
        assert kept == [problem, aim, policy, options["iterations"]]
        for name, error in run["relative_errors"].items():
            assert abs(abs(run["found"][name] / run["true"][name] - 1) - error) < 1e-12
