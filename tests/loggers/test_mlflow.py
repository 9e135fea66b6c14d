"""Read back with MLflow's own client, from a local database."""

from typing import ClassVar

import numpy as np
import pytest
from listeners import goes_on_and_back
from mlflow import MlflowClient
from mlflow.entities import RunStatus
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

import phasecore
from phasecore import Phase, TrainingError, Transition
from phasecore.backends import Monitored
from phasecore.loggers import mlflow as module
from phasecore.loggers.mlflow import MLflowLogger
from phasecore.recording.recorder import Recorder
from phasecore.runs import open_run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sqlalchemy", "ignore::DeprecationWarning:mlflow")


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """One database for all tests: to make its tables takes a second."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def spec(uri, request):
    return f"mlflow:uri={uri},experiment={request.node.name}"


@pytest.fixture
def runs(uri, request):
    def runs():
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(request.node.name)
        return client, client.search_runs([experiment.experiment_id])

    return runs


def test_captures_configuration_and_outcome_are_read_back(train, spec, runs, tmp_path):
    outcome = train(spec)
    client, (run,) = runs()
    assert run.info.status == RunStatus.to_string(RunStatus.FINISHED)
    assert run.info.run_name == "first"
    assert run.data.params["problem"] == "helmholtz"
    assert run.data.params["settings.points"] == "60"
    assert run.data.metrics["final/relative_l2_error"] == outcome.relative_l2_error
    history = open_run(tmp_path / "first").history
    for name in ("snr", "relative_l2_error"):
        finite = np.isfinite(history[name])
        metrics = sorted(client.get_metric_history(run.info.run_id, name), key=lambda item: item.step)
        assert [item.step for item in metrics] == history["iteration"][finite].tolist()
        assert [item.value for item in metrics] == history[name][finite].tolist()


def test_captures_that_come_fast_are_sent_together(train, spec, runs, monkeypatch):
    calls = []
    log_batch = MlflowClient.log_batch
    monkeypatch.setattr(
        MlflowClient, "log_batch", lambda *given, **named: calls.append(named) or log_batch(*given, **named)
    )
    monkeypatch.setattr(module, "SECONDS_BETWEEN_REQUESTS", 1e9)
    train(spec)
    assert sum("metrics" in named for named in calls) <= 3
    client, (run,) = runs()
    assert client.get_metric_history(run.info.run_id, "snr")[-1].step == 300


@pytest.mark.parametrize(("how", "status"), [("fail", "FAILED"), ("interrupt", "KILLED")])
def test_a_run_that_stops_is_ended_and_goes_on_as_the_same_run(how, status, train, spec, runs):
    with pytest.raises((TrainingError, KeyboardInterrupt)):
        train(spec, stop=f"{how}:155")
    _, (stopped,) = runs()
    assert stopped.info.status == status
    train(resume=True)
    client, (resumed,) = runs()
    assert (resumed.info.run_id, resumed.info.status) == (stopped.info.run_id, "FINISHED")
    steps = {item.step for item in client.get_metric_history(resumed.info.run_id, "snr")}
    assert {10, 150, 160, 300} <= steps


def test_a_phase_is_a_tag(uri, spec, runs, train, request):
    logger = MLflowLogger(request.node.name, uri)

    class Phases:
        """Asks the logger to hear of a phase in the middle of a training, whatever the tracker finds."""

        phasecore_run_started = logger.phasecore_run_started
        phasecore_run_finished = logger.phasecore_run_finished
        phasecore_captured = logger.phasecore_captured

    train(Phases())
    logger.phasecore_phase_changed(Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ()))
    _, (run,) = runs()
    assert run.data.tags["phase"] == "diffusion"
    assert run.data.tags["phase.diffusion"].startswith("diffusion from iteration 150")


def test_an_active_run_of_the_user_is_left_alone(uri, train, spec, runs):
    import mlflow

    before = mlflow.get_tracking_uri()
    train(spec)
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before


def test_a_server_that_cannot_be_reached_does_not_stop_the_training(train, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with pytest.warns(RuntimeWarning, match=r"logger 'mlflow' of phasecore .*disabled for the rest of this run"):
        assert train("mlflow:uri=http://127.0.0.1:9").iterations == 300


def test_names_have_the_characters_that_mlflow_allows_and_stay_different():
    given = ["loss [x=1]/läyer", "coefficient_λ", "coefficient_κ", "a[1]", "a(1)", "a=1=", "a_1__2", "û"]
    names = module.Names()
    keys = [names.of(name) for name in given]
    assert keys[:5] == ["loss _x_1_/läyer", "coefficient_λ", "coefficient_κ", "a_1_", "a_1__2"]
    assert len(set(keys)) == len(given)
    assert [names.of(name) for name in reversed(given)] == keys[::-1]
    for key in keys:
        _validate_metric_name(key)
        _validate_param_name(key)


class Greek(phasecore.Problem):
    """A problem whose parameters differ in Greek letters."""

    domain: ClassVar = {"x": (0, 1)}
    outputs = ("u",)
    λ = 1.0
    κ = 2.0

    def conditions(self):
        return [phasecore.Prescribed("b", "boundary", {"u": 0})]

    def residuals(self, x, u, xp):
        return self.λ * u["u_xx"] - self.κ


def test_greek_names_are_names_of_their_own(spec, runs):
    recorder = Recorder(loggers=spec)
    recorder.begin(Monitored("torch", Greek()), iteration=0)
    for k in (10, 20):
        recorder.captured({"iteration": k, "coefficient_λ": 0.1, "coefficient_κ": 5.0})
    recorder.finish(20)
    client, (run,) = runs()
    assert (run.data.params["problem_parameters.λ"], run.data.params["problem_parameters.κ"]) == ("1.0", "2.0")
    for name, value in (("coefficient_λ", 0.1), ("coefficient_κ", 5.0)):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(item.step, item.value) for item in history] == [(10, value), (20, value)]


def test_each_of_two_loggers_goes_on_with_its_own_run(train, uri, tmp_path):
    client = MlflowClient(uri)
    loggers = [f"mlflow:uri={uri},experiment={name}" for name in ("one", "two", "three")]

    def found():
        experiments = [client.get_experiment_by_name(name) for name in ("one", "two", "three")]
        return [client.search_runs([item.experiment_id]) if item else [] for item in experiments]

    with pytest.raises(TrainingError):
        train(*loggers[:2], stop="fail:155")
    first = found()
    train(*loggers, resume=True)
    one, two, three = found()
    assert [len(runs) for runs in (one, two, three)] == [1, 1, 1]
    assert [runs[0].info.run_id for runs in (one, two)] == [runs[0].info.run_id for runs in first[:2]]
    for runs in (one, two, three):
        assert runs[0].info.status == "FINISHED"
        steps = {item.step for item in client.get_metric_history(runs[0].info.run_id, "snr")}
        assert {160, 300} <= steps
        assert (10 in steps) is (runs is not three)


def test_a_run_that_was_begun_before_places_were_kept_goes_on(train, spec, runs, tmp_path):
    with pytest.raises(TrainingError):
        train(spec, stop="fail:155")
    _, (run,) = runs()
    (tmp_path / "first" / module.RUN_FILE).write_text(run.info.run_id + "\n")
    train(resume=True)
    _, (again,) = runs()
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")


@pytest.mark.parametrize("folder", [None, "run"])
def test_a_training_that_goes_on_after_its_end_or_goes_back_has_one_run(spec, runs, folder, tmp_path):
    folder = None if folder is None else tmp_path / folder
    recorder = Recorder(folder, loggers=spec)
    goes_on_and_back(recorder, folder)
    client, (run,) = runs()
    assert run.info.status == "FINISHED"
    assert [item.step for item in client.get_metric_history(run.info.run_id, "snr")] == [10, 20, 20]
    if folder is None:
        recorder.forget()
        recorder.begin(Monitored("keras", scheme_name="rba"), iteration=0)
        recorder.finish(0)
        assert len(runs()[1]) == 2
