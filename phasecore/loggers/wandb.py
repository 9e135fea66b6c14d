"""Weights & Biases: one run in a project, online or offline as wandb is set to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast, final, get_args

from phasecore.backends import Monitored, Outcome, Training
from phasecore.errors import InputError
from phasecore.hookspecs import hookimpl
from phasecore.loggers.content import folder_of, name_of, parameters_of, results_of, sentence_of
from phasecore.loggers.identity import Identity
from phasecore.phases import Transition
from phasecore.recording.history import numbers_of

if TYPE_CHECKING:
    import wandb

RUN_FILE = "wandb_run.txt"
Mode = Literal["online", "offline", "shared", "disabled"]


@final
class WandbLogger:
    """Logs the configuration, each capture against its iteration, and the phases and the outcome into the summary.

    A run of the user's own in the same process is left alone. Going on with a run, the same wandb run goes on; its
    values of iterations that are trained again are there twice. The run folder has its identity for each `project` and
    `entity`; without a folder a training goes on with its run as long as the process lives.

    Args:
        project: name of the project.
        entity: the user or team; by default wandb's own setting.
        mode: "online", "offline", "shared" or "disabled"; by default wandb's own setting (`WANDB_MODE`).
    """

    def __init__(self, project: str = "phasecore", entity: str | None = None, mode: str | None = None) -> None:
        if mode is not None and mode not in get_args(Mode):
            raise InputError(
                "logger 'wandb', option 'mode'", received=repr(mode), expected=f"one of {', '.join(get_args(Mode))}"
            )
        self._project = project
        self._entity = entity
        self._mode = cast(Mode | None, mode)
        self._identity = Identity(RUN_FILE, {"entity": entity, "project": project})
        self._run: wandb.Run | None = None

    @hookimpl
    def phasecore_run_started(self, training: Training | Monitored, resumed: bool) -> None:
        """Make the run, or open it again."""
        import wandb

        known = self._identity.of(training) if resumed else None
        if self._run is not None:
            if known == self._run.id:
                return
            self._run.finish()
        self._run = wandb.init(
            project=self._project,
            entity=self._entity,
            mode=self._mode,
            name=name_of(training),
            id=known,
            resume="allow" if known else None,
            config=parameters_of(training),
            dir=str(folder_of(training).absolute()),  # its service has another working folder
            reinit="create_new",
            settings=wandb.Settings(console="off", quiet=True),
        )
        self._identity.keep(training, self._run.id)
        self._run.define_metric("iteration", hidden=True)
        self._run.define_metric("*", step_metric="iteration")

    @hookimpl
    def phasecore_captured(self, row: Mapping[str, Any]) -> None:
        """Log values against the iteration."""
        assert self._run is not None
        self._run.log({"iteration": row["iteration"], **numbers_of(row)})

    @hookimpl
    def phasecore_phase_changed(self, transition: Transition) -> None:
        """Put the phase into the summary."""
        assert self._run is not None
        self._run.summary["phase"] = str(transition.phase)
        self._run.summary[f"phase.{transition.phase}"] = sentence_of(transition)

    @hookimpl
    def phasecore_run_finished(self, outcome: Outcome) -> None:
        """Put the outcome into the summary, and end the run."""
        assert self._run is not None
        self._run.summary.update(results_of(outcome))
        self._run.finish()
        self._run = None

    @hookimpl
    def phasecore_run_stopped(self) -> None:
        """End the run as one that failed."""
        if self._run is not None:
            self._run.finish(exit_code=1)
            self._run = None
