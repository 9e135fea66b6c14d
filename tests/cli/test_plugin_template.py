"""A new plugin's package: names that will do, those that will not and why, and nothing written over."""

import importlib
import sys

import pytest
from processes import python

from phasecore.cli.plugin_template import write_plugin
from phasecore.errors import InputError
from phasecore.testing import check_policy, check_probe, check_problem, check_sampling


@pytest.mark.parametrize("name", ["my-scheme", "scheme", "My_Scheme2", "a1-b2-c3", "x"])
def test_names_that_will_do(name, tmp_path):
    package = name.replace("-", "_").lower()
    written = write_plugin(name, tmp_path / "new")
    assert tmp_path / "new" / package / "__init__.py" in written.files
    assert f'name = "{name}"' in (tmp_path / "new" / "pyproject.toml").read_text()
    for file in written.files:
        assert "$" not in file.read_text()
        if file.suffix == ".py":
            compile(file.read_text(), str(file), "exec")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "-scheme",
        "scheme-",
        "my--scheme",
        "2fast",
        "my scheme",
        "my.scheme",
        "../up",
        "schéma",
        "class",
        "a/b",
        "x\n",
    ],
)
def test_names_of_no_package(name, tmp_path):
    with pytest.raises(InputError, match="letters and digits, joined by hyphens"):
        write_plugin(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name", ["rba", "grad-norm", "RBA", "phasecore", "phasecore-torch", "json", "tests", "torch", "Keras", "numpy"]
)
def test_names_that_are_taken(name, tmp_path):
    with pytest.raises(InputError, match="which is taken; expected a name of your own"):
        write_plugin(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_generated_test_says_that_the_package_is_to_be_installed_first(tmp_path):
    write_plugin("my-scheme", tmp_path / "new")
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "new", cwd=tmp_path)
    assert done.returncode == 1
    assert "install this package first: pip install --editable ." in done.stdout


def test_a_probe_without_a_problem_is_checked_with_made_up_terms(tmp_path):
    write_plugin("my-start", tmp_path, ("weighting", "probe"))
    test = (tmp_path / "tests" / "test_conformance.py").read_text()
    assert 'testing.check_probe(phasecore.probe("my_start_probe"))\n' in test


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine").write_text("kept")
    for folder in (tmp_path, tmp_path / "mine"):
        with pytest.raises(InputError, match="holds something"):
            write_plugin("my-scheme", folder)
    assert (tmp_path / "mine").read_text() == "kept"
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]


def test_the_problem_and_the_probe_that_it_starts_from_keep_their_contracts(tmp_path, monkeypatch):
    write_plugin("my-start", tmp_path, ("weighting", "problem", "sampling", "probe", "policy"))
    monkeypatch.syspath_prepend(tmp_path)
    check_problem(importlib.import_module("my_start.problem").MyStartProblem())
    check_sampling(importlib.import_module("my_start.sampling").my_start_sampling)
    check_policy(importlib.import_module("my_start.policy").my_start_policy)
    problem, probe = (importlib.import_module(f"my_start.{kind}") for kind in ("problem", "probe"))
    check_probe(probe.MyStartProbe())
    check_probe(probe.MyStartProbe(), problem=problem.MyStartProblem())
    test = (tmp_path / "tests" / "test_conformance.py").read_text()
    assert 'testing.check_probe(phasecore.probe("my_start_probe"), problem="my_start_problem")' in test
    for module in [name for name in sys.modules if name.partition(".")[0] == "my_start"]:
        monkeypatch.delitem(sys.modules, module)
