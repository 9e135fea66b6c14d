"""Specifications, as users write them: "name", "name:key=value,key=value", composed and listed ones."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from phasecore.errors import InputError, described

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_JOINT = r"\+(?=\s*[A-Za-z_])"
"""What joins specifications; a sign in front of a number does not."""


def parse_specification(text: str, what: str) -> tuple[str, dict[str, Any]]:
    """Read "name" or "name:key=value,key=value"; values are Python literals, or else strings.

    What stands in brackets or in quotes belongs together, as in "burgers:viscosity=trained(0.1,positive=True)", and so
    does a specification within another, "at_phase:phase=diffusion,do=change_weighting,to=(rba+fixed:initial=10)". Keys
    are of letters, digits, "_", "-" and inner spaces, as names of terms are.

    Raises:
        InputError: if it is no text, or the text has another form.

    Example:
        >>> parse_specification("rba:gamma=0.99,start=residuals", "--weighting")
        ('rba', {'gamma': 0.99, 'start': 'residuals'})
        >>> parse_specification("at_phase:do=change_weighting,to=(fixed:initial=10,pde=2)", "--policy")[1]["to"]
        'fixed:initial=10,pde=2'
    """
    _check_text(text, what)
    name, colon, rest = text.strip().partition(":")
    options: dict[str, Any] = {}
    for item in split_outside_brackets(rest, ",") if colon else []:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (equals and _is_key(key) and value) or key in options:
            raise InputError(what, received=repr(text), expected='"name" or "name:key=value,key=value", each key once')
        options[key] = _literal(value)
    if not name.strip():
        raise InputError(what, received=repr(text), expected='"name" or "name:key=value,key=value"')
    return name.strip(), options


def parse_composed(text: str, what: str) -> list[tuple[str, dict[str, Any]]]:
    """Read several specifications joined by "+", such as "rba+grad_norm", or a single one.

    Raises:
        InputError: if it is no text, or a part has another form than `parse_specification` reads.

    Example:
        >>> parse_composed("rba:eta=1e+0,gamma=0.9+grad_norm", "--weighting")
        [('rba', {'eta': 1.0, 'gamma': 0.9}), ('grad_norm', {})]
    """
    _check_text(text, what)
    return [parse_specification(part, what) for part in split_outside_brackets(text, _JOINT)]


def specification_of(name: str, options: Mapping[str, Any]) -> str:
    """Return a name with its options as `parse_specification` reads them.

    Example:
        >>> specification_of("rba", {"gamma": 0.99, "start": "residuals"}), specification_of("uniform", {})
        ('rba:gamma=0.99,start=residuals', 'uniform')
        >>> specification_of("at_phase", {"to": "fixed:initial=10,pde=2"})
        'at_phase:to=(fixed:initial=10,pde=2)'
    """
    written = ",".join(f"{key}={_written(value)}" for key, value in options.items())
    return f"{name}:{written}" if written else name


def split_weightings(text: str, what: str = "--weightings") -> list[str]:
    """Split "A,B" into specifications.

    A comma also separates the options of one specification. What follows a comma is an option of the specification
    before it if it reads "key=value", and begins a new specification ("name" or "name:key=value") otherwise.

    Raises:
        InputError: if a specification is empty or given twice, or options follow a name without a colon.

    Example:
        >>> split_weightings("uniform,rba:gamma=0.99,eta=0.01,rba")
        ['uniform', 'rba:gamma=0.99,eta=0.01', 'rba']
    """
    found: list[str] = []
    for piece in (part.strip() for part in split_outside_brackets(text, ",")):
        is_option = "=" in piece.partition(":")[0]
        if piece and not is_option:
            found.append(piece)
        elif piece and found and ":" in found[-1]:
            found[-1] += f",{piece}"
        else:
            raise InputError(
                what,
                received=repr(text),
                expected='specifications with commas between, such as "uniform,rba:gamma=0.99,eta=0.01"',
            )
    repeated = sorted({item for item in found if found.count(item) > 1})
    if repeated:
        raise InputError(what, received=f"{repeated[0]!r} more than once", expected="each once")
    return found


def split_outside_brackets(text: str, separator: str) -> list[str]:
    """Split a text where a pattern of one character matches outside of brackets and of texts in quotes.

    Example:
        >>> split_outside_brackets("a=f(1,b=(2,3)),c=[4,5],d='6,7'", ",")
        ['a=f(1,b=(2,3))', 'c=[4,5]', "d='6,7'"]
    """
    pattern, parts, begin, depth, quoted = re.compile(separator), [], 0, 0, 0
    for place, character in enumerate(text):
        quoted = quoted if place < quoted else _end_of_quotes(text, place)
        if place < quoted:
            continue
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
        if depth == 0 and pattern.match(text, place):
            parts.append(text[begin:place])
            begin = place + 1
    return [*parts, text[begin:]]


def _end_of_quotes(text: str, place: int) -> int:
    """Where a text in quotes that begins here as a value ends, or 0: an apostrophe within a word begins none."""
    before = text[:place].rstrip()
    found = _QUOTED.match(text, place) if not before or before[-1] in "=,([{:" else None
    return found.end() if found else 0


def _is_key(text: str) -> bool:
    return text.isidentifier() or re.fullmatch(r"\w(?:[\w -]*\w)?", text) is not None


def _check_text(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise InputError(what, received=described(text), expected='"name" or "name:key=value,key=value"')


def _literal(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError):
        is_enclosed = value.startswith("(") and split_outside_brackets(value, r"\)")[1:] == [""]
        return value[1:-1].strip() if is_enclosed else value


def _written(value: object) -> object:
    """A value as it is read again: texts in brackets, or as literals, where they would be taken for something else."""
    if not isinstance(value, str):
        return value
    escaped = repr(value).translate({ord(sign): f"\\x{ord(sign):02x}" for sign in "()[]{},+"})
    forms = (value, f"({value})", repr(value), escaped)
    return next(form for form in forms if _is_read(form, value))


def _is_read(form: str, value: str) -> bool:
    # quotes that follow must not close those that the form leaves open
    follow = [(separator, sign, end) for separator, sign in ((",", ","), (_JOINT, "+")) for end in ("e", "e='", 'e="')]
    is_apart = all(split_outside_brackets(f"{form}{sign}{end}", own) == [form, end] for own, sign, end in follow)
    return form.strip() == form != "" and is_apart and _literal(form) == value
