"""Short trainings without a framework, for the loggers to write down."""

import pytest

from phasecore.runs import execute, prepare, prepare_resumed

ITERATIONS = 300


@pytest.fixture(autouse=True)
def _synthetic_backend(synthetic_backend, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return `train(*loggers)`: a training in the run folder "first"; `stop` ends it early, `resume` goes on."""

    def train(*loggers, stop="", resume=False, folder="first"):
        output = None if folder is None else tmp_path / folder
        monkeypatch.setenv("SYNTHETIC_STOP", stop)
        if resume:
            return execute(prepare_resumed(output), resume=True, loggers=loggers or None)
        training = prepare("helmholtz", backend="synthetic", points=60, iterations=ITERATIONS, output=output)
        return execute(training, loggers=loggers)

    return train
