"""What makes a problem of one's own the same problem when its run goes on: not its file, but what it computes."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.base import Problem
from phasecore.problems.condition_rehearsal import condition_rehearsed
from phasecore.problems.parts import TOLERANCE, different_part, moments, parts_of
from phasecore.problems.rehearsal import rehearse

Floats = NDArray[np.float64]

POINTS = 16


def fingerprint(problem: Problem) -> dict[str, Any]:
    """Return what a problem says and computes, as names and numbers: two problems that agree in it are the same.

    For each equation and condition that is the mean and the root mean square of its residual at made-up partials; and,
    each by itself, so that none hides behind a larger one, its parts.

    Raises:
        InputError: as `phasecore.problems.rehearsal.rehearse`.
        PluginError: for a condition that breaks its contract.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> found = fingerprint(Helmholtz())
        >>> found["terms"]["pde"] == fingerprint(Helmholtz(k=2))["terms"]["pde"]
        False
    """
    rehearsed = rehearse(problem)
    terms = {name: moments(values)[:2] for name, values in rehearsed.values.items()}
    points = problem.sample(POINTS, seed=0, condition_points=POINTS)
    for place, (condition, own) in enumerate(zip(problem.conditions, points.conditions, strict=True)):
        values = condition_rehearsed(problem, condition, own)
        terms[f"{condition.term} {place + 1}"] = [*moments(values)[:2], *moments(own)[:2]]
    low, high = problem.bounds
    return {
        "outputs": list(problem.outputs),
        "domain": {name: [float(low[k]), float(high[k])] for k, name in enumerate(problem.coordinates)},
        "partials": {name: sorted(reads) for name, reads in problem.equations.items()},
        "terms": terms,
        "parts": parts_of(problem, points.conditions),
    }


def source_of(problem: Problem) -> dict[str, Any]:
    """Return where the class of a problem is written: class, file and the file's SHA-256, as far as there is a file.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> source_of(Helmholtz())["class"]
        'Helmholtz'
    """
    cls = type(problem)
    try:
        file = Path(inspect.getfile(cls))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except (TypeError, OSError):
        return {"class": cls.__qualname__, "file": None, "sha256": None}
    return {"class": cls.__qualname__, "file": str(file), "sha256": digest}


def check_same(where: str, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a problem that is not what it was.

    Args:
        where: what was trained, in words.
        recorded: the fingerprint that was kept.
        now: the fingerprint of the problem that is given.

    Raises:
        InputError: naming the first difference.
    """
    for key in ("outputs", "domain", "partials", "terms"):
        before, after = recorded.get(key), now[key]
        if key != "terms" and before != after:
            raise _differs(where, key, before, after)
        if key == "terms" and isinstance(before, Mapping):
            for term in dict.fromkeys([*after, *before]):
                one, other = before.get(term), after.get(term)
                if one is None or other is None or not np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE):
                    name = term if term in now["partials"] else f"a condition of {term.rpartition(' ')[0]}"
                    raise _differs(where, f"the residual of {name}", one, other)
    different = different_part(recorded.get("parts"), now.get("parts"))
    if different is not None:
        raise _differs(where, *different)


def _differs(where: str, what: str, before: Any, after: Any) -> InputError:
    return InputError(
        f"{where} on a problem that has changed since, in {what}",
        received=after,
        expected=before,
        fix="Undo the change, or train the new problem in another folder. Nothing was overwritten.",
    )
