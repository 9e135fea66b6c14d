"""What runs are called beside one another, and which of them differ by their seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phasecore.backends import DEFAULT_SAMPLING
from phasecore.recording.configuration import IDENTITY, trained
from phasecore.recording.own_problem import KEY as SOURCE

_NAMED_OTHERWISE = ("weighting", "problem", "problem_parameters", SOURCE)


def names_of(configurations: Sequence[Mapping[str, Any]], folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a label for each run, and a name for what it has in common with those that differ by their seed alone.

    A run is named by its weighting and by whatever else differs among the runs, and by its folder if nothing does. Two
    runs have one group only if all that was trained is equal but for the seed, and their seeds differ.

    Args:
        configurations: what `run.json` says of each run.
        folders: where each is.

    Example:
        >>> names_of([{"weighting": "uniform", "seed": 0}, {"weighting": "rba", "seed": 0}], ["a", "b"])
        (['uniform', 'rba'], ['uniform', 'rba'])
        >>> names_of([{"weighting": "rba", "seed": 0}, {"weighting": "rba", "seed": 1}], ["a", "b"])
        (['rba, seed 0', 'rba, seed 1'], ['rba', 'rba'])
        >>> names_of([{"weighting": "rba"}, {"weighting": "rba"}], ["a", "b"])
        (['rba, a', 'rba, b'], ['rba, a', 'rba, b'])
        >>> few, many = ({"weighting": "rba", "seed": 0, "settings": {"points": points}} for points in (50, 90))
        >>> names_of([few, many, {**few, "seed": 1}], ["a", "b", "c"])[1]
        ['rba, points 50', 'rba, points 90', 'rba, points 50']
    """
    kinds = _kinds([trained(item) for item in configurations])
    written = [configurations[kinds.index(kind)] for kind in kinds]
    groups = [", ".join(part) for part in _told_apart(written)]
    seeds = [str(item.get("seed")) for item in configurations]
    several = len(set(seeds)) > 1
    labels = [f"{group}, seed {seed}" if several else group for group, seed in zip(groups, seeds, strict=True)]
    if len(set(labels)) < len(labels):
        labels = [f"{label}, {folder}" for label, folder in zip(labels, folders, strict=True)]
    is_one_kind = len(set(zip(groups, kinds, strict=True))) == len(set(groups))
    is_one_each = len(set(zip(groups, seeds, strict=True))) == len(groups)
    return labels, groups if is_one_kind and is_one_each else list(labels)


def problem_text(configuration: Mapping[str, Any]) -> str:
    """Return a problem with its parameters, in words.

    Example:
        >>> problem_text({"problem": "helmholtz", "problem_parameters": {"a1": 1, "k": 1.0}})
        'helmholtz (a1 = 1, k = 1.0)'
    """
    name = configuration.get("problem") or "a training"
    parameters = configuration.get("problem_parameters") or {}
    listed = ", ".join(f"{key} = {value}" for key, value in parameters.items() if value is not None)
    return f"{name} ({listed})" if listed else str(name)


def _kinds(found: Sequence[Mapping[str, Any]]) -> list[int]:
    """Number what is equal alike: by the place at which it comes first among those that differ."""
    return [next(place for place, other in enumerate(found) if other == one) for one in found]


def _told_apart(configurations: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the weighting of each run, and its values of what is not the same in all.

    A setting is named where runs of one problem and preset differ in it, as others differ in most of their settings;
    batches, which follow the points, where runs of as many points do.
    """
    compared = [trained(item) for item in configurations]
    parts = [[str(item.get("weighting") or "training")] for item in configurations]
    problems = [problem_text(item) for item in configurations]
    if len(set(problems)) > 1:
        for part, words in zip(parts, problems, strict=True):
            part.append(words)
    for name in dict.fromkeys(name for item in compared for name in item if name not in _NAMED_OTHERWISE):
        kinds = _kinds([{name: item.get(name)} for item in compared])
        given = () if name in IDENTITY else ("problem", "preset", "points" if name == "batches" else "preset")
        alike = _kinds([{other: item.get(other) for other in given} for item in compared])
        if len(set(zip(alike, kinds, strict=True))) > len(set(alike)):
            for part, item in zip(parts, configurations, strict=True):
                part.append(_words(name, item))
    return parts


def _words(name: str, configuration: Mapping[str, Any]) -> str:
    if name in IDENTITY:
        value = configuration.get(name) or (DEFAULT_SAMPLING if name == "sampling" else None)
        return f"no {name}" if value is None else str(value)
    value = (configuration.get("settings") or {}).get(name)
    return f"{name.replace('_', ' ')} {'by default' if value is None else value}"
