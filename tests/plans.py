"""A policy for tests that does what it is told, when it is told."""

from typing import NamedTuple

from phasecore.policies import Policy


class Place(NamedTuple):
    done: int = 0


def plan(*steps):
    """A policy that does given actions at the first capture from given iterations on."""

    def update(timeline, row, state):
        due = [action for at, action in steps[state.done :] if row["iteration"] >= at]
        return due, Place(state.done + len(due))

    return {"plan": Policy(Place, update, frozenset(action.requirement for _, action in steps))}
