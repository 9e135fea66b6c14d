"""Checking what plugins offer: each thing is made with its defaults, and held to the laws of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phasecore import registry
from phasecore.errors import InputError, MissingDependencyError
from phasecore.hookspecs import Entry
from phasecore.plugins import Plugins


def check_entries(plugins: Plugins) -> list[dict[str, Any]]:
    """Make and check everything that is not phasecore's own.

    Returns:
        For each entry a dictionary of kind, name, plugin, distribution, version, outcome ("passed", "failed" or
        "not checked") and reason.
    """
    checked = []
    for entry, source in plugins.entries:
        if source.distribution == "phasecore":
            continue
        outcome, reason = _check(entry)
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


def _check(entry: Entry) -> tuple[str, str]:
    from phasecore.testing import check_probe, check_problem, check_weighting

    make: dict[str, Callable[[str], Any]] = {
        "problem": registry.problem,
        "weighting": registry.weighting_scheme,
        "probe": registry.probe,
        "backend": registry.backend,
        "logger": registry.logger,
    }
    laws: dict[str, Callable[[Any], object]] = {
        "problem": check_problem,
        "weighting": check_weighting,
        "probe": check_probe,
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
