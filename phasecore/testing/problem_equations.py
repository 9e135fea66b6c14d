"""Laws of a problem's residuals, fields and conditions, as functions of the partials."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from phasecore.errors import PluginError
from phasecore.problems.base import Floats
from phasecore.problems.checks import condition_residuals_of, fields_of, targets_of
from phasecore.problems.conditions import Condition
from phasecore.testing.libraries import GUARDED, ArrayLibrary
from phasecore.testing.problem_subject import NUMPY, ProblemSubject, random_partials
from phasecore.testing.trees import RecordingMapping, difference, map_leaves


def residuals_read_what_is_declared(subject: ProblemSubject) -> None:
    """`residuals` reads every partial that `equations` declares, and no other."""
    declared = subject.problem.all_partials()
    points = subject.sample().interior
    read: set[str] = set()
    _explain_missing("residuals", lambda: subject.residuals(points, _interior(subject), read=read), declared)
    unread = sorted(set(declared) - read)
    assert not unread, f"equations declares {unread}, which residuals() never reads; drop them, each costs time"


def each_equation_depends_on_its_partials_only(subject: ProblemSubject) -> None:
    """Changing a partial changes no residual of an equation that does not declare it."""
    points, partials = subject.sample().interior, _interior(subject)
    before = subject.residuals(points, partials)
    for name in partials:
        after = subject.residuals(points, {**partials, name: partials[name] + 1.0})
        for equation, declared in subject.problem.equations.items():
            unchanged = np.array_equal(before[equation], after[equation])
            assert unchanged or name in declared, (
                f"the residual of {equation!r} depends on {name!r}; declare it in equations[{equation!r}]"
            )


def residuals_are_finite(subject: ProblemSubject) -> None:
    """There is one finite residual for each equation and point."""
    points = subject.sample().interior
    for equation, values in subject.residuals(points, _interior(subject)).items():
        assert np.all(np.isfinite(values)), f"the residual of {equation!r} is not finite at ordinary values"


def residuals_agree_across_libraries(subject: ProblemSubject) -> None:
    """`residuals` calls only `phasecore.arrays.NAMES`, branches on no value, and gives the same numbers everywhere."""
    points, partials = subject.sample().interior, _interior(subject)
    expected = subject.residuals(points, partials)
    for array_library in _all_libraries(subject):
        found = difference(expected, subject.residuals(points, partials, array_library), relative=1e-12)
        assert not found, f"{array_library.name} and numpy disagree about residuals(): {found}"


def residuals_keep_the_dtype(subject: ProblemSubject) -> None:
    """Partials in float32 give residuals in float32."""
    points = subject.sample().interior.astype(np.float32)
    partials = map_leaves(lambda leaf: leaf.astype(np.float32), _interior(subject))
    for array_library in subject.libraries:
        for equation, values in subject.residuals(points, partials, array_library).items():
            assert values.dtype == np.float32, (
                f"the residual of {equation!r} is {values.dtype} for float32 partials ({array_library.name}); "
                "mix in Python numbers only, they keep the dtype"
            )


def fields_read_what_is_declared(subject: ProblemSubject) -> None:
    """`fields` reads exactly `field_partials`, and gives finite values of shape (m,) under the reference's names."""
    problem = subject.evaluated
    points = subject.sample().interior
    partials = random_partials(problem.fields_read, len(points))
    read: set[str] = set()
    recording = RecordingMapping(partials, read)
    found = _explain_missing(
        "fields", lambda: fields_of(problem, subject.columns(points), recording, np), problem.fields_read
    )
    assert read == set(problem.fields_read), f"fields() reads {sorted(read)}; declare exactly these in field_partials"
    expected = list(problem.reference(points[:1])) if problem.has_reference else list(found)
    agree = set(expected) <= set(found) if problem.reference_data else sorted(expected) == sorted(found)
    assert agree, f"fields() returns {list(found)}, reference() {expected}; agree on names"
    for name, values in found.items():
        assert np.all(np.isfinite(values)), f"field {name!r} is not finite at ordinary values"
    for array_library in _all_libraries(subject):
        other = problem.fields(
            map_leaves(array_library.from_numpy, subject.columns(points)),
            map_leaves(array_library.from_numpy, partials),
            array_library.namespace,
        )
        difference_found = difference(found, map_leaves(array_library.to_numpy, dict(other)), relative=1e-12)
        assert not difference_found, f"{array_library.name} and numpy disagree about fields(): {difference_found}"


def conditions_read_what_they_declare(subject: ProblemSubject) -> None:
    """Each condition's residual reads exactly its declared partials and targets that are finite, shape (m,)."""
    for condition, points in _conditions(subject):
        where = f"condition of term {condition.term!r}"
        assert condition.term, f"{where}: the term is not a name"
        targets = targets_of(condition, points, subject.problem.coordinates, subject.problem.normals)
        read: set[str] = set()
        recording = RecordingMapping(random_partials(condition.partials, len(points)), read)
        values = _explain_missing(
            where,
            functools.partial(condition_residuals_of, condition, recording, targets, np, len(points)),
            condition.partials,
        )
        unread = sorted(set(condition.partials) - read)
        assert not unread, f"{where} declares {unread}, which its residuals() never reads; drop them"
        assert np.all(np.isfinite(values)), f"{where}: residuals() is not finite at ordinary values"


def conditions_agree_across_libraries(subject: ProblemSubject) -> None:
    """Conditions' residuals obey the same rules as the equations', and every library gives the same numbers."""
    for condition, points in _conditions(subject):
        partials = random_partials(condition.partials, len(points))
        targets = targets_of(condition, points, subject.problem.coordinates, subject.problem.normals)
        expected = _condition_residuals(condition, partials, targets, NUMPY)
        for array_library in _all_libraries(subject):
            found = _condition_residuals(condition, partials, targets, array_library)
            disagreement = difference(expected, found, relative=1e-12)
            assert not disagreement, (
                f"{array_library.name} and numpy disagree about a condition of {condition.term!r}: {disagreement}"
            )


EQUATION_LAWS = (
    residuals_read_what_is_declared,
    each_equation_depends_on_its_partials_only,
    residuals_are_finite,
    residuals_agree_across_libraries,
    residuals_keep_the_dtype,
    fields_read_what_is_declared,
    conditions_read_what_they_declare,
    conditions_agree_across_libraries,
)


def _interior(subject: ProblemSubject) -> dict[str, Floats]:
    return random_partials(subject.problem.all_partials(), subject.points)


def _all_libraries(subject: ProblemSubject) -> tuple[ArrayLibrary, ...]:
    return (*subject.libraries, GUARDED)


def _conditions(subject: ProblemSubject) -> Iterator[tuple[Condition, Floats]]:
    return zip(subject.evaluated.conditions, subject.sample().conditions, strict=True)


def _condition_residuals(
    condition: Condition, partials: Mapping[str, Floats], targets: Mapping[str, Floats], array_library: ArrayLibrary
) -> Any:
    values = condition.residuals(
        map_leaves(array_library.from_numpy, dict(partials)),
        map_leaves(array_library.from_numpy, dict(targets)),
        array_library.namespace,
    )
    return array_library.to_numpy(values)


def _explain_missing(what: str, call: Callable[[], Any], declared: tuple[str, ...]) -> Any:
    try:
        return call()
    except PluginError as error:
        if not isinstance(error.__cause__, KeyError):
            raise
        raise AssertionError(
            f"{what} reads the partial {error.__cause__}, which is not declared; declared are {sorted(declared)}"
        ) from error
