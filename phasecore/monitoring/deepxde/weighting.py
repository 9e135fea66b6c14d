"""What DeepXDE's callback that weights the loss does on every backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from phasecore.errors import InputError
from phasecore.monitoring.deepxde.evaluation import Evaluator
from phasecore.monitoring.deepxde.terms import TermReader, Terms
from phasecore.monitoring.host_weighting import Floats, HostWeighting, check_points_stay
from phasecore.policies.actions import Action
from phasecore.registry import Weighting
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS

BACKEND = "deepxde"
"""What supplies the signals, as messages call it."""


class Steering(ABC):
    """Weights the terms of the loss while a training has it among its callbacks, see the adapters' `Weighting`.

    Class attributes:
        supplies: names of the signals that schemes can read.
    """

    supplies: ClassVar[frozenset[str]]
    model: Any

    def __init__(self, weighting: Weighting = "rba") -> None:
        super().__init__()
        self._host = HostWeighting(weighting, BACKEND, self.supplies)
        self.specification = weighting if isinstance(weighting, str) else None
        self._evaluator: Evaluator | None = None
        self._factors: dict[str, Floats] = {}
        self._is_stale = self._was_changed = False
        self._points: Any = None
        self._points_restored: Any = None
        self._table: Any = None
        self._targets: Any = None

    @abstractmethod
    def evaluator(self, model: Any) -> Evaluator:
        """Return what evaluates a compiled model."""

    @property
    def factors(self) -> dict[str, Floats]:
        """What multiplies each term's residuals, shape (n,) or (): the root of a weight that multiplies squares."""
        return dict(self._factors)

    @property
    def has_attention(self) -> bool:
        """Whether residual-based attention is among the schemes."""
        return "rba" in self._host.names

    def attention(self) -> dict[str, Floats] | None:
        """Return the residual-based attention of each equation's points, or None before the first step."""
        return self._host.attention()

    @property
    def per_point(self) -> bool:
        """Whether a scheme keeps a state for each point."""
        return self._host.per_point

    @property
    def is_fresh(self) -> bool:
        """Whether no weights were updated yet."""
        return self._host.is_fresh

    @property
    def held(self) -> bool:
        """Whether the weights stay as they are."""
        return self._host.held

    @held.setter
    def held(self, held: bool) -> None:
        """Hold them, or update them again."""
        self._host.held = held

    def hold(self, action: Action) -> None:
        """Hold the weights, as they are or averaged over the points of each term, or release them.

        Args:
            action: one of the three.
        """
        self._host.hold(action)
        self._is_stale = True

    def change(self, weighting: str) -> HostWeighting:
        """Go on with other schemes, which start anew, and return what ran the former ones.

        Args:
            weighting: their specification.
        """
        former, self._host = self._host, HostWeighting(weighting, BACKEND, self.supplies)
        self.specification, self._is_stale, self._was_changed = weighting, True, True
        return former

    def on_train_begin(self) -> None:
        """Set up the evaluation of the model as it is compiled now.

        Raises:
            InputError: for another weighting in this training, one whose training was interrupted, another model than
                before, or other points than those of a state that was loaded.
        """
        others = [
            other for other in self.model.callbacks.callbacks if isinstance(other, Steering) and other is not self
        ]
        left_over = "losses_train" in vars(self.model.data) and self._table is None
        if others or left_over:
            raise InputError(
                "callback Weighting",
                received="a model that another Weighting has its weights in",
                expected="one Weighting for each training",
                fix="Name several schemes at once, such as Weighting('rba+grad_norm'). If a training was interrupted, "
                "call remove() of its Weighting.",
            )
        if self._evaluator is None or not self._evaluator.is_current(self.model):
            self._evaluator = self.evaluator(self.model)
        points, self._points_restored = self._points_restored, None
        if points is not None and not np.array_equal(points, self.model.data.train_x):
            check_points_stay(self._host, "callback Weighting, going on from a state,")

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: mappings, numbers and numpy arrays."""
        points = None if self._points is None else np.array(self._points)
        made_of = {"specification": self.specification, "was_changed": self._was_changed}
        return {**self._host.state_dict(), **made_of, "points": points}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`, in a model that has the same points and was restored (`Model.restore`).

        Raises:
            InputError: for the state of other schemes; when training begins, for other points.
        """
        if state["was_changed"]:
            self.change(state["specification"])
        if state["specification"] != self.specification:
            raise InputError(
                "state of a Weighting",
                received=f"that of {state['specification'] or 'schemes given as objects'}",
                expected=f"one of {self.specification or 'schemes given as objects'}",
                fix="Make the Weighting with what it had been made with.",
            )
        self._host.load_state_dict(state)
        self._points_restored = state["points"]

    def on_batch_begin(self) -> None:
        """Update the schemes that are due, and put the weights where the step finds them."""
        assert self._evaluator is not None
        data, required = self.model.data, self._host.required()
        if self._points is not None and data.train_x is not self._points:
            check_points_stay(self._host, "callback Weighting")
        values: dict[str, Any] = {}
        if required or self._is_stale or data.train_y is not self._table or self._table is None:
            evaluation = self._evaluator.evaluate(weighted=False)
            terms = Terms(data, evaluation.errors)
            values = terms.signals(evaluation)
            residuals = {**values[RESIDUALS], **values[CONDITION_RESIDUALS]}
            sizes = {term: len(residual) for term, residual in residuals.items()}

        def further(required: frozenset[str]) -> dict[str, Any]:
            """The signals of terms as their points are weighted now."""
            assert self._evaluator is not None
            self._host.check(sizes)
            factors = {term: self._host.point_factor(term) for term in sizes}
            return terms.further(self._evaluator, required, terms.table(factors, sizes))

        self._host.update(values, int(self.model.train_state.iteration), further)
        if values:
            self._apply(terms, sizes)

    def on_train_end(self) -> None:
        """Take the weights out of the loss."""
        self.remove()

    def remove(self) -> None:
        """Take the weights out of the loss; the end of a training does so, unless it was interrupted."""
        data = self.model.data
        if self._table is not None and data.train_y is self._table:
            data.train_y = self.model.train_state.y_train = self._targets
        vars(data).pop("losses_train", None)
        self._table = None

    def _apply(self, terms: Terms, sizes: Mapping[str, int]) -> None:
        data = self.model.data
        self._host.check(sizes)
        if data.train_y is not self._table or self._table is None:
            self._targets = data.train_y
        self._factors, self._is_stale = {term: self._host.factor(term) for term in sizes}, False
        self._table = data.train_y = terms.table(self._factors, sizes)
        self._points = data.train_x
        data.losses_train = TermReader(data).losses_train
