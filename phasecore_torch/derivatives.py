"""Partial derivatives of a torch model at points: by jets, or by nested autodiff for models that jets do not know."""

from __future__ import annotations

import copy
import functools
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.jets import Jet, algebra_of, coordinates, read
from phasecore.partials import Exponents, Operator, parse_partial
from phasecore_torch.gradients import coordinates_of, leaves
from phasecore_torch.namespace import namespace
from phasecore_torch.propagation import TracedTensor
from phasecore_torch.undisturbed import undisturbed

Model = nn.Module | Callable[[Tensor], Tensor]
Method = Literal["auto", "jets", "autodiff"]
Parameters = Mapping[str, Tensor]

AGREEMENT = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Largest relative difference between jets and autodiff that set-up accepts; 0.1 in shorter dtypes."""

COMPARED = 16
"""Number of points at which set-up compares them."""


@final
class PartialDerivatives:
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
        # a compiled module cannot be differentiated twice: the module inside it can
        self.model: Model = getattr(model, "_orig_mod", model)
        self.outputs = tuple(outputs)
        self.coordinates = tuple(coordinates)
        self._factors: Callable[[], Mapping[str, Any]] = factors if callable(factors) else lambda: factors or {}
        self._columns = {output: column for column, output in enumerate(outputs)}
        self._declare(names)
        with undisturbed(self.model):
            self._check_model(points[:COMPARED])
            self.method = self._choose(points[:COMPARED], method)

    def of(self, names: Sequence[str]) -> PartialDerivatives:
        """Return the evaluation of other partials of the same model by the same method."""
        other = copy.copy(self)
        other._declare(names)
        return other

    def _declare(self, names: Sequence[str]) -> None:
        factors = self._factors()
        self.partials = {name: parse_partial(name, self.outputs, self.coordinates, factors) for name in names}
        operators = [summand.operator for partial in self.partials.values() for summand in partial.summands]
        self._algebra = algebra_of(len(self.coordinates), operators)
        self._has_tensors = any(part.factors for partial in self.partials.values() for part in partial.summands)

    def __call__(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        """Return each partial at `points`, shape (n,), differentiable with respect to the model's parameters.

        Args:
            points: shape (n, dimension).
            parameters: used in place of the model's own, by name, as by `torch.func.functional_call`.
        """
        evaluate = self._by_jets if self.method == "jets" else self._by_autodiff
        return evaluate(points, parameters)

    def _by_jets(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        outputs = _call(self.model, TracedTensor(coordinates(points, self._algebra, namespace)), parameters)
        jet = (
            outputs.jet
            if isinstance(outputs, TracedTensor)
            else Jet(self._algebra, (outputs, *[None] * (len(self._algebra.operators) - 1)))
        )
        columns = {output: jet.map(operator.itemgetter((slice(None), k))) for output, k in self._columns.items()}
        factors = self._factors() if self._has_tensors else {}
        return {
            name: partial.total(functools.partial(_read, columns[partial.output]), factors)
            for name, partial in self.partials.items()
        }

    def _by_autodiff(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        keep = torch.is_grad_enabled()
        points = coordinates_of(points)
        result = {name: torch.stack(parts).sum(0) for name, parts in self._summands(points, parameters).items()}
        return result if keep else {name: value.detach() for name, value in result.items()}

    @torch.enable_grad()
    def _summands(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, list[Tensor]]:
        """The monomials of each partial, times their factors, by nested autodiff at points that require gradients."""
        values = _call(self.model, points, parameters)
        cache: dict[tuple[str, Exponents], Tensor] = {}
        origin = (0,) * points.shape[1]
        for output, column in self._columns.items():
            cache[output, origin] = values[:, column]
        factors = self._factors() if self._has_tensors else {}
        return {
            name: [
                math.prod((factors[own] for own in names), start=factor)
                * _differentiate(cache, partial.output, exponents, points)
                for names, operator in partial.summands
                for exponents, factor in operator
            ]
            for name, partial in self.partials.items()
        }

    def _check_model(self, points: Tensor) -> None:
        expected = f"{len(self.outputs)} outputs {self.outputs}: a tensor of shape (n, {len(self.outputs)})"
        inputs = f"points of shape {tuple(points.shape)}, {points.dtype} on {points.device}: {self.coordinates}"
        try:
            with torch.no_grad():
                values = self.model(points)
        except Exception as error:
            raise InputError(
                f"the model cannot be applied to {inputs}",
                received=f"{type(error).__name__}: {error}",
                expected=f"a model of {len(self.coordinates)} inputs and {expected}",
            ) from error
        if not isinstance(values, Tensor) or values.shape != (len(points), len(self.outputs)):
            received = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise InputError(f"the model's outputs at {inputs}", received=received, expected=expected)
        if values.is_complex():
            raise InputError(f"the model's outputs at {inputs}", received=values.dtype, expected="real numbers")

    def _choose(self, points: Tensor, method: Method) -> Literal["jets", "autodiff"]:
        if method not in ("auto", "jets", "autodiff"):
            raise InputError("derivatives", received=repr(method), expected="'auto', 'jets' or 'autodiff'")
        if method != "autodiff":
            problem = self._unlike_autodiff(points)
            if not problem:
                return "jets"
            if method == "jets":
                raise InputError("jets cannot read this model", received=problem, fix="Use derivatives='auto'.")
            warnings.warn(
                f"Taylor-mode derivatives do not know this model ({problem}); nested autodiff is used instead: the "
                "same numbers, more slowly.",
                stacklevel=4,
            )
        try:
            self._by_autodiff(points)
        except Exception as error:
            raise InputError(
                "the model cannot be differentiated",
                received=f"{type(error).__name__}: {error}",
                expected=f"outputs that torch can differentiate for {', '.join(self.partials)}",
            ) from error
        return "autodiff"

    @torch.enable_grad()
    def _unlike_autodiff(self, points: Tensor) -> str:
        """Say what jets get wrong, or nothing; what autodiff cannot differentiate cannot be compared."""
        points = coordinates_of(points)
        try:
            by_jets = self._by_jets(points.detach())
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        try:
            by_autodiff = {name: torch.stack(parts) for name, parts in self._summands(points).items()}
            return _disagreement(by_jets, by_autodiff) or _gradient_disagreement(by_jets, by_autodiff)
        except Exception:
            return ""


def _read(jet: Jet, operator: Operator) -> Tensor:
    values: Tensor = read(jet, operator, namespace)
    return values


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


def _disagreement(by_jets: Mapping[str, Tensor], by_autodiff: Mapping[str, Tensor]) -> str:
    """Compare with the summands of autodiff: where they cancel or vanish, nothing but rounding is left of the sum."""
    sizes = {name: float(parts.detach().abs().sum(0).max()) for name, parts in by_autodiff.items()}
    for name, parts in by_autodiff.items():
        tolerance = AGREEMENT.get(parts.dtype, 0.1)
        rounding = min(tolerance, 100 * torch.finfo(parts.dtype).eps) * max(sizes.values())
        difference = float((by_jets[name] - parts.sum(0)).detach().abs().max())
        if not difference <= tolerance * sizes[name] + rounding:
            return f"jets and autodiff differ by {difference:.1e} in {name!r}, which is about {sizes[name]:.1e}"
    return ""


def _gradient_disagreement(by_jets: Mapping[str, Tensor], by_autodiff: Mapping[str, Tensor]) -> str:
    """Compare what training needs: an `autograd.Function` of the user's hides from autograd what jets do in it."""
    sums = {name: parts.sum(0) for name, parts in by_autodiff.items()}
    parameters = leaves(list(sums.values()))
    if not parameters:
        return ""
    gradients = []
    for partials in (by_jets, sums):
        scaled = [(p / p.detach().abs().max().clamp(min=1e-30)).square().mean() for p in partials.values()]
        found = torch.autograd.grad(torch.stack(scaled).sum(), parameters, allow_unused=True, materialize_grads=True)
        gradients.append(torch.cat([torch.view_as_real(g).flatten() if g.is_complex() else g.flatten() for g in found]))
    difference, size = float((gradients[0] - gradients[1]).norm()), float(gradients[1].norm())
    if size < float("inf") and not difference <= AGREEMENT.get(gradients[1].dtype, 0.1) * size:
        return f"the parameters' gradients by jets and autodiff differ by {difference:.1e}, their norm is {size:.1e}"
    return ""
