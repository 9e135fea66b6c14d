"""The arrays of a scheme's state, each by a name of its own, by which a framework keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from phasecore.arrays import Array
from phasecore.weighting.base import State

Entry = tuple[str, Any]
"""A field of a state and a key of its mapping; None for a field that is an array."""


def state_entries(state: State) -> Iterator[tuple[Entry, Array]]:
    """Yield each array of a scheme's state with its field and key, in the order of the fields.

    Example:
        >>> from phasecore.weighting.rba import RBAState
        >>> [entry for entry, _ in state_entries(RBAState({"pde": 0.0}, {"pde": 0.0}))]
        [('weights', 'pde'), ('visited', 'pde')]
    """
    for field, value in zip(getattr(state, "_fields", ()), state, strict=True):
        if isinstance(value, Mapping):
            for key, leaf in value.items():
                yield (field, key), leaf
        else:
            yield (field, None), value


def state_names(
    state: State, refused: str = "", is_taken: Callable[[str], bool] = lambda name: False
) -> dict[Entry, str]:
    """Return a name for each array of a scheme's state, by field and key, and no name twice.

    The usual one is field and key, joined. Where two arrays would share it, or it cannot be had, the length of the
    field stands before it, which tells where the key begins, and what is refused is written as its number.

    Args:
        state: the state.
        refused: characters that a name may not have.
        is_taken: whether a name is that of something else.

    Example:
        >>> from collections import namedtuple
        >>> state = namedtuple("Moments", "mean mean_square last")({"square_pde": 0.0}, {"pde": 0.0}, {"0.weight": 0.0})
        >>> list(state_names(state, refused=".").values())
        ['4_mean_square_pde', '11_mean_square_pde', '4_last_0%2Eweight']
    """
    usual = {entry: usual_name(*entry) for entry, _ in state_entries(state)}
    count = Counter(usual.values())
    return {
        entry: name
        if count[name] == 1 and not set(name) & set(refused) and not is_taken(name)
        else f"{len(entry[0])}_{escaped(name, refused)}"
        for entry, name in usual.items()
    }


def state_leaves(state: State) -> Iterator[tuple[str, Array]]:
    """Yield each array of a scheme's state by a name of its own, in the order of the fields.

    Example:
        >>> from phasecore.weighting.rba import RBAState
        >>> [name for name, _ in state_leaves(RBAState({"pde": 0.0}, {"pde": 0.0}))]
        ['weights_pde', 'visited_pde']
    """
    names = state_names(state)
    for entry, leaf in state_entries(state):
        yield names[entry], leaf


def escaped(name: str, refused: str) -> str:
    """Return a name with each refused character, and the percent sign, as its number: another for each name.

    Example:
        >>> escaped("mine/a.b", "/")
        'mine%2Fa.b'
    """
    return "".join(f"%{ord(c):02X}" if c in refused or c == "%" else c for c in name)


def usual_name(field: str, key: Any) -> str:
    """Return what an entry of a state is called where no other is called so: its field and key, joined.

    Example:
        >>> usual_name("weights", "pde"), usual_name("updates", None)
        ('weights_pde', 'updates')
    """
    return field if key is None else f"{field}_{key}"
