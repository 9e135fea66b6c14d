"""Updates of weights between the steps of a training: of schemes that read costly signals, or that rest a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence, Set
from typing import Any, final

import keras
import numpy as np
from keras import ops

from phasecore.errors import PluginError
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, TANGENT_KERNEL_TRACES, TERM_GRADIENTS, Signals
from phasecore.weighting.composition import OF_WEIGHTED_TERMS, reads_weighted_terms
from phasecore_keras.autodiff import autodiff
from phasecore_keras.loss import PhysicsLoss
from phasecore_keras.namespace import namespace
from phasecore_keras.steps import StepCounter, steps_before, synchronize
from phasecore_keras.tangents import BLOCK, Tangents
from phasecore_keras.weighting import IndexedWeighting

CHECKED_EVERY = 100
"""Iterations after which an epoch's end checks the weights of a step; at once where the loss is not finite."""


@final
class WeightUpdates:
    """Updates weights from the signals of all collocation points, outside of the compiled step, which reads them.

    Args:
        physics: the loss, with its weighting.
        model: whose variables the loss reads.
    """

    def __init__(self, physics: PhysicsLoss, model: keras.Model) -> None:
        self._physics = physics
        self._model = model
        self._made_for: tuple[Any, int] = (None, 0)
        self._tangents: Tangents | None = None
        self._evaluate: Any = None

    @property
    def needed(self) -> bool:
        """Whether any scheme is updated between steps."""
        return any(not part.in_step for part in self._physics.weighting.parts)

    def refresh(self) -> None:
        """Read when weights were updated last: another state may have been loaded."""
        for part in self._physics.weighting.parts:
            part.refresh()

    def before_step(self, iteration: int) -> None:
        """Update what is due after `iteration` steps, before the next one.

        Raises:
            PluginError: if a scheme returns weights that are not finite, or negative where they multiply squares.
        """
        self._update([part for part in self._physics.weighting.parts if part.is_due(iteration)], iteration)

    @contextlib.contextmanager
    def as_in_first_step(self) -> Iterator[None]:
        """Have the weights that are updated before the first step as these updates make them, until the end.

        Raises:
            PluginError: as `before_step`.
        """
        parts = [part for part in self._physics.weighting.parts if not part.in_step and part.has_seen_none()]
        with contextlib.ExitStack() as kept:
            for part in parts:
                kept.enter_context(part.kept_as_it_is())
            self._update(parts, 0)
            yield

    def _update(self, parts: Sequence[IndexedWeighting], iteration: int) -> None:
        physics = self._physics
        if physics.points is None or physics.weighting.held or not parts:
            return
        synchronize(self._model)
        signals = self._signals()
        try:
            for last in (False, True):
                own = [part for part in parts if reads_weighted_terms(part.scheme) == last]
                signals = self._with_gradients(signals, {name for part in own for name in part.scheme.requires})
                for part in own:
                    part.update_between_steps(signals, iteration)
        except PluginError as error:
            raise physics.explained(error, iteration) from error

    def in_place_of_a_step(self, iteration: int) -> None:
        """Update everything that a step updates, and what is due before it, from all points; no step is made.

        Args:
            iteration: steps done.

        Raises:
            PluginError: as `before_step`.
        """
        physics = self._physics
        self.before_step(iteration)
        moving = [] if physics.weighting.held else physics.weighting.parts
        parts = [part for part in moving if part.in_step and part.is_active]
        if parts or physics.attention.points:
            signals = self._signals()
            for part in [*parts, *([physics.attention] if physics.attention.points else [])]:
                part.update(signals, None)

    def _signals(self) -> Signals:
        physics = self._physics
        collocation, version = self._made_for
        if self._tangents is not None and version == physics.version and collocation is not physics.collocation:
            assert physics.points is not None
            self._tangents.points = physics.points
        elif self._tangents is None or version != physics.version:
            self._tangents = Tangents(physics)
            everything = physics.variables
            self._evaluate = (
                autodiff().compiled(physics.residuals_at, everything),
                autodiff().compiled(physics.condition_residuals, everything),
            )
        self._made_for = physics.collocation, physics.version
        residuals_at, conditions_now = self._evaluate
        points = self._tangents.points
        blocks = np.array_split(points, -(-len(points) // BLOCK))
        parts = [residuals_at(ops.convert_to_tensor(block)) for block in blocks]
        residuals = {term: ops.concatenate([part[term] for part in parts]) for term in parts[0]}
        conditions = conditions_now()
        return physics.signals(ops.convert_to_tensor(points), residuals, conditions)

    def _with_gradients(self, signals: Signals, required: Set[str]) -> Signals:
        """Add the required signals of terms as the next step weights their points."""
        if OF_WEIGHTED_TERMS.isdisjoint(required):
            return signals
        assert self._tangents is not None
        factors = self._physics.weighting.point_factors(signals)
        equations, conditions = list(signals[RESIDUALS]), list(signals[CONDITION_RESIDUALS])
        values = dict(signals.values)
        if TERM_GRADIENTS in required:
            values[TERM_GRADIENTS] = self._tangents.term_gradients(equations, conditions, factors)
        if TANGENT_KERNEL_TRACES in required:
            values[TANGENT_KERNEL_TRACES] = self._tangents.tangent_kernel_traces(equations, conditions, factors)
        return Signals(values, namespace)


@final
class BetweenSteps(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Calls `WeightUpdates` in `fit`, and checks the weights that steps update; `PINN.fit` adds it last.

    Args:
        updates: of the model that is trained.
    """

    def __init__(self, updates: WeightUpdates) -> None:
        super().__init__()
        self._updates = updates
        self._steps = StepCounter()
        self._checked = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count from here: what restores a state has done so by now."""
        self.model.renew()
        self._steps.start(self.model)
        self._updates.refresh()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Update what is due."""
        if self._updates.needed:
            self._updates.before_step(steps_before(self.model) + self._steps.after(batch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check the weights if the loss is not finite, and now and then."""
        finite = np.isfinite((logs or {}).get("loss", 0.0))
        iteration = self._steps.now(self.model)
        if not finite or not self._checked or iteration - self._checked >= CHECKED_EVERY:
            self._checked = max(iteration, 1)
            synchronize(self.model)
            self.model.physics.check_weights(iteration)
