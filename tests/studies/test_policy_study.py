"""The study of policies: copies of one training that go on from where a rule switches, and the page made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from benchmarks import policies, policy_study
from benchmarks.policies import Job, Plateau, result, train
from benchmarks.pool import written


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    """A job with two rules, one of which comes true, in a process of few iterations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policies, "SHARES", (0.5,))
        patch.setattr(policies, "PATIENCES", (10_000,))
        return train(Job("helmholtz", "rba", 0, iterations=40, points=40))


def test_copies_go_on_from_the_switch_with_the_time_that_is_left(trained: dict[str, Any]) -> None:
    results = trained["results"]
    assert {"adam", *(f"share 0.5, {weights}" for weights in policies.WEIGHTS)} <= set(results)
    assert not any(name.startswith("plateau") for name in results)
    budget = results["adam"]["processor_seconds"]
    for name, found in results.items():
        if name.startswith("share"):
            assert "failed" not in found
            assert found["began"]["iteration"] >= 20
            assert found["began"]["processor_seconds"] < budget
            assert found["processor_seconds"] >= budget
            assert found["actions"][0] == f"{found['began']['iteration']}: switch_optimizer, share 0.5"
    own = [results[f"share 0.5, {weights}"]["actions"][1].split(": ")[1] for weights in policies.WEIGHTS[1:]]
    assert [words.split(",")[0] for words in own] == ["hold_weighting", "average_weighting", "change_weighting"]


def test_adam_alone_makes_the_iterations_of_the_preset(trained: dict[str, Any]) -> None:
    adam = trained["results"]["adam"]
    assert adam["iterations"] == 40
    assert [words.split(", ")[1] for words in adam["actions"]] == ["all iterations"]


def test_a_stored_job_comes_back(trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "RESULTS", tmp_path)
    monkeypatch.setattr(policies, "SHARES", (0.5,))
    monkeypatch.setattr(policies, "PATIENCES", (10_000,))
    job = Job("helmholtz", "rba", 0, iterations=40, points=40)
    assert result(job) is None
    written(job.file, trained, ("results",))
    assert result(job) == json.loads(json.dumps(trained))
    assert result(Job("helmholtz", "rba", 0, iterations=41, points=40)) is None


def test_a_plateau_begins_when_nothing_lower_was_seen_for_the_patience() -> None:
    seen = {0: 1.0, 50: 0.9, 100: 0.89, 140: 0.885, 160: 0.5, 250: 0.495}
    rule = Plateau(100)
    assert [rule(None, {"iteration": at, "unweighted_loss": loss}) for at, loss in seen.items()] == [False] * 6
    assert rule(None, {"iteration": 260, "unweighted_loss": float("nan")})


def stored(job: Job) -> dict[str, Any] | None:
    """On Helmholtz diffusion is declared within the span and pays, on others never; KdV has the policy's branches."""
    if job.start != "rba" or job.problem not in ("helmholtz", "burgers", "kdv") or job.narrow != (job.problem == "kdv"):
        return None
    error = 0.05 if job.problem == "helmholtz" else 0.2
    results: dict[str, Any] = {"adam": {"error": 0.1}}
    for share, at in ((0.1, 250), (0.25, 600)):
        own = {"error": error, "began": {"iteration": at}}
        results |= {f"share {share:g}, {weights}": own for weights in policy_study.WEIGHTS}
    if job.problem == "helmholtz":
        results["diffusion declared, averaged"] = {"error": 0.01, "began": {"iteration": 400}}
    return {"results": results}


@pytest.fixture
def page_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Job], Any]], None]]:
    """Have the page made of what a function returns for each job."""
    policy_study._of_seed.cache_clear()
    yield lambda stored: monkeypatch.setattr(policy_study, "result", stored)
    policy_study._of_seed.cache_clear()


def test_the_page_has_the_gain_of_the_built_in_policy(
    page_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page_of(stored)
    monkeypatch.setattr(policy_study, "PAGE", tmp_path / "policy_study.md")
    policy_study.main()
    page = policy_study.PAGE.read_text()
    assert "| Adam + rba over the policy, geometric mean over the problems | helmholtz, burgers | 5 | 2.2 |" in page
    assert "| the same, worst problem | helmholtz, burgers | 1.5 | 0.5 |" in page
    assert "| problems kept aside: Adam + rba over the policy | kdv | 3 | 0.5 |" in page
    assert "3 of 3 seeds, 0 with every rule." in page
    assert "| diffusion declared | averaged | 400 (400 to 400) | 0.01 (0.01 to 0.01) | 10 |" in page
    assert "| diffusion declared | averaged | never | 0.1 (0.1 to 0.1) | 1 |" in page
    assert "Of the 36 trainings 9 are there, 6 of them with all their branches." in page


def test_a_page_is_made_of_no_jobs_too(page_of: Any) -> None:
    page_of(lambda job: None)
    assert "none yet" in policy_study.page()


@pytest.mark.parametrize(("declared", "at"), [(16, 250), (250, 250), (400, 400), (900, 600), (None, 600)])
def test_the_built_in_policy_is_the_branch_within_its_span(declared: int | None, at: int) -> None:
    found = {"share 0.1, averaged": 250, "share 0.25, averaged": 600}
    found |= {} if declared is None else {"diffusion declared, averaged": declared}
    results = {name: {"began": {"iteration": iteration}} for name, iteration in found.items()}
    assert policy_study.quasi_newton(results)["began"]["iteration"] == at
