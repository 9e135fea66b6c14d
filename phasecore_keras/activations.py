"""What the hidden layers of a Keras model put out, found by walking the model as it stands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, final

import keras

from phasecore_keras.differentiation import Tensor
from phasecore_keras.internals import run_through_graph

FUNCTIONS = frozenset(
    {
        *("Celu", "Elu", "Gelu", "Glu", "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu", "LogSigmoid", "Mish"),
        *("Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Softplus", "Softsign", "SoftShrink", "TanhShrink"),
        *("Arctan", "Cos", "Exp", "Sin", "Sinh", "Tanh"),
    }
)
"""Operations of `keras.ops` that count as activation functions, by the names of their classes."""


@final
class HiddenActivations:
    """Evaluates the outputs of the activation functions of a model's hidden layers, in inference mode.

    Sequential and Functional models are walked, nested ones too; of any other model what its `call` does with layers
    and `keras.ops` is recorded. A layer's output counts if the layer has an activation function, or is one; so does
    that of an operation that is one, once the coordinates have met a trainable variable. What the model returns is not
    hidden.

    Args:
        model: a Keras model or layer.

    Example:
        >>> layers = keras.layers
        >>> model = keras.Sequential([keras.Input((2,)), layers.Dense(3), layers.Activation("tanh"), layers.Dense(1)])
        >>> [tuple(values.shape) for values in HiddenActivations(model)(keras.ops.ones((5, 2)))]
        [(5, 3)]
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._graphs: dict[int, Any] = {}

    def __call__(self, *points: Any) -> list[Tensor]:
        """Return the outputs of each hidden layer in the network's order, shape (n, neurons) each.

        Args:
            points: of shape (n, dimension), or whatever the model takes.
        """
        found: list[Tensor] = []
        outputs = self._apply(found, [], self._model, *points)
        returned = {id(output) for output in keras.tree.flatten(outputs)}
        return [v for v in found if len(v.shape) == 2 and id(v) not in returned and not _is_complex(v)]

    def count(self, *points: Any) -> int:
        """Return the number of hidden layers that are found, 0 if the model cannot be walked."""
        try:
            return len(self(*points))
        except Exception:
            return 0

    def _apply(self, found: list[Tensor], met: list[bool], operation: Any, *arguments: Any, **options: Any) -> Any:
        inner = functools.partial(self._apply, found, met)
        of_keras = type(operation).__module__.startswith("keras.") or (
            isinstance(operation, keras.layers.Layer) and type(operation).call.__module__.startswith("keras.")
        )
        if of_keras and isinstance(operation, keras.Sequential):
            return functools.reduce(lambda values, layer: inner(layer, values), operation.layers, arguments[0])
        if of_keras and isinstance(operation, keras.Function):
            walked = run_through_graph(operation, arguments, lambda part: functools.partial(inner, part))
            return walked[0] if isinstance(walked, (list, tuple)) and len(walked) == 1 else walked
        if not of_keras and isinstance(operation, keras.layers.Layer):
            return inner(self._graph(operation, arguments, options), *arguments)
        outputs = operation(*arguments, **_inference(operation, options))
        read = [*keras.tree.flatten((arguments, options)), *getattr(operation, "trainable_variables", ())]
        if any(isinstance(item, keras.Variable) and item.trainable for item in read):
            met.append(True)
        if met and _is_activation(operation):
            found.append(outputs)
        return outputs

    def _graph(self, layer: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Record what the `call` of a layer does."""
        if id(layer) not in self._graphs:
            symbols = keras.tree.map_structure(
                lambda item: keras.Input(item.shape[1:], dtype=keras.backend.standardize_dtype(item.dtype)), arguments
            )
            outputs = layer.call(*symbols, **_inference(layer, options))
            self._graphs[id(layer)] = keras.Function(symbols, outputs)
        return self._graphs[id(layer)]


def _is_complex(values: Tensor) -> bool:
    return "complex" in keras.backend.standardize_dtype(values.dtype)


def _inference(operation: Any, options: dict[str, Any]) -> dict[str, Any]:
    call: Callable[..., Any] = operation.call
    return {**options, "training": False} if "training" in inspect.signature(call).parameters else options


def _is_activation(operation: Any) -> bool:
    function = getattr(operation, "activation", None)
    if function is not None:
        return function is not keras.activations.linear
    name = type(operation).__name__
    is_layer = isinstance(operation, keras.layers.Layer)
    return type(operation).__module__.partition(".activations")[1] != "" if is_layer else name in FUNCTIONS
