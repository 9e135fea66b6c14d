"""Partial derivatives of a Keras model at points: by jets, or by nested autodiff for models that jets do not know."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, final

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

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
from phasecore.partials import Exponents, Partial
from phasecore_keras.autodiff import autodiff, to_numpy
from phasecore_keras.differentiation import Tensor, variable_dtype
from phasecore_keras.internals import flat_layers
from phasecore_keras.namespace import namespace
from phasecore_keras.propagation import Propagation
from phasecore_keras.reading import others_than, variables_read

Model = Callable[..., Tensor]
"""A Keras model or layer, or a function of tensors."""
WRAP = (
    "Wrap a model of several inputs, or one that returns a list or a dictionary, in a Functional model that splits the "
    "points and joins the outputs: see 'Several inputs, lists and dictionaries' in docs/keras.md."
)


@final
class PartialDerivatives(derivatives.PartialDerivatives):
    """Evaluates named partial derivatives of a model's outputs, in inference mode.

    The model is read with jets as it stands (see `phasecore_keras.propagation`). At set-up the result is compared with
    the backend's nested autodiff on a few points; a model that jets cannot read, or read differently, is evaluated by
    autodiff from then on, with one warning that says why.

    Args:
        model: maps points of shape (n, dimension) to outputs of shape (n, number of outputs), each row by itself: a
            Keras model or layer, or a function of tensors.
        outputs: names of the outputs.
        coordinates: names of the coordinates.
        names: the partials, see `phasecore.partials`.
        points: a few points for the comparison, shape (n, dimension).
        method: "jets" or "autodiff" to insist on one.
        factors: values of the names that the partials have as factors, such as a problem's parameters, or a function
            that returns them: it is called anew each time, where some are tensors.

    Attributes:
        dtype: in which the model wants its points: that of its variables.

    Raises:
        InputError: for a model whose inputs or outputs do not fit, or an unreadable partial.

    Example:
        >>> evaluate = PartialDerivatives(lambda points: points**3, ["u"], ["x"], ["u_xx"], [[2.0]])
        >>> float(evaluate(ops.convert_to_tensor([[2.0]]))["u_xx"][0])
        12.0
    """

    framework: ClassVar[str] = keras.backend.backend()
    wrapping: ClassVar[str] = WRAP
    stack_level: ClassVar[int] = 5

    def __init__(
        self,
        model: Model,
        outputs: Sequence[str],
        coordinates: Sequence[str],
        names: Sequence[str],
        points: ArrayLike,
        method: Method = "auto",
        factors: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        check_method(method)
        self.model = model
        self.outputs = tuple(outputs)
        self.coordinates = tuple(coordinates)
        self._factors: Callable[[], Mapping[str, Any]] = factors if callable(factors) else lambda: factors or {}
        self._propagate = Propagation(model)
        self._declare(names)
        self._points = np.asarray(points, dtype=variable_dtype(model))[:COMPARED]
        self.dtype = self._points.dtype.name
        self._wanted = method
        self._origin = self
        self.renew()

    @property
    def method(self) -> Chosen:
        """How derivatives are taken now."""
        return self._origin._chosen

    def renew(self, names: Sequence[str] | None = None) -> None:
        """Read the model anew, as it is now, and compare jets with autodiff again.

        Args:
            names: the partials, if they may be others than before.

        Raises:
            InputError: for a model that does not fit any more.
        """
        self._propagate.forget()
        if names is not None:
            self._declare(names)
        points = ops.convert_to_tensor(self._points)
        self._check_model(points)
        self._chosen: Chosen = self._choose(points, self._wanted)

    def _factors_of_names(self) -> Mapping[str, Any]:
        return self._factors()

    def __call__(self, points: Tensor) -> dict[str, Tensor]:
        """Return each partial at `points`, shape (n,), differentiable with respect to the model's variables.

        Args:
            points: a tensor of shape (n, dimension).
        """
        return self._by_jets(points) if self.method == "jets" else self._by_autodiff(points)

    def _by_jets(self, points: Tensor) -> dict[str, Tensor]:
        outputs = self._jet(self._propagate(coordinates(points, self._algebra, namespace)))
        if outputs.value.dtype != points.dtype:
            outputs = outputs.map(lambda coefficient: ops.cast(coefficient, points.dtype))
        return self._read(outputs, self._factors_now(points), namespace)

    def _by_autodiff(self, points: Tensor) -> dict[str, Tensor]:
        return {name: sum(parts[1:], parts[0]) for name, parts in self._summands(points).items()}

    def _summands(self, points: Tensor) -> dict[str, list[Tensor]]:
        """The monomials of each partial, times their factors, by nested autodiff."""
        cache: dict[tuple[str, Exponents], Tensor] = {}

        def monomial(output: str, exponents: Exponents) -> Tensor:
            if (output, exponents) not in cache:
                cache[output, exponents] = self._nested(output, exponents)(points)
            return cache[output, exponents]

        factors = self._factors_now(points)

        def parts(partial: Partial) -> Iterator[Tensor]:
            for names, own in partial.summands:
                for exponents, number in own:
                    yield math.prod((factors[n] for n in names), start=number * monomial(partial.output, exponents))

        return {name: list(parts(partial)) for name, partial in self.partials.items()}

    def _factors_now(self, points: Tensor) -> dict[str, Tensor]:
        """The values of factors that are tensors or variables."""
        names = {name for partial in self.partials.values() for own, _ in partial.summands for name in own}
        values = self._factors() if names else {}
        return {name: ops.cast(values[name], points.dtype) for name in names}

    def _nested(self, output: str, exponents: Exponents) -> Callable[[Tensor], Tensor]:
        function = self._column(output)
        for axis, count in enumerate(exponents):
            for _ in range(count):
                function = autodiff().derivative(function, axis)
        return function

    def _column(self, output: str) -> Callable[[Tensor], Tensor]:
        column = self.outputs.index(output)
        return lambda points: ops.cast(self._value(points)[:, column], points.dtype)

    def _value(self, points: Tensor) -> Tensor:
        return self.model(points, training=False) if isinstance(self.model, keras.layers.Layer) else self.model(points)

    def _is_tensor(self, values: Any) -> bool:
        return bool(ops.is_tensor(values))

    def _on_host(self, values: Tensor) -> NDArray[Any]:
        return to_numpy(values)

    def _unlike_reals(self, values: Tensor) -> str:
        dtype = keras.backend.standardize_dtype(values.dtype)
        return "" if keras.backend.is_float_dtype(dtype) else str(dtype)

    def _told_of(self, points: Tensor) -> str:
        return f"shape {tuple(points.shape)}"

    def _check_autodiff(self, points: Tensor) -> None:
        self._once(self._by_autodiff, {}, (), points)

    def _unlike_autodiff(self, points: Tensor) -> str:
        """Say what jets get wrong, or nothing; what autodiff cannot differentiate cannot be compared."""
        variables = self._trained()
        try:
            parts, gradients = self._once(self._stacked_summands, {}, variables, points)
            sizes = {name: max(float(np.abs(values.sum(0)).max()), 1e-30) for name, values in parts.items()}
        except Exception:
            parts, gradients, sizes = {}, [], dict.fromkeys(self.partials, 1.0)
        try:
            by_jets, own = self._once(self._by_jets, sizes, variables, points)
        except Exception as error:
            return told(error)
        if not parts:
            return ""
        tolerance, epsilon = _tolerance_of(self.model), float(np.finfo(next(iter(parts.values())).dtype).eps)
        differs = disagreement(by_jets, parts, tolerance, epsilon)
        return differs or gradient_disagreement(own, gradients, tolerance)

    def _stacked_summands(self, points: Tensor) -> dict[str, Tensor]:
        return {name: ops.stack(parts) for name, parts in self._summands(points).items()}

    def _once(
        self,
        evaluate: Callable[[Tensor], dict[str, Tensor]],
        sizes: Mapping[str, float],
        variables: Sequence[Any],
        points: Tensor,
    ) -> tuple[dict[str, Any], list[Any]]:
        """Evaluate partials, or their summands, and the gradient of their mean square: what training needs of them.

        Each partial enters the mean in proportion to its size, as given or as it is found.
        """

        def evaluated(points: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            values, total = evaluate(points), ops.zeros((), dtype=points.dtype)
            for name, value in values.items():
                whole = ops.sum(value, axis=0) if len(value.shape) > 1 else value
                found = ops.stop_gradient(ops.maximum(ops.max(ops.abs(whole)), 1e-30))
                total = total + namespace.mean(ops.square(whole / sizes.get(name, found)))
            return total, values

        others = others_than(getattr(self.model, "variables", ()), variables)
        values, gradients = autodiff().once(evaluated, variables, others, points)
        as_numpy = {name: to_numpy(value) for name, value in values.items()}
        return as_numpy, [to_numpy(gradient).astype(np.float64) for gradient in gradients]

    def _trained(self) -> list[Any]:
        """The variables that are trained: the model's, and those that it reads, wherever they are held."""
        points = ops.convert_to_tensor(self._points)
        own = list(getattr(self.model, "trainable_variables", ()))
        read = variables_read(lambda: autodiff().shapes(lambda: self._value(points)))
        known = getattr(self.model, "variables", ())
        return [*own, *(variable for variable in others_than(read, known) if variable.trainable)]


def _tolerance_of(model: Model) -> float:
    """The tolerance of the shortest dtype that a model computes in."""
    layers = flat_layers(model) if isinstance(model, keras.layers.Layer) else ()
    computed = [layer.compute_dtype for layer in layers] or [keras.config.floatx()]
    return max(AGREEMENT.get(dtype, 0.1) for dtype in computed)
