"""The Keras adapter on each backend of Keras, in a process of its own: Keras chooses its backend once, at import.

A backend that is not installed fails here. To run one by hand:
`PHASECORE_KERAS_SUITE=1 KERAS_BACKEND=jax python -m pytest tests/keras/suite`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).parent / "suite"
BACKENDS = ["tensorflow", "jax", "torch"]
QUIET_AND_QUICK_TO_COMPILE = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}


def start(backend, output, *command):
    environment = os.environ | QUIET_AND_QUICK_TO_COMPILE | {"KERAS_BACKEND": backend, "PHASECORE_KERAS_SUITE": "1"}
    with output.open("w") as stream:
        return subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    """The suite on every backend, side by side."""
    folder = tmp_path_factory.mktemp("suites")
    command = ("-m", "pytest", str(SUITE), "-q", "-p", "no:cacheprovider")
    running = {backend: start(backend, folder / backend, *command) for backend in BACKENDS}
    yield {backend: (process, folder / backend) for backend, process in running.items()}
    for process in running.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_suite_passes_on(backend, suites):
    process, output = suites[backend]
    code = process.wait()
    assert code == 0, output.read_text()[-8000:]
    assert " passed" in output.read_text()


def test_an_absent_backend_fails_and_is_not_skipped(tmp_path):
    process = start("no_such_backend", tmp_path / "output", "-m", "pytest", str(SUITE), "-q", "-p", "no:cacheprovider")
    assert process.wait() != 0
    assert " passed" not in (tmp_path / "output").read_text()


@pytest.mark.parametrize("attribute", ["PINN", "PhaseMonitor"])
def test_importing_the_adapter_leaves_the_choice_of_the_backend_open(attribute, tmp_path):
    code = (
        "import phasecore_keras, phasecore_keras.plugin, os, sys\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)\n"
        "os.environ['KERAS_BACKEND'] = 'jax'\n"
        f"phasecore_keras.{attribute}\n"
        "import keras\n"
        "assert keras.backend.backend() == 'jax'\n"
    )
    process = start("tensorflow", tmp_path / "output", "-c", code)
    assert process.wait() == 0, (tmp_path / "output").read_text()
