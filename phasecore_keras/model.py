"""A physics-informed Keras model: plain `compile` and `fit`, with the problem's residuals as the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from phasecore import registry
from phasecore.errors import InputError
from phasecore.jets.derivatives import Method
from phasecore.problems import CollocationPoints, Problem
from phasecore_keras import configuration, data, distribution, storing
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.differentiation import Tensor
from phasecore_keras.loss import PhysicsLoss
from phasecore_keras.moving import COORDINATES, INDICES, Arrays, Points, WithinFit, chosen
from phasecore_keras.penalties import tell_of_added_losses
from phasecore_keras.precision import check_layers
from phasecore_keras.reading import HeldVariables
from phasecore_keras.resampling import Resampling
from phasecore_keras.saved import SavedModel
from phasecore_keras.second_order import QuasiNewtonSteps
from phasecore_keras.steps import (
    compiled_step,
    counting_on,
    ready_optimizer,
    steps_before,
    steps_done,
    synchronize,
)
from phasecore_keras.updates import BetweenSteps, WeightUpdates


@final
@keras.saving.register_keras_serializable(package="phasecore")
class PINN(SavedModel):
    """Trains a Keras model of yours on a problem, with `compile` and `fit` as they are.

    The loss is the problem's: the mean squared weighted residual of every term, summed. `logs` hold it as "loss", and
    the unweighted loss of each term as "TERM_loss". Weights are kept by point index in non-trainable variables.

    Args:
        network: maps points (n, dimension) to outputs (n, number of outputs): any Keras model or layer. It stays yours
            and is trained in place. Residuals evaluate it in inference mode.
        problem: see `phasecore.problem`.
        weighting: a scheme, or a specification such as "uniform", "rba", "rba:gamma=0.99" or "rba+grad_norm"; or
            several of these, whose weights are multiplied.
        derivatives: "auto", or "jets" or "autodiff" to insist.
        options: those of `keras.Model`, such as `name`.

    Attributes:
        network: yours.
        physics: the loss, see `phasecore_keras.PhysicsLoss`.
        weight_updates: of the weights that are updated between steps.
        quasi_newton: its steps by L-BFGS, which policies ask for.
        specification: of the weighting, empty if a scheme was given as an object.
        made_with: that of the weighting that it was made with.

    Raises:
        InputError: for a network that does not fit the problem, or a scheme that needs a signal that is not supplied.

    Example:
        >>> import phasecore
        >>> problem = phasecore.problem("burgers")
        >>> network = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
        >>> pinn = PINN(network, problem, weighting="rba")
        >>> pinn.compile(optimizer=keras.optimizers.Adam(1e-3))
        >>> history = pinn.fit(pinn.points(100, seed=0), epochs=2, verbose=0)
        >>> sorted(history.history)
        ['boundary_loss', 'initial_loss', 'loss', 'pde_loss']
    """

    def __init__(
        self,
        network: Any,
        problem: Problem,
        weighting: registry.Weighting = "uniform",
        *,
        derivatives: Method = "auto",
        **options: Any,
    ) -> None:
        configuration.check_made_from(network, problem)
        super().__init__(**{"dtype": network.dtype_policy, **options})
        self.specification = self.made_with = configuration.specification_of(weighting)
        self._derivatives = derivatives
        self.physics = PhysicsLoss(problem, network, weighting=weighting, derivatives=derivatives)
        check_layers(network)
        tell_of_added_losses(network, problem.sample(2, seed=0).interior)
        self.network = network
        self.weighting = self.physics.weighting
        self.attention = self.physics.attention
        self._coefficients = HeldVariables("coefficients", saved=True)
        self._condition_points = HeldVariables("condition_points", saved=False)
        self.term_losses = [keras.metrics.Mean(name=f"{term}_loss") for term in problem.terms]
        self.weight_updates = WeightUpdates(self.physics, self)
        self.quasi_newton = QuasiNewtonSteps(self, self.weight_updates)
        self._version = -1
        self._within_fit = WithinFit(self.physics)
        self._jit_of_keras: bool | None = None
        self.built = True
        self.renew()

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.physics.problem

    def points(
        self, points: Points | None = None, *, seed: int | None = None, condition_points: int | None = None
    ) -> Arrays:
        """Draw the collocation points, or take yours, and return them as `fit` takes them.

        `fit` trains on all of them at once unless it is given a `batch_size`. For a pipeline of your own make batches
        of this dictionary: a point's weight is found by its index. Of as many other points each takes what is known of
        it, as in `resample`; with another number, or a scheme that forbids moves, weights not held start anew. A
        callback may call it within `fit` with as many points, on which that goes on.

        Args:
            points: how many to draw; or `problem.sample(...)`; or coordinates of shape (n, dimension); None for those
                that there are, wherever they have moved.
            seed: of the points drawn, 0 by default; beside coordinates those of the conditions are.
            condition_points: number of points of each condition that are drawn; the problem chooses by default.

        Returns:
            {"coordinates": shape (n, dimension), "indices": 0 to n - 1 of shape (n,)}.

        Raises:
            InputError: for a count that is not a positive integer, points that do not fit the problem, another number
                of them within a `fit`, or options where none are drawn.
            PluginError: for residuals that are not finite there, naming the term and where.
        """
        given = chosen(self.problem, points, seed, condition_points)
        if given is not None:
            self._within_fit.check_number(given)
            synchronize(self)
            self.physics.set_points(given)
            self._within_fit.follow()
            self.renew()
            self.physics.check_residuals()
        if self.physics.points is None:
            raise InputError("points of a PINN", received="none yet", expected="points(10_000), or your own")
        return {COORDINATES: self.physics.points.copy(), INDICES: np.arange(len(self.physics.points), dtype=np.int32)}

    def resample(self, points: CollocationPoints | ArrayLike) -> Arrays:
        """Go on with other collocation points, any number of them, and return them as `fit` takes them.

        A callback may call it within `fit`, which then trains on these points from the next step on: on all where it
        was given all at once, else by the indices of its data, of which there must be as many. The step is compiled
        anew at the first move, and for another number of points.

        Args:
            points: see `phasecore_keras.PhysicsLoss.resample`, which also says what stays with a point.

        Raises:
            InputError: as that; and for another number of points within a `fit` on batches.
        """
        self._within_fit.check(points)
        synchronize(self)
        self.physics.resample(points)
        if self._within_fit.goes_on:
            self.physics.let_move()
        self.renew()
        return self.points()

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        """Return the network's outputs at points: coordinates of shape (n, dimension), or a batch of `points`.

        A training step calls the model on its batch and hands the outputs to metrics, which a PINN has none of; so a
        batch of `points` in training gives its coordinates back, and the network is evaluated once a step, not twice.
        """
        points = inputs[COORDINATES] if isinstance(inputs, Mapping) else inputs
        if training and isinstance(inputs, Mapping):
            return points
        return self.network(distribution.cut_by_device(points), training=False)

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: the network was built when the PINN was made."""

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **options: Any) -> None:
        """Choose the optimizer, see `keras.Model.compile`; with another one, iterations count on.

        With TensorFlow `jit_compile="auto"` means XLA on the CPU too, where Keras itself does without: a step of jets
        takes half the time with it.

        Raises:
            InputError: for a loss or metrics, or a way of distributing the training that is not supported.
        """
        distribution.check_distribution(self, {"optimizer": optimizer, **options})
        data.check_no_loss({"loss": loss, **options})
        if self.compiled or self.physics.has_changed:
            self.physics.renew()
        with counting_on(self):
            super().compile(optimizer=optimizer, **options)
        self.physics.trained_coefficients.set_rates(self.optimizer)
        unsettled = options.get("jit_compile", "auto") == "auto" and not options.get("run_eagerly")
        self._jit_of_keras = self.jit_compile if unsettled and distribution.replicas_of(self) == 1 else None
        self.renew()

    def renew(self) -> None:
        """Take note of what has changed since the network, the problem and the points were read.

        It is done by itself as `fit`, its epochs, `evaluate`, `predict` and the like begin, and costs nothing where
        nothing has changed. Else the network is read anew, jets are compared with autodiff again, and what was compiled
        is compiled anew when used next. What only a closure holds, such as a number, is noticed by `compile`.

        Raises:
            InputError: for a network that does not fit the problem any more.
        """
        if self.physics.has_changed:
            self.physics.renew()
        if self._jit_of_keras is not None and keras.backend.backend() == "tensorflow":
            self.jit_compile = self.physics.method == "jets" or self._jit_of_keras
        if self.physics.version == self._version:
            return
        self._version = self.physics.version
        self._coefficients.hold(self.physics.held)
        self._condition_points.hold(self.physics.point_variables)
        for kind in ("train", "test", "predict"):
            if getattr(self, f"{kind}_function", None) is not None:
                getattr(self, f"make_{kind}_function")(force=True)

    def make_train_function(self, force: bool = False) -> Any:
        """Compile the step, see `keras.Model.make_train_function`."""
        return compiled_step(self, super().make_train_function, force)

    def change_weighting(self, weighting: registry.Weighting) -> None:
        """Go on with other weighting schemes, which start anew, see `PhysicsLoss.change_weighting`."""
        with distribution.scope_of(self):
            self.physics.change_weighting(weighting)
        storing.read_weighting(self)
        self.specification = configuration.specification_of(weighting)
        self.renew()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients that torch keeps of whatever is trained now, see `torch.nn.Module.zero_grad`."""
        for variable in self.trainable_variables:
            variable.value.grad = None

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all variables, see `keras.Model.set_weights`; points that have moved within `fit` go back with them.

        Raises:
            InputError: for values that are of other points or another weighting.
        """
        data.check_weights(weights, self.weights)
        super().set_weights(weights)
        now, moving = self.physics.collocation, self.physics.moving
        if now is not None and moving is not None:
            self.physics.set_points(CollocationPoints(to_numpy(moving.value), now.conditions), restored=True)

    def quantize(self, mode: Any = None, *arguments: Any, **options: Any) -> None:
        """Quantize the network, see `keras.Model.quantize`.

        Raises:
            InputError: for a network that is no model, or whose derivatives are lost.
        """
        self.network.quantize(mode, *arguments, **options)
        self.renew()

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, *arguments: Any, **options: Any) -> Any:
        """Train, see `keras.Model.fit`; on all points at once unless a batch size is given.

        Args:
            x: `points(...)`, or a `tf.data.Dataset`, `PyDataset` or other source of batches of that dictionary.
            y: nothing: collocation points have no targets.
            batch_size: number of points of a step; all by default.
            arguments: as of `keras.Model.fit`.
            options: as of `keras.Model.fit`.

        Raises:
            InputError: for data without indices or with unknown ones, or other coordinates than `points(...)` returned.
        """
        self.renew()
        options = data.by_name(super().fit, (x, y, batch_size, *arguments), options)
        x, y, batch_size = (options.pop(name, None) for name in ("x", "y", "batch_size"))
        x = data.unpacked(x)
        ready_optimizer(self)
        data.check_data(x, self.physics.points, y, options)
        options["callbacks"] = [*data.each_callback(options.get("callbacks")), BetweenSteps(self.weight_updates)]
        options.setdefault("validation_batch_size", data.all_of(options.get("validation_data")))
        self._within_fit.prepare(x, batch_size)
        if any(isinstance(callback, Resampling) for callback in options["callbacks"]):
            self.physics.let_move()
        self.renew()
        x, batch_size = data.arranged(x, batch_size, options, self.steps_per_execution)
        watched = data.Watched(self._within_fit.points_now)
        try:
            with self._within_fit, distribution.whole_batches(), watched:
                return super().fit(watched.of(x), y, batch_size, **options)
        finally:
            self.quasi_newton.give_back()

    def train_on_batch(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """Make one step on a batch of `points(...)`, see `keras.Model.train_on_batch`.

        Weights that are updated between the steps are updated before it if they are due.

        Raises:
            InputError: for anything that is no batch of points with their indices, as they are now.
        """
        self._within_fit.prepare_batch()
        self.renew()
        ready_optimizer(self)
        given = data.by_name(super().train_on_batch, (x, *arguments), options)
        data.check_in_hand(x, self.physics.points, given, "train_on_batch", indices=True)
        if self.weight_updates.needed:
            self.weight_updates.refresh()
            self.weight_updates.before_step(steps_before(self) + steps_done(self))
        with distribution.whole_batches():
            return super().train_on_batch(distribution.in_parts(self, x), *arguments, **options)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, *arguments: Any, **options: Any
    ) -> Any:
        """Return the loss, see `keras.Model.evaluate`: with the current weights where `x` has indices, else without.

        Args:
            x: a batch of `points(...)`, {"coordinates": shape (m, dimension)} for points elsewhere, or a source of such
                batches.
            y: nothing: collocation points have no targets.
            batch_size: number of points that are evaluated at once; all by default.
            arguments: as of `keras.Model.evaluate`.
            options: as of `keras.Model.evaluate`.

        Raises:
            InputError: for anything else, before the evaluation is compiled.
        """
        self.renew()
        x = data.unpacked(x)
        options = data.by_name(super().evaluate, (x, y, batch_size, *arguments), options)
        if not options.get("_use_cached_eval_dataset"):
            data.check_evaluated(options.get("x"), self.physics.points, options)
        options["batch_size"] = options.get("batch_size") or data.all_of(x)
        watched = data.Watched(self._within_fit.points_now)
        with distribution.whole_batches(), watched:
            return super().evaluate(**{**options, "x": watched.of(options.get("x"))})

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """Return the network's outputs, see `keras.Model.predict`."""
        self.renew()
        with distribution.whole_batches():
            return super().predict(x, *arguments, **options)

    def test_on_batch(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """Return the loss of a batch, see `keras.Model.test_on_batch` and `evaluate`.

        Raises:
            InputError: for anything that is no batch of points.
        """
        self.renew()
        given = data.by_name(super().test_on_batch, (x, *arguments), options)
        data.check_in_hand(x, self.physics.points, given, "test_on_batch", indices=False)
        with distribution.whole_batches():
            return super().test_on_batch(distribution.in_parts(self, x), *arguments, **options)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the network's outputs at a batch, see `keras.Model.predict_on_batch`."""
        self.renew()
        return super().predict_on_batch(distribution.in_parts(self, x))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """Return the physics-informed loss of a batch, a scalar, and update the weights in training."""
        data.check_step(x, self.physics.points, {"y": y, "sample_weight": sample_weight}, training=training)
        coordinates, indices = self._within_fit.batch(x, training=training)
        evaluation = self.physics(coordinates, indices, training=training)
        for metric, loss in zip(self.term_losses, evaluation.unweighted.values(), strict=True):
            # as Keras does with "loss", which they are to add up to
            metric.update_state(ops.stop_gradient(loss), sample_weight=ops.shape(x[COORDINATES])[0])
        return distribution.share(sum(evaluation.weighted.values(), self.physics.penalty()))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Do nothing, where Keras adds the replicas' parts of a batch to see what they look like."""

    def load_own_variables(self, store: Any) -> None:
        """Go on from what a file has: a `fit` in progress on its points.

        Raises:
            InputError: for another number of points within a `fit` on batches; Keras tells of it in a ValueError.
        """
        if "points" in store:
            self._within_fit.check(np.asarray(store["points"]))
        synchronize(self)
        super().load_own_variables(store)
        self._within_fit.follow()
        self.renew()
