"""The Keras adapter on each backend of Keras, in a process of its own: Keras chooses its backend once, at import.

A backend that is not installed fails here. To run one by hand:
`PHASECORE_KERAS_SUITE=1 KERAS_BACKEND=jax python -m pytest tests/keras/suite`.

Tests that are marked `any_backend` (or whose module is) are about book-keeping: files, columns, messages, options. The
code under them is the same on every backend, so one backend runs them. What is about numbers, gradients, compilation
or what a framework hands over runs on all, and has no mark; where it repeats a law, the backends that compile have the
most telling part of it (`repeats.py`). What `make test` leaves out on a backend, `make campaigns` runs there.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import SECONDS, Started

SUITE = Path(__file__).parent / "suite"
BACKENDS = ["jax", "tensorflow", "torch"]
BOOK_KEEPER = "torch"
"""Runs everything, as it compiles nothing. JAX alone leaves a model's variables behind its training, until they are
asked for: tests to which that matters have no mark."""

PYTEST = ("-m", "pytest", str(SUITE), "-q", "-p", "no:cacheprovider")


def start(backend, output, *arguments):
    return Started([sys.executable, *arguments], output, KERAS_BACKEND=backend, PHASECORE_KERAS_SUITE="1")


def chosen(backend):
    return "not campaign" if backend == BOOK_KEEPER else "not campaign and not any_backend"


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    """The suite on every backend, side by side."""
    folder = tmp_path_factory.mktemp("suites")
    with ExitStack() as stack:
        yield {
            backend: stack.enter_context(start(backend, folder / backend, *PYTEST, "-m", chosen(backend)))
            for backend in BACKENDS
        }


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_suite_passes_on(backend, suites):
    status, output = suites[backend].finish()
    assert status == 0, output[-8000:]
    assert " passed" in output


@pytest.mark.campaign
@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend != BOOK_KEEPER])
def test_what_is_left_out_passes_on(backend, tmp_path):
    with start(backend, tmp_path / "output", *PYTEST, "-m", f"not ({chosen(backend)})") as process:
        status, output = process.finish()
    assert status == 0, output[-8000:]
    assert " passed" in output


def test_an_absent_backend_fails_and_is_not_skipped(tmp_path):
    with start("no_such_backend", tmp_path / "output", *PYTEST) as process:
        status, output = process.finish(SECONDS)
    assert status != 0
    assert " passed" not in output


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
    with start("tensorflow", tmp_path / "output", "-c", code) as process:
        status, output = process.finish(SECONDS)
    assert status == 0, output
