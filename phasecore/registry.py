"""Lookup by kind and name: what `phasecore.problem("burgers")` and its siblings do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from phasecore.backends import Backend
from phasecore.errors import InputError, PluginError, described
from phasecore.given import by_name, in_a_row, wrong
from phasecore.lookup import check_type, composed, find, make, names, rivalry
from phasecore.origins import origin_of, remembered
from phasecore.plugins import Listener, check_hook_names, run_hooks_of
from phasecore.policies import checks as policy_checks
from phasecore.policies.base import Policy
from phasecore.probes.base import Probe
from phasecore.problems.base import Problem
from phasecore.problems.coefficients import as_trained
from phasecore.sampling.base import Sampling
from phasecore.sampling.checks import check_declaration as check_sampling_declaration
from phasecore.specifications import parse_specification, specification_of
from phasecore.weighting.base import WeightingScheme
from phasecore.weighting.checks import check_declaration

__all__ = [
    "Policies", "Weighting", "as_listeners", "as_policies", "as_probe", "as_sampling", "as_schemes", "backend",
    "find", "logger", "names", "origin_of", "policy", "probe", "problem", "rivalry", "sampling_scheme",
    "weighting_scheme",
]  # fmt: skip

Weighting = str | WeightingScheme | Sequence[str | WeightingScheme] | Mapping[str, WeightingScheme]
"""What a user may give as the weighting of a loss, see `as_schemes`."""

Policies = str | Policy | Sequence[str | Policy] | Mapping[str, Policy]
"""What a user may give as the policy of a training, see `as_policies`."""


def problem(name: str, /, **parameters: Any) -> Problem:
    """Return the problem registered under `name`, with its parameters.

    Args:
        name: of the problem.
        parameters: numbers; or `phasecore.trained(...)`, also as a text, for one that is to be found.

    Raises:
        InputError: for an unknown name or parameter, or a parameter out of range.

    Example:
        >>> problem("helmholtz", a1=6, a2=6).parameters
        {'a1': 6, 'a2': 6, 'k': 1.0}
    """
    options = {key: as_trained(value) for key, value in parameters.items()}
    made: Problem = make("problem", name, options)
    check_type(made, Problem, "problem", name)
    return remembered("problem", name, options, made)


def weighting_scheme(name: str, /, **options: Any) -> WeightingScheme:
    """Return the weighting scheme registered under `name`, with its options.

    Raises:
        InputError: for an unknown name or option, or an option out of range.

    Example:
        >>> weighting_scheme("rba", gamma=0.99).multiplies
        'residual'
    """
    made = make("weighting", name, options)
    check_type(made, WeightingScheme, "weighting", name)
    check_declaration(name, made)
    return made  # type: ignore[no-any-return]


def sampling_scheme(name: str, /, **options: Any) -> Sampling:
    """Return the sampling registered under `name`, with its options.

    Raises:
        InputError: for an unknown name or option, or an option out of range.

    Example:
        >>> sampling_scheme("rad", every=500).every
        500
    """
    made = make("sampling", name, options)
    check_type(made, Sampling, "sampling", name)
    check_sampling_declaration(name, made)
    return made  # type: ignore[no-any-return]


def as_sampling(given: str | Sampling) -> tuple[str, Sampling]:
    """Return what to call a sampling in messages, and the sampling.

    Args:
        given: a sampling; or a specification, such as "rad:every=500", or "sobol+rad:every=500": one that draws and one
            that moves what it drew.

    Raises:
        InputError: for what is neither, a malformed specification, an unknown name or option, an option out of range,
            or two of a kind.

    Example:
        >>> as_sampling("sobol+r3")[1].every
        100
    """
    if isinstance(given, Sampling):
        name = getattr(given.move or given.draw, "__module__", "sampling").rpartition(".")[2]
        check_sampling_declaration(name, given)
        return name, given
    if not isinstance(given, str):
        raise wrong("sampling", given, Sampling)
    parts = [(name, sampling_scheme(name, **options)) for name, options in composed("sampling", given)]
    drawing = [made for _, made in parts if made.move is None]
    moving = [made for _, made in parts if made.move is not None]
    if len(drawing) > 1 or len(moving) > 1:
        raise InputError(
            "sampling",
            received=f"{' and '.join(repr(name) for name, _ in parts)} in {given!r}",
            expected="one that draws points, one that moves them, or one of each: 'sobol+rad:every=500'",
        )
    made = moving[0] if moving else drawing[0]
    return given, made._replace(draw=drawing[0].draw) if drawing else made


def probe(name: str, /, **options: Any) -> Probe:
    """Return the probe registered under `name`, with its options.

    Every probe has the option `every`: iterations between its measurements, see `phasecore.probes.Probe.paced`.

    Raises:
        InputError: for an unknown name or option, or an option out of range.

    Example:
        >>> probe("residual_order", bins=8).bins, probe("saturation", every=500).every
        (8, 500)
    """
    every = options.pop("every", None)
    made: Probe = make("probe", name, options)
    check_type(made, Probe, "probe", name)
    made = remembered("probe", name, options, made)
    return made if every is None else made.paced(every)


def as_probe(given: str | Probe) -> Probe:
    """Return a probe, or the one that a specification such as "saturation:every=500" names.

    Raises:
        InputError: for what is neither, a malformed specification, an unknown name or option, or an option out of
            range.

    Example:
        >>> as_probe("residual_order:bins=8").bins
        8
    """
    if isinstance(given, Probe):
        return given
    if not isinstance(given, str):
        raise wrong("probe", given, Probe)
    name, options = parse_specification(given, "probe")
    return probe(name, **options)


def policy(name: str, /, **options: Any) -> Policy:
    """Return the policy registered under `name`, with its options.

    Raises:
        InputError: for an unknown name or option, or an option out of range.

    Example:
        >>> sorted(policy("at_phase", phase="total_diffusion", do="lbfgs").requires)
        ['switch_optimizer:lbfgs']
    """
    made = make("policy", name, options)
    check_type(made, Policy, "policy", name)
    policy_checks.check_declaration(name, made)
    return made  # type: ignore[no-any-return]


def as_policies(given: Policies | None) -> dict[str, Policy]:
    """Return policies by the names to call them by in messages and in the history; none for None.

    Args:
        given: a policy; a specification, such as "stop_when_done" or "at_phase:phase=total_diffusion,do=lbfgs", or
            several joined by "+"; several of these; or policies by name.

    Raises:
        InputError: for what is none of these, a malformed specification, an unknown name or option, an option out of
            range, a policy that is there twice, or two that both switch the optimizer.

    Example:
        >>> list(as_policies("stop_when_done+at_phase:phase=diffusion,do=snapshot"))
        ['stop_when_done', 'at_phase:phase=diffusion,do=snapshot']
    """
    policies: dict[str, Policy] = by_name("policy", given, Policy) if isinstance(given, Mapping) else {}
    items = () if given is None or isinstance(given, Mapping) else in_a_row("policy", given, Policy)
    for item in items:
        if isinstance(item, Policy):
            name = getattr(item.update, "__qualname__", "policy").partition(".")[0]
            twins = sum(other == name or other.startswith(f"{name}_") for other in policies)
            policies[f"{name}_{twins + 1}" if twins else name] = item
            continue
        for name, options in composed("policy", item):
            label = specification_of(name, options)
            if label in policies:
                raise InputError("policy", received=f"{label!r} twice", expected="different policies")
            policies[label] = policy(name, **options)
    for name, made in policies.items():
        policy_checks.check_declaration(name, made)
    policy_checks.check_together(policies.items())
    return policies


def backend(name: str) -> Backend:
    """Return the backend registered under `name`; its framework is imported now.

    Raises:
        InputError: for an unknown name.
        MissingDependencyError: if its framework is not installed.
    """
    made = make("backend", name, {})
    check_type(made, Backend, "backend", name)
    return made  # type: ignore[no-any-return]


def logger(name: str, /, **options: Any) -> object:
    """Return the logger registered under `name`, with its options: an object with run hooks, for one training.

    Raises:
        InputError: for an unknown name or option, or an option out of range.
        MissingDependencyError: if its package is not installed.

    Example:
        >>> type(logger("csv", path="losses.csv")).__name__
        'CSVLogger'
    """
    made = make("logger", name, options)
    _check_listens(made, f"logger {name!r} of {find('logger', name)[1]}")
    return made


def as_listeners(loggers: str | Sequence[str | object]) -> list[Listener]:
    """Return loggers with what to call them in messages.

    Args:
        loggers: specifications, such as "csv" or "csv:path=losses.csv", or objects with run hooks. What is specified
            twice alike counts once.

    Raises:
        InputError: for what is none of these, a malformed specification, an unknown name or option, or an option out
            of range.
        MissingDependencyError: if a logger's package is not installed.
        PluginError: for an object without run hooks, or with a misspelled one.

    Example:
        >>> [listener.label.partition(" of ")[0] for listener in as_listeners("csv")]
        ["logger 'csv'"]
    """
    if not isinstance(loggers, Iterable) or isinstance(loggers, Mapping | bytes):
        raise InputError(
            "loggers",
            received=described(loggers),
            expected="a list of names with their options, or of objects with run hooks",
        )
    listeners: list[Listener] = []
    specified: list[tuple[str, dict[str, Any]]] = []
    for given in [loggers] if isinstance(loggers, str) else loggers:
        if isinstance(given, str):
            name, options = parse_specification(given, "logger")
            if (name, options) in specified:
                continue
            specified.append((name, options))
            listeners.append(Listener(f"logger {name!r} of {find('logger', name)[1]}", logger(name, **options)))
        else:
            _check_listens(given, f"logger of type {type(given).__name__}")
            listeners.append(Listener(f"logger {type(given).__name__}", given))
    return listeners


def as_schemes(weighting: Weighting) -> dict[str, WeightingScheme]:
    """Return the schemes of a weighting by the names to call them by in messages; their weights are multiplied.

    Args:
        weighting: a scheme; a specification, such as "rba", "rba:gamma=0.99" or "rba+grad_norm"; several of these; or
            schemes by name.

    Raises:
        InputError: for what is none of these, a malformed specification, an unknown name or option, an option out of
            range, or a scheme that is named twice.

    Example:
        >>> list(as_schemes("rba:gamma=0.99+uniform"))
        ['rba', 'uniform']
    """
    schemes: dict[str, WeightingScheme] = {}
    if isinstance(weighting, Mapping):
        schemes = by_name("weighting", weighting, WeightingScheme)
        for name, scheme in schemes.items():
            check_declaration(name, scheme)
    for item in () if isinstance(weighting, Mapping) else in_a_row("weighting", weighting, WeightingScheme):
        if isinstance(item, WeightingScheme):
            name = getattr(item.update, "__module__", "scheme").rpartition(".")[2]
            twins = sum(other == name or other.startswith(f"{name}_") for other in schemes)
            name = f"{name}_{twins + 1}" if twins else name
            check_declaration(name, item)
            schemes[name] = item
            continue
        for name, options in composed("weighting", item):
            if name in schemes:
                raise InputError("weighting", received=f"{name!r} twice in {item!r}", expected="different schemes")
            schemes[name] = weighting_scheme(name, **options)
    if not schemes:
        raise InputError("weighting", received="no scheme", fix="Use 'uniform' to weight nothing.")
    return schemes


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
