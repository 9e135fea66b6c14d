"""The contract of a backend: what a training is, what it reports, and who trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol, final

import numpy as np
from numpy.typing import NDArray

from phasecore.arguments import is_number, is_whole
from phasecore.errors import InputError
from phasecore.phases import Timeline
from phasecore.policies.actions import WORDS, Action
from phasecore.policies.base import Policy
from phasecore.probes.base import Probe
from phasecore.problems.base import CollocationPoints, Problem
from phasecore.sampling.base import Sampling
from phasecore.weighting.base import WeightingScheme

DEFAULT_SAMPLING = "latin_hypercube"
PRECISIONS = ("float32", "float64")
LARGEST_SEED = 2**64 - 1
"""That every framework takes."""


@final
@dataclass(frozen=True)
class Settings:
    """How to train: everything that is a number or a name, as `run.json` keeps it.

    Attributes:
        iterations: optimizer iterations.
        points: number of collocation points.
        width: neurons of each hidden layer.
        depth: number of hidden layers (tanh, Xavier normal).
        learning_rate: Adam's, multiplied by `decay_factor` every `decay_interval` iterations.
        seed: of the points and of the network's initial parameters.
        every: iterations between captures.
        batches: number of batches of the SNR.
        condition_points: number of points of each condition; None lets the problem choose.
        compiled: compile the training step where the framework does not do so by itself. Numbers differ by rounding.
        processes: in how many processes of this machine to train, each with a part of the points. Likewise.
        precision: "float32" or "float64", of parameters, points and all that is computed of them; None leaves it to the
            framework, whose default is float32.

    Raises:
        InputError: if a count is not a positive integer, the seed is none of 0 to 2**64 - 1, a rate is not a positive
            number, `compiled` is neither True nor False, or the precision is none of the two.
    """

    iterations: int
    points: int
    width: int
    depth: int
    learning_rate: float = 1e-3
    decay_factor: float = 0.9
    decay_interval: int = 5000
    seed: int = 0
    every: int = 10
    batches: int = 100
    condition_points: int | None = None
    compiled: bool = False
    processes: int = 1
    precision: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.compiled, bool):
            raise InputError("setting 'compiled'", received=repr(self.compiled), expected="True or False")
        if self.precision not in (None, *PRECISIONS):
            raise InputError("setting 'precision'", received=repr(self.precision), expected=" or ".join(PRECISIONS))
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("compiled", "precision") or (item.name == "condition_points" and value is None):
                continue
            expected = _EXPECTED.get(item.name, "a positive integer")
            least = 0 if item.name == "seed" else 1
            is_right = is_whole(value, least) if "integer" in expected else is_number(value) and value > 0
            if not is_right or (item.name == "seed" and value > LARGEST_SEED):
                raise InputError(f"setting {item.name!r}", received=repr(value), expected=expected)


_EXPECTED = {
    "learning_rate": "a positive number",
    "decay_factor": "a positive number",
    "seed": f"an integer, 0 or more, {LARGEST_SEED} at most",
}


@final
@dataclass(frozen=True)
class Training:
    """One training, ready to start.

    Attributes:
        problem: what is solved.
        schemes: how points and terms are weighted, by name; the weights of several are multiplied.
        scheme_name: the specification that they were made from, such as "rba:gamma=0.99" or "rba+grad_norm".
        backend: name of the backend.
        settings: how to train.
        points: where the residuals are evaluated.
        probes: what is measured at each capture.
        snapshots: iterations after which fields, residuals and weights are saved.
        folder: the run folder, or None.
        preset: name of the preset that the settings started from.
        sampling: how the points were drawn, and how they move.
        sampling_name: the specification that it was made from, such as "sobol+rad:every=500".
        policies: what may change the training while it goes on, by the names to call them by.
        policy_name: the specification that they were made from, such as "stop_when_done"; None without any.
    """

    problem: Problem
    schemes: Mapping[str, WeightingScheme]
    scheme_name: str
    backend: str
    settings: Settings
    points: CollocationPoints
    probes: Sequence[Probe]
    snapshots: Sequence[int] = ()
    folder: Path | None = None
    preset: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    sampling_name: str = DEFAULT_SAMPLING
    policies: Mapping[str, Policy] = field(default_factory=dict)
    policy_name: str | None = None


@final
@dataclass(frozen=True)
class Monitored:
    """A training that somebody else drives, as hooks get it in the place of a `Training`.

    It has the same attributes; what is not known is None, in the settings too.

    Attributes:
        backend: name of the adapter.
        problem: what is solved.
        scheme_name: the specification of the weighting.
        known_settings: those of `Settings` that are known, by name.
        probes: what is measured at each capture.
        snapshots: iterations after which fields, residuals and weights are saved.
        folder: the run folder.
        preset: None.
        sampling_name: None: points of one's own.
        policies: as of a `Training`.
        policy_name: likewise.

    Example:
        >>> training = Monitored("torch", known_settings={"every": 10})
        >>> training.settings.every, training.settings.seed, training.problem
        (10, None, None)
    """

    backend: str
    problem: Problem | None = None
    scheme_name: str | None = None
    known_settings: Mapping[str, Any] = field(default_factory=dict)
    probes: Sequence[Probe] = ()
    snapshots: Sequence[int] = ()
    folder: Path | None = None
    preset: None = None
    sampling_name: None = None
    policies: Mapping[str, Policy] = field(default_factory=dict)
    policy_name: str | None = None

    @property
    def settings(self) -> SimpleNamespace:
        """Every setting by name, None where it is not known."""
        return SimpleNamespace(**{item.name: self.known_settings.get(item.name) for item in fields(Settings)})


WENT_BACK = "phasecore"
"""In the place of a policy's name, where a backend went back from what a policy had done."""


@final
@dataclass(frozen=True)
class Acted:
    """What a policy had done.

    Attributes:
        iteration: after which it was done.
        policy: the policy's name with its options, or `WENT_BACK`.
        action: the action's name, see `phasecore.policies`.
        to: what it led to: a name or a number, or None.
        reason: a sentence.

    Example:
        >>> Acted(920, "at_phase", "switch_optimizer", "lbfgs", "total diffusion declared").words
        'optimizer lbfgs'
    """

    iteration: int
    policy: str
    action: str
    to: str | float | None
    reason: str

    @property
    def words(self) -> str:
        """The action in words, as it follows the iteration."""
        to = f"{self.to:g}" if isinstance(self.to, float | int) else self.to
        # what is none of ours is no template: it may come from anybody's history
        return WORDS[self.action].format(to=to) if self.action in WORDS else self.action

    def to_json(self) -> dict[str, Any]:
        """Return it as plain names and values, as the history keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Acted:
        """Return what the history keeps."""
        return cls(**{item.name: document.get(item.name) for item in fields(cls)})  # type: ignore[arg-type]


@final
@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        iterations: how many were done, in all sessions of the run together.
        seconds: training time, likewise.
        relative_l2_error: of the final network.
        timeline: the phases, found offline in the whole history.
        rows: the history, one mapping of names to numbers for each capture.
        actions: what policies had done, in order.
    """

    iterations: int
    seconds: float
    relative_l2_error: float
    timeline: Timeline = field(repr=False)
    rows: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    actions: Sequence[Acted] = field(default=(), repr=False)


class Observer(Protocol):
    """Who listens to a training: the run folder, the progress display, the hooks."""

    def resumed(self, iteration: int) -> None:
        """Hear which iteration was the last one of the saved state that the training goes on from.

        For people to read; an observer may do without, and a backend need not tell it.
        """

    def progressed(self, iteration: int, loss: float) -> None:
        """Hear that iterations passed; called now and then, cheap."""

    def captured(self, row: Mapping[str, Any]) -> None:
        """Take one row of the history; "iteration" counts the optimizer's steps done before it."""

    def snapshot(self, iteration: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Take fields, residuals and weights by name."""


class PolicyObserver(Observer, Protocol):
    """Who listens to a training that has policies: an observer that asks them, too."""

    @property
    def timeline(self) -> Timeline:
        """The phases so far, found without looking ahead."""

    def decided(self) -> Sequence[Action]:
        """Return what the training's policies decided at the captures since this was asked last.

        To be asked after each capture; the backend carries the actions out at once.
        """

    def went_back(self, iteration: int, optimizer: str, reason: str) -> None:
        """Hear that an optimizer that a policy chose failed, and which one goes on from where that step began."""

    def policy_state(self) -> dict[str, Any]:
        """Return what a saved state must carry of the policies: plain values, as JSON has them."""

    def restore_policies(self, state: Mapping[str, Any]) -> None:
        """Go on from `policy_state()`, before the first iteration."""


class Backend(ABC):
    """An adapter to one framework. Subclass it, and register it with an `Entry` of kind "backend".

    Class attributes:
        name: the name that it is registered under.
        supplies: names of the signals that it can supply (`phasecore.signals`).
        takes_processes: whether it trains in as many processes as the settings say.
        takes_precision: whether it trains in the precision that the settings say.
        moves_points: whether it moves the points of a training as `Training.sampling` says, and its checkpoints hold
            where they are.
        actions: requirements of the policies' actions that it can carry out (`phasecore.policies`), such as "stop",
            "switch_optimizer:adam", and "change_weighting" for any weighting.
    """

    name: ClassVar[str]
    supplies: ClassVar[frozenset[str]]
    takes_processes: ClassVar[bool] = False
    takes_precision: ClassVar[bool] = False
    moves_points: ClassVar[bool] = False
    actions: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def train(self, training: Training, observer: Observer, checkpoint: Path | None, *, resume: bool) -> None:
        """Train until `training.settings.iterations` are done.

        The captures are where `phasecore.recording.schedule.Schedule` says and at the last iteration, each once, with
        the measured values of those of `training.probes` that are due (at the last iteration, of all), "iteration", and
        "seconds": the training time of all sessions so far, captures included.

        Args:
            training: what to train and how.
            observer: hears of captures and snapshots; a `PolicyObserver` where the training has policies.
            checkpoint: a folder to save the state in, now and then and at the end, atomically; None saves nothing.
            resume: go on from the state saved in `checkpoint`, and tell the observer its iteration.

        Raises:
            TrainingError: if the loss stops being finite.
            InputError: if `resume` finds no state or one of another network.
        """

    @abstractmethod
    def versions(self) -> Mapping[str, str]:
        """Return the versions of the framework and its companions, for `run.json`."""

    def limit_threads(self, count: int) -> None:  # noqa: B027 - a backend without threads has nothing to do
        """Use at most so many threads in this process, which trains beside others; fewer stay fewer.

        Called before anything is computed, where the framework would otherwise take all cores.

        Args:
            count: at least 1.
        """
