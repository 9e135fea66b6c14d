"""Every built-in logger keeps the contract of loggers, and each law can fail."""

import re

import pytest

import phasecore
from phasecore.testing import check_logger

# what MLflow does when it is imported
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sqlalchemy", "ignore::DeprecationWarning:mlflow")


@pytest.mark.parametrize("name", ["csv", "tensorboard", "mlflow", "wandb:mode=offline"])
def test_built_in_loggers(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, _, mode = name.partition(":mode=")
    options = {"mode": mode} if mode else {"uri": f"sqlite:///{tmp_path / 'mlflow.db'}"} if name == "mlflow" else {}
    assert not check_logger(lambda: phasecore.logger(name, **options)).skipped


class Unmarked:
    def phasecore_captured(self, row):
        """Not marked."""


class ReadsAProblem:
    @phasecore.hookimpl
    def phasecore_run_started(self, training):
        self.name = training.problem.name


class WantsNumbers:
    @phasecore.hookimpl
    def phasecore_captured(self, row):
        self.snr = round(row["snr"], 3)


class WantsAnError:
    @phasecore.hookimpl
    def phasecore_run_finished(self, outcome):
        assert outcome.relative_l2_error < 1


class WantsCaptures:
    def __init__(self):
        self.rows = []

    @phasecore.hookimpl
    def phasecore_captured(self, row):
        self.rows.append(row)

    @phasecore.hookimpl
    def phasecore_run_stopped(self):
        self.last = self.rows[-1]


class RefusesToGoOn:
    @phasecore.hookimpl
    def phasecore_run_started(self, training):
        (training.folder / "mine").touch(exist_ok=False)


class CannotOpenTwice:
    def __init__(self):
        self.is_open = False

    @phasecore.hookimpl
    def phasecore_run_started(self):
        assert not self.is_open
        self.is_open = True

    @phasecore.hookimpl
    def phasecore_run_finished(self):
        self.is_open = False


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Unmarked, "is_a_listener"),
        (ReadsAProblem, "hears_a_monitored_training"),
        (WantsNumbers, "hears_a_whole_training"),
        (WantsAnError, "hears_a_training_without_a_test_error"),
        (WantsCaptures, "hears_a_training_that_stops"),
        (RefusesToGoOn, "hears_a_training_that_goes_on"),
        (CannotOpenTwice, "hears_a_training_that_goes_on_at_once"),
    ],
)
def test_each_law_can_fail(kind, law):
    with pytest.raises(AssertionError, match=rf"logger '{kind.__name__}' breaks .*\n  - .*{law}"):
        check_logger(kind)


def test_one_cause_is_said_once():
    class Raises:
        @phasecore.hookimpl
        def phasecore_run_started(self):
            raise OSError("no space left")

    with pytest.raises(AssertionError) as caught:
        check_logger(Raises)
    assert str(caught.value).count("no space left") == 1
    assert re.search(r"hears_a_training_that_goes_on(, \w+)*: it raised OSError: no space left", str(caught.value))
