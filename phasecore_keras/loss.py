"""The physics-informed loss of a Keras model, with its weighting; `phasecore_keras.model` puts it into `fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from phasecore import registry
from phasecore.errors import InputError
from phasecore.jets.derivatives import COMPARED, Method
from phasecore.losses import ResidualLoss, attention_of, checked_schemes, signals_of
from phasecore.policies.actions import Action
from phasecore.problems import CollocationPoints, Problem
from phasecore.problems.checks import check_problem_given, columns_joined, fields_of, residuals_of
from phasecore.problems.finite import check_residuals_are_finite
from phasecore.sampling.places import have_moved, places_of_terms
from phasecore.signals import Signals
from phasecore.weighting.changes import Changes
from phasecore.weighting.composition import Products
from phasecore.weighting.rba import RBAState, rba
from phasecore_keras.autodiff import autodiff, to_numpy
from phasecore_keras.blank import blank_signals
from phasecore_keras.checks import BLOCK, residuals_now
from phasecore_keras.coefficients import Coefficients
from phasecore_keras.conditions import Conditions, check_targets
from phasecore_keras.derivatives import Model, PartialDerivatives
from phasecore_keras.differentiation import Tensor, variable_dtype
from phasecore_keras.distribution import of_whole_batch
from phasecore_keras.evaluation import Evaluation, evaluation_of
from phasecore_keras.namespace import namespace
from phasecore_keras.penalties import penalty_of
from phasecore_keras.reading import check_trainable, others_than, variables_read
from phasecore_keras.watching import Watch
from phasecore_keras.weighting import IndexedWeighting, Weighting, weighted_loss

Floats = NDArray[np.float64]


@final
class PhysicsLoss(ResidualLoss):
    """The loss of a physics-informed network: the mean squared weighted residual of every term.

    Args:
        problem: see `phasecore.problem`.
        model: maps points (n, dimension) to outputs (n, number of outputs): a Keras model or layer.
        points: `problem.sample(...)`, or the collocation points alone, shape (n, dimension); may be set later.
        weighting: a scheme, or a specification such as "uniform", "rba", "rba:gamma=0.99" or "rba+grad_norm"; or
            several of these, whose weights are multiplied.
        derivatives: "auto", or "jets" or "autodiff" to insist.

    Attributes:
        points: coordinates of the collocation points, shape (n, dimension), a numpy array, or None.
        weighting: the weights' state: a layer, to be tracked by the model that is trained. What reads costly signals is
            updated between the steps, see `phasecore_keras.updates`.
        trained_coefficients: of the problem, see `phasecore.trained`.
        held: the variables that residuals and conditions read and that are not the model's: trained coefficients, and
            what else the problem or anything holds. Those that are trainable are to be trained.
        version: a number that grows with each change that what was compiled of the loss does not know of.
        attention: the state of the residual-based attention that is tracked beside it, empty unless asked for.
        moving: the points as a variable, shape (n, dimension), once they have moved within `fit`: what is compiled sees
            others there. None before.

    Raises:
        InputError: for points outside the domain or of a wrong shape, a model that does not fit the problem, or a
            scheme that needs a signal that this backend does not supply.

    Example:
        >>> import keras, phasecore
        >>> problem = phasecore.problem("helmholtz")
        >>> model = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
        >>> loss = PhysicsLoss(problem, model, problem.sample(100, seed=0), weighting="rba")
        >>> evaluation = loss(ops.convert_to_tensor(loss.points), ops.arange(100), training=True)
        >>> sorted(evaluation.unweighted)
        ['boundary', 'pde']
    """

    weighting: Weighting

    def __init__(
        self,
        problem: Problem,
        model: Model,
        points: CollocationPoints | ArrayLike | None = None,
        *,
        weighting: registry.Weighting = "uniform",
        derivatives: Method = "auto",
    ) -> None:
        check_problem_given(problem, model)
        self.problem = problem
        self.points: NDArray[Any] | None = None
        self.collocation: CollocationPoints | None = None
        self.version = 0
        self.moving: Any = None
        self._elsewhere: tuple[int, Any] | None = None
        self._sizes: dict[str, int] = {}
        self._condition_sizes: dict[str, int] = {}
        self._dtype = variable_dtype(model)
        self.trained_coefficients = Coefficients(problem, self._dtype)
        self._equations = PartialDerivatives(
            model, problem.outputs, problem.coordinates, problem.all_partials(),
            problem.sample(16, seed=0).interior, derivatives, self.trained_coefficients.parameters_of_problem,
        )  # fmt: skip
        self._fields = self._equations.of(problem.fields_read)
        corners, zeros = ops.convert_to_tensor(problem.bounds.astype(self._dtype)), ops.zeros(2, dtype=self._dtype)
        some = dict.fromkeys(problem.fields_read, zeros)
        self.field_names = tuple(fields_of(self.trained_coefficients.problem(), self._named(corners), some, namespace))
        self._conditions = self._conditions_at(())
        self._read_variables()
        self.weighting = Weighting(checked_schemes(registry.as_schemes(weighting), "keras"))
        self.changes = Changes()
        self.forget_attention()
        if points is not None:
            self.set_points(points)
            self.check_residuals()

    @property
    def trainable_variables(self) -> list[Any]:
        """What is trained: the model's trainable variables, and those that are held elsewhere."""
        own = getattr(self.model, "trainable_variables", ())
        return [*own, *(variable for variable in self.held if variable.trainable)]

    @property
    def variables(self) -> list[Any]:
        """Every variable that residuals, conditions and weights are computed from."""
        own = getattr(self.model, "variables", ())
        return [*own, *self.held, *self.point_variables, *self.weighting.variables, *self.attention.variables]

    @property
    def point_variables(self) -> list[Any]:
        """Points and targets of the conditions, and the collocation points where these move."""
        return [*self._conditions.variables, *([] if self.moving is None else [self.moving])]

    @property
    def has_changed(self) -> bool:
        """Whether the model or the problem show that they are not what they were when they were read."""
        return self._watch.has_changed()

    def renew(self) -> None:
        """Read the model and the problem anew, as they are now, and compare jets with autodiff again.

        Raises:
            InputError: for a model that does not fit the problem any more.
        """
        self._equations.renew(self.problem.all_partials())
        self._read_variables()
        if self.collocation is not None:
            self._conditions = self._conditions_at(self.collocation.conditions)
        self.version += 1

    def _read_variables(self) -> None:
        """Find the variables that are read, and watch what the model and the problem hold."""
        problem, tools = self.problem, autodiff()
        self._fields = self._equations.of(problem.fields_read)
        sample = problem.sample(COMPARED, seed=0)
        coordinates = ops.convert_to_tensor(sample.interior.astype(self._dtype))
        check_targets(problem, sample.conditions)
        conditions = self._conditions_at(sample.conditions)

        def everything() -> Any:
            return self.residuals_at(coordinates), conditions(), self.fields(coordinates)

        self._watch = Watch([self.model, problem])
        with self._watch.ignoring():
            read = variables_read(lambda: tools.shapes(everything))
        self.held = others_than(read, [*getattr(self.model, "variables", ()), *conditions.variables])
        check_trainable(self.trainable_variables, f"problem {problem.name!r} or its network")
        self._watch.watch(self.held)

    def _conditions_at(self, points: Sequence[Floats]) -> Conditions:
        return Conditions(self.problem, points, self._dtype, self._equations, self.trained_coefficients)

    def set_points(self, points: CollocationPoints | ArrayLike, *, restored: bool = False) -> None:
        """Take the collocation points: as many others as there were are taken as if these had moved, see `resample`.

        If their number is another, or a scheme forbids moves, weights start anew, or stay nearby where held.

        Args:
            points: `problem.sample(...)`, or the collocation points alone, shape (n, dimension).
            restored: whether their weights are put in place beside; those of other points are left alone then.

        Raises:
            InputError: for points outside the domain, of a wrong shape, or of another problem's conditions.
        """
        before, sizes = self.collocation, self._sizes
        given = self.problem.check_collocation_points(columns_joined(points, self.problem.coordinates))
        is_other_number = self._take(given)
        if restored and not is_other_number:
            return
        signals = self._blank_signals()
        forbidden = any(part.scheme.on_move == "refused" for part in self.weighting.parts)
        places = {} if before is None else places_of_terms(self.problem, given, before, self._sizes, sizes)
        if before is not None and (self.weighting.held or not (is_other_number or forbidden)):
            self.weighting.move(signals, places)
        elif is_other_number or have_moved(places):
            self.weighting.allocate(signals, self._sizes)
        if self.attention.points and is_other_number:
            self.attention.allocate(signals, self._sizes)
        elif self.attention.points:
            self.attention.move(signals, places)

    def resample(self, points: CollocationPoints | ArrayLike) -> None:
        """Go on with other collocation points, any number of them; what is known of a point stays with the point.

        A point that is among the old ones keeps its weight and its state. What becomes of those of new points, each
        scheme says (`on_move` of `phasecore.weighting.WeightingScheme`).

        Args:
            points: `problem.sample(...)`, or the collocation points alone, shape (n, dimension); the conditions' points
                then stay.

        Raises:
            InputError: for a weighting that forbids it, or points outside the domain or of a wrong shape; where there
                are no points yet.
            PluginError: for residuals that are not finite there.
        """
        before, sizes_before = self.collocation, self._sizes
        if before is None:
            raise InputError("moving points", received="no points yet", fix="Set them first: pinn.points(...).")
        given = self._taken(points)
        self._take(given, conditions=not all(map(np.array_equal, given.conditions, before.conditions)))
        places = places_of_terms(self.problem, given, before, self._sizes, sizes_before)
        signals = self._blank_signals()
        self.weighting.move(signals, places)
        if self.attention.points:
            self.attention.move(signals, places)
        assert self.points is not None
        check_residuals_are_finite(self.problem, given, self.residuals_elsewhere(self.points))

    def let_move(self) -> None:
        """Keep the points where what is compiled reads them anew at each step."""
        if self.moving is None:
            assert self.points is not None
            self.moving = keras.Variable(self.points, dtype=self._dtype, trainable=False, autocast=False)
            self.version += 1

    def _take(self, given: CollocationPoints, *, conditions: bool = True) -> bool:
        """Take points, of conditions if they are others, and return whether a term has another number of residuals."""
        self.collocation = given
        self.points = given.interior.astype(self._dtype)
        if conditions:
            taken = self._conditions_at(given.conditions)
            if not self._sizes or not self._conditions.take_over(taken):
                self._conditions, self._condition_sizes = taken, taken.sizes()
                self.version += 1
        sizes = dict.fromkeys(self.problem.equations, len(self.points)) | self._condition_sizes
        changed = sizes != self._sizes
        self._sizes = sizes
        if changed:
            self.version += 1
        if self.moving is not None and tuple(self.moving.shape) == self.points.shape:
            self.moving.assign(self.points)
        elif self.moving is not None:
            self.moving = None
            self.let_move()
        return changed

    def __call__(self, coordinates: Tensor, indices: Tensor | None, *, training: bool) -> Evaluation:
        """Return residuals and losses of a batch, after updating the weights if `training`.

        Args:
            coordinates: of the batch, shape (batch, dimension). The conditions are always used whole.
            indices: which points these are, integers of shape (batch,); None, outside training, for others than the
                collocation points, which are not weighted.
            training: whether weights are updated.
        """
        residuals, coordinates, indices = of_whole_batch(self.residuals_at(coordinates), coordinates, indices)
        conditions = self._conditions()
        if training:
            signals = self.signals(coordinates, residuals, conditions)
            weights = self.weighting.update(signals, indices)
            if self.attention.points:
                self.attention.update(signals, indices)
        else:
            weights = {} if indices is None else self.weighting.current(indices)
        return evaluation_of(residuals, conditions, weights)

    def evaluate(self, points: Tensor) -> Evaluation:
        """Return residuals and losses at all points with the current weights, which stay as they are."""
        return evaluation_of(self.residuals_at(points), self._conditions(), self.weighting.current())

    def residuals_at(self, points: Tensor) -> dict[str, Tensor]:
        """Return the unweighted residual of each equation at points of shape (m, dimension), shape (m,) each."""
        problem = self.trained_coefficients.problem()
        return residuals_of(problem, self._named(points), self._equations(points), namespace)

    def residuals_elsewhere(self, points: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the unweighted residual of each equation at points of your own, as numpy has them, shape (m,) each.

        Evaluated in blocks, aside from the training, which notices nothing of it; compiled once.

        Args:
            points: shape (m, dimension).
        """
        if self._elsewhere is None or self._elsewhere[0] != self.version:
            self._elsewhere = self.version, autodiff().compiled(self.residuals_at, getattr(self.model, "variables", ()))
        evaluate = self._elsewhere[1]
        blocks = np.array_split(points.astype(self._dtype), -(-len(points) // BLOCK))
        parts = [evaluate(ops.convert_to_tensor(block)) for block in blocks]
        return {term: np.concatenate([to_numpy(part[term]) for part in parts]) for term in parts[0]}

    def batch_loss(self, points: Tensor, weights: Products) -> Tensor:
        """Return the equations' part of the loss on a batch of points, with the weights given."""
        return sum(weighted_loss(term, r, weights) for term, r in self.residuals_at(points).items())

    def shared_loss(self, weights: Products) -> Tensor:
        """Return the conditions' part of the loss, the same for every batch, with the weights given, and regularizers'.

        Args:
            weights: those of the equations are not used.
        """
        conditions = self._conditions().items()
        total = sum((weighted_loss(term, residual, weights) for term, residual in conditions), self.penalty())
        return ops.cast(total, self._dtype)

    def penalty(self) -> Tensor:
        """Return the sum of the regularizers of the trained variables, a scalar."""
        return penalty_of(self.model, self.trainable_variables, self._dtype)

    def track_attention(self) -> bool:
        """Keep the paper's residual-based attention beside the weights in use, as a statistic that enters no loss.

        Returns:
            Whether it was not tracked yet, so that a compiled step must be compiled anew.
        """
        if self.attention.points or attention_of(self.weighting.parts) is not None:
            return False
        self.attention.allocate(self._blank_signals(), self._sizes)
        self.version += 1
        return True

    def forget_attention(self) -> None:
        """Track no attention any more."""
        self.attention = IndexedWeighting(rba(), "attention")

    def hold_weighting(self, action: Action) -> None:
        """Hold the weights, averaged or as they are, or release them; the attention goes on as a statistic."""
        self.weighting.hold(action)
        self.changes.held(self.weighting.held)
        if self.weighting.held:
            self._keep_attention(self.weighting)
        self.version += 1

    def change_weighting(self, weighting: registry.Weighting) -> None:
        """Go on with other schemes, which start anew; a statistic of the former attention is kept up.

        Args:
            weighting: as of the loss.

        Raises:
            InputError: as of the loss; the weights are what they were then.
        """
        other = Weighting(checked_schemes(registry.as_schemes(weighting), "keras"))
        other.allocate(self._blank_signals(), self._sizes)
        former, self.weighting = self.weighting, other
        self.changes.changed(weighting if isinstance(weighting, str) else "")
        if attention_of(other.parts) is None:
            self._keep_attention(former)
        self.version += 1

    def _keep_attention(self, weighting: Weighting) -> None:
        if not self.attention.points:
            self.attention = weighting.attention_beside() or self.attention

    def fields(self, points: Tensor) -> dict[str, Tensor]:
        """Return the problem's fields at points of shape (m, dimension), shape (m,) each."""
        problem = self.trained_coefficients.problem()
        return fields_of(problem, self._named(points), self._fields(points), namespace)

    def coefficients(self) -> dict[str, Tensor]:
        """Return the value of each trained coefficient now, a scalar, by name."""
        return {name: ops.stop_gradient(value) for name, value in self.trained_coefficients.values().items()}

    def _attention_state(self) -> RBAState | None:
        return attention_of([self.attention, *self.weighting.parts])

    def _residuals_now(self) -> Mapping[str, NDArray[Any]]:
        return residuals_now(self)

    def signals(self, points: Tensor, residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor]) -> Signals:
        """Return the signals that schemes read, all but the costly ones, as constants.

        Args:
            points: shape (n, dimension).
            residuals: of each equation at these points, shape (n,).
            conditions: residuals of each condition term, shape (m,).
        """
        residuals = {term: ops.stop_gradient(residual) for term, residual in residuals.items()}
        conditions = {term: ops.stop_gradient(residual) for term, residual in conditions.items()}
        domain = ops.convert_to_tensor(self.problem.bounds.astype(self._dtype))
        return signals_of(self.problem, domain, points, residuals, conditions, namespace)

    def _blank_signals(self) -> Signals:
        return blank_signals(self, self._sizes, self._dtype)
