"""Partial derivatives of a model's outputs, as far as they need no framework: the half that the adapters share."""

from __future__ import annotations

import copy
import operator
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from phasecore.arrays import ArrayNamespace
from phasecore.errors import InputError
from phasecore.jets.algebra import Algebra, algebra_of
from phasecore.jets.jet import Jet, read
from phasecore.partials import Partial, parse_partial

Method = Literal["auto", "jets", "autodiff"]
Chosen = Literal["jets", "autodiff"]

AGREEMENT = {"float64": 1e-6, "float32": 1e-3}
"""Largest relative difference between jets and autodiff that set-up accepts; 0.1 in shorter dtypes."""

COMPARED = 16
"""Number of points at which set-up compares them."""

FEW = 3
"""Number of those that are evaluated once more without the others."""


class PartialDerivatives(ABC):
    """Evaluates named partial derivatives of a model's outputs. Base class of those of the adapters.

    A model is read with jets. At set-up the result is compared with nested autodiff on a few points; a model that jets
    cannot read, or read differently, is evaluated by autodiff from then on, with one warning that says why.

    Class attributes:
        framework: what differentiates, as messages call it.
        wrapping: what to do with a model of other inputs or outputs.
        stack_level: of the warning, so that it tells of the line of the user's that made the loss.

    Attributes:
        model: the user's.
        outputs: names of the outputs.
        coordinates: names of the coordinates.
        partials: by name.
    """

    framework: ClassVar[str]
    wrapping: ClassVar[str] = ""
    stack_level: ClassVar[int] = 4

    model: Any
    outputs: tuple[str, ...]
    coordinates: tuple[str, ...]
    partials: dict[str, Partial]
    _algebra: Algebra
    _warned: str = ""

    @abstractmethod
    def _factors_of_names(self) -> Mapping[str, Any]:
        """Return the values of the names that partials have as factors."""

    @abstractmethod
    def _value(self, points: Any) -> Any:
        """Return what the model makes of points."""

    @abstractmethod
    def _is_tensor(self, values: Any) -> bool:
        """Return whether a model's outputs are a tensor of the framework's."""

    @abstractmethod
    def _on_host(self, values: Any) -> NDArray[Any]:
        """Return a tensor as numpy has it."""

    @abstractmethod
    def _unlike_reals(self, values: Any) -> str:
        """Return the dtype of a tensor that holds no real numbers, else nothing."""

    @abstractmethod
    def _told_of(self, points: Any) -> str:
        """Say which points the model was given."""

    @abstractmethod
    def _check_autodiff(self, points: Any) -> None:
        """Evaluate the partials by autodiff; whatever this raises is told."""

    @abstractmethod
    def _unlike_autodiff(self, points: Any) -> str:
        """Say what jets get wrong, or nothing; what autodiff cannot differentiate cannot be compared."""

    def _advice(self, error: Exception) -> str:
        """What to do about an error of the model."""
        return self.wrapping

    def of(self, names: Sequence[str]) -> Self:
        """Return the evaluation of other partials of the same model by the same method."""
        other = copy.copy(self)
        other._declare(names)
        return other

    def _declare(self, names: Sequence[str]) -> None:
        factors = self._factors_of_names()
        self.partials = {name: parse_partial(name, self.outputs, self.coordinates, factors) for name in names}
        operators = [summand.operator for partial in self.partials.values() for summand in partial.summands]
        self._algebra = algebra_of(len(self.coordinates), operators)

    def _jet(self, outputs: Any) -> Jet:
        """What a model returned, as a jet: a constant one where the coordinates did not reach it."""
        if isinstance(outputs, Jet):
            return outputs
        return Jet(self._algebra, (outputs, *[None] * (len(self._algebra.operators) - 1)))

    def _read(self, outputs: Jet, factors: Mapping[str, Any], xp: ArrayNamespace) -> dict[str, Any]:
        """Return each partial from the outputs' jet, shape (n,)."""
        columns = {name: outputs.map(operator.itemgetter((slice(None), k))) for k, name in enumerate(self.outputs)}

        def value(partial: Partial) -> Any:
            return partial.total(lambda own: read(columns[partial.output], own, xp), factors)

        return {name: value(partial) for name, partial in self.partials.items()}

    def _check_model(self, points: Any) -> None:
        expected = f"{len(self.outputs)} outputs {self.outputs}: a tensor of shape (n, {len(self.outputs)})"
        inputs = f"points of {self._told_of(points)}: {self.coordinates}"
        try:
            values = self._value(points)
        except Exception as error:
            raise InputError(
                f"the model cannot be applied to {inputs}",
                received=told(error),
                expected=f"a model of {len(self.coordinates)} inputs and {expected}",
                fix=self._advice(error),
            ) from error
        what = f"the model's outputs at {inputs}"
        if not self._is_tensor(values) or tuple(values.shape) != (len(points), len(self.outputs)):
            received = f"shape {tuple(values.shape)}" if self._is_tensor(values) else type(values).__name__
            raise InputError(what, received=received, expected=expected, fix=self.wrapping)
        dtype = self._unlike_reals(values)
        if dtype:
            raise InputError(what, received=dtype, expected="real numbers")
        self._check_rows(points, values)

    def _check_rows(self, points: Any, values: Any) -> None:
        """Warn of a model that makes something else of a point beside other points."""
        whole, again, few = map(self._on_host, (values, self._value(points), self._value(points[:FEW])))
        is_random = not np.array_equal(whole, again, equal_nan=True)
        short = "float16" in str(values.dtype)
        tolerance = (0.1 if short else 1e-3) * float(np.nanmax(np.abs(whole), initial=0.0))
        if not is_random and not np.allclose(whole[:FEW], few, rtol=0.0, atol=tolerance, equal_nan=True):
            warnings.warn(
                "The model's output at a point depends on the other points that are evaluated with it, as of a layer "
                "that uses the statistics of a batch. Points are evaluated in blocks of whatever size suits the cache: "
                "the loss depends on it. Use such layers as in inference (model.eval()), or others.",
                stacklevel=self.stack_level + 1,
            )

    def _choose(self, points: Any, method: Method) -> Chosen:
        if method != "autodiff":
            problem = self._unlike_autodiff(points)
            if not problem:
                return "jets"
            if method == "jets":
                raise InputError("jets cannot read this model", received=problem, fix="Use derivatives='auto'.")
            if problem != self._warned:
                self._warned = problem
                warnings.warn(
                    f"Taylor-mode derivatives do not know this model ({problem}); nested autodiff is used instead: the "
                    "same numbers, more slowly.",
                    stacklevel=self.stack_level,
                )
        try:
            self._check_autodiff(points)
        except Exception as error:
            raise InputError(
                "the model cannot be differentiated",
                received=f"{type(error).__name__}: {error}",
                expected=f"outputs that {self.framework} can differentiate for {', '.join(self.partials)}",
            ) from error
        return "autodiff"


def check_method(method: str) -> None:
    """Refuse an unknown way to take derivatives.

    Raises:
        InputError: if so.

    Example:
        >>> check_method("jets")
    """
    if method not in ("auto", "jets", "autodiff"):
        raise InputError("derivatives", received=repr(method), expected="'auto', 'jets' or 'autodiff'")


def told(error: Exception) -> str:
    """Return what an error says, in one line.

    Example:
        >>> told(ValueError("shapes do not fit"))
        'ValueError: shapes do not fit'
    """
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


def disagreement(
    by_jets: Mapping[str, NDArray[Any]], by_autodiff: Mapping[str, NDArray[Any]], tolerance: float, epsilon: float
) -> str:
    """Say in which partial jets and autodiff differ, or nothing.

    Compared with are the summands of autodiff: where they cancel or vanish, nothing but rounding is left of the sum.

    Args:
        by_jets: the partials, shape (n,) each.
        by_autodiff: their summands, shape (summands, n) each.
        tolerance: largest relative difference that is accepted, see `AGREEMENT`.
        epsilon: the rounding of one operation.

    Example:
        >>> disagreement({"u": np.ones(2)}, {"u": np.full((1, 2), 2.0)}, 1e-6, 1e-16)
        "jets and autodiff differ by 1.0e+00 in 'u', which is about 2.0e+00"
    """
    sizes = {name: float(np.abs(parts).sum(0).max()) for name, parts in by_autodiff.items()}
    rounding = min(tolerance, 100 * epsilon) * max(sizes.values(), default=0.0)
    for name, parts in by_autodiff.items():
        difference = float(np.abs(by_jets[name] - parts.sum(0)).max())
        if not difference <= tolerance * sizes[name] + rounding:
            return f"jets and autodiff differ by {difference:.1e} in {name!r}, which is about {sizes[name]:.1e}"
    return ""


def gradient_disagreement(
    by_jets: Sequence[NDArray[Any]], by_autodiff: Sequence[NDArray[Any]], tolerance: float
) -> str:
    """Say whether the gradients that training needs differ, or nothing: a constant to jets alone need not be one.

    Args:
        by_jets: gradient of some mean of the partials, for each parameter; may be of none.
        by_autodiff: the same.
        tolerance: largest relative difference that is accepted, see `AGREEMENT`.

    Example:
        >>> gradient_disagreement([np.zeros(1)], [np.ones(1)], 1e-6)
        "the parameters' gradients by jets and autodiff differ by 1.0e+00, their norm is 1.0e+00"
    """
    if not by_autodiff:
        return ""
    found, expected = (np.concatenate([gradient.ravel() for gradient in part]) for part in (by_jets, by_autodiff))
    difference, size = float(np.linalg.norm(found - expected)), float(np.linalg.norm(expected))
    if size < float("inf") and not difference <= tolerance * size:
        return f"the parameters' gradients by jets and autodiff differ by {difference:.1e}, their norm is {size:.1e}"
    return ""
