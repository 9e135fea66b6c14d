"""Which runs are seeds of one weighting: those alike in all that was trained, no others; what tells them apart."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phasecore.backends import Outcome, Settings
from phasecore.phases import Timeline
from phasecore.recording.configuration import IDENTITY, UNITS, configuration_of, provenance, trained
from phasecore.recording.folder import create, read_json, write_json
from phasecore.reporting import gather, write_report
from phasecore.reporting.comparison import Compared, in_groups
from phasecore.reporting.naming import names_of
from phasecore.reporting.seeds import grouped_by_weighting
from phasecore.runs import prepare

OTHER: dict[str, Any] = {
    "problem": "burgers",
    "problem_parameters": {"a1": 2, "a2": 4, "k": 1.0},
    "backend": "torch",
    "weighting": "rba:gamma=0.5",
    "sampling": "r3:every=10",
    "preset": "paper",
    "policy": "stop_when_done",
    "precision": "float64",
    "condition_points": 17,
}
PROBLEM_SOURCES = [{"class": "Wave", "fingerprint": {"outputs": [name]}} for name in "uv"]


def base() -> dict[str, Any]:
    return configuration_of(prepare("helmholtz", backend="synthetic", weighting="rba", points=60))


def changed(configuration: dict[str, Any], name: str, seed: int = 1) -> dict[str, Any]:
    """The configuration with another value of one thing, and another seed."""
    if name in IDENTITY:
        return {**configuration, "seed": seed, name: OTHER[name]}
    value = configuration["settings"][name]
    other = OTHER[name] if name in OTHER else 2 * value
    return {**configuration, "seed": seed, "settings": {**configuration["settings"], name: other}}


MEASURED_OR_SPED_UP = {"seed", "compiled"}
TRAINED = sorted({*IDENTITY, *(UNITS.get(name, name) for name in vars(Settings(1, 1, 1, 1)))} - MEASURED_OR_SPED_UP)


@pytest.mark.parametrize("name", TRAINED)
def test_runs_that_differ_in_anything_that_was_trained_are_not_pooled_and_the_names_say_in_what(name: str) -> None:
    one = base()
    other = changed(one, name)
    assert trained(one) != trained(other)
    labels, groups = names_of([one, {**one, "seed": 3}, other], ["a", "b", "c"])
    assert groups[0] == groups[1] != groups[2]
    assert len(set(labels)) == 3
    if name == "problem_parameters":
        assert "a1 = 2" in groups[2]
    elif name in IDENTITY:
        assert str(OTHER[name]) in groups[2]
    else:
        assert f"{name.replace('_', ' ')} {other['settings'][name]}" in groups[2]


@pytest.mark.parametrize(
    "more",
    [
        {"probes": ["saturation"]},
        {"loggers": ["csv"]},
        {"plugins": []},
        {"resumed": [{}]},
        provenance({"torch": "0"}),
        {"settings": {"compiled": True}},
        {"weighting": "rba:gamma=0.90,eta=0.1"},
    ],
)
def test_runs_that_differ_in_nothing_that_was_trained_but_the_seed_are_pooled(more: dict[str, Any]) -> None:
    one = {**base(), "weighting": "rba:eta=0.1,gamma=0.9"}
    other = {**one, **more, "settings": {**one["settings"], **more.get("settings", {})}, "seed": 1}
    _, groups = names_of([one, other], ["a", "b"])
    assert groups[0] == groups[1]


def test_runs_of_a_class_that_computes_something_else_are_not_pooled() -> None:
    one, other = ({**base(), "seed": seed, "problem_source": source} for seed, source in enumerate(PROBLEM_SOURCES))
    again = {**one, "seed": 2, "problem_source": {**PROBLEM_SOURCES[0], "file": "elsewhere.py"}}
    assert len(set(names_of([one, other], ["a", "b"])[1])) == 2
    assert len(set(names_of([one, again], ["a", "b"])[1])) == 1


def test_presets_name_their_settings_and_what_differs_beside_them_is_named() -> None:
    quick = base()
    paper = {**quick, "preset": "paper", "settings": {**quick["settings"], "points": 99}}
    slow = {**paper, "settings": {**paper["settings"], "learning_rate": 0.5}}
    many = {**quick, "settings": {**quick["settings"], "points": 200, "batches": 100}}
    assert names_of([quick, many], ["a", "b"])[0] == ["rba, points 60", "rba, points 200"]
    assert names_of([quick, paper], ["a", "b"])[0] == ["rba, quick", "rba, paper"]
    assert names_of([quick, paper, slow], ["a", "b", "c"])[0][2] == "rba, paper, learning rate 0.5"


def write(folder: Path, configuration: dict[str, Any], *, error: float, done: int | None) -> Path:
    create(folder, configuration)
    rows = [{"iteration": at, "seconds": 0.1, "snr": 1.0, "relative_l2_error": error} for at in (10, 20)]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if done is not None:
        write_json(folder / "outcome.json", {"iterations": done})
    return folder


def test_medians_and_ratios_are_of_runs_that_differ_by_their_seed_alone(tmp_path: Path) -> None:
    """Some trained longer, some in another way: each kind has a line of its own."""
    short = base()
    short["settings"]["iterations"] = 20
    long = changed(short, "iterations", seed=1)
    kinds = [short, {**short, "seed": 2}, long, {**long, "seed": 3}]
    for place, configuration in enumerate(kinds):
        write(tmp_path / f"{place}", configuration, error=1.0 + place, done=configuration["settings"]["iterations"])
    reported = write_report([tmp_path], tmp_path / "report.html")
    groups = {group.weighting: group.error() for group in grouped_by_weighting(reported)}
    assert {name: spread and spread.values for name, spread in groups.items()} == {
        "rba, iterations 20": (1.0, 2.0),
        "rba, iterations 40": (3.0, 4.0),
    }


@pytest.mark.parametrize(
    ("asked", "done", "action", "failure", "is_complete"),
    [
        (20, 20, "", "", True),
        (20, 30, "", "", True),
        (60, 20, "", "", False),
        (60, 20, "stop", "", True),
        (60, 20, "snapshot", "", False),
        (20, 20, "", "lost", False),
        (20, None, "", "", False),
        (20, None, "stop", "", False),
        (None, 20, "", "", True),
    ],
)
def test_a_run_is_complete_if_it_did_what_it_asks_for_or_a_policy_stopped_it(
    tmp_path: Path, asked: int | None, done: int | None, action: str, failure: str, is_complete: bool
) -> None:
    configuration = base()
    configuration["settings"]["iterations"] = asked
    run = write(tmp_path / "run", configuration | ({"failure": failure} if failure else {}), error=1.0, done=done)
    if action:
        acted = {"iteration": 20, "policy": "mine", "action": action, "to": None, "reason": "because"}
        with (run / "history.jsonl").open("a") as stream:
            stream.write(json.dumps({"iteration": 30, "snr": 1.0, "actions": [acted]}) + "\n")
    (item,) = gather([run])
    assert item.is_complete is is_complete
    write_report([run], tmp_path / "report.html")
    assert (">unfinished<" in (tmp_path / "report.html").read_text()) is (not is_complete and not failure)
    assert read_json(run / "run.json")["settings"]["iterations"] == asked


def test_a_comparison_does_not_pool_a_run_that_was_gone_on_with_by_itself() -> None:
    trainings = [prepare("helmholtz", backend="synthetic", points=60, seed=seed, iterations=40) for seed in range(3)]
    longer = replace(trainings[2], settings=replace(trainings[2].settings, iterations=80))
    outcome = Outcome(40, 1.0, 1.0, Timeline((), None, ""))
    runs = in_groups([Compared.of(training, outcome) for training in (*trainings[:2], longer)])
    assert [run.weighting for run in runs] == ["uniform, iterations 40"] * 2 + ["uniform, iterations 80"]
    alike = in_groups([Compared.of(training, outcome) for training in trainings])
    assert [run.weighting for run in alike] == ["uniform"] * 3


@pytest.mark.parametrize("error", [1.0, None])
def test_the_page_says_of_how_many_pairs_a_ratio_is(tmp_path: Path, error: float | None) -> None:
    for weighting in ("uniform", "rba"):
        for seed in range(3):
            configuration = {**base(), "weighting": weighting, "seed": seed}
            configuration["settings"]["iterations"] = 5000
            folder = tmp_path / f"{weighting}-{seed}"
            create(folder, configuration)
            falls = seed > 0
            rows = [
                {"iteration": at, "snr": 30.0 if at < 100 or not falls else 0.03, "relative_l2_error": error}
                for at in range(10, 5001, 10)
            ]
            (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            write_json(folder / "outcome.json", {"iterations": 5000})
    write_report([tmp_path], tmp_path / "report.html")
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", (tmp_path / "report.html").read_text()))
    ratios = page[page.index("Ratios, paired by seed") :]
    assert (
        f"/ uniform 3 {'1 ' if error else ''}1, 2 of 3 - " in ratios
        or f"/ rba 3 {'1 ' if error else ''}1, 2 of 3 - " in ratios
    )
