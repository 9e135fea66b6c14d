"""Sending jets through a torch model as it stands: every function that torch applies to them is looked up here.

A `TracedTensor` is handed to the model in place of the points. Through torch's `__torch_function__` protocol each
operation on it arrives here and is applied to the jet that it holds. The model is neither changed nor wrapped, may have
any control flow, and `torch.compile` traces through all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from phasecore.jets import FUNCTIONS, Function, Jet, concat, power, stack
from phasecore_torch.namespace import namespace
from phasecore_torch.normalization import OWN, layer_norm
from phasecore_torch.rewritten import linear

LINEAR = (
    "clone",
    "contiguous",
    "double",
    "expand",
    "flatten",
    "float",
    "index_select",
    "mean",
    "movedim",
    "narrow",
    "permute",
    "reshape",
    "select",
    "squeeze",
    "sum",
    "swapaxes",
    "t",
    "to",
    "transpose",
    "type_as",
    "unflatten",
    "unsqueeze",
    "view",
)
"""Functions of torch, and methods of its tensors, that are linear in their first argument and return one tensor."""


class UnsupportedOperation(NotImplementedError):  # noqa: N818
    """A torch function that jets do not know; the model's derivatives are then left to autodiff."""


@final
class TracedTensor:
    """What a model sees instead of a tensor of points: the tensor's metadata, and operations that act on the jet."""

    def __init__(self, jet: Jet) -> None:
        self.jet = jet

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        rule = _RULES.get(function)
        if rule is None:
            raise UnsupportedOperation(getattr(function, "__name__", str(function)))
        return rule(*args, **(kwargs or {}))

    @property
    def shape(self) -> torch.Size:
        """The value's shape."""
        return self.jet.value.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """The value's dtype."""
        return self.jet.value.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """The value's device."""
        return self.jet.value.device  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        """The value's number of axes."""
        return self.jet.value.ndim  # type: ignore[no-any-return]

    @property
    def T(self) -> TracedTensor:  # noqa: N802
        """The transpose."""
        return TracedTensor(self.jet.map(Tensor.t))

    def dim(self) -> int:
        """The value's number of axes."""
        return self.ndim

    def size(self, dim: int | None = None) -> Any:
        """The value's shape, or its length along an axis."""
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        rule = _RULES.get(getattr(Tensor, name, None))
        if rule is None:
            raise UnsupportedOperation(f"Tensor.{name}")
        return lambda *args, **kwargs: rule(self, *args, **kwargs)

    def __getitem__(self, index: Any) -> TracedTensor:
        return TracedTensor(self.jet.map(lambda coefficient: coefficient[index]))

    def __neg__(self) -> TracedTensor:
        return TracedTensor(-self.jet)

    def __add__(self, other: Any) -> TracedTensor:
        return _add(self, other)

    def __radd__(self, other: Any) -> TracedTensor:
        return _add(other, self)

    def __sub__(self, other: Any) -> TracedTensor:
        return _subtract(self, other)

    def __rsub__(self, other: Any) -> TracedTensor:
        return _subtract(other, self)

    def __mul__(self, other: Any) -> TracedTensor:
        return _multiply(self, other)

    def __rmul__(self, other: Any) -> TracedTensor:
        return _multiply(other, self)

    def __truediv__(self, other: Any) -> TracedTensor:
        return _divide(self, other)

    def __rtruediv__(self, other: Any) -> TracedTensor:
        return _divide(other, self)

    def __pow__(self, exponent: Any) -> TracedTensor:
        return _power(self, exponent)

    def __matmul__(self, other: Any) -> TracedTensor:
        return _matrix_multiply(self, other)

    def __rmatmul__(self, other: Any) -> TracedTensor:
        return _matrix_multiply(other, self)


def _jet(value: Any) -> Any:
    return value.jet if isinstance(value, TracedTensor) else value


def _add(input: Any, other: Any, *, alpha: float = 1.0) -> TracedTensor:
    addend = other if alpha == 1.0 else alpha * other
    return TracedTensor(
        input.jet.__add__(_jet(addend)) if isinstance(input, TracedTensor) else addend.jet.__add__(input),
    )


def _subtract(input: Any, other: Any, *, alpha: float = 1.0) -> TracedTensor:
    return _add(input, other, alpha=-alpha)


def _reverse_subtract(input: Any, other: Any) -> TracedTensor:
    return _subtract(other, input)


def _multiply(input: Any, other: Any) -> TracedTensor:
    # methods by name: torch.compile takes an operator between a jet and a tensor for one between tensors
    if isinstance(input, TracedTensor):
        return TracedTensor(input.jet.__mul__(_jet(other)))
    return TracedTensor(other.jet.__mul__(input))


def _divide(input: Any, other: Any) -> TracedTensor:
    if isinstance(input, TracedTensor):
        return TracedTensor(input.jet.__truediv__(_jet(other)))
    return _multiply(input, _power(other, -1.0))


def _power(input: Any, exponent: Any) -> TracedTensor:
    if not (isinstance(input, TracedTensor) and isinstance(exponent, (int, float))):
        raise UnsupportedOperation("pow with an exponent that is not a number")
    return TracedTensor(input.jet ** float(exponent))


def _matrix_multiply(input: Any, other: Any) -> TracedTensor:
    if isinstance(input, TracedTensor) and isinstance(other, TracedTensor):
        return TracedTensor(input.jet.bilinear(other.jet, torch.matmul))
    if isinstance(input, TracedTensor):
        return TracedTensor(input.jet.map(lambda coefficient: coefficient @ other))
    return TracedTensor(other.jet.map(lambda coefficient: input @ coefficient))


def _affine(input: Any, weight: Any, bias: Any = None) -> TracedTensor:
    if not isinstance(input, TracedTensor) or isinstance(weight, TracedTensor) or isinstance(bias, TracedTensor):
        raise UnsupportedOperation("linear with a weight or bias that depends on the coordinates")
    value, *others = input.jet.value, *input.jet.coefficients[1:]
    images = (None if coefficient is None else linear(coefficient, weight) for coefficient in others)
    image = linear(value, weight)
    return TracedTensor(Jet(input.jet.algebra, (image if bias is None else image + bias, *images)))


def _linear(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a function that is linear in its first argument and has no other traced one."""

    def rule(input: Any, *args: Any, **kwargs: Any) -> TracedTensor:
        if not isinstance(input, TracedTensor):
            raise UnsupportedOperation(f"{function.__name__} of constants with a traced argument")
        return TracedTensor(input.jet.map(lambda coefficient: function(coefficient, *args, **kwargs)))

    return rule


def _linear_parts(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a linear function that returns several parts, such as `chunk`."""

    def rule(input: Any, *args: Any, **kwargs: Any) -> tuple[TracedTensor, ...]:
        parts = [None if c is None else function(c, *args, **kwargs) for c in input.jet.coefficients]
        return tuple(
            TracedTensor(Jet(input.jet.algebra, tuple(None if part is None else part[k] for part in parts)))
            for k in range(len(function(input.jet.value, *args, **kwargs)))
        )

    return rule


def _elementwise(function: Function) -> Callable[..., Any]:
    def rule(input: Any, *, inplace: bool = False) -> TracedTensor:
        return TracedTensor(input.jet.apply(function, namespace))

    return rule


def _softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> TracedTensor:
    return TracedTensor((input.jet * beta).apply(FUNCTIONS["softplus"], namespace) / beta)


def _silu(input: Any, inplace: bool = False) -> TracedTensor:
    return TracedTensor(input.jet.apply(FUNCTIONS["silu"], namespace))


def _gelu(input: Any, approximate: str = "none") -> TracedTensor:
    if approximate == "none":
        return TracedTensor(input.jet.apply(FUNCTIONS["gelu"], namespace))
    x = input.jet
    inner = (x + x * x * x * 0.044715) * 0.7978845608028654
    return TracedTensor(x * 0.5 * (inner.apply(FUNCTIONS["tanh"], namespace) + 1.0))


def _concatenate(tensors: Sequence[Any], dim: int = 0) -> TracedTensor:
    return TracedTensor(concat([_jet(tensor) for tensor in tensors], dim, namespace))


def _horizontal(tensors: Sequence[Any]) -> TracedTensor:
    return _concatenate(tensors, dim=0 if tensors[0].ndim == 1 else 1)


def _stack(tensors: Sequence[Any], dim: int = 0) -> TracedTensor:
    return TracedTensor(stack([_jet(tensor) for tensor in tensors], dim, namespace))


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a function that reads the shape and dtype of its argument alone."""
    return lambda input, *args, **kwargs: function(input.jet.value, *args, **kwargs)


def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> TracedTensor:
    if training and p > 0:
        raise UnsupportedOperation("dropout while training")
    return TracedTensor(input.jet)


def _rules() -> dict[Any, Callable[..., Any]]:
    pairs: list[tuple[Iterable[Any], Callable[..., Any]]] = [
        ((F.linear,), _affine),
        ((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), _add),
        ((torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract), _subtract),
        ((torch.rsub, Tensor.__rsub__), _reverse_subtract),
        ((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply, Tensor.multiply), _multiply),
        ((torch.div, Tensor.div, Tensor.__truediv__, torch.true_divide, torch.divide, Tensor.divide), _divide),
        ((Tensor.__rtruediv__,), lambda input, other: _divide(other, input)),
        ((torch.pow, Tensor.pow, Tensor.__pow__), _power),
        ((torch.square, Tensor.square), lambda input: _power(input, 2)),
        ((torch.reciprocal, Tensor.reciprocal), _elementwise(power(-1.0))),
        ((torch.neg, Tensor.neg, torch.negative, Tensor.negative, Tensor.__neg__), _linear(torch.neg)),
        ((torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm), _matrix_multiply),
        ((Tensor.__rmatmul__,), lambda input, other: _matrix_multiply(other, input)),
        ((torch.cat, torch.concat, torch.concatenate), _concatenate),
        ((torch.hstack,), _horizontal),
        ((torch.stack,), _stack),
        ((F.softplus,), _softplus),
        ((F.silu,), _silu),
        ((F.gelu,), _gelu),
        ((F.dropout,), _dropout),
        (OWN, layer_norm),
    ]
    for name, function in FUNCTIONS.items():
        if name not in ("softplus", "silu", "gelu"):
            homes = (getattr(home, name, None) for home in (torch, Tensor, torch.special, F))
            pairs.append(([home for home in homes if home is not None], _elementwise(function)))
    for name in LINEAR:
        found = (getattr(home, name, None) for home in (torch, Tensor))
        pairs += [([home], _linear(home)) for home in found if callable(home)]
    for name in ("zeros_like", "ones_like", "full_like"):
        pairs.append(([getattr(torch, name)], _constant(getattr(torch, name))))
    for name in ("chunk", "split", "tensor_split", "unbind"):
        pairs += [([home], _linear_parts(home)) for home in (getattr(torch, name), getattr(Tensor, name))]
    return {function: rule for functions, rule in pairs for function in functions}


_RULES = _rules()
