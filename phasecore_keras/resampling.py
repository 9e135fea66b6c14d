"""Points that move in a `fit` of one's own: one callback."""

from __future__ import annotations

from typing import Any, final

import keras

from phasecore import registry
from phasecore.errors import InputError
from phasecore.sampling import Resampler, Sampling
from phasecore.sampling.checks import check_seed
from phasecore.weighting.checks import check_can_move
from phasecore_keras.loss import PhysicsLoss
from phasecore_keras.steps import StepCounter, steps_before, synchronize


@final
class Resampling(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Moves the collocation points of a `PINN` while `fit` trains it, every so many iterations.

    An iteration is one step of the optimizer, whatever an epoch is; it counts on with another optimizer. The first
    points are those of the PINN; where they have gone, `pinn.points()` says: give that to a later `fit`. List it after
    `PhaseMonitor`, so that an iteration at which points move is captured at those that it was trained on.

    `fit` trains on all points, however many they become, where it was given all at once. Batches that a pipeline makes
    have the indices of the points that there were: a sampling that adds points is refused there at its first move.

    Args:
        sampling: that moves points, such as "rad:every=500", "sobol+uniform" or `phasecore.sampling.r3(every=50)`.
        seed: of the moves, a whole number of at least 0.

    Raises:
        InputError: for an unknown name or option, a sampling that moves nothing, or another seed; when training begins,
            for options that do not suit the number of points, a model that is no PINN, or one whose weighting forbids
            moves.

    Example:
        >>> import phasecore, phasecore_keras
        >>> network = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
        >>> pinn = phasecore_keras.PINN(network, phasecore.problem("burgers"), weighting="rba")
        >>> pinn.compile(optimizer=keras.optimizers.Adam(1e-3))
        >>> resampling = Resampling("rar_d:every=5,added=20,candidates=1000", seed=0)
        >>> history = pinn.fit(pinn.points(100, seed=0), epochs=12, callbacks=[resampling], verbose=0)
        >>> len(pinn.points()["coordinates"])
        140
    """

    def __init__(self, sampling: str | Sampling, *, seed: int = 0) -> None:
        super().__init__()
        self._name, self._sampling = registry.as_sampling(sampling)
        check_seed(seed, "the moves")
        self._seed = seed
        self._steps = StepCounter()
        self._resampler: Resampler | None = None
        self._begins = False
        if self._sampling.move is None:
            raise InputError(
                "callback Resampling",
                received=f"sampling {self._name!r}, which moves no points",
                expected="a sampling that does, such as 'rad:every=500' or 'sobol+r3'",
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """Check everything."""
        self.prepare()

    def prepare(self) -> None:
        """Check everything, of the model that is set: for whoever moves the points of this without it in a list."""
        physics = self._physics()
        assert physics.collocation is not None
        check_can_move({part.scheme_name: part.scheme for part in physics.weighting.parts})
        self._resampler = Resampler(self._sampling, physics.problem, seed=self._seed, name=self._name)
        self._resampler.check(physics.collocation.interior)
        self._begins = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count from here: what restores a state has done so by now."""
        assert self._resampler is not None
        steps = steps_before(self.model) + self._steps.start(self.model)
        if self._begins:
            self._begins = False
            self._resampler.go_on(steps)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Move the points if the steps before this one have reached an iteration that is due."""
        assert self._resampler is not None
        iteration = steps_before(self.model) + self._steps.after(batch)
        if self._resampler.is_due(iteration):
            self.move(iteration)

    def move(self, iteration: int) -> None:
        """Move the points now, whether it is due or not, as a policy may ask (`PhaseMonitor(resampling=...)`).

        Args:
            iteration: steps of the optimizer so far; another one, other random numbers.
        """
        assert self._resampler is not None
        synchronize(self.model)
        physics = self._physics()
        assert physics.collocation is not None
        points = physics.collocation.interior
        self.model.resample(self._resampler.move(points, physics.residuals_elsewhere, iteration))

    def _physics(self) -> PhysicsLoss:
        physics = getattr(self.model, "physics", None)
        if not isinstance(physics, PhysicsLoss):
            raise InputError(
                "callback Resampling", received=f"a model of type {type(self.model).__name__}", expected="a PINN"
            )
        return physics
