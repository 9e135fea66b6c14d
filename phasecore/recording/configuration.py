"""What `run.json` says of a training, and whether a training agrees with it."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import phasecore
from phasecore import registry
from phasecore.arguments import is_whole
from phasecore.backends import DEFAULT_SAMPLING, Monitored, Outcome, Settings, Training
from phasecore.errors import InputError
from phasecore.probes.base import Probe
from phasecore.problems.base import Problem
from phasecore.problems.coefficients import final_coefficients
from phasecore.recording.history import LARGEST, plain
from phasecore.recording.own_problem import KEY as SOURCE
from phasecore.recording.own_problem import check_unchanged, computed_by
from phasecore.specifications import parse_composed, parse_specification, specification_of

FORMAT = 1
IDENTITY = ("problem", "problem_parameters", "backend", "weighting", "sampling", "preset", "seed", "policy")
"""What `run.json`, `outcome.json` and reports say a run is, settings apart."""
UNITS = {"every": "capture_interval_iterations", "decay_interval": "decay_interval_iterations"}
"""Names of settings in `run.json` that carry their unit."""
POINTS_PER_BATCH = "gradient_points_per_batch"
"""Key of the points per batch of the gradient statistics, on which the SNR's level depends."""


def configuration_of(training: Training | Monitored) -> dict[str, Any]:
    """Return the configuration of a training as plain names and values, units in the names; None where not known.

    Example:
        >>> from phasecore import problem
        >>> from phasecore.registry import as_schemes
        >>> helmholtz, settings = problem("helmholtz", a1=2), Settings(iterations=9, points=50, width=8, depth=2)
        >>> training = Training(
        ...     helmholtz, as_schemes("rba"), "rba", "torch", settings, helmholtz.sample(50), probes=[]
        ... )
        >>> configuration = configuration_of(training)
        >>> configuration["problem_parameters"]["a1"], configuration["settings"]["points"]
        (2, 50)
    """
    settings = {UNITS.get(name, name): value for name, value in vars(training.settings).items()}
    del settings["seed"]
    document = {
        "format": FORMAT,
        **_identity(training),
        "settings": settings,
        POINTS_PER_BATCH: points_per_batch(settings),
        "probes": [specification_of(*_named(probe)) for probe in training.probes],
    }
    return {key: plain(value) for key, value in document.items()}


def points_per_batch(settings: Mapping[str, Any]) -> float | None:
    """Return how many points a batch of the gradient statistics holds on average, None where that is not known.

    The SNR's level goes with its root, so that levels of two runs may be compared where it is the same.

    Args:
        settings: as `run.json` keeps them, of any version.

    Example:
        >>> points_per_batch({"points": 2500, "batches": 100}), points_per_batch({"every": 10})
        (25.0, None)
    """
    points, batches = settings.get("points"), settings.get("batches")
    if not (is_whole(points, least=1) and is_whole(batches, least=1)) or max(points, batches) > LARGEST:
        return None
    return points / batches


def _identity(training: Training | Monitored) -> dict[str, Any]:
    problem = training.problem
    of_problem = (None, None) if problem is None else _problem(problem)
    settings, sampling = training.settings, training.sampling_name
    chosen = training.backend, training.scheme_name, sampling, training.preset, settings.seed, training.policy_name
    return dict(zip(IDENTITY, (*of_problem, *chosen), strict=True))


def _problem(problem: Problem) -> tuple[str, dict[str, Any]]:
    """The problem's name and parameters, by which it is made again."""
    origin = registry.origin_of("problem", problem)
    if origin is None:
        return problem.name, problem.parameters
    return origin.made_as.name, origin.made_as.parameters(problem.parameters)


def _named(probe: Probe) -> tuple[str, dict[str, Any]]:
    """The probe's name with the options that differ from their defaults, by which it is made again."""
    origin = registry.origin_of("probe", probe)
    if origin is None:
        return probe.name, _options(probe)
    name, given, defaults = origin.made_as
    if defaults is None:
        others = {option: value for option, value in given.items() if option not in _fields(probe)}
        return name, {**others, **_options(probe)}
    differ = {option: value for option, value in given.items() if option not in defaults or defaults[option] != value}
    return name, {**differ, **_pace(probe)}


def _options(probe: Probe) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for item in _fields(probe).values():
        default = item.default if item.default_factory is MISSING else item.default_factory()
        if item.init and getattr(probe, item.name) != default:
            options[item.name] = getattr(probe, item.name)
    return {**options, **_pace(probe)}


def _fields(made: Any) -> dict[str, Any]:
    return {item.name: item for item in fields(made)} if is_dataclass(made) else {}


def _pace(probe: Probe) -> dict[str, Any]:
    return {} if probe.every == type(probe).every else {"every": probe.every}


def provenance(versions: Mapping[str, str]) -> dict[str, Any]:
    """Return when and with what a session of a run is trained: time, versions, platform.

    Args:
        versions: of the framework and its companions.
    """
    return {
        "created_at_utc": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "versions": {
            "phasecore": phasecore.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            **versions,
        },
        "platform": platform.platform(),
    }


def summary(training: Training | Monitored, outcome: Outcome) -> dict[str, Any]:
    """Return a finished training as `phasecore run --json` prints it, without the folder.

    Keys: problem, problem_parameters, backend, weighting, sampling, preset, seed, policy, iterations, seconds,
    relative_l2_error, phases (as `phasecore detect --json` prints them) and actions: what policies had done; and, where
    some are trained, coefficients with their values.
    """
    found = final_coefficients(outcome.rows)
    document = {
        **_identity(training),
        "iterations": outcome.iterations,
        "seconds": outcome.seconds,
        "relative_l2_error": outcome.relative_l2_error,
        **({"coefficients": found} if found else {}),
        "phases": outcome.timeline.to_json(),
        "actions": [acted.to_json() for acted in outcome.actions],
    }
    return {key: plain(value) for key, value in document.items()}


def settings_of(configuration: Mapping[str, Any], file: Path) -> Settings:
    """Return the settings that `run.json` records.

    Raises:
        InputError: if they are not there or out of range.
    """
    names = {written: name for name, written in UNITS.items()}
    try:
        recorded = {names.get(key, key): value for key, value in configuration["settings"].items()}
        return Settings(**recorded, seed=configuration["seed"])
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(f"settings in {file}", received=str(error), expected="those of a run") from None


def check_agreement(folder: Path, training: Training, recorded: Mapping[str, Any]) -> None:
    """Refuse to go on with a run under another configuration; only more iterations, compiled or not, are allowed.

    Probes are compared too, as a column of the history is to mean the same in all of its rows.

    Raises:
        InputError: naming the first disagreement.
    """
    check_unchanged(folder, recorded, training.problem)
    asked = configuration_of(training)
    wanted, there = _comparable(asked), _comparable(recorded)
    origin = None if training.problem is None else registry.origin_of("problem", training.problem)
    if origin is not None and isinstance(there["problem_parameters"], Mapping):
        # an option of the function that makes the problem, which came later or was not written
        there["problem_parameters"] = {**_given(origin.made_as.defaults or {}), **there["problem_parameters"]}
    if recorded.get("probes") is not None:
        wanted["probes"], there["probes"] = (_probes(item["probes"], training.probes) for item in (asked, recorded))
    more = there.get("iterations"), wanted["iterations"]
    if isinstance(more[0], int) and more[1] >= more[0]:
        there["iterations"] = wanted["iterations"]
    for name, value in wanted.items():
        if there.get(name) != value:
            is_list = name == "probes"
            raise InputError(
                f"the run in {folder} differs in {name!r}",
                received=repr(asked[name] if is_list else value),
                expected=repr(recorded[name] if is_list else there.get(name)) + (" or more" * (name == "iterations")),
                fix="Leave the option out to go on with that run, or choose another folder.",
            )


def _probes(listed: Sequence[object], made: Sequence[Probe]) -> list[tuple[str, dict[str, Any]]]:
    """Return probes with their options, in one order; options that hold objects, which no text tells apart, without.

    Args:
        listed: as `run.json` has them.
        made: those of the training.
    """
    objects = {
        (name, option)
        for name, options in map(_named, made)
        for option, value in options.items()
        if not isinstance(value, str | int | float | None)
    }
    found: list[tuple[str, dict[str, Any]]] = []
    for text in map(str, listed):
        try:
            name, own = parse_specification(text, "probe")
        except InputError:
            name, own = text.partition(":")[0], {}
        found.append((name, {key: own[key] for key in own if (name, key) not in objects}))
    return sorted(found, key=lambda probe: probe[0])


def trained(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that `run.json` says of what was trained, the seed apart, in a form in which equal ones are equal.

    What only measures or speeds up a training is not in it: probes, versions, compiled or not.

    Args:
        configuration: as `run.json` has it, of any version; what is malformed stays as it is.

    Example:
        >>> one = {"weighting": "rba:gamma=0.90,eta=0.1", "seed": 0, "settings": {"points": 50}}
        >>> other = {"weighting": "rba:eta=0.1,gamma=0.9", "seed": 1, "settings": {"points": 50}, "probes": ["snr"]}
        >>> trained(one) == trained(other), trained(one) == trained({**one, "settings": {"points": 51}})
        (True, False)
    """
    found = _comparable(configuration, refuse=False)
    del found["seed"]
    return {**found, SOURCE: computed_by(configuration)}


def _comparable(configuration: Mapping[str, Any], *, refuse: bool = True) -> dict[str, Any]:
    flat: dict[str, Any] = {name: configuration.get(name) for name in IDENTITY}
    # runs of older versions say nothing of their sampling
    flat["sampling"] = flat["sampling"] or DEFAULT_SAMPLING
    for kind in ("weighting", "sampling"):
        given = flat[kind]
        if isinstance(given, str):
            with contextlib.nullcontext() if refuse else contextlib.suppress(InputError):
                flat[kind] = parse_composed(given, kind)
    if isinstance(flat["problem_parameters"], Mapping):
        # a parameter that came later, and does nothing unless it is given
        flat["problem_parameters"] = _given(flat["problem_parameters"])
    # runs of older versions were of one process, and of the framework's own precision
    settings = {"processes": 1, "precision": None, **(configuration.get("settings") or {})}
    return {**flat, **{name: value for name, value in settings.items() if name != "compiled"}}


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}
