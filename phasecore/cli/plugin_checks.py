"""Checking what plugins offer: each thing is made with its defaults, and held to the laws of its kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from phasecore import registry
from phasecore.errors import InputError, MissingDependencyError
from phasecore.hookspecs import Entry
from phasecore.plugins import Plugins
from phasecore.problems.base import Problem
from phasecore.specifications import parse_specification


def check_entries(plugins: Plugins, problem: str | None = None) -> list[dict[str, Any]]:
    """Make and check everything that is not phasecore's own.

    Args:
        plugins: what is loaded.
        problem: "name" or "name:key=value,key=value", whose terms the probes read by name.

    Returns:
        For each entry a dictionary of kind, name, plugin, distribution, version, outcome ("passed", "failed" or
        "not checked") and reason.

    Raises:
        InputError: for an unknown problem.
    """
    of_probes = None
    if problem is not None:
        name, parameters = parse_specification(problem, "--problem")
        of_probes = registry.problem(name, **parameters)
    checked = []
    for entry, source in plugins.entries:
        if source.distribution == "phasecore":
            continue
        outcome, reason = _check(entry, of_probes)
        checked.append(
            {
                "kind": entry.kind,
                "name": entry.name,
                "plugin": source.plugin,
                "distribution": source.distribution,
                "version": source.version,
                "outcome": outcome,
                "reason": reason,
            }
        )
    return checked


def _check(entry: Entry, problem: Problem | None) -> tuple[str, str]:
    from phasecore.testing import check_policy, check_probe, check_problem, check_sampling, check_weighting

    make: dict[str, Callable[[str], Any]] = {
        "problem": registry.problem,
        "weighting": registry.weighting_scheme,
        "sampling": registry.sampling_scheme,
        "probe": registry.probe,
        "policy": registry.policy,
        "backend": registry.backend,
        "logger": registry.logger,
    }
    laws: dict[str, Callable[[Any], object]] = {
        "problem": check_problem,
        "weighting": check_weighting,
        "sampling": check_sampling,
        "probe": partial(check_probe, problem=problem),
        "policy": check_policy,
    }
    try:
        made = make[entry.kind](entry.name)
        if entry.kind in laws:
            laws[entry.kind](made)
    except (InputError, MissingDependencyError) as error:
        return "not checked", str(error)
    except (Exception, SystemExit) as error:
        return "failed", str(error) or type(error).__name__
    return "passed", ""
