"""Sending jets through a Keras model as it stands: its graph is walked, and every operation in it is looked up here.

Sequential and Functional models have their graph. Any other layer or model is asked for it: its `call` is applied to a
symbolic tensor, and what it does with `keras.ops` and with layers of its own is recorded, which Keras itself does to
build a Functional model. A layer that leaves `keras.ops` cannot be read so, and is left to autodiff.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, final

import keras
from keras import ops

from phasecore.jets import FUNCTIONS, Function, Jet, concat, power, stack
from phasecore_keras.internals import arguments_of, run_through_graph
from phasecore_keras.layer_normalization import normalized
from phasecore_keras.namespace import namespace

Rule = Callable[..., Any]


class UnsupportedOperation(NotImplementedError):  # noqa: N818
    """An operation that jets do not know; the model's derivatives are then left to autodiff."""


@final
class Propagation:
    """Applies a model to jets, without changing the model.

    Args:
        model: a Keras model or layer, or a function that uses `keras.ops`.

    Example:
        >>> from phasecore.jets import algebra_of, coordinates
        >>> second = (((2,), 1.0),)
        >>> algebra = algebra_of(1, [second])
        >>> x = coordinates(ops.convert_to_tensor([[3.0]]), algebra, namespace)
        >>> [float(c[0, 0]) for c in Propagation(lambda x: ops.square(x))(x).coefficients]
        [9.0, 6.0, 2.0]
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self._model = model
        self._graphs: dict[Any, tuple[Any, Any]] = {}

    def forget(self) -> None:
        """Forget what was recorded of layers: the next call reads them as they are then."""
        self._graphs.clear()

    def __call__(self, jet: Jet) -> Any:
        """Return the model's output as a jet, or as a tensor where it does not depend on the coordinates."""
        if isinstance(self._model, keras.Operation):
            return self._apply(self._model, jet)
        return self._through_call(self._model, self._model, (jet,), {})

    def _apply(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        if not _has_jets((arguments, options)):
            return operation(*arguments, **options)
        if isinstance(operation, keras.layers.Layer):
            return self._apply_layer(operation, arguments, options)
        dtype = _dtype_of_jets((arguments, options))
        arguments, options = keras.tree.map_structure(functools.partial(_plain, dtype=dtype), (arguments, options))
        rule = _RULES.get(type(operation).__name__)
        if rule is None or not type(operation).__module__.startswith("keras."):
            raise UnsupportedOperation(f"operation {type(operation).__name__}")
        return rule(operation, *arguments, **options)

    def _apply_layer(self, layer: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if layer.autocast:
            cast = functools.partial(_cast, dtype=layer.compute_dtype)
            arguments, options = keras.tree.map_structure(cast, (arguments, options))
        name, of_keras = type(layer).__name__, type(layer).call.__module__.startswith("keras.")
        if of_keras and isinstance(layer, keras.Sequential):
            return functools.reduce(lambda jet, inner: self._apply(inner, jet), layer.layers, arguments[0])
        if of_keras and isinstance(layer, keras.Function):
            return self._walk(layer, arguments)
        if of_keras and name in _LAYER_RULES:
            return _LAYER_RULES[name](layer, arguments[0])
        return self._through_call(layer, layer.call, arguments, options)

    def _walk(self, graph: Any, arguments: tuple[Any, ...]) -> Any:
        outputs = run_through_graph(graph, arguments, lambda inner: functools.partial(self._apply, inner))
        return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs

    def _through_call(self, key: Any, call: Rule, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        items = keras.tree.flatten((arguments, options))
        jets = [item for item in items if isinstance(item, Jet)]
        others = tuple(None if isinstance(item, Jet) else item for item in items)
        reusable = all(isinstance(item, (bool, int, float, str, type(None))) for item in others)
        place = (id(key), others, tuple(sorted(options))) if reusable else None
        _, graph = self._graphs.get(place, (None, None))
        if graph is None:
            graph = _graph_of(call, arguments, options)
            if reusable and _is_closed(graph):
                self._graphs[place] = (key, graph)  # the layer too, or another could come to have its id
        return self._walk(graph, tuple(jets))


def _graph_of(call: Rule, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Record what a layer's `call` does in inference mode."""
    if "training" in inspect.signature(call).parameters:
        options = {**options, "training": False}
    symbols: list[Any] = []

    def symbolic(item: Any) -> Any:
        if not isinstance(item, Jet):
            return item
        shape = (None, *item.value.shape[1:])
        symbols.append(keras.Input(batch_shape=shape, dtype=keras.backend.standardize_dtype(item.value.dtype)))
        return symbols[-1]

    arguments, options = keras.tree.map_structure(symbolic, (arguments, options))
    outputs = call(*arguments, **options)
    return keras.Function(symbols, outputs)


def _is_closed(graph: Any) -> bool:
    """Say whether a graph holds variables and numbers alone: a tensor in it may have been computed from variables."""
    for operation in graph.operations:
        for argument in arguments_of(operation):
            symbolic = isinstance(argument, (keras.KerasTensor, keras.Variable))
            if not symbolic and keras.ops.is_tensor(argument):
                return False
    return True


def _has_jets(structure: Any) -> bool:
    return any(isinstance(item, Jet) for item in keras.tree.flatten(structure))


def _dtype_of_jets(structure: Any) -> Any:
    jet = next(item for item in keras.tree.flatten(structure) if isinstance(item, Jet))
    return keras.backend.standardize_dtype(jet.value.dtype)


def _plain(item: Any, dtype: str) -> Any:
    """A variable's value, in the dtype of the jets that it meets, as under Keras' automatic casting."""
    if not isinstance(item, keras.Variable):
        return item
    value = item.value
    is_other = keras.backend.standardize_dtype(value.dtype) != dtype
    return ops.cast(value, dtype) if is_other and keras.backend.is_float_dtype(value.dtype) else value


def _cast(item: Any, dtype: str) -> Any:
    if not isinstance(item, Jet) or keras.backend.standardize_dtype(item.value.dtype) == dtype:
        return item
    return item.map(lambda coefficient: ops.cast(coefficient, dtype))


def _add(operation: Any, x1: Any, x2: Any) -> Any:
    return x1 + x2 if isinstance(x1, Jet) else x2 + x1


def _subtract(operation: Any, x1: Any, x2: Any) -> Any:
    return x1 - x2 if isinstance(x1, Jet) else (-x2) + x1


def _divide(operation: Any, x1: Any, x2: Any) -> Any:
    if isinstance(x1, Jet):
        return x1 / x2
    return x2.apply(power(-1.0)) * x1


def _power(operation: Any, x1: Any, x2: Any) -> Any:
    if not (isinstance(x1, Jet) and isinstance(x2, (int, float))):
        raise UnsupportedOperation("power with an exponent that is not a number")
    return x1**x2


def _elementwise(function: Function) -> Rule:
    return lambda operation, x: x.apply(function, namespace)


def _gelu(operation: Any, x: Jet) -> Jet:
    if not operation.approximate:
        return x.apply(FUNCTIONS["gelu"], namespace)
    inner = (x + x * x * x * 0.044715) * 0.7978845608028654
    return x * 0.5 * (inner.apply(FUNCTIONS["tanh"], namespace) + 1.0)


def _linear(operation: Any, x: Any, *arguments: Any, **options: Any) -> Any:
    """The rule of an operation that is linear in its first argument and has no jet besides."""
    if not isinstance(x, Jet) or _has_jets((arguments, options)):
        raise UnsupportedOperation(f"operation {type(operation).__name__} of several jets")
    return x.map(lambda coefficient: operation.call(coefficient, *arguments, **options))


def _linear_parts(operation: Any, x: Jet) -> list[Jet]:
    """The rule of a linear operation that returns several parts, such as `split`."""
    parts = [None if c is None else operation.call(c) for c in x.coefficients]
    count = len(operation.call(x.value))
    return [Jet(x.algebra, tuple(None if part is None else part[k] for part in parts)) for k in range(count)]


def _multilinear(operation: Any, *operands: Any) -> Any:
    """The rule of a product: linear in each operand, of which one or two are jets."""
    places = [place for place, operand in enumerate(operands) if isinstance(operand, Jet)]

    def product(*values: Any) -> Any:
        filled = list(operands)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        return operation.call(*filled)

    if len(places) == 1:
        return operands[places[0]].map(product)
    if len(places) == 2:
        return operands[places[0]].bilinear(operands[places[1]], product)
    raise UnsupportedOperation(f"operation {type(operation).__name__} of more than two jets")


def _affine_normalization(layer: Any, x: Any) -> Any:
    scale = ops.maximum(ops.sqrt(ops.cast(layer.variance, layer.compute_dtype)), keras.config.epsilon())
    mean = ops.cast(layer.mean, layer.compute_dtype)
    return x * scale + mean if layer.invert else (x - mean) / scale


_LINEAR = (
    "BroadcastTo",
    "Cast",
    "ExpandDims",
    "Flip",
    "GetItem",
    "Mean",
    "Moveaxis",
    "Ravel",
    "Repeat",
    "Reshape",
    "Roll",
    "Squeeze",
    "Sum",
    "Swapaxes",
    "Take",
    "Tile",
    "Transpose",
)


_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_LINEAR, _linear),
        **dict.fromkeys(("Dot", "Einsum", "Matmul", "Multiply"), _multilinear),
        **{name.capitalize(): _elementwise(function) for name, function in FUNCTIONS.items()},
        "Add": _add,
        "Concatenate": lambda operation, xs: concat(xs, operation.axis, namespace),
        "Divide": _divide,
        "Gelu": _gelu,
        "Identity": lambda operation, x: x,
        "Negative": lambda operation, x: -x,
        "Power": _power,
        "Reciprocal": _elementwise(power(-1.0)),
        "Rsqrt": _elementwise(power(-0.5)),
        "Split": _linear_parts,
        "Square": lambda operation, x: x * x,
        "Stack": lambda operation, x: stack(x, operation.axis, namespace),
        "Subtract": _subtract,
        "TrueDivide": _divide,
    }
)
"""By the name of an operation's class in `keras.ops`."""


def _linear_layer(layer: Any, x: Jet) -> Jet:
    return x.map(layer)


_LAYER_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("Flatten", "Identity", "Permute", "RepeatVector", "Reshape"), _linear_layer),
        "LayerNormalization": normalized,
        "Normalization": _affine_normalization,
        "Rescaling": lambda layer, x: x * layer.scale + layer.offset,
    }
)
"""By the name of a layer's class, where its `call` does not use `keras.ops` throughout."""
