"""Partial derivatives by name: "u", "u_t", "u_xx", and sums such as "u_xx + u_yy" or "u_t - viscosity*u_xx".

A name is the output, an underscore, and the coordinates in the order of differentiation. A sum of partials of one
output is one partial too, a single linear differential operator, which jets carry as a single coefficient. Factors are
numbers or names, such as those of a problem's parameters: "u_xxxx + 2*u_xxyy + u_yyyy", "u_tt - 2*damping*u_t". A
factor that is a tensor or a variable, such as a coefficient that is trained, is read anew each time: it splits the
operator.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from phasecore.errors import InputError

Exponents = tuple[int, ...]
"""How often each coordinate is differentiated: (1, 2) is d/dx d2/dy2."""

Operator = tuple[tuple[Exponents, float], ...]
"""A linear differential operator with constant factors: sorted pairs of exponents and factor."""


class Summand(NamedTuple):
    """A part of a partial.

    Attributes:
        factors: names of those factors that are tensors or variables.
        operator: with the factors that are numbers.
    """

    factors: tuple[str, ...]
    operator: Operator


@final
@dataclass(frozen=True)
class Partial:
    """A linear differential operator applied to one output.

    Attributes:
        name: as it was written.
        output: name of the differentiated output.
        summands: the operator; in several parts where factors are tensors or variables.
    """

    name: str
    output: str
    summands: tuple[Summand, ...]

    @property
    def operator(self) -> Operator:
        """Exponents per coordinate, with factors; the identity is `(((0, ..., 0), 1.0),)`.

        Raises:
            InputError: where factors are tensors or variables.
        """
        (names, operator), *others = self.summands
        if names or others:
            tensors = sorted({name for part in self.summands for name in part.factors})
            raise InputError(
                f"the operator of {self.name!r}",
                received=f"factors that are tensors {tensors}",
                expected="numbers",
                fix="Read its `summands`.",
            )
        return operator

    @property
    def order(self) -> int:
        """The highest order of differentiation, 0 for the output itself."""
        return max(order_of(operator) for _, operator in self.summands)

    def total(self, evaluate: Callable[[Operator], Any], factors: Mapping[str, Any] | None = None) -> Any:
        """Return the values of the partial.

        Args:
            evaluate: returns the values of an operator applied to the output, shape (n,).
            factors: values of the names that the partial has as factors, now.

        Example:
            >>> partial = parse_partial("u_t - nu*u_xx", ["u"], ["x", "t"], {"nu": 0.5})
            >>> partial.total(lambda operator: sum(factor for _, factor in operator))
            0.5
        """
        total: Any = None
        for names, operator in self.summands:
            values = evaluate(operator)
            for name in names:
                values = (factors or {})[name] * values
            total = values if total is None else total + values
        return total


def order_of(operator: Operator) -> int:
    """Return the highest order of differentiation in an operator.

    Example:
        >>> order_of((((0, 1), 1.0), ((2, 0), -0.1)))
        2
    """
    return max(sum(exponents) for exponents, _ in operator)


def parse_partial(
    name: str, outputs: Sequence[str], coordinates: Sequence[str], factors: Mapping[str, Any] | None = None
) -> Partial:
    """Read a partial's name.

    Args:
        name: "u", "u_t", "u_xx + u_yy", "2*psi_xxy - psi_yyy", "u_t - viscosity*u_xx".
        outputs: names of the network's outputs.
        coordinates: names of the coordinates, in the order of the network's inputs.
        factors: values of the names that may be factors, such as a problem's parameters: numbers, or tensors and
            variables of shape () or (1,), which are left to `Partial.total`.

    Raises:
        InputError: for an unknown output, coordinate or factor, a sum over several outputs, or as `check_names`.

    Example:
        >>> parse_partial("u_xx + u_yy", ["u"], ["x", "y"]).operator
        (((0, 2), 1.0), ((2, 0), 1.0))
        >>> parse_partial("u_t - nu*u_xx", ["u"], ["x", "t"], {"nu": 0.1}).operator
        (((0, 1), 1.0), ((2, 0), -0.1))
    """
    check_names(outputs, coordinates)
    known = dict(factors or {})
    expected = f"a sum of partials of one output among {list(outputs)} with respect to {list(coordinates)}"
    if known:
        expected += f", factors being numbers or among {list(known)}"
    found: dict[tuple[str, ...], dict[Exponents, float]] = {}
    found_outputs = set()
    zeros: dict[str, None] = {}
    for sign, term in _signed_terms(name):
        *given, symbol = (part.strip() for part in term.split("*"))
        left = tuple(sorted(factor for factor in given if _is_left(known.get(factor))))
        try:
            scale = math.prod((_factor(factor, known) for factor in given if factor not in left), start=sign)
            output, exponents = _parse_symbol(symbol, outputs, coordinates)
        except (TypeError, ValueError):
            raise InputError("unreadable partial derivative", received=repr(name), expected=expected) from None
        found_outputs.add(output)
        if not scale:
            zeros |= dict.fromkeys(factor for factor in given if factor in known and not _factor(factor, known))
        own = found.setdefault(left, {})
        own[exponents] = own.get(exponents, 0.0) + scale
    if not found:
        raise InputError("empty partial derivative", received=repr(name), expected=expected)
    if len(found_outputs) != 1:
        raise InputError(
            "partial derivative over several outputs",
            received=repr(name),
            expected=expected,
            fix="Declare each output's part as a partial of its own and add them in residuals().",
        )
    operators = {
        names: tuple(sorted((exponents, factor) for exponents, factor in own.items() if factor != 0.0))
        for names, own in sorted(found.items())
    }
    summands = tuple(Summand(names, operator) for names, operator in operators.items() if operator)
    if not summands:
        factor = " and ".join(zeros)
        raise InputError(
            "partial derivative that cancels to zero",
            received=repr(name) + ("".join(f", with {zero} = 0" for zero in zeros)),
            expected=expected,
            fix=f"Where {factor} may be 0, read the partial alone and multiply in residuals()." if factor else "",
        )
    return Partial(name, found_outputs.pop(), summands)


def check_names(outputs: Sequence[str], coordinates: Sequence[str]) -> None:
    """Refuse names of outputs and coordinates that no partial can be read by, or that mean two things.

    Raises:
        InputError: for a name that is no text or has a sign of arithmetic, an output that is there twice, is named as a
            coordinate, or as a derivative of another output.

    Example:
        >>> check_names(["u", "u_v"], ["x", "t"])
    """
    where = f"names of outputs {list(outputs)} and coordinates {list(coordinates)}"
    for name in (*outputs, *coordinates):
        if not isinstance(name, str) or not name or name != name.strip() or set(name) & _SIGNS:
            raise InputError(
                where,
                received=repr(name),
                expected="texts without the signs of a sum or a product, such as 'u' and 'x'",
            )
    for place, name in enumerate(outputs):
        meanings = ["a coordinate"] if name in coordinates else []
        meanings += ["another output"] if name in outputs[:place] else []
        for other in outputs:
            if name != other and _is_symbol(name, other, coordinates):
                meanings.append(f"a derivative of {other!r}")
        if meanings:
            raise InputError(
                where,
                received=f"{name!r} for an output and for {meanings[0]}",
                expected="names that mean one thing each",
                fix="Give the output another name.",
            )


_SIGNS = frozenset("+-*")


def _is_symbol(text: str, output: str, coordinates: Sequence[str]) -> bool:
    """Whether a text is the name of a derivative of an output."""
    try:
        return bool(_parse_symbol(text, [output], coordinates))
    except ValueError:
        return False


def _is_left(value: Any) -> bool:
    """Whether a factor is a tensor, variable or trained coefficient, of one number, whose value may change."""
    if isinstance(value, (np.ndarray, np.generic)) or not hasattr(value, "shape"):
        return False
    return tuple(value.shape) in ((), (1,))


def _factor(text: str, known: Mapping[str, Any]) -> float:
    value = known.get(text, text)
    if isinstance(value, bool) or not math.isfinite(factor := float(value)):
        raise ValueError(text)
    return factor


def _signed_terms(name: str) -> list[tuple[float, str]]:
    pieces = re.split(r"\s*(?<!\d[eE])([+-])\s*", name.strip())
    pieces = pieces[1:] if pieces[0] == "" else ["+", *pieces]
    return [(1.0 if sign == "+" else -1.0, term) for sign, term in zip(pieces[::2], pieces[1::2], strict=True)]


def _parse_symbol(symbol: str, outputs: Sequence[str], coordinates: Sequence[str]) -> tuple[str, Exponents]:
    for output in sorted(outputs, key=len, reverse=True):
        if symbol == output:
            return output, (0,) * len(coordinates)
        if symbol.startswith(output + "_") and symbol != output + "_":
            exponents = _split_coordinates(symbol[len(output) + 1 :], coordinates)
            if exponents is not None:
                return output, exponents
    raise ValueError(symbol)


def _split_coordinates(suffix: str, coordinates: Sequence[str]) -> Exponents | None:
    """Split "xxy" into coordinate names; names of several letters are matched whole, with backtracking."""
    if not suffix:
        return (0,) * len(coordinates)
    for axis, coordinate in sorted(enumerate(coordinates), key=lambda pair: -len(pair[1])):
        if suffix.startswith(coordinate):
            rest = _split_coordinates(suffix[len(coordinate) :], coordinates)
            if rest is not None:
                return tuple(count + (index == axis) for index, count in enumerate(rest))
    return None
