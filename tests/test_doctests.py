"""Every docstring example runs; those of the core in a process of their own, which must stay free of frameworks."""

import doctest
import importlib
import importlib.util
import json
import os
import pkgutil
import warnings

import pytest
from processes import QUIET, ROOT, python

ADAPTERS = {"phasecore_torch": "torch", "phasecore_keras": "keras"}
ELSEWHERE = {"phasecore_torch.lightning", "phasecore_torch.pina", "phasecore_torch.deepxde", "phasecore_keras.deepxde"}
"""Their examples run in the environment of `tests/integrations`."""

FRAMEWORKS = ["torch", "keras", "tensorflow", "jax"]

RUN_ALL = """
import doctest, importlib, json, sys
results = {}
for name in sys.argv[1].split(","):
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name):
        runner.run(test, out=report.append)
    results[name] = "".join(report)
    found = [framework for framework in %r if framework in sys.modules]
    if found:
        results[name] += f"its examples import {found}, the core's must not"
        break
print(json.dumps(results))
"""


def modules(package):
    spec = importlib.util.find_spec(package)
    found = pkgutil.walk_packages(spec.submodule_search_locations, package + ".")
    return [package, *(item.name for item in found if not item.name.endswith("__main__"))]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    arguments = ["-W", "error", "-c", RUN_ALL % FRAMEWORKS, ",".join(modules("phasecore"))]
    done = python(*arguments, cwd=tmp_path_factory.mktemp("doctests"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", modules("phasecore"))
def test_examples_of_the_core(name, results):
    assert name in results, "not reached: the examples of a module before this one import a framework"
    assert not results[name], results[name]


@pytest.mark.parametrize("name", [n for package in ADAPTERS for n in modules(package) if n not in ELSEWHERE])
def test_examples_of_the_adapters(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    pytest.importorskip(ADAPTERS[name.partition(".")[0]])
    monkeypatch.chdir(tmp_path)
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Keras reads its own variables so, with numpy 2
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept", DeprecationWarning, "keras.src")
        for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name):
            runner.run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.campaign
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_examples_of_the_keras_adapter_run_on(backend):
    """The suite runs them on torch, which compiles nothing."""
    chosen = "test_examples_of_the_adapters and phasecore_keras"
    variables = os.environ | QUIET | {"KERAS_BACKEND": backend}
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", chosen, env=variables, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout


PROMISED = [
    "phasecore.errors",
    "phasecore.partials",
    "phasecore.signals",
    "phasecore.weighting.rba",
    "phasecore.registry",
]


@pytest.mark.parametrize("name", PROMISED)
def test_the_examples_are_found(name):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name)
    assert sum(len(test.examples) for test in found) > 0
