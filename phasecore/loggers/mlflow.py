"""MLflow: one run in an experiment, on whichever tracking server or database MLflow is set to."""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from phasecore.backends import Monitored, Outcome, Training
from phasecore.errors import InputError
from phasecore.hookspecs import hookimpl
from phasecore.loggers.content import name_of, parameters_of, results_of, sentence_of
from phasecore.loggers.identity import Identity
from phasecore.phases import Transition
from phasecore.recording.history import numbers_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

RUN_FILE = "mlflow_run.txt"
SECONDS_BETWEEN_REQUESTS = 1.0
PARAMETERS_PER_REQUEST = 100
METRICS_PER_REQUEST = 1000


@final
class MLflowLogger:
    """Logs the configuration as parameters, each capture as metrics, the phases as tags.

    Captures are sent once a second at most, so that a slow server does not slow the training much. Only MLflow's
    client is used: a run that is active in the same process is left alone. Going on with a run, the same MLflow run
    goes on; its metrics of iterations that are trained again are there twice. The run folder has its identity for each
    `uri` and `experiment`; without a folder a training goes on with its run as long as the process lives.

    Args:
        experiment: name of the experiment; made if there is none.
        uri: of the tracking server or database, such as `sqlite:///mlflow.db`; by default MLflow's own setting
            (`MLFLOW_TRACKING_URI`).
    """

    def __init__(self, experiment: str = "phasecore", uri: str | None = None) -> None:
        if not isinstance(experiment, str) or not experiment:
            raise InputError("logger 'mlflow', option 'experiment'", received=repr(experiment), expected="a name")
        self._experiment = experiment
        self._uri = uri
        self._client: MlflowClient | None = None
        self._identity = Identity(RUN_FILE, {"experiment": experiment, "uri": uri})
        self._run = ""
        self._names = Names()
        self._waiting: list[Metric] = []
        self._sent = -math.inf

    @hookimpl
    def phasecore_run_started(self, training: Training | Monitored, resumed: bool) -> None:
        """Make the run, or open it again, and log the configuration."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        if self._waiting:
            self._send()
        self._client = client = MlflowClient(self._uri)
        if resumed and (known := self._identity.of(training)):
            self._run = known
            client.update_run(self._run, status="RUNNING")
            return
        self._names = Names()
        found = client.get_experiment_by_name(self._experiment)
        experiment = client.create_experiment(self._experiment) if found is None else found.experiment_id
        self._run = client.create_run(experiment, run_name=name_of(training)).info.run_id
        self._identity.keep(training, self._run)
        keys = Names()
        parameters = [Param(keys.of(name), str(value)) for name, value in parameters_of(training).items()]
        for start in range(0, len(parameters), PARAMETERS_PER_REQUEST):
            client.log_batch(self._run, params=parameters[start : start + PARAMETERS_PER_REQUEST])

    @hookimpl
    def phasecore_captured(self, row: Mapping[str, Any]) -> None:
        """Take metrics."""
        self._take(row["iteration"], numbers_of(row))

    @hookimpl
    def phasecore_phase_changed(self, transition: Transition) -> None:
        """Set the tags "phase" and "phase.NAME"."""
        assert self._client is not None
        self._client.set_tag(self._run, "phase", str(transition.phase))
        self._client.set_tag(self._run, f"phase.{transition.phase}", sentence_of(transition))

    @hookimpl
    def phasecore_run_finished(self, outcome: Outcome) -> None:
        """Log the outcome, and end the run."""
        self._take(outcome.iterations, results_of(outcome))
        self._end("FINISHED")

    @hookimpl
    def phasecore_run_stopped(self, error: BaseException) -> None:
        """End the run as one that was interrupted or failed."""
        self._end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")

    def _take(self, iteration: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        self._waiting += [Metric(self._names.of(name), value, now, iteration) for name, value in numbers.items()]
        if time.monotonic() - self._sent >= SECONDS_BETWEEN_REQUESTS or len(self._waiting) >= METRICS_PER_REQUEST:
            self._send()

    def _send(self) -> None:
        assert self._client is not None
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), METRICS_PER_REQUEST):
            self._client.log_batch(self._run, metrics=waiting[start : start + METRICS_PER_REQUEST])
        self._sent = time.monotonic()

    def _end(self, status: str) -> None:
        if self._client is not None and self._run:
            self._send()
            self._client.set_terminated(self._run, status)


@final
class Names:
    """Names with the characters that MLflow allows, and another one for each: those that become alike are numbered.

    Example:
        >>> names = Names()
        >>> [names.of(name) for name in ("coefficient_λ", "loss [1]", "loss (1)", "loss [1]")]
        ['coefficient_λ', 'loss _1_', 'loss _1__2', 'loss _1_']
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return what to call it."""
        if name not in self._keys:
            key = re.sub(r"[^\w\-./ ]", "_", name)
            others = set(self._keys.values())
            numbered = itertools.chain([key], (f"{key}_{number}" for number in itertools.count(2)))
            self._keys[name] = next(own for own in numbered if own not in others)
        return self._keys[name]
