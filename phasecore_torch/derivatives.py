"""Partial derivatives of a torch model at points: by jets, or by nested autodiff for models that jets do not know."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.jets import algebra_of, coordinates, read
from phasecore.partials import Exponents, parse_partial
from phasecore_torch.namespace import namespace
from phasecore_torch.propagation import TracedTensor

Model = nn.Module | Callable[[Tensor], Tensor]
Method = Literal["auto", "jets", "autodiff"]
Parameters = Mapping[str, Tensor]

AGREEMENT = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Largest relative difference between jets and autodiff that set-up accepts; 0.1 in shorter dtypes."""


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
    ) -> None:
        self.model = model
        self.outputs = tuple(outputs)
        self.partials = {name: parse_partial(name, outputs, coordinates) for name in names}
        self._columns = {output: column for column, output in enumerate(outputs)}
        operators = [partial.operator for partial in self.partials.values()]
        self._algebra = algebra_of(len(coordinates), operators)
        self._check_model(points[:4], coordinates)
        self.method = self._choose(points[:4], method)

    def __call__(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        """Return each partial at `points`, shape (n,), differentiable with respect to the model's parameters.

        Args:
            points: shape (n, dimension).
            parameters: used in place of the model's own, by name, as by `torch.func.functional_call`.
        """
        evaluate = self._by_jets if self.method == "jets" else self._by_autodiff
        return evaluate(points, parameters)

    def _by_jets(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        jet = _call(self.model, TracedTensor(coordinates(points, self._algebra, namespace)), parameters).jet
        return {
            name: read(
                jet.map(lambda c, column=self._columns[partial.output]: c[:, column]), partial.operator, namespace
            )
            for name, partial in self.partials.items()
        }

    def _by_autodiff(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            values = _call(self.model, points, parameters)
            cache: dict[tuple[str, Exponents], Tensor] = {}
            origin = (0,) * points.shape[1]
            for output, column in self._columns.items():
                cache[output, origin] = values[:, column]
            result = {
                name: sum(
                    (
                        factor * _differentiate(cache, partial.output, exponents, points)
                        for exponents, factor in partial.operator
                    ),
                    start=torch.zeros_like(points[:, 0]),
                )
                for name, partial in self.partials.items()
            }
        return result if keep else {name: value.detach() for name, value in result.items()}

    def _check_model(self, points: Tensor, names: Sequence[str]) -> None:
        expected = f"{len(self.outputs)} outputs {self.outputs}: a tensor of shape (n, {len(self.outputs)})"
        inputs = f"points of shape {tuple(points.shape)}: {tuple(names)}"
        try:
            with torch.no_grad():
                values = self.model(points)
        except Exception as error:
            raise InputError(
                f"the model cannot be applied to {inputs}",
                received=f"{type(error).__name__}: {error}",
                expected=f"a model of {len(names)} inputs and {expected}",
            ) from error
        if not isinstance(values, Tensor) or values.shape != (len(points), len(self.outputs)):
            received = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise InputError(f"the model's outputs at {inputs}", received=received, expected=expected)

    def _choose(self, points: Tensor, method: Method) -> Literal["jets", "autodiff"]:
        if method not in ("auto", "jets", "autodiff"):
            raise InputError("derivatives", received=repr(method), expected="'auto', 'jets' or 'autodiff'")
        if method == "autodiff":
            return "autodiff"
        try:
            with torch.no_grad():
                by_jets = self._by_jets(points)
                by_autodiff = self._by_autodiff(points)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            problem = _disagreement(by_jets, by_autodiff)
        if not problem:
            return "jets"
        if method == "jets":
            raise InputError("jets cannot read this model", received=problem, fix="Use derivatives='auto'.")
        warnings.warn(
            f"Taylor-mode derivatives do not know this model ({problem}); nested autodiff is used instead: the same "
            "numbers, more slowly.",
            stacklevel=4,
        )
        return "autodiff"


def _call(model: Model, points: Any, parameters: Parameters | None) -> Any:
    if parameters is None:
        return model(points)
    return torch.func.functional_call(model, dict(parameters), (points,))  # type: ignore[arg-type]


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
    for name, exact in by_autodiff.items():
        scale = max(float(exact.abs().max()), 1e-6)
        difference = float((by_jets[name] - exact).abs().max()) / scale
        if not difference <= AGREEMENT.get(exact.dtype, 0.1):
            return f"jets and autodiff differ by {difference:.1e} in {name!r}"
    return ""
