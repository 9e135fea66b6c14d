"""`pyproject.toml` promises what `make versions` tried, and the page says so; trying goes on where it stopped."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from versions import __main__ as command
from versions import environments, results
from versions.environments import ENVIRONMENTS, EXTRAS, PROJECT, PYTHONS, ROOT, Environment, interpreter
from versions.suite import CORE, KERAS, TORCH, steps

STORED = results.stored()
REQUIRED = [*PROJECT["dependencies"], *(each for extra in EXTRAS for each in PROJECT["optional-dependencies"][extra])]
REQUIREMENTS = {canonicalize_name(each.name): each.specifier for each in map(Requirement, sorted(set(REQUIRED)))}


WHOLE = {
    name: passed
    for name, passed in STORED.items()
    if [*passed["steps"]] == [step.name for step in steps(ENVIRONMENTS[name].kind)]
}
"""The environments of which every step has passed; the page says which have not."""


@pytest.mark.parametrize("name", STORED)
def test_a_python_is_what_its_environment_is_called(name):
    assert STORED[name]["python"].startswith(f"{ENVIRONMENTS[name].python}.")


@pytest.mark.parametrize("package", REQUIREMENTS)
def test_the_bounds_allow_what_passed_and_the_lower_one_is_the_lowest(package):
    passed = [Version(WHOLE[name]["pins"][package]) for name in WHOLE]
    assert all(version in REQUIREMENTS[package] for version in passed)
    (bound,) = (each for each in REQUIREMENTS[package] if each.operator == ">=")
    if {name for name in ENVIRONMENTS if name.endswith("lowest")} <= WHOLE.keys():
        assert min(passed) == Version(bound.version)


def test_a_python_is_promised_that_passed_and_none_older():
    required = SpecifierSet(PROJECT["requires-python"])
    assert all(python in required for python in PYTHONS)
    older = Version(PYTHONS[0]).minor - 1
    assert f"3.{older}" not in required


def test_the_page_shows_what_passed():
    assert results.TABLE.findall(results.PAGE.read_text()) == [results.table()]


def test_the_tests_that_are_chosen_exist():
    for chosen in (*CORE, *TORCH, *KERAS):
        file, _, name = chosen.partition("::")
        assert f"def {name or 'test_'}" in (ROOT / "tests" / file).read_text()


def test_a_missing_python_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "findpython", SimpleNamespace(find=lambda *_: None))
    with pytest.raises(SystemExit, match=r"Python 3\.12 is not installed"):
        interpreter("3.12")


@pytest.fixture
def trial(monkeypatch, tmp_path):
    """Trying an environment that is never made, with files of its own: the steps that ran, those to fail, its pins."""
    ran, failing, pins = [], set(), dict.fromkeys(results.SHOWN, "1")

    def said_by(environment, step):
        ran.append(step.name)
        if step.name in failing:
            raise subprocess.CalledProcessError(1, step.name)
        return "3 passed"

    page = tmp_path / "page.md"
    page.write_text("<!-- made by `make versions` -->\n<!-- end -->\n")
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(results, "PAGE", page)
    monkeypatch.setattr(command, "said_by", said_by)
    monkeypatch.setattr(Environment, "install", lambda environment: None)
    monkeypatch.setattr(environments, "interpreter", lambda python: python)
    monkeypatch.setattr(Environment, "pins", pins)
    return SimpleNamespace(ran=ran, failing=failing, pins=pins, page=page)


def test_what_failed_is_run_again_and_what_passed_is_not(trial):
    environment = ENVIRONMENTS["3.11-lowest"]
    every = [step.name for step in steps("lowest")]
    trial.failing.add("core and torch")
    assert command.tried(environment, again=False) == ["core and torch"]
    assert trial.ran[1:] == every
    assert "not: core and torch" in trial.page.read_text()
    trial.failing.clear()
    for expected in (["core and torch"], []):
        trial.ran.clear()
        assert command.tried(environment, again=False) == []
        assert trial.ran[1:] == expected
    assert "| 1 | 1 |" in trial.page.read_text()


@pytest.mark.parametrize("change", ["other versions", "other code", "asked for"])
def test_everything_is_run_again_with(change, trial, monkeypatch):
    command.tried(ENVIRONMENTS["3.11-lowest"], again=False)
    trial.ran.clear()
    if change == "other versions":
        monkeypatch.setattr(Environment, "pins", trial.pins | {"torch": "2"})
    elif change == "other code":
        monkeypatch.setattr(command, "code", lambda: "other")
    command.tried(ENVIRONMENTS["3.11-lowest"], again=change == "asked for")
    assert trial.ran[1:] == [step.name for step in steps("lowest")]
