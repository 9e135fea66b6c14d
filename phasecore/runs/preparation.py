"""From names and numbers to a training that is ready to start, with everything checked before it does."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from phasecore import registry
from phasecore.backends import DEFAULT_SAMPLING, Settings, Training
from phasecore.errors import InputError, UnknownNameError, described
from phasecore.given import check_written
from phasecore.hookspecs import Kind
from phasecore.probes import DEFAULT_PROBES, Probe
from phasecore.probes.checks import check_declaration
from phasecore.problems.base import Preset, Problem
from phasecore.problems.loading import Written, load_problem, parse_class
from phasecore.recording.acting import check_policies
from phasecore.recording.configuration import check_agreement, settings_of
from phasecore.recording.folder import CONFIGURATION, read_configuration
from phasecore.recording.own_problem import check_class_given, is_written
from phasecore.recording.provided import check_still_provided
from phasecore.runs.applicability import (
    check_conditions,
    check_own,
    check_points_can_move,
    check_precision,
    check_processes,
    check_schemes_apply,
    probes_of,
)
from phasecore.sampling import sample
from phasecore.signals import check_requirements
from phasecore.specifications import parse_composed, parse_specification, specification_of

DEFAULT_BACKEND = "torch"
DEFAULT_PRESET = "quick"
SNR_BATCHES = 100


class Overrides(TypedDict, total=False):
    """Settings that replace the preset's; None leaves the preset's."""

    iterations: int | None
    points: int | None
    width: int | None
    depth: int | None
    learning_rate: float | None
    seed: int | None
    every: int | None
    compiled: bool | None
    processes: int | None
    precision: str | None


def prepare(
    problem: str | Problem,
    *,
    weighting: str = "uniform",
    sampling: str = DEFAULT_SAMPLING,
    preset: str = DEFAULT_PRESET,
    backend: str | None = None,
    output: str | Path | None = None,
    probes: Sequence[str | Probe] | None = None,
    policy: registry.Policies | None = None,
    **overrides: Unpack[Overrides],
) -> Training:
    """Make a training from a problem, a preset of it, and what differs from the preset.

    Args:
        problem: "name" or "name:key=value,key=value"; a class of one's own, "file.py:Class" or "package.module:Class",
            likewise; or a problem. Parameters given here go before the preset's.
        weighting: "name" or "name:key=value,key=value", several joined by "+". Where the preset recommends options of
            a scheme, they apply to those that are not given.
        sampling: how points are drawn and move: "name" or "name:key=value,key=value", or one of each joined by "+",
            such as "sobol+rad:every=500".
        preset: name of the problem's preset.
        backend: name of the backend; by default torch, or another one if only that is installed.
        output: the run folder; None keeps nothing.
        probes: "name", "name:key=value,key=value" or probes, measured at each capture; None measures
            `phasecore.probes.DEFAULT_PROBES`.
        policy: what changes the training while it goes on: "name" or "name:key=value,key=value", several joined by
            "+", or policies; None changes nothing.
        overrides: iterations, points, width, depth, learning_rate, seed, every, compiled, processes and precision.

    Raises:
        InputError: for an unknown name or option, a setting out of range, a signal that a scheme or probe
            requires and the backend does not supply, or an action of a policy that it cannot carry out.
        MissingDependencyError: if the backend's framework is not installed.

    Example:
        >>> try:
        ...     prepare("helmholtz:a1=2", weighting="rba:gamma=0.99", points=0)
        ... except InputError as error:
        ...     print(error)
        setting 'points': received 0; expected a positive integer.

        The rest is skipped when examples are tested, because it needs a framework:

        >>> training = prepare("helmholtz:a1=2", weighting="rba:gamma=0.99", points=400)  # doctest: +SKIP
        >>> training.problem.a2, training.points.interior.shape  # doctest: +SKIP
        (4, (400, 2))
    """
    made, plan = problem_of(problem, preset)
    settings = Settings(
        iterations=plan.iterations,
        points=plan.points,
        width=plan.width,
        depth=plan.depth,
        learning_rate=plan.learning_rate,
        decay_factor=plan.decay_factor,
        decay_interval=plan.decay_interval,
        every=plan.every,
        condition_points=plan.condition_points,
    )
    settings = _override(settings, overrides)
    settings = replace(settings, batches=min(SNR_BATCHES, settings.points))
    scheme_name = complete_weighting(weighting, plan)
    backend = backend or _default_backend()
    return _assemble(made, scheme_name, sampling, preset, backend, settings, probes, output, policy)


def problem_of(problem: str | Problem, preset: str = DEFAULT_PRESET) -> tuple[Problem, Preset]:
    """Return a problem with the parameters of one of its presets, and that preset.

    Args:
        problem: as for `prepare`; one that is made already keeps its parameters.
        preset: name of the preset.

    Raises:
        InputError: for an unknown name or parameter, or what is no problem.

    Example:
        >>> made, plan = problem_of("helmholtz:a2=3", "paper")
        >>> made.parameters, plan.points
        ({'a1': 6, 'a2': 3, 'k': 1.0}, 25600)
    """
    if isinstance(problem, Problem):
        return problem, _preset(problem, preset)
    _check_is_text(problem)
    written = written_class(problem)
    if written is not None:
        made = load_problem(written)
        plan = _preset(made, preset)
        return load_problem(written, plan.parameters) if plan.parameters else made, plan
    name, given = parse_specification(problem, "problem")
    made = registry.problem(name, **given)
    plan = _preset(made, preset)
    return registry.problem(name, **{**plan.parameters, **given}) if plan.parameters else made, plan


def prepare_resumed(
    output: str | Path,
    *,
    problem: str | Problem | None = None,
    weighting: str | None = None,
    sampling: str | None = None,
    preset: str | None = None,
    backend: str | None = None,
    probes: Sequence[str | Probe] | None = None,
    policy: registry.Policies | None = None,
    **overrides: Unpack[Overrides],
) -> Training:
    """Make the training of a run folder again, to go on with it.

    Args:
        output: the run folder.
        problem: as for `prepare`; whatever is given must agree with the run, whatever is not is taken from it.
        weighting: likewise.
        sampling: likewise.
        preset: likewise.
        backend: likewise.
        probes: as for `prepare`; None measures what run.json records, which has registered probes by name only.
        policy: as for `prepare`; None takes that of the run.
        overrides: likewise, but `iterations` may be raised.

    Raises:
        InputError: if the folder holds no run, a given argument disagrees with it, or another package provides now what
            it is made of.
        MissingDependencyError: if the backend's framework is not installed.
    """
    folder = Path(output)
    recorded = read_configuration(folder)
    file = folder / CONFIGURATION
    written = written_class(problem) if isinstance(problem, str) else None
    if written is not None:
        problem = load_problem(written, recorded.get("problem_parameters") if is_written(recorded, written) else None)
    check_class_given(folder, recorded, problem)
    check_still_provided(folder, recorded, own=_given_as_objects(problem, probes, policy))
    settings = _override(settings_of(recorded, file), overrides)
    if isinstance(problem, Problem):
        made = problem
    else:
        name, given = (recorded.get("problem"), {}) if problem is None else parse_specification(problem, "problem")
        parameters = recorded.get("problem_parameters") if name == recorded.get("problem") else None
        if not isinstance(name, str):
            raise InputError(f"problem in {file}", received=repr(name), expected="a name")
        made = registry.problem(name, **{**(parameters or {}), **given})
    preset = preset or recorded.get("preset")
    plan = made.presets.get(preset) if preset else None
    scheme_name = complete_weighting(weighting, plan) if weighting else str(recorded.get("weighting"))
    if probes is None:
        probes = recorded.get("probes")
    sampling = sampling or str(recorded.get("sampling") or DEFAULT_SAMPLING)
    backend = backend or str(recorded.get("backend"))
    policy = recorded.get("policy") if policy is None else policy
    training = _assemble(made, scheme_name, sampling, preset, backend, settings, probes, folder, policy)
    check_agreement(folder, training, recorded)
    return training


def complete_weighting(specification: str, preset: Preset | None, what: str = "weighting") -> str:
    """Return a specification with the options that a preset recommends for its schemes and that it does not give.

    Raises:
        InputError: if it is no text, or malformed.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> complete_weighting("rba:gamma=0.99", Helmholtz.presets["paper"])
        'rba:start=residuals,normalization=minmax,gamma=0.99'
    """
    check_written(specification, what)
    recommended = preset.weighting if preset else {}
    return "+".join(
        specification_of(name, {**recommended.get(name, {}), **given})
        for name, given in parse_composed(specification, what)
    )


def check_supplies(training: Training) -> None:
    """Refuse a training whose scheme, probes or policies require what its backend does not supply or carry out.

    Raises:
        InputError: naming the scheme or probe and the signal, or the policy and the action.
        MissingDependencyError: if the backend's framework is not installed.
    """
    backend = registry.backend(training.backend)
    supplies = backend.supplies
    check_policies(training.policies, training.backend, backend.actions, supplies)
    others = [name for name in registry.names("backend") if name != training.backend]
    instead = f"Use another backend ({', '.join(others)})" if others else "Use a backend that supplies it"
    if training.sampling.move is not None and not registry.backend(training.backend).moves_points:
        raise InputError(
            f"sampling {training.sampling_name!r}, which moves points in training",
            received=f"backend {training.backend!r}, which does not move points",
            expected="a backend that does",
            fix=f"{instead}, or a sampling whose points stay.",
        )
    for name, scheme in training.schemes.items():
        check_requirements(
            f"weighting {name!r}", scheme.requires, training.backend, supplies, fix=f"{instead}, or another scheme."
        )
    for probe in training.probes:
        check_declaration(probe)
        check_requirements(
            f"probe {probe.name!r}", probe.requires, training.backend, supplies, fix=f"{instead}, or drop the probe."
        )


def _check_is_text(problem: object) -> None:
    if not isinstance(problem, str):
        name = problem.__name__ if isinstance(problem, type) and issubclass(problem, Problem) else ""
        raise InputError(
            "the problem",
            received=f"the class {name}" if name else described(problem),
            expected="the name of a problem with its options, such as burgers:viscosity=0.02, a file and a class, such "
            "as wave.py:Wave, or a problem",
            fix=f"Make it: {name}()." if name else "",
        )


def written_class(problem: str) -> Written | None:
    """Return a class of one's own as a specification names it, or None for a registered name or a malformed one.

    Raises:
        InputError: as `phasecore.problems.loading.parse_class`.

    Example:
        >>> str(written_class("wave.py:Wave:speed=2")), written_class("helmholtz:a1=2")
        ('wave.py:Wave', None)
    """
    return None if problem.partition(":")[0].strip() in registry.names("problem") else parse_class(problem)


def _assemble(
    problem: Problem,
    scheme_name: str,
    sampling_name: str,
    preset: str | None,
    backend: str,
    settings: Settings,
    probes: Sequence[str | Probe] | None,
    output: str | Path | None,
    policy: registry.Policies | None,
) -> Training:
    check_own(problem)
    check_written(sampling_name, "sampling")
    _, sampling = registry.as_sampling(sampling_name)
    policies = registry.as_policies(policy)
    training = Training(
        problem=problem,
        schemes=registry.as_schemes(scheme_name),
        scheme_name=scheme_name,
        backend=backend,
        settings=settings,
        points=sample(
            problem,
            settings.points,
            sampling,
            seed=settings.seed,
            condition_points=settings.condition_points,
            name=sampling_name,
        ),
        probes=probes_of(problem, DEFAULT_PROBES if probes is None else probes),
        snapshots=_snapshot_iterations(settings.iterations),
        folder=None if output is None else Path(output),
        preset=preset,
        sampling=sampling,
        sampling_name=sampling_name,
        policies=policies,
        policy_name=policy if isinstance(policy, str) else "+".join(policies) or None,
    )
    check_supplies(training)
    check_schemes_apply(training)
    check_processes(training)
    check_precision(training)
    check_points_can_move(training)
    check_conditions(training)
    return training


def _given_as_objects(
    problem: str | Problem | None, probes: Sequence[str | Probe] | None, policy: registry.Policies | None
) -> list[Kind]:
    """Kinds that need not be what the run had by name; loggers are free to be others."""
    given: dict[Kind, bool] = {"logger": True, "problem": isinstance(problem, Problem), "probe": probes is not None}
    given["policy"] = policy is not None and not isinstance(policy, str)
    return [kind for kind, is_given in given.items() if is_given]


def _preset(problem: Problem, name: str) -> Preset:
    if name not in problem.presets:
        raise UnknownNameError(f"preset of problem {problem.name!r}", name, problem.presets)
    return problem.presets[name]


def _override(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    known = asdict(settings)
    for name in overrides:
        if name not in Overrides.__annotations__:
            raise UnknownNameError("setting", name, Overrides.__annotations__)
    return Settings(**{**known, **{name: value for name, value in overrides.items() if value is not None}})


def _default_backend() -> str:
    """Return torch, or the first backend whose packages are all there if torch's are not."""
    names = sorted(registry.names("backend"), key=lambda name: name != DEFAULT_BACKEND)
    for name in names:
        entry, _ = registry.find("backend", name)
        if all(importlib.util.find_spec(package) for package in entry.needs):
            return name
    return DEFAULT_BACKEND


def _snapshot_iterations(iterations: int) -> tuple[int, ...]:
    """Return 1, 3, 10, 30, ... and the last iteration."""
    decades = range(int(np.log10(iterations)) + 1)
    sparse = {step * 10**decade for decade in decades for step in (1, 3)}
    return tuple(sorted(iteration for iteration in sparse | {iterations} if iteration <= iterations))
