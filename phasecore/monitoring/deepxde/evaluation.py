"""What the adapters evaluate of a DeepXDE model: the contract of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.signals import (
    BATCH_GRADIENT_MOMENTS,
    BATCH_SIZES,
    CONDITION_RESIDUALS,
    COORDINATES,
    DOMAIN,
    RESIDUALS,
    TERM_GRADIENTS,
    TERM_LOSSES,
    UNIT_COORDINATES,
    WEIGHTED_TERM_LOSSES,
    AdamMoments,
    Moments,
)

Arrays = NDArray[Any]


class Evaluation(NamedTuple):
    """Every term of the loss at all training points.

    Attributes:
        errors: of each term, equations first, shape (n, components) or (n,).
        losses: as they enter the training loss, those of regularizers last.
    """

    errors: list[Arrays]
    losses: Arrays


class Evaluator(ABC):
    """Evaluates a compiled model at its current parameters, and leaves it as it is. Adapters derive from it.

    Args:
        model: a `deepxde.Model`.
        solved: the class `deepxde.data.PDE`.

    Class attributes:
        supplies: names of the signals that there are without further conditions.

    Raises:
        InputError: for data whose loss is not a sum over points of equations and conditions.
    """

    supplies: ClassVar[frozenset[str]] = frozenset(
        {
            *(BATCH_GRADIENT_MOMENTS, BATCH_SIZES, COORDINATES, DOMAIN, UNIT_COORDINATES, RESIDUALS),
            *(CONDITION_RESIDUALS, TERM_GRADIENTS, TERM_LOSSES, WEIGHTED_TERM_LOSSES),
        }
    )

    def __init__(self, model: Any, solved: type[Any]) -> None:
        _check_data(model.data, solved)
        self.model = model
        self._made_for = model.outputs_losses_train

    def is_current(self, model: Any) -> bool:
        """Return whether the model was not compiled again since.

        Raises:
            InputError: for another model.
        """
        if model is not self.model:
            raise InputError(
                "a phasecore callback for DeepXDE",
                received="another model than the one that it was in the training of before",
                expected="that model",
                fix="Make a callback for each model.",
            )
        return model.outputs_losses_train is self._made_for

    @abstractmethod
    def evaluate(self, *, weighted: bool = True) -> Evaluation:
        """Return the errors and losses of every term.

        Args:
            weighted: with the weights that a `Weighting` has in the losses; the errors are always without.
        """

    def arrays(self, rows: Any = slice(None), *, weighted: bool = True, table: Arrays | None = None) -> list[Any]:
        """Return points, targets and auxiliary variables of the training set, or those at some rows of it.

        Args:
            rows: of the training set.
            weighted: with the weights that a `Weighting` has in the targets.
            table: weights in their place, see `phasecore.monitoring.deepxde.terms.Terms.table`.
        """
        data = self.model.data
        targets = data.train_y if weighted or not is_table(data.train_y) else None
        targets = targets if table is None else table
        return [None if values is None else values[rows] for values in (data.train_x, targets, data.train_aux_vars)]

    @abstractmethod
    def moments(self, batches: Sequence[Arrays], equations: int, *, biases: bool) -> list[Moments]:
        """Return the moments of the batch gradients of each weight matrix.

        Args:
            batches: rows of the training points that make each batch of the equations.
            equations: number of equations.
            biases: whether vectors and scalars among the network's parameters count too.
        """

    @abstractmethod
    def term_gradients(self, table: Arrays | None = None) -> list[dict[str, Arrays]]:
        """Return the gradient of each term's mean squared error, by parameter.

        Args:
            table: what multiplies the errors, see `phasecore.monitoring.deepxde.terms.Terms.table`; None for nothing.
        """

    def tangent_kernel_traces(self, equations: int, table: Arrays | None = None) -> list[float]:
        """Return the trace of each term's tangent kernel, where that is supplied.

        Args:
            equations: number of equations.
            table: what multiplies the errors, see `phasecore.monitoring.deepxde.terms.Terms.table`; None for nothing.
        """
        raise NotImplementedError

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the optimizer, where it can be set while it trains."""
        return None

    def set_learning_rate(self, rate: float) -> None:
        """Set it, where there is one."""
        raise NotImplementedError

    @property
    def keeps_adam(self) -> bool:
        """Whether the optimizer's moments are those of Adam, and can be read."""
        return False

    @property
    def keeps_learning_rates(self) -> bool:
        """Whether Adam's effective learning rates can be computed from what the optimizer keeps."""
        return False

    def adam_moments(self) -> dict[str, AdamMoments]:
        """Return Adam's bias-corrected moments of each parameter by name, in order; none before the first step."""
        return {}

    def adam_learning_rates(self) -> dict[str, Arrays]:
        """Return Adam's effective learning rates, `lr / (sqrt(v) + epsilon)`, likewise."""
        return {}


def is_table(targets: Any) -> bool:
    """Return whether targets are a table of weights, shape (points, equations, 1): a solution's have two axes."""
    return len(getattr(targets, "shape", ())) == 3


def _check_data(data: Any, solved: type[Any]) -> None:
    own = isinstance(data, solved) and type(data).losses is solved.losses
    if not own or type(data).losses_train is not solved.losses_train or data.pde is None:
        raise InputError(
            "a phasecore callback for DeepXDE",
            received=f"data of type {type(data).__name__}",
            expected="deepxde.data.PDE or TimePDE with an equation, whose loss is a mean over collocation points",
            fix="Integral and fractional equations couple all points, operator learning has batches of functions: "
            "there is no residual of some points alone.",
        )
