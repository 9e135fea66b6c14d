"""What every contender does, so that a worker can run it without knowing what it is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Contender(ABC):
    """A training of one case in one library.

    Args:
        problem: name of the problem.
        arrays: of the case's file: parameters "W0" of shape (inputs, outputs), "b0", ...; points "interior" and
            "condition_0", ...; and "terms", the term of each condition.
    """

    @abstractmethod
    def __init__(self, problem: str, arrays: Arrays) -> None: ...

    @abstractmethod
    def losses(self) -> dict[str, float]:
        """Return the unweighted mean squared residual of each term, and train nothing."""

    @abstractmethod
    def train(self, steps: int) -> float:
        """Train so many steps and return the seconds that one took."""


def timed(step: Callable[[], Any], steps: int, wait: Callable[[], Any]) -> float:
    """Return the seconds of a step, all of its work waited for."""
    wait()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - began) / steps


def layers(arrays: Arrays) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return the matrix (inputs, outputs) and the biases of each layer."""
    return [(arrays[f"W{k}"], arrays[f"b{k}"]) for k in range(sum(name.startswith("W") for name in arrays))]


def sizes(arrays: Arrays) -> list[int]:
    """Return the number of inputs, of each hidden layer's neurons, and of outputs."""
    matrices = [matrix for matrix, _ in layers(arrays)]
    return [len(matrices[0]), *(matrix.shape[1] for matrix in matrices)]


def points_of_terms(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return the points of each term of conditions, shape (m, dimension), float64."""
    terms = [str(term) for term in arrays["terms"]]
    return {
        name: np.concatenate([arrays[f"condition_{k}"] for k, term in enumerate(terms) if term == name])
        for name in dict.fromkeys(terms)
    }
