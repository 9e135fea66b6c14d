"""Noticing that a network or a problem is no longer what it was when it was read: attributes, layers, variables."""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import keras
import numpy as np

READ = frozenset(
    {"_dtype_policy", "_layers", "_non_trainable_variables", "_trainable", "_trainable_variables", "autocast"}
)
"""Of the attributes that every layer has, those that say what it computes; the others are Keras' bookkeeping."""

DEPTH = 4
"""How deep plain objects within objects are looked into."""

LARGEST_ARRAY = 2**16
"""Bytes of the largest numpy array whose values are looked at; of a larger one, whether it is another array."""

Values = tuple[Any, ...]

_OF_WHOLES = ("items", "keys", "values")
"""Ends of the paths of what a list, a dictionary or an array holds."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_OPAQUE = frozenset({"builtins", "functools", "jax", "jaxlib", "keras", "numpy", "tensorflow", "torch", "types"})
"""Where the classes come from of which only the identity of an object counts."""


@final
class Watch:
    """Remembers what objects hold, and says whether that has changed since.

    Looked at are the attributes of all layers, whether variables are trained, and what plain objects, lists and
    dictionaries hold. What only a closure or a module holds is not seen.

    Args:
        things: layers and other objects.

    Example:
        >>> layer = keras.layers.Dense(2, activation="tanh")
        >>> watch = Watch([layer])
        >>> watch.has_changed()
        False
        >>> layer.activation = keras.activations.silu
        >>> watch.has_changed()
        True
    """

    def __init__(self, things: Sequence[Any]) -> None:
        self._things = list(things)
        self._ignored: set[str] = set()
        self.remember()

    def watch(self, things: Sequence[Any]) -> None:
        """Watch further objects, and remember how everything is now."""
        self._things += things
        self.remember()

    def remember(self) -> None:
        """Remember how everything is now."""
        self._found = self._look()
        self._before = self._glance()

    def has_changed(self) -> bool:
        """Return whether anything is another than remembered; some microseconds for each layer where it is not."""
        with contextlib.suppress(KeyError):
            if _same(self._glance(), self._before):
                return False
        found = self._look()
        if found.keys() != self._found.keys() or not _same(tuple(found.values()), tuple(self._found.values())):
            return True
        self._before = self._glance()
        return False

    @contextlib.contextmanager
    def ignoring(self) -> Iterator[None]:
        """Ignore from now on what changes inside, where everything is only used: a counter of calls, a kept result."""
        before = self._look()
        yield
        after = self._look()
        for path in before.keys() | after.keys():
            if path not in before or path not in after or not _same((before[path],), (after[path],)):
                whole, _, part = path.rpartition(".")
                self._ignored.add(whole if part in _OF_WHOLES else path)
        self.remember()

    def _glance(self) -> Values:
        """What is there, without looking for anything new: attributes, what is in lists, and what is trained."""
        attributes = itertools.chain.from_iterable(get(own) for get, own in self._attributes)
        numbers = [len(own) for _, own in self._attributes]
        within = itertools.chain.from_iterable(self._lists)
        values = itertools.chain.from_iterable(mapping.values() for mapping in self._mappings)
        trained = [variable.trainable for variable in self._variables]
        arrays = [array.tobytes() for array in self._arrays]
        return (*attributes, *numbers, *within, *values, *trained, *arrays)

    def _look(self) -> dict[str, Any]:
        """What is there, by path."""
        found: dict[str, Any] = {}
        self._attributes: list[tuple[Callable[[Any], Values], dict[str, Any]]] = []
        self._lists: list[list[Any]] = []
        self._mappings: list[Mapping[Any, Any]] = []
        self._variables: list[Any] = []
        self._arrays: list[Any] = []
        seen: set[int] = set()
        for place, thing in enumerate(self._things):
            self._visit(thing, str(place), found, seen, DEPTH)
        return found

    def _visit(self, thing: Any, path: str, found: dict[str, Any], seen: set[int], depth: int) -> None:
        if path in self._ignored:
            return
        found[path] = thing
        if isinstance(thing, _PLAIN) or id(thing) in seen or depth < 0:
            return
        seen.add(id(thing))
        within: Iterable[tuple[str, Any]] = ()
        if isinstance(thing, keras.Variable):
            self._variables.append(thing)
            found[f"{path}.trainable"] = thing.trainable
        elif isinstance(thing, np.ndarray):
            if thing.nbytes <= LARGEST_ARRAY:
                self._arrays.append(thing)
                found[f"{path}.values"] = thing.tobytes()
        elif isinstance(thing, (list, tuple)):
            if isinstance(thing, list):
                self._lists.append(thing)
            found[f"{path}.items"] = len(thing)
            within = [(f"[{place}]", item) for place, item in enumerate(thing)]
        elif isinstance(thing, Mapping):
            self._mappings.append(thing)
            found[f"{path}.keys"] = len(thing)
            within = [(f"[{key!r}]", item) for key, item in thing.items()]
        elif _is_open(thing):
            own = vars(thing)
            every = not isinstance(thing, keras.layers.Layer)
            depth = depth if every else DEPTH + 1
            names = [n for n in own if (every or _says_something(n)) and f"{path}.{n}" not in self._ignored]
            if names:
                self._attributes.append((operator.itemgetter(*names, names[0]), own))  # of two names or more: a tuple
            within = [(f".{name}", own[name]) for name in names]
        for step, item in within:
            self._visit(item, path + step, found, seen, depth - 1)


def _same(one: Values, other: Values) -> bool:
    """Whether these are the same objects, or equal where they are plain."""
    if len(one) != len(other):
        return False
    return all(map(operator.is_, one, other)) or all(
        a is b or (isinstance(a, _PLAIN) and type(a) is type(b) and a == b) for a, b in zip(one, other, strict=True)
    )


def _is_open(thing: Any) -> bool:
    """Whether an object is looked into: a layer, or one of a plain class of somebody's own."""
    if isinstance(thing, keras.layers.Layer):
        return True
    is_plain = type(thing).__module__.partition(".")[0] not in _OPAQUE and not isinstance(thing, type)
    return is_plain and hasattr(thing, "__dict__")


@functools.cache
def _bookkeeping() -> frozenset[str]:
    return frozenset(vars(keras.Model())) | {"_torch_params"}


def _says_something(name: str) -> bool:
    return name in READ or (name not in _bookkeeping() and not name.startswith("_self_"))
