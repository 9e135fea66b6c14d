"""The entries of all plugins: found by kind and name, imported and called with a user's options."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import warnings
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from phasecore.errors import (
    InputError,
    MissingDependencyError,
    PluginError,
    PluginWarning,
    UnknownNameError,
    described,
)
from phasecore.foreign import named_if_slow, random_state_kept
from phasecore.hookspecs import KINDS, Entry, Kind
from phasecore.plugins import Source, loaded
from phasecore.specifications import parse_composed, specification_of


def names(kind: Kind) -> tuple[str, ...]:
    """Return the names registered for a kind, in order of registration.

    Example:
        >>> names("weighting")[:2]
        ('uniform', 'fixed')
    """
    return tuple(entry.name for entry, _ in loaded().entries if entry.kind == kind)


def find(kind: Kind, name: str, fix: str = "") -> tuple[Entry, Source]:
    """Return the entry of a name and the plugin that it comes from, importing nothing of it.

    Args:
        kind: what it is.
        name: of it.
        fix: what to do where it is not there.

    Raises:
        UnknownNameError: if nothing is registered under the name; suggests near matches and names failed plugins.
        InputError: for a name that is no text.
    """
    if not isinstance(name, str):
        raise InputError(f"name of a {kind}", received=described(name), expected=f"one of {', '.join(names(kind))}")
    for entry, source in loaded().entries:
        if (entry.kind, entry.name) == (kind, name):
            return entry, source
    failed = sorted({str(failure.source) for failure in loaded().failures})
    if failed:
        fix += f" These plugins failed to load: {', '.join(failed)}; see 'phasecore plugins'."
    raise UnknownNameError(kind, name, names(kind), fix=fix.strip())


def rivalry(kind: Kind, name: str) -> str:
    """Say which plugin a name is taken from where others offer it too, or nothing.

    Example:
        >>> rivalry("weighting", "rba")
        ''
    """
    others = loaded().rivals.get((kind, name), ())
    if not others:
        return ""
    _, source = find(kind, name)
    rest = " and ".join(map(str, others))
    return f"{kind} {name!r} is taken from {source}; {rest} {'offers' if len(others) == 1 else 'offer'} the name too"


def package_of(target: str) -> str:
    """Return the package of a module, or of an entry's target.

    Example:
        >>> package_of("phasecore.probes.adam_snr:AdamSNR")
        'phasecore'
    """
    return target.partition(":")[0].partition(".")[0]


def make(kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
    """Return what is registered under a name, made with options.

    Raises:
        InputError: for an unknown name or option, or options that it refuses.
        MissingDependencyError: if a package that it needs is not installed.
        PluginError: if it cannot be imported or made.
    """
    entry, source = find(kind, name)
    if told := rivalry(kind, name):
        warnings.warn(told, PluginWarning, stacklevel=3)
    factory = _resolve(entry, source)
    if not callable(factory):
        raise PluginError(
            f"{kind} {name!r} of {source}, target {entry.target!r}",
            received=f"an object of type {type(factory).__name__}",
            expected="a class or function that makes it",
        )
    parameters = inspect.signature(factory).parameters
    accepts_any = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    for option in options:
        if option not in parameters and not accepts_any:
            raise UnknownNameError(f"option of {kind} {name!r}", option, parameters, fix=_enclosed(options, option))
    try:
        with random_state_kept():
            return factory(**options)
    except SystemExit as error:
        raise PluginError(f"{kind} {name!r} of {source} could not be made", received=f"SystemExit: {error}") from error
    except TypeError as error:
        if not options and not any(_is_required(item) for item in parameters.values()):
            raise PluginError(
                f"{kind} {name!r} of {source} could not be made", received=f"TypeError: {error}"
            ) from error
        raise InputError(
            f"{kind} {name!r} with options {dict(options)}",
            received=str(error),
            expected=f"{name}{inspect.signature(factory)}",
        ) from error


def check_type(made: object, expected: type, kind: Kind, name: str) -> None:
    """Refuse what a plugin made that is of another type.

    Raises:
        PluginError: naming the plugin.
    """
    if not isinstance(made, expected):
        _, source = find(kind, name)
        raise PluginError(
            f"{kind} {name!r} of {source}",
            received=f"an object of type {type(made).__name__}",
            expected=f"a {expected.__module__}.{expected.__qualname__}",
        )


def composed(kind: Kind, text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the names in a specification, which may be composed, with their options.

    Raises:
        InputError: if it is malformed, or a name is of another kind: as what follows a `+` in an option is.

    Example:
        >>> composed("weighting", "rba:gamma=0.9+grad_norm")
        [('rba', {'gamma': 0.9}), ('grad_norm', {})]
    """
    parts = parse_composed(text, kind)
    for (_, options), (name, given) in pairwise(parts):
        other = next((other for other in KINDS if name in names(other)), kind)
        if options and name not in names(kind) and other != kind:
            option, value = list(options.items())[-1]
            whole = specification_of("", {option: f"{value}+{specification_of(name, given)}"})[1:]
            find(kind, name, fix=f"That is a {other}; what belongs to an option stands in brackets: {whole}.")
    return parts


def _enclosed(options: Mapping[str, Any], option: str) -> str:
    """Say how an option is written that belongs to a specification in front of it, where there is one."""
    before = list(options.items())[: list(options).index(option)]
    for name, value in reversed(before):
        if isinstance(value, str) and "=" in value.partition(":")[2]:
            whole = specification_of("", {name: f"{value},{option}={options[option]}"})[1:]
            return f"Where it belongs to {name!r}, both stand in brackets: {whole}."
    return ""


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variadic


def _resolve(entry: Entry, source: Source) -> Any:
    missing = [package for package in entry.needs if not _is_installed(package)]
    if missing:
        what = entry.extra or " ".join(missing)
        raise MissingDependencyError(
            f"{entry.kind} {entry.name!r} of {source} needs {' and '.join(missing)}, not installed",
            fix=f"Install with: pip install '{what}'",
        )
    module, _, attribute = entry.target.partition(":")
    try:
        with named_if_slow(f"loading {entry.kind} {entry.name!r} of {source}"), random_state_kept():
            return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{entry.kind} {entry.name!r} of {source} could not be loaded from {entry.target!r}",
            received=f"{type(error).__name__}: {error}",
        ) from error


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
