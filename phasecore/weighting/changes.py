"""What was done to the weighting of a loss, in order, to be done again before a saved state is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, final

from phasecore.errors import InputError
from phasecore.policies.actions import Action, HoldWeighting, ReleaseWeighting

CHANGED, HELD, RELEASED = "changed", "held", "released"

Change = tuple[str, str]


class Changeable(Protocol):
    """A loss whose weighting policies may change."""

    changes: Changes

    def change_weighting(self, weighting: Any) -> Any:
        """Go on with other schemes."""

    def hold_weighting(self, action: Action) -> Any:
        """Hold the weights or release them."""


@final
class Changes:
    """The changes that a loss remembers; which statistics it keeps beside its weights follows from all of them.

    Attributes:
        done: kinds with the specification of each "changed".

    Example:
        >>> changes = Changes()
        >>> for is_held in (True, False, True):
        ...     changes.held(is_held)
        >>> changes.changed("uniform")
        >>> changes.done
        [('held', ''), ('changed', 'uniform')]
    """

    def __init__(self) -> None:
        self.done: list[Change] = []

    def changed(self, to: str) -> None:
        """Note that other schemes are used from now on: their specification, or nothing for objects."""
        self.done.append((CHANGED, to))

    def held(self, is_held: bool) -> None:
        """Note that weights are held, or released."""
        self.done.append((HELD if is_held else RELEASED, ""))
        if self.done[-3:] == [(HELD, ""), (RELEASED, ""), (HELD, "")]:
            del self.done[-2:]

    def to_json(self) -> list[list[str]]:
        """Return what a checkpoint must carry."""
        return [list(change) for change in self.done]


def change_again(loss: Changeable, saved: Iterable[Sequence[str]]) -> None:
    """Do to a loss what was done to it when a state was saved, which is to be loaded after this.

    Args:
        loss: the training's, to which a part of it may have been done.
        saved: as `Changes.to_json` returned it.

    Raises:
        InputError: where the weighting was changed to a scheme that has no name.
    """
    wanted = [(kind, to) for kind, to in saved]
    done = loss.changes.done
    for kind, to in wanted[len(done) :] if wanted[: len(done)] == done else wanted:
        if kind == CHANGED and not to:
            raise InputError(
                "the weighting of a saved state",
                received="one that was changed to a scheme given as an object",
                expected="a loss that has it",
                fix="Call change_weighting with that scheme before the state is loaded.",
            )
        if kind == CHANGED:
            loss.change_weighting(to)
        else:
            loss.hold_weighting(HoldWeighting() if kind == HELD else ReleaseWeighting())


def changes_of_older(changed_to: str | None, held: bool) -> list[list[str]]:
    """Return the changes that a checkpoint tells which has the last state of the weighting alone.

    Example:
        >>> changes_of_older("rba", True)
        [['changed', 'rba'], ['held', '']]
    """
    return [*([] if changed_to is None else [[CHANGED, changed_to]]), *([[HELD, ""]] if held else [])]
