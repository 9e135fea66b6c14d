"""Nested mappings and NamedTuples of arrays: signals, states and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import numpy as np

Tree = Any
"""An array, or a mapping, NamedTuple, tuple or list of trees."""


def map_leaves(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a tree of the same structure with `function` applied to every leaf.

    Example:
        >>> map_leaves(abs, {"pde": (-1, 2)})
        {'pde': (1, 2)}
    """
    if isinstance(tree, Mapping):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_leaves(function, value) for value in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_leaves(function, value) for value in tree)
    return function(tree)


def leaves(tree: Tree, path: str = "") -> dict[str, Any]:
    """Return the leaves by path.

    Example:
        >>> leaves({"pde": (-1, 2)}, "residuals")
        {"residuals['pde'][0]": -1, "residuals['pde'][1]": 2}
    """
    if isinstance(tree, Mapping):
        children = [(f"{path}[{key!r}]", value) for key, value in tree.items()]
    elif isinstance(tree, tuple) and hasattr(tree, "_fields"):
        children = [(f"{path}.{name}", value) for name, value in zip(tree._fields, tree, strict=True)]
    elif isinstance(tree, (tuple, list)):
        children = [(f"{path}[{index}]", value) for index, value in enumerate(tree)]
    else:
        return {path: tree}
    return {name: leaf for child, value in children for name, leaf in leaves(value, child).items()}


def structure(tree: Tree) -> dict[str, str]:
    """Return shape and dtype of every leaf by path.

    Example:
        >>> structure({"pde": np.zeros(3)})
        {"['pde']": '(3,) float64'}
    """
    return {path: _kind(leaf) for path, leaf in leaves(tree).items()}


def _kind(leaf: Any) -> str:
    if not hasattr(leaf, "shape"):
        return type(leaf).__name__
    return f"{tuple(leaf.shape)} {str(leaf.dtype).rpartition('.')[2]}"


def difference(first: Tree, second: Tree, *, relative: float = 0.0) -> str:
    """Return where two trees of numpy arrays differ by more than `relative` times their size, or "".

    Example:
        >>> difference({"a": np.asarray([1.0, 2.0])}, {"a": np.asarray([1.0, 2.5])})
        "['a'] is [1.  2.5], not [1. 2.]"
    """
    expected, found = leaves(first), leaves(second)
    if expected.keys() != found.keys():
        return f"the entries are {sorted(found)}, not {sorted(expected)}"
    for path, one in expected.items():
        other = np.asarray(found[path])
        if np.shape(one) != other.shape:
            return f"{path} has shape {other.shape}, not {np.shape(one)}"
        scale = float(np.max(np.abs(one), initial=0.0))
        if not np.allclose(one, other, rtol=relative, atol=relative * scale, equal_nan=True):
            return f"{path} is {other}, not {one}"
    return ""


@final
class RecordingMapping(Mapping[str, Any]):
    """A mapping that remembers which of its keys were read, in `read`."""

    def __init__(self, values: Mapping[str, Any], read: set[str]) -> None:
        self._values = values
        self.read = read

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        self.read.add(key)
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
