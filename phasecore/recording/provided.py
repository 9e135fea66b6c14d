"""Which packages provide what a run is made of, as `run.json` keeps it, and whether they are still the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from phasecore import registry
from phasecore.backends import Monitored, Training
from phasecore.errors import InputError
from phasecore.hookspecs import Kind
from phasecore.plugins import Source
from phasecore.probes.base import Probe
from phasecore.problems.base import Problem
from phasecore.specifications import parse_composed, parse_specification

KEY = "plugins"
"""Name of the list in `run.json`, and in what it says of each session that went on with the run."""

Provided = dict[str, str | None]
"""Kind and name of one thing, and the distribution and version that provide it: None for an object of one's own."""


def provided_for(training: Training | Monitored, loggers: Iterable[str] = ()) -> list[Provided]:
    """Return what a training is made of: problem, weighting schemes, sampling, policies, probes, backend, loggers.

    Args:
        training: the training.
        loggers: specifications of its loggers.

    Example:
        >>> from phasecore.backends import Settings
        >>> helmholtz, settings = registry.problem("helmholtz"), Settings(iterations=9, points=50, width=8, depth=2)
        >>> training = Training(
        ...     helmholtz, registry.as_schemes("rba"), "rba", "torch", settings, helmholtz.sample(50), probes=[]
        ... )
        >>> [(item["kind"], item["name"], item["distribution"]) for item in provided_for(training)][:2]
        [('problem', 'helmholtz', 'phasecore'), ('weighting', 'rba', 'phasecore')]
    """
    written = [parse_specification(logger, "logger")[0] for logger in loggers]
    return [
        *([] if training.problem is None else [_of_object("problem", training.problem)]),
        *(provided("weighting", name) for name in _names("weighting", training.scheme_name)),
        *(provided("sampling", name) for name in _names("sampling", training.sampling_name)),
        *(provided("policy", name) for name in _names("policy", training.policy_name)),
        *(_of_object("probe", probe) for probe in training.probes),
        provided("backend", training.backend),
        *(provided("logger", name) for name in written),
    ]


def provided(kind: Kind, name: str) -> Provided:
    """Return what provides a name now; nothing where it is not registered.

    Example:
        >>> provided("weighting", "of_my_own")["distribution"] is None
        True
    """
    return _entry(kind, name, registry.find(kind, name)[1] if name in registry.names(kind) else None)


def recorded_plugins(recorded: Mapping[str, Any]) -> list[Provided]:
    """Return what `run.json` says of the last session of a run; nothing for runs of older versions.

    Example:
        >>> recorded_plugins({"plugins": [], "resumed": [{"versions": {}}]})
        []
    """
    sessions = [recorded, *(recorded.get("resumed") or [])]
    known = [session[KEY] for session in sessions if isinstance(session, Mapping) and session.get(KEY)]
    return [item for item in known[-1] if isinstance(item, dict)] if known else []


def check_still_provided(folder: Path, recorded: Mapping[str, Any], *, own: Sequence[Kind] = ()) -> None:
    """Refuse, before anything of a run is made again, a name that another package provides now, or none.

    Args:
        folder: of the run.
        recorded: what its `run.json` says.
        own: kinds that are given as objects, whatever the name.

    Raises:
        InputError: naming both packages.
    """
    found = recorded_plugins(recorded)
    now = [provided(cast(Kind, item["kind"]), str(item["name"])) for item in found if item.get("kind") not in own]
    for item in now:
        was = _same(found, item)
        if item["distribution"] is None and was["distribution"] is not None:
            raise InputError(
                f"the run in {folder} took {item['kind']} {item['name']!r} from {_package(was)}",
                received="an environment in which no package offers it",
                expected="that package",
                fix=f"Install {was['distribution']} again, or choose another folder.",
            )
    check_provided(folder, recorded, now)


def check_provided(folder: Path, recorded: Mapping[str, Any], now: Sequence[Provided]) -> list[str]:
    """Refuse to go on with a run whose parts other packages provide; return a sentence for each other version.

    Args:
        folder: of the run.
        recorded: what its `run.json` says.
        now: what is to go on.

    Raises:
        InputError: naming both packages.
    """
    found, told = recorded_plugins(recorded), []
    for item in now:
        was = _same(found, item)
        if was.get("distribution") == item["distribution"]:
            if was.get("version") != item["version"]:
                told.append(f"{was['distribution']} {was.get('version')}, now {item['version']}")
        elif was and was.get("distribution") and item["distribution"]:
            raise InputError(
                f"the run in {folder} took {item['kind']} {item['name']!r} from {_package(was)}",
                received=f"that of {_package(item)}",
                expected="the same package",
                fix=f"Install {was['distribution']} and uninstall {item['distribution']}, or choose another folder.",
            )
        elif was:
            told.append(f"{item['kind']} {item['name']!r} from {_package(was)}, now from {_package(item)}")
    return [f"the run in {folder} goes on with another version: {change}" for change in dict.fromkeys(told)]


def _same(found: Iterable[Provided], item: Provided) -> Provided:
    return next((was for was in found if (was.get("kind"), was.get("name")) == (item["kind"], item["name"])), {})


def _package(item: Provided) -> str:
    distribution = item.get("distribution")
    return f"{distribution} {item.get('version')}" if distribution else "an object of one's own"


def _names(kind: Kind, specification: str | None) -> list[str]:
    return [name for name, _ in parse_composed(specification, kind)] if specification else []


def _of_object(kind: Kind, made: Problem | Probe) -> Provided:
    origin = registry.origin_of(kind, made)
    return _entry(kind, made.name, None) if origin is None else _entry(kind, origin.made_as.name, origin.source)


def _entry(kind: Kind, name: str, source: Source | None) -> Provided:
    distribution, version = (source.distribution, source.version) if source else (None, None)
    return {"kind": kind, "name": name, "distribution": distribution, "version": version}
