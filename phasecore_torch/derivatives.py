"""Partial derivatives of a torch model at points: by jets, or by nested autodiff for models that jets do not know."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.jets import coordinates, derivatives
from phasecore.jets.derivatives import (
    AGREEMENT,
    COMPARED,
    Chosen,
    Method,
    check_method,
    disagreement,
    gradient_disagreement,
    told,
)
from phasecore.partials import Exponents
from phasecore_torch.arrays import all_as_numpy, as_numpy
from phasecore_torch.gradients import coordinates_of, filled, gradients, leaves
from phasecore_torch.namespace import namespace
from phasecore_torch.normalization import Differentiable
from phasecore_torch.propagation import TracedTensor, UnsupportedOperation
from phasecore_torch.undisturbed import undisturbed

Model = nn.Module | Callable[[Tensor], Tensor]
Parameters = Mapping[str, Tensor]


@final
class PartialDerivatives(derivatives.PartialDerivatives):
    """Evaluates named partial derivatives of a model's outputs.

    The model is read with jets as it stands (see `phasecore_torch.propagation`). At set-up the result is compared with
    nested autodiff on a few points; a model that jets cannot read, or read differently, is evaluated by autodiff from
    then on, with one warning that says why.

    Args:
        model: maps points of shape (n, dimension) to outputs of shape (n, number of outputs), each row by itself.
        outputs: names of the outputs.
        coordinates: names of the coordinates.
        names: the partials, see `phasecore.partials`.
        points: a few points of the right dtype and device for the comparison, shape (n, dimension).
        method: "jets" or "autodiff" to insist on one.
        factors: values of the names that the partials have as factors, such as a problem's parameters, or a function
            that returns them: it is called anew each time, where some are tensors.

    Raises:
        InputError: for a model whose inputs or outputs do not fit, or an unreadable partial.

    Example:
        >>> import torch
        >>> cube = lambda points: points**3
        >>> points = torch.tensor([[2.0]])
        >>> evaluate = PartialDerivatives(cube, ["u"], ["x"], ["u_xx"], points)
        >>> evaluate(points)["u_xx"]
        tensor([12.])
    """

    framework: ClassVar[str] = "torch"

    def __init__(
        self,
        model: Model,
        outputs: Sequence[str],
        coordinates: Sequence[str],
        names: Sequence[str],
        points: Tensor,
        method: Method = "auto",
        factors: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        check_method(method)
        # a compiled module cannot be differentiated twice: the module inside it can
        self.model = getattr(model, "_orig_mod", model)
        self.outputs = tuple(outputs)
        self.coordinates = tuple(coordinates)
        self._factors: Callable[[], Mapping[str, Any]] = factors if callable(factors) else lambda: factors or {}
        self._declare(names)
        with undisturbed(self.model):
            self._check_model(points[:COMPARED])
            self._chosen: Chosen = self._choose(points[:COMPARED], method)

    @property
    def method(self) -> Chosen:
        """How derivatives are taken: "jets" or "autodiff"."""
        return self._chosen

    def __call__(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        """Return each partial at `points`, shape (n,), differentiable with respect to the model's parameters.

        Args:
            points: shape (n, dimension).
            parameters: used in place of the model's own, by name, as by `torch.func.functional_call`.

        Raises:
            InputError: for a model that does what jets do not know only since, such as dropout in training.
        """
        if self.method != "jets":
            return self._by_autodiff(points, parameters)
        try:
            return self._by_jets(points, parameters)
        except UnsupportedOperation as error:
            raise InputError(
                "the model, whose derivatives are taken by jets",
                received=f"{error}, which it did not do when the loss was made",
                expected="a model in the mode that it had then",
                fix="Make the loss after model.train(), and it takes autodiff; or say derivatives='autodiff'.",
            ) from error

    def _advice(self, error: Exception) -> str:
        if "does not require grad" in str(error):
            return "Differentiate in forward within `with torch.enable_grad():`, at points that require gradients."
        return self.wrapping

    def _by_jets(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        outputs = _call(self.model, TracedTensor(coordinates(points, self._algebra, namespace)), parameters)
        jet = self._jet(outputs.jet if isinstance(outputs, TracedTensor) else outputs)
        return self._read(jet, self._factors_if_any(), namespace)

    def _factors_of_names(self) -> Mapping[str, Any]:
        return self._factors()

    def _factors_if_any(self) -> Mapping[str, Any]:
        """The values of factors, where any partial has some."""
        has_some = any(part.factors for partial in self.partials.values() for part in partial.summands)
        return self._factors() if has_some else {}

    def _by_autodiff(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        keep = torch.is_grad_enabled()
        points = coordinates_of(points)
        result = {name: torch.stack(parts).sum(0) for name, parts in self._summands(points, parameters).items()}
        return result if keep else {name: value.detach() for name, value in result.items()}

    @torch.enable_grad()
    def _summands(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, list[Tensor]]:
        """The monomials of each partial, times their factors, by nested autodiff at points that require gradients."""
        with Differentiable():
            values = _call(self.model, points, parameters)
        cache: dict[tuple[str, Exponents], Tensor] = {}
        origin = (0,) * points.shape[1]
        for column, output in enumerate(self.outputs):
            cache[output, origin] = values[:, column]
        factors = self._factors_if_any()
        return {
            name: [
                math.prod((factors[own] for own in names), start=factor)
                * _differentiate(cache, partial.output, exponents, points)
                for names, operator in partial.summands
                for exponents, factor in operator
            ]
            for name, partial in self.partials.items()
        }

    @torch.no_grad()
    def _value(self, points: Tensor) -> Any:
        return self.model(points)

    def _is_tensor(self, values: Any) -> bool:
        return isinstance(values, Tensor)

    def _on_host(self, values: Tensor) -> NDArray[Any]:
        return as_numpy(values)

    def _unlike_reals(self, values: Tensor) -> str:
        return str(values.dtype) if values.is_complex() else ""

    def _told_of(self, points: Tensor) -> str:
        return f"shape {tuple(points.shape)}, {points.dtype} on {points.device}"

    def _check_autodiff(self, points: Tensor) -> None:
        self._by_autodiff(points)

    @torch.enable_grad()
    def _unlike_autodiff(self, points: Tensor) -> str:
        """Say what jets get wrong, or nothing; what autodiff cannot differentiate cannot be compared."""
        points = coordinates_of(points)
        try:
            by_jets = self._by_jets(points.detach())
        except Exception as error:
            return told(error)
        try:
            by_autodiff = {name: torch.stack(parts) for name, parts in self._summands(points).items()}
            dtype = next(iter(by_autodiff.values())).dtype
            return disagreement(
                all_as_numpy(by_jets), all_as_numpy(by_autodiff), _tolerance(dtype), torch.finfo(dtype).eps
            ) or _gradient_disagreement(by_jets, by_autodiff)
        except Exception:
            return ""


def _call(model: Model, points: Any, parameters: Parameters | None) -> Any:
    if parameters is None:
        return model(points)
    assert isinstance(model, nn.Module)
    return torch.func.functional_call(model, _everywhere(model, parameters), (points,), tie_weights=False)


def _everywhere(model: nn.Module, parameters: Parameters) -> dict[str, Tensor]:
    """Replacements under each name that a shared parameter has, but only one name of a module that is used twice.

    Given several names of one module, torch's own `tie_weights` leaves the replacement in the model for good.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    replacements = {own[name]: replacement for name, replacement in parameters.items()}
    return {
        f"{path}.{name}" if path else name: replacements[parameter]
        for path, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False)
        if parameter in replacements
    }


def _differentiate(
    cache: dict[tuple[str, Exponents], Tensor], output: str, exponents: Exponents, points: Tensor
) -> Tensor:
    if (output, exponents) not in cache:
        axis = next(axis for axis, count in enumerate(exponents) if count)
        lower = tuple(count - (index == axis) for index, count in enumerate(exponents))
        value = _differentiate(cache, output, lower, points)
        gradient = None
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value.sum(), points, create_graph=True, allow_unused=True)
        gradient = torch.zeros_like(points) if gradient is None else gradient
        for index in range(points.shape[1]):
            raised = tuple(count + (other == index) for other, count in enumerate(lower))
            cache[output, raised] = gradient[:, index]
    return cache[output, exponents]


def _tolerance(dtype: torch.dtype) -> float:
    return AGREEMENT.get(str(dtype).removeprefix("torch."), 0.1)


def _gradient_disagreement(by_jets: Mapping[str, Tensor], by_autodiff: Mapping[str, Tensor]) -> str:
    """Compare what training needs: an `autograd.Function` of the user's hides from autograd what jets do in it."""
    sums = {name: parts.sum(0) for name, parts in by_autodiff.items()}
    parameters = leaves(list(sums.values()))
    if not parameters:
        return ""
    found = []
    for partials in (by_jets, sums):
        scaled = [(p / p.detach().abs().max().clamp(min=1e-30)).square().mean() for p in partials.values()]
        found.append(filled(gradients(torch.stack(scaled).sum(), parameters), parameters))
    by_jets_now, expected = ([as_numpy(gradient).astype(np.float64) for gradient in own] for own in found)
    tolerance = min(_tolerance(gradient.dtype) for gradient in found[1])
    return gradient_disagreement(by_jets_now, expected, tolerance)
