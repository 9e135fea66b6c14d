"""What a policy can have done: a small vocabulary of actions, as data that a backend carries out.

A policy declares the actions that it may return, and a backend those that it can carry out, in the same words:
`requirement` gives them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from phasecore.arguments import is_number
from phasecore.errors import InputError, UnknownNameError
from phasecore.phases import Timeline

Row = Mapping[str, float]
"""What was measured at a capture, by name, with its "iteration"."""

OPTIMIZERS = ("adam", "lbfgs")
"""The optimizers that phasecore's own backends know by name."""


@dataclass(frozen=True)
class Action(ABC):
    """One thing to be done, with the reason for it. Base class of the vocabulary, which is closed.

    Attributes:
        name: what the history calls it.
        reason: a sentence for people; the timeline's own where it is empty.
    """

    name: ClassVar[str]
    reason: str = field(default="", kw_only=True)

    @property
    @abstractmethod
    def to(self) -> str | float | None:
        """What it leads to: a name or a number; None where there is nothing to say."""

    @property
    def requirement(self) -> str:
        """What a backend must declare to be given it."""
        return self.name


@final
@dataclass(frozen=True)
class SwitchOptimizer(Action):
    """Go on with another optimizer, which keeps its state where it was in charge before.

    Example:
        >>> SwitchOptimizer("lbfgs").requirement
        'switch_optimizer:lbfgs'
    """

    name: ClassVar[str] = "switch_optimizer"
    optimizer: str

    def __post_init__(self) -> None:
        _check_text(self.name, self.optimizer, "the name of an optimizer")

    @property
    def to(self) -> str:
        """The optimizer's name."""
        return self.optimizer

    @property
    def requirement(self) -> str:
        """The action, and the optimizer."""
        return f"{self.name}:{self.optimizer}"


@final
@dataclass(frozen=True)
class SetLearningRate(Action):
    """Set the learning rate of the optimizer that has one."""

    name: ClassVar[str] = "set_learning_rate"
    rate: float

    def __post_init__(self) -> None:
        _check_positive(self.name, self.rate)

    @property
    def to(self) -> float:
        """The learning rate."""
        return self.rate


@final
@dataclass(frozen=True)
class ScaleLearningRate(Action):
    """Multiply the learning rate of the optimizer that has one.

    A schedule that multiplies the rate that it finds goes on from there; one that computes it anew undoes this.
    """

    name: ClassVar[str] = "scale_learning_rate"
    factor: float

    def __post_init__(self) -> None:
        _check_positive(self.name, self.factor)

    @property
    def to(self) -> float:
        """The factor."""
        return self.factor


@final
@dataclass(frozen=True)
class HoldWeighting(Action):
    """Update no weights from now on: they stay as they are, and go on to be used."""

    name: ClassVar[str] = "hold_weighting"

    @property
    def to(self) -> None:
        """Nothing."""


@final
@dataclass(frozen=True)
class AverageWeighting(Action):
    """Give each of a term's points the same weight, the mean of theirs, and update no weights from now on.

    So the terms keep the balance that the schemes have found between them, while no point stands out within one. The
    mean is that of the squares where weights multiply residuals.
    """

    name: ClassVar[str] = "average_weighting"

    @property
    def to(self) -> None:
        """Nothing."""


@final
@dataclass(frozen=True)
class ReleaseWeighting(Action):
    """Update the weights again."""

    name: ClassVar[str] = "release_weighting"

    @property
    def to(self) -> None:
        """Nothing."""


@final
@dataclass(frozen=True)
class ChangeWeighting(Action):
    """Go on with other weighting schemes, which start anew; they are not held.

    Example:
        >>> ChangeWeighting("uniform").requirement
        'change_weighting:uniform'
    """

    name: ClassVar[str] = "change_weighting"
    weighting: str

    def __post_init__(self) -> None:
        _check_text(self.name, self.weighting, "the specification of a weighting")

    @property
    def to(self) -> str:
        """The weighting's specification."""
        return self.weighting

    @property
    def requirement(self) -> str:
        """The action, and the weighting."""
        return f"{self.name}:{self.weighting}"


@final
@dataclass(frozen=True)
class Resample(Action):
    """Move the collocation points, as the sampling does that moves them; where none does, draw them anew."""

    name: ClassVar[str] = "resample"

    @property
    def to(self) -> None:
        """Nothing."""


@final
@dataclass(frozen=True)
class Snapshot(Action):
    """Save fields, residuals and weights in the run folder."""

    name: ClassVar[str] = "snapshot"

    @property
    def to(self) -> None:
        """Nothing."""


@final
@dataclass(frozen=True)
class Stop(Action):
    """End the training."""

    name: ClassVar[str] = "stop"

    @property
    def to(self) -> None:
        """Nothing."""


@final
@dataclass(frozen=True)
class Call(Action):
    """Call a function of yours with the timeline and the row of the capture.

    Example:
        >>> Call(print).to
        'print'
    """

    name: ClassVar[str] = "call"
    function: Callable[[Timeline, Row], Any]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputError("action 'call'", received=repr(self.function), expected="a function")

    @property
    def to(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", type(self.function).__qualname__)


ACTIONS: Mapping[str, type[Action]] = {
    action.name: action
    for action in (
        *(SwitchOptimizer, SetLearningRate, ScaleLearningRate),
        *(HoldWeighting, AverageWeighting, ReleaseWeighting, ChangeWeighting),
        *(Resample, Snapshot, Stop, Call),
    )
}
"""Every action by name."""

RATES = frozenset({SetLearningRate.name, ScaleLearningRate.name})
"""Those that change the learning rate."""

WEIGHTS = frozenset({HoldWeighting.name, AverageWeighting.name, ReleaseWeighting.name, ChangeWeighting.name})
"""Those that say what becomes of the weights."""

WORDS: Mapping[str, str] = {
    SwitchOptimizer.name: "optimizer {to}",
    SetLearningRate.name: "learning rate {to}",
    ScaleLearningRate.name: "learning rate times {to}",
    HoldWeighting.name: "weights held",
    AverageWeighting.name: "weights averaged",
    ReleaseWeighting.name: "weights released",
    ChangeWeighting.name: "weighting {to}",
    Resample.name: "points resampled",
    Snapshot.name: "snapshot",
    Stop.name: "stop",
    Call.name: "call of {to}",
}
"""Each action as people read it."""

ARGUMENTS: Mapping[str, str] = {
    SwitchOptimizer.name: "the name of an optimizer",
    SetLearningRate.name: "a positive number",
    ScaleLearningRate.name: "a positive number",
    ChangeWeighting.name: "the specification of a weighting",
    Call.name: "a function, or where it is: module:function",
}
"""What those actions take that take something."""


def make_action(do: object, to: object = None, *, policy: str, reason: str = "") -> Action:
    """Return an action from what a user writes.

    Args:
        do: its name; of an optimizer that backends know by name, for the switch to it; or a function to be called.
        to: what the action takes, if anything.
        policy: the policy's name, for messages.
        reason: see `Action`.

    Raises:
        UnknownNameError: for a name that is neither an action's nor an optimizer's.
        InputError: for a missing, needless or wrong argument.

    Example:
        >>> make_action("lbfgs", policy="mine"), make_action("scale_learning_rate", 0.1, policy="mine").to
        (SwitchOptimizer(reason='', optimizer='lbfgs'), 0.1)
    """
    if callable(do):
        do, to = Call.name, do
    elif do in OPTIMIZERS:
        if to is not None:
            raise InputError(
                f"policy {policy!r}, option 'to' of the switch to {do!r}",
                received=repr(to),
                expected="none: the optimizer is named already",
            )
        do, to = SwitchOptimizer.name, do
    if do not in ACTIONS:
        raise UnknownNameError(
            f"action of policy {policy!r}",
            str(do),
            [*ACTIONS, *OPTIMIZERS],
            fix="For an optimizer of your own: do=switch_optimizer,to=NAME.",
        )
    kind: Any = ACTIONS[str(do)]
    expected = ARGUMENTS.get(str(do))
    if (to is None) != (expected is None):
        raise InputError(
            f"policy {policy!r}, option 'to' of the action {do!r}",
            received="nothing" if to is None else repr(to),
            expected=expected or "none: the action takes nothing",
        )
    if do == Call.name and isinstance(to, str):
        to = _function_at(to, policy)
    return kind(reason=reason) if expected is None else kind(to, reason=reason)  # type: ignore[no-any-return]


def _function_at(place: str, policy: str) -> Any:
    import pkgutil

    try:
        return pkgutil.resolve_name(place)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"policy {policy!r}, the function to call", received=f"{place!r} ({error})", expected="module:function"
        ) from error


def _check_text(name: str, value: object, expected: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"action {name!r}", received=repr(value), expected=expected)


def _check_positive(name: str, value: object) -> None:
    if not (is_number(value) and value > 0):
        raise InputError(f"action {name!r}", received=repr(value), expected="a positive number")
