"""A weighting scheme under test, and the signals that the laws run it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import DTypeLike

from phasecore.signals import Signals
from phasecore.testing.libraries import ArrayLibrary, libraries, library
from phasecore.testing.made_signals import Layout, SignalMaker, make_signals, zeroed
from phasecore.testing.trees import Tree, map_leaves
from phasecore.weighting.base import State, WeightingScheme, Weights
from phasecore.weighting.checks import first_state, updated

UPDATES = 5
NUMPY = library("numpy")


@final
@dataclass(frozen=True)
class WeightingSubject:
    """A scheme under test, with what its signals are made of.

    Attributes:
        scheme: what is checked.
        libraries: the array libraries that it must run on.
        extra: makers of signals that are not in the core vocabulary.
        layout: names and sizes of the made-up training.
    """

    scheme: WeightingScheme
    libraries: tuple[ArrayLibrary, ...] = field(default_factory=libraries)
    extra: Mapping[str, SignalMaker] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)

    @property
    def name(self) -> str:
        """What to call the scheme in messages: the function that made it."""
        return getattr(self.scheme.update, "__qualname__", "scheme").partition(".")[0]

    def values(self, seed: int, dtype: DTypeLike = np.float64) -> dict[str, Tree]:
        """Return the required signals as numpy arrays."""
        return make_signals(sorted(self.scheme.requires), self.layout, seed, dtype, self.extra)

    def start(self, values: Mapping[str, Tree], array_library: ArrayLibrary = NUMPY) -> State:
        """Return the scheme's first state, for signals with the shapes and dtypes of `values`."""
        return first_state(self.name, self.scheme, signals_on(zeroed(values), array_library))

    def update(
        self, values: Mapping[str, Tree], state: State, array_library: ArrayLibrary = NUMPY
    ) -> tuple[Weights, State]:
        """Return weights and state of one update."""
        return updated(self.name, self.scheme, signals_on(values, array_library), state)

    def history(self, array_library: ArrayLibrary = NUMPY, dtype: DTypeLike = np.float64) -> list[Tree]:
        """Return (weights, state) after each of a few updates, as numpy arrays."""
        state = self.start(self.values(0, dtype), array_library)
        results = []
        for seed in range(UPDATES):
            weights, state = self.update(self.values(seed, dtype), state, array_library)
            results.append(map_leaves(array_library.to_numpy, (dict(weights), state)))
        return results


def signals_on(values: Mapping[str, Tree], array_library: ArrayLibrary) -> Signals:
    """Return signals with the values as a library's arrays."""
    return Signals(map_leaves(array_library.from_numpy, values), array_library.namespace)
