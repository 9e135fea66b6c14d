"""What every policy must satisfy, and `check_policy`, which runs it all."""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, final

from phasecore.errors import PluginWarning
from phasecore.phases import Timeline, tracker
from phasecore.policies.actions import Action
from phasecore.policies.base import Policy
from phasecore.policies.checks import check_declaration, decided, first_state, plain_state, restored_state
from phasecore.recording.acting import row_for_policies
from phasecore.recording.history import plain
from phasecore.testing.curves import synthetic_curve
from phasecore.testing.laws import Report, run_laws

MADE_UP = (("step", 0), ("decline only", 0), ("no fitting plateau", 1))
"""Families and seeds of the made-up histories."""

Row = Mapping[str, Any]
Captures = Sequence[tuple[Timeline, Row]]


@final
@dataclass(frozen=True)
class PolicySubject:
    """A policy under test.

    Attributes:
        name: what to call it in messages.
        policy: what is checked.
        histories: of each training the phases so far and the row, at every capture.
    """

    name: str
    policy: Policy
    histories: Sequence[Captures]

    def decisions(self, captures: Captures, *, saved: bool = False) -> list[tuple[Action, ...]]:
        """Return what the policy decides at each capture of a training.

        Args:
            captures: the training.
            saved: whether its state goes through a checkpoint after each capture.
        """
        state, found = first_state(self.name, self.policy), []
        for timeline, row in captures:
            actions, state = decided(self.name, self.policy, timeline, MappingProxyType(dict(row)), state)
            found.append(tuple(actions))
            if saved:
                state = restored_state(json.loads(json.dumps(plain_state(state))), type(state))
        return found


def check_policy(
    policy: Policy | Callable[[], Policy],
    history: Sequence[Row] | None = None,
    *,
    iterations: int | None = None,
    known_failures: Mapping[str, str] | None = None,
) -> Report:
    """Check that a policy keeps its contract, on made-up trainings and on one of yours.

    Args:
        policy: the policy, or a factory that is called without options.
        history: rows of a recorded training, as `history.jsonl` has them: it is replayed too.
        iterations: of that training, for policies that read "progress"; by default to its last row.
        known_failures: {law: reason} for laws that the policy is known to break; an error if it does not.

    Raises:
        AssertionError: listing every broken law and what to change.

    Example:
        >>> from phasecore.policies import stop_when_done
        >>> check_policy(stop_when_done).skipped
        {}
    """
    subject = policy_subject(policy if isinstance(policy, Policy) else policy(), getattr(policy, "__name__", None))
    if history is not None:
        subject = replace(subject, histories=[*subject.histories, list(captures_of(history, iterations))])
    return run_laws(f"policy {subject.name!r}", POLICY_LAWS, subject, known_failures)


def policy_subject(policy: Policy, name: str | None = None) -> PolicySubject:
    """Return what the laws take, with made-up trainings.

    Args:
        policy: what is checked.
        name: what messages call it; by default as the function is called that makes its `update`.
    """
    owner = getattr(getattr(policy, "update", None), "__qualname__", "policy").partition(".")[0]
    return PolicySubject(name or owner, policy, list(made_up()))


@functools.cache
def made_up() -> tuple[Captures, ...]:
    """Return made-up trainings: with three phases, without the last, and without the first; some values are NaN."""
    found = []
    for family, seed in MADE_UP:
        curve = synthetic_curve(family, seed, rise=(2.0, 2.0), noise=(0.1, 0.1)).columns
        columns = {name: values.tolist() for name, values in curve.items()}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        last = rows[-1]["iteration"]
        for place, row in enumerate(rows):
            share = row["iteration"] / last
            row |= {"iteration": int(row["iteration"]), "seconds": 0.01 * row["iteration"], "learning_rate": 1e-3}
            row |= {"training_loss": 10 ** (-4 * min(share, 0.5)), "unweighted_loss": 10 ** (-4 * min(share, 0.5))}
            if place % 7 == 3:
                row["relative_l2_error"] = math.nan
        found.append(tuple(captures_of(rows, None)))
    return tuple(found)


def captures_of(rows: Sequence[Row], iterations: int | None) -> Iterator[tuple[Timeline, Row]]:
    """Yield the phases so far, as the online tracker says them, and the row as a policy is given it.

    Args:
        rows: a history.
        iterations: of the training; by default to its last row.
    """
    online = tracker()
    state = online.init()
    for row in rows:
        seen = row_for_policies(row, iterations or int(rows[-1]["iteration"]))
        timeline, state = online.update(seen, state)
        yield timeline, seen


def declares_itself(subject: PolicySubject) -> None:
    """A policy is a `Policy` that requires actions of the vocabulary."""
    assert isinstance(subject.policy, Policy), f"the factory returned {subject.policy!r}; return a Policy"
    check_declaration(subject.name, subject.policy)
    assert subject.policy.requires, "requires nothing, so that it can do nothing; name the actions that it may return"


def keeps_its_contract(subject: PolicySubject) -> None:
    """`update` returns actions that `requires` names, and a state of plain values of the kind that `init` returns."""
    for captures in subject.histories:
        subject.decisions(captures)


def is_deterministic(subject: PolicySubject) -> None:
    """The same history leads to the same actions, whatever the policy was used for in between."""
    first = [subject.decisions(captures) for captures in subject.histories]
    again = [subject.decisions(captures) for captures in subject.histories]
    assert first == again, (
        "a second pass over the same history differs; keep everything that is remembered in the state"
    )


def replays_a_recorded_history(subject: PolicySubject) -> None:
    """A history that was written and read, with null for NaN, leads to the same actions as the training itself."""
    for captures in subject.histories:
        read = [(timeline, _read(row)) for timeline, row in captures]
        assert subject.decisions(captures) == subject.decisions(read), "a history that was written and read differs"


def resumes(subject: PolicySubject) -> None:
    """A state that goes through a checkpoint at every capture leads to the same actions."""
    for captures in subject.histories:
        assert subject.decisions(captures) == subject.decisions(captures, saved=True), (
            "with its state saved and restored it decides otherwise; keep everything that is remembered in the state, "
            "as numbers, strings, True, False, None and tuples of these"
        )


def state_and_row_are_not_mutated(subject: PolicySubject) -> None:
    """`update` leaves the row and the state as they were."""
    for captures in subject.histories:
        state = first_state(subject.name, subject.policy)
        for timeline, row in captures:
            given, before = dict(row), repr(state)
            _, new = subject.policy.update(timeline, given, state)
            assert repr(given) == repr(dict(row)), "update changed the row; it belongs to the history"
            assert repr(state) == before, "update changed its state in place; return a new one"
            state = new


def bears_rows_without_its_columns(subject: PolicySubject) -> None:
    """A row with an iteration and nothing else is no reason to fail: not every training measures everything."""
    for captures in subject.histories:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PluginWarning)  # it may well say what it misses
            subject.decisions([(timeline, {"iteration": row["iteration"]}) for timeline, row in captures])


POLICY_LAWS = (
    declares_itself,
    keeps_its_contract,
    is_deterministic,
    replays_a_recorded_history,
    resumes,
    state_and_row_are_not_mutated,
    bears_rows_without_its_columns,
)
"""Every law of policies; each takes a `PolicySubject`."""


def _read(row: Row) -> Row:
    written = json.loads(json.dumps(plain(dict(row))))
    return {name: math.nan if value is None else value for name, value in written.items()}
