"""Lookup by kind and name: what `phasecore.problem("burgers")` and its siblings do."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from phasecore.backends import Backend
from phasecore.errors import InputError, MissingDependencyError, PluginError, PluginWarning, UnknownNameError
from phasecore.hookspecs import Entry, Kind
from phasecore.plugins import Listener, Source, check_hook_names, loaded, run_hooks_of
from phasecore.policies import checks as policy_checks
from phasecore.policies.base import Policy
from phasecore.probes.base import Probe
from phasecore.problems.base import Problem
from phasecore.specifications import parse_composed, parse_specification, specification_of
from phasecore.weighting.base import WeightingScheme
from phasecore.weighting.checks import check_declaration

Weighting = str | WeightingScheme | Sequence[str | WeightingScheme] | Mapping[str, WeightingScheme]
"""What a user may give as the weighting of a loss, see `as_schemes`."""

Policies = str | Policy | Sequence[str | Policy] | Mapping[str, Policy]
"""What a user may give as the policy of a training, see `as_policies`."""


def problem(name: str, **parameters: Any) -> Problem:
    """Return the problem registered under `name`, with its parameters.

    Raises:
        InputError: for an unknown name or parameter, or a parameter out of range.

    Example:
        >>> problem("helmholtz", a1=6, a2=6).parameters
        {'a1': 6, 'a2': 6, 'k': 1.0}
    """
    made = _make("problem", name, parameters)
    _check_type(made, Problem, "problem", name)
    return made  # type: ignore[no-any-return]


def weighting_scheme(name: str, **options: Any) -> WeightingScheme:
    """Return the weighting scheme registered under `name`, with its options.

    Raises:
        InputError: for an unknown name or option, or an option out of range.

    Example:
        >>> weighting_scheme("rba", gamma=0.99).multiplies
        'residual'
    """
    made = _make("weighting", name, options)
    _check_type(made, WeightingScheme, "weighting", name)
    check_declaration(name, made)
    return made  # type: ignore[no-any-return]


def probe(name: str, **options: Any) -> Probe:
    """Return the probe registered under `name`, with its options.

    Every probe has the option `every`: iterations between its measurements, see `phasecore.probes.Probe.paced`.

    Raises:
        InputError: for an unknown name or option, or an option out of range.

    Example:
        >>> probe("residual_order", bins=8).bins, probe("saturation", every=500).every
        (8, 500)
    """
    every = options.pop("every", None)
    made: Probe = _make("probe", name, options)
    _check_type(made, Probe, "probe", name)
    return made if every is None else made.paced(every)


def as_probe(given: str | Probe) -> Probe:
    """Return a probe, or the one that a specification such as "saturation:every=500" names.

    Raises:
        InputError: for a malformed specification, an unknown name or option, or an option out of range.

    Example:
        >>> as_probe("residual_order:bins=8").bins
        8
    """
    if isinstance(given, Probe):
        return given
    name, options = parse_specification(given, "probe")
    return probe(name, **options)


def policy(name: str, **options: Any) -> Policy:
    """Return the policy registered under `name`, with its options.

    Raises:
        InputError: for an unknown name or option, or an option out of range.

    Example:
        >>> sorted(policy("at_phase", phase="total_diffusion", do="lbfgs").requires)
        ['switch_optimizer:lbfgs']
    """
    made = _make("policy", name, options)
    _check_type(made, Policy, "policy", name)
    policy_checks.check_declaration(name, made)
    return made  # type: ignore[no-any-return]


def as_policies(given: Policies | None) -> dict[str, Policy]:
    """Return policies by the names to call them by in messages and in the history; none for None.

    Args:
        given: a policy; a specification, such as "stop_when_done" or "at_phase:phase=total_diffusion,do=lbfgs", or
            several joined by "+"; several of these; or policies by name.

    Raises:
        InputError: for a malformed specification, an unknown name or option, an option out of range, a policy that is
            there twice, or two that both switch the optimizer.

    Example:
        >>> list(as_policies("stop_when_done+at_phase:phase=diffusion,do=snapshot"))
        ['stop_when_done', 'at_phase:phase=diffusion,do=snapshot']
    """
    policies: dict[str, Policy] = dict(given) if isinstance(given, Mapping) else {}
    items: Sequence[str | Policy] = () if given is None or isinstance(given, Mapping) else [given]  # type: ignore[list-item]
    if not isinstance(given, str | Policy | Mapping | None):
        items = list(given)
    for item in items:
        if isinstance(item, Policy):
            name = getattr(item.update, "__qualname__", "policy").partition(".")[0]
            twins = sum(other == name or other.startswith(f"{name}_") for other in policies)
            policies[f"{name}_{twins + 1}" if twins else name] = item
            continue
        if not isinstance(item, str):
            raise InputError("policy", received=repr(item), expected="a policy, or a name with its options")
        for name, options in parse_composed(item, "policy"):
            label = specification_of(name, options)
            if label in policies:
                raise InputError("policy", received=f"{label!r} twice", expected="different policies")
            policies[label] = policy(name, **options)
    for name, made in policies.items():
        if not isinstance(made, Policy):
            raise InputError(f"policy {name!r}", received=repr(made), expected="a phasecore.policies.Policy")
        policy_checks.check_declaration(name, made)
    policy_checks.check_together(policies.items())
    return policies


def backend(name: str) -> Backend:
    """Return the backend registered under `name`; its framework is imported now.

    Raises:
        InputError: for an unknown name.
        MissingDependencyError: if its framework is not installed.
    """
    made = _make("backend", name, {})
    _check_type(made, Backend, "backend", name)
    return made  # type: ignore[no-any-return]


def logger(name: str, **options: Any) -> object:
    """Return the logger registered under `name`, with its options: an object with run hooks, for one training.

    Raises:
        InputError: for an unknown name or option, or an option out of range.
        MissingDependencyError: if its package is not installed.

    Example:
        >>> type(logger("csv", path="losses.csv")).__name__
        'CSVLogger'
    """
    made = _make("logger", name, options)
    _check_listens(made, f"logger {name!r} of {find('logger', name)[1]}")
    return made


def as_listeners(loggers: str | Sequence[str | object]) -> list[Listener]:
    """Return loggers with what to call them in messages.

    Args:
        loggers: specifications, such as "csv" or "csv:path=losses.csv", or objects with run hooks.

    Raises:
        InputError: for a malformed specification, an unknown name or option, or an option out of range.
        MissingDependencyError: if a logger's package is not installed.
        PluginError: for an object without run hooks, or with a misspelled one.

    Example:
        >>> [listener.label.partition(" of ")[0] for listener in as_listeners("csv")]
        ["logger 'csv'"]
    """
    listeners = []
    for given in [loggers] if isinstance(loggers, str) else loggers:
        if isinstance(given, str):
            name, options = parse_specification(given, "logger")
            listeners.append(Listener(f"logger {name!r} of {find('logger', name)[1]}", logger(name, **options)))
        else:
            _check_listens(given, f"logger of type {type(given).__name__}")
            listeners.append(Listener(f"logger {type(given).__name__}", given))
    return listeners


def names(kind: Kind) -> tuple[str, ...]:
    """Return the names registered for a kind, in order of registration.

    Example:
        >>> names("weighting")[:2]
        ('uniform', 'rba')
    """
    return tuple(entry.name for entry, _ in loaded().entries if entry.kind == kind)


def find(kind: Kind, name: str) -> tuple[Entry, Source]:
    """Return the entry of a name and the plugin that it comes from, importing nothing of it.

    Raises:
        UnknownNameError: if nothing is registered under the name; suggests near matches and names failed plugins.
    """
    for entry, source in loaded().entries:
        if (entry.kind, entry.name) == (kind, name):
            return entry, source
    failed = sorted({str(failure.source) for failure in loaded().failures})
    fix = f"These plugins failed to load: {', '.join(failed)}; see 'phasecore plugins'." if failed else ""
    raise UnknownNameError(kind, name, names(kind), fix=fix)


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


def source_of(kind: Kind, name: str, module: str) -> Source | None:
    """Return the plugin that something under this name comes from, or None for an object of one's own.

    Args:
        kind: what it is.
        name: that it says it has.
        module: that it was defined in; the plugin's target is of the same package.

    Example:
        >>> source_of("probe", "adam_snr", "phasecore.probes.adam_snr").distribution
        'phasecore'
        >>> source_of("probe", "adam_snr", "__main__") is None
        True
    """
    for entry, source in loaded().entries:
        if (entry.kind, entry.name) == (kind, name) and _package(entry.target) == _package(module):
            return source
    return None


def as_schemes(weighting: Weighting) -> dict[str, WeightingScheme]:
    """Return the schemes of a weighting by the names to call them by in messages; their weights are multiplied.

    Args:
        weighting: a scheme; a specification, such as "rba", "rba:gamma=0.99" or "rba+grad_norm"; several of these; or
            schemes by name.

    Raises:
        InputError: for a malformed specification, an unknown name or option, an option out of range, or a scheme
            that is named twice.

    Example:
        >>> list(as_schemes("rba:gamma=0.99+uniform"))
        ['rba', 'uniform']
    """
    if isinstance(weighting, Mapping):
        for name, scheme in weighting.items():
            check_declaration(name, scheme)
        return dict(weighting)
    given = [weighting] if isinstance(weighting, str | WeightingScheme) else list(weighting)
    schemes: dict[str, WeightingScheme] = {}
    for item in given:
        if isinstance(item, WeightingScheme):
            name = getattr(item.update, "__module__", "scheme").rpartition(".")[2]
            twins = sum(other == name or other.startswith(f"{name}_") for other in schemes)
            name = f"{name}_{twins + 1}" if twins else name
            check_declaration(name, item)
            schemes[name] = item
            continue
        for name, options in parse_composed(item, "weighting"):
            if name in schemes:
                raise InputError("weighting", received=f"{name!r} twice in {item!r}", expected="different schemes")
            schemes[name] = weighting_scheme(name, **options)
    if not schemes:
        raise InputError("weighting", received="no scheme", fix="Use 'uniform' to weight nothing.")
    return schemes


def _package(target: str) -> str:
    return target.partition(":")[0].partition(".")[0]


def _make(kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
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
            raise UnknownNameError(f"option of {kind} {name!r}", option, parameters)
    try:
        return factory(**options)
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


def _check_type(made: object, expected: type, kind: Kind, name: str) -> None:
    if not isinstance(made, expected):
        _, source = find(kind, name)
        raise PluginError(
            f"{kind} {name!r} of {source}",
            received=f"an object of type {type(made).__name__}",
            expected=f"a {expected.__module__}.{expected.__qualname__}",
        )


def _check_listens(made: object, what: str) -> None:
    try:
        check_hook_names(made)
    except PluginError as error:
        raise PluginError(f"{what}: {error}") from error
    if isinstance(made, type) or not run_hooks_of(made):
        raise PluginError(
            what,
            received=f"the class {made.__name__}"
            if isinstance(made, type)
            else f"an object of type {type(made).__name__}",
            expected="an object with run hooks, such as phasecore_captured",
        )
