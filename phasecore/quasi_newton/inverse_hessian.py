"""The inverse Hessian of self-scaled L-BFGS, over flat vectors of any array library.

L-BFGS corrects its guess of the inverse Hessian by one pair of a step and its change of the gradient after the other.
Before each, the self-scaled one multiplies what it has so far by `s B s / s y`, where that is above one: by how much
the Hessian that it assumed, `B`, overestimates the curvature that the step `s` then met, `s y` (Oren and Luenberger,
Management Science 20 (1974), 845-862; with the bound at one of Al-Baali, J. Optim. Theory Appl. 96 (1998), 533-552).
Losses of networks on differential equations are so ill-conditioned that this, with many pairs, is worth an order of
magnitude in the error (Urban, Stefanou and Pons, J. Comput. Phys. 523 (2025), 113656; Kiyani et al., arXiv 2501.16371,
have the same with all of the matrix; `docs/policies.md` has what was measured here).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, final

import numpy as np
from numpy.typing import NDArray

MEMORY = 1000
"""Most pairs of steps and changes of the gradient that are remembered."""

MOST_BYTES, LEAST_MEMORY = 128 * 2**20, 50
"""So many bytes are not exceeded by more than so many pairs."""

FORGOTTEN = 4
"""Where the memory is full, one pair of so many is forgotten, the oldest ones."""

V = TypeVar("V", bound=Any)
"""A flat vector: numpy's, or a tensor."""

Floats = NDArray[np.float64]


class Arrays(NamedTuple, Generic[V]):
    """What is asked of an array library, beside arithmetic and `@`.

    Args:
        rows: returns room for so many vectors like one, shape `(rows, size)`.
        numbers: returns a vector as numpy's, in double precision.
        vector: returns numbers as a vector like another.
    """

    rows: Callable[[int, V], Any]
    numbers: Callable[[V], Floats]
    vector: Callable[[Floats, V], V]


def numpy_arrays() -> Arrays[Any]:
    """Return those of numpy."""
    return Arrays(
        rows=lambda count, like: np.empty((count, len(like)), like.dtype),
        numbers=lambda vector: vector.astype(np.float64),
        vector=lambda numbers, like: numbers.astype(like.dtype),
    )


def memory_for(size: int, bytes_each: int) -> int:
    """Return how many pairs are remembered of vectors of a size.

    Args:
        size: of the vectors.
        bytes_each: of their numbers.

    Example:
        >>> memory_for(12_737, 4), memory_for(83_201, 4), memory_for(10**7, 4)
        (1000, 201, 50)
    """
    return min(MEMORY, max(LEAST_MEMORY, MOST_BYTES // (2 * size * bytes_each)))


@final
class InverseHessian(Generic[V]):
    """What self-scaled L-BFGS knows of the inverse Hessian.

    Products with it are those of the two loops over the pairs (Nocedal, Math. Comp. 35 (1980), 773-782), as four
    products with the matrices of all steps and all changes (Byrd, Nocedal and Schnabel, Math. Programming 63 (1994),
    129-156, Theorem 2.2, with a scale for each pair).

    Args:
        arrays: of the vectors.
        memory: most pairs that are remembered.

    Example:
        >>> known = InverseHessian(numpy_arrays(), memory=2)
        >>> known.add(np.asarray([1.0, 0.0]), np.asarray([4.0, 0.0]))
        True
        >>> (known @ np.asarray([4.0, 4.0])).tolist()
        [1.0, 1.0]
    """

    def __init__(self, arrays: Arrays[V], memory: int) -> None:
        self.memory = memory
        self._arrays = arrays
        self._steps: Any = None
        self._changes: Any = None
        self.clear()

    def __len__(self) -> int:
        return len(self._growths)

    def clear(self) -> None:
        """Forget all."""
        self._first = 1.0
        self._growths = np.empty(0)
        self._products = np.empty((0, 0))

    def add(self, step: V, change: V, assumed: float | None = None) -> bool:
        """Take in a pair, and say whether it was of use: along the step the loss must curve upwards.

        Args:
            step: difference of the parameters, shape `(size,)`.
            change: of the gradients, of one and the same loss, shape `(size,)`.
            assumed: the curvature `s B s` along the step that the direction came from, None where nothing was known.
        """
        curvature, length, steepness = float(step @ change), float(step @ step), float(change @ change)
        if not curvature > np.finfo(np.float64).eps * math.sqrt(length * steepness):
            return False
        if self._steps is None:
            self._steps, self._changes = (self._arrays.rows(self.memory, step) for _ in range(2))
        if len(self) == self.memory:
            self._forget(max(1, self.memory // FORGOTTEN))
        count = len(self)
        if not count:
            self._first = curvature / steepness
        self._steps[count], self._changes[count] = step, change
        growth = 1.0 if not count or assumed is None else max(1.0, assumed / curvature)
        self._growths = np.append(self._growths, growth)
        self._products = np.pad(self._products, (0, 1))
        self._products[:, count] = self._arrays.numbers(self._steps[: count + 1] @ change)
        return True

    def __matmul__(self, vector: V) -> V:
        """Return the product with a vector."""
        from scipy.linalg import solve_triangular

        count, like = len(self), self._arrays.vector
        steps, changes = self._steps[:count], self._changes[:count]
        later = np.append(np.cumprod(self._growths[:0:-1])[::-1], 1.0)
        first = self._first * float(self._growths.prod())
        shares = solve_triangular(self._products, self._arrays.numbers(steps @ vector), check_finite=False)
        rest: V = vector - like(shares, vector) @ changes
        right = later * shares * self._products.diagonal() - first * self._arrays.numbers(changes @ rest)
        back = solve_triangular(self._products, right, trans="T", check_finite=False)
        product: V = first * rest + like(back, vector) @ steps
        return product

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes: matrices of vectors, shape `(pairs, size)`, arrays of numpy, and a number."""
        count = len(self)
        of_pairs = {} if not count else {"steps": self._steps[:count], "changes": self._changes[:count]}
        return {**of_pairs, "growths": self._growths, "products": self._products, "first": self._first}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self._first = float(state["first"])
        self._growths, self._products = (np.array(state[name], dtype=np.float64) for name in ("growths", "products"))
        count = len(self)
        if count:
            self.memory = max(self.memory, count)
            self._steps, self._changes = (self._arrays.rows(self.memory, state["steps"][0]) for _ in range(2))
            self._steps[:count], self._changes[:count] = state["steps"], state["changes"]

    def _forget(self, count: int) -> None:
        """Forget the oldest pairs."""
        left = len(self) - count
        for row in range(left):
            self._steps[row], self._changes[row] = self._steps[row + count], self._changes[row + count]
        self._first *= float(self._growths[:count].prod())
        self._growths = self._growths[count:].copy()
        self._products = self._products[count:, count:].copy()
