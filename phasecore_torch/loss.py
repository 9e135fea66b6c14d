"""The physics-informed loss of a torch model, with its weighting."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from phasecore import registry
from phasecore.jets.derivatives import COMPARED, Method
from phasecore.losses import UPDATES_BETWEEN_CHECKS, ResidualLoss, attention_of, checked_schemes, signals_of
from phasecore.policies.actions import Action
from phasecore.problems import CollocationPoints, Problem
from phasecore.problems.checks import check_problem_given, fields_of, residuals_of
from phasecore.sampling.places import places_of_terms
from phasecore.signals import UNIT_COORDINATES, Signals
from phasecore.weighting import WeightingScheme
from phasecore.weighting.changes import Changes
from phasecore.weighting.composition import Products
from phasecore.weighting.rba import RBAState, rba
from phasecore_torch.arrays import as_numpy, lasting
from phasecore_torch.batches import BatchedResiduals
from phasecore_torch.blocks import Blocks, is_stackable
from phasecore_torch.checks import residuals_now
from phasecore_torch.coefficients import Coefficients
from phasecore_torch.compiling import is_compilable
from phasecore_torch.conditions import Conditions
from phasecore_torch.derivatives import Model, Parameters, PartialDerivatives
from phasecore_torch.device import placement, points_in_cache
from phasecore_torch.evaluation import Evaluation, Losses, evaluation_of
from phasecore_torch.layout import Layout, layout_of_loss
from phasecore_torch.movements import evaluates_again
from phasecore_torch.namespace import namespace
from phasecore_torch.own_buffers import spare_own_buffers
from phasecore_torch.points import Points, coordinates_given
from phasecore_torch.processes import check_whole, processes
from phasecore_torch.same_points import watch_states
from phasecore_torch.tangents import Tangents
from phasecore_torch.term_signals import with_blank_gradients, with_gradients
from phasecore_torch.undisturbed import undisturbed
from phasecore_torch.weighting import Weighting, check_indices, weighted_loss


@final
class PhysicsLoss(ResidualLoss, nn.Module):
    """The loss of a physics-informed network: the mean squared weighted residual of every term, summed.

    Each call updates the weights (unless `eval()` was called), evaluates the loss, and keeps it per term in `losses`.
    Within a step of an optimizer that evaluates its closure several times, as L-BFGS does, the first evaluation alone
    updates them, so that a line search follows one function. `weighting.held = True` updates them no more.
    The model stays yours: it is not registered as a submodule, so that `state_dict` holds the weighting's state and the
    trained coefficients of the problem (`phasecore.trained`), and `parameters()` is what these are trained by, if any.

    Args:
        problem: see `phasecore.problem`.
        model: maps points (n, dimension) to outputs (n, number of outputs); any module or callable.
        points: `problem.sample(...)`, or the collocation points alone, shape (n, dimension), or columns by name, or a
            data set or loader of these; the conditions' points are then sampled with seed 0.
        weighting: a scheme, or a specification such as "uniform", "rba", "rba:gamma=0.99" or "rba+grad_norm"; or
            several of these, whose weights are multiplied.
        derivatives: "auto", or "jets" or "autodiff" to insist.
        compiled: compile the residuals with `torch.compile`: about twice as fast on a CPU, after some seconds at the
            first call (see `blocks.compile_seconds`). Derivatives by nested autodiff are not compiled.
        block: number of points that are evaluated at once; by default what suits the cache on a CPU, all elsewhere.
        recompute: keep no activations for the backward pass, which evaluates each block again: a step of a large
            network takes up to a fifth longer, and its memory no longer grows with the number of points. Captures
            within the backward pass keep them.

    Raises:
        InputError: for points outside the domain or of a wrong shape, a model that does not fit the problem, or a
            scheme that needs a signal that this backend does not supply.

    Example:
        >>> import phasecore, torch
        >>> problem = phasecore.problem("helmholtz")
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> loss_fn = PhysicsLoss(problem, model, problem.sample(100, seed=0), weighting="rba")
        >>> loss = loss_fn()
        >>> sorted(loss_fn.losses.unweighted), sorted(loss_fn.state_dict())[0]
        (['boundary', 'pde'], 'weighting.rba.state_visited_pde')
    """

    points: Tensor
    collocation: CollocationPoints
    weighting: Weighting
    _domain: Tensor

    def __init__(
        self,
        problem: Problem,
        model: Model,
        points: CollocationPoints | ArrayLike | Points,
        *,
        weighting: registry.Weighting = "uniform",
        derivatives: Method = "auto",
        compiled: bool = False,
        block: int | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        check_problem_given(problem, model)
        check_whole(model)
        spare_own_buffers(PhysicsLoss)
        self.problem = problem
        held = coordinates_given(points, problem.coordinates)
        self.collocation = given = problem.check_collocation_points(
            held.detach().cpu().numpy() if isinstance(held, Tensor) else held
        )
        dtype, device = placement(model, held)
        self.register_buffer("points", torch.tensor(given.interior, dtype=dtype, device=device), persistent=False)
        self.trained_coefficients = Coefficients(problem, (dtype, device))
        self._equations = PartialDerivatives(
            model, problem.outputs, problem.coordinates, problem.all_partials(), self.points, derivatives,
            self.trained_coefficients.parameters_of_problem,
        )  # fmt: skip
        self._fields = self._equations.of(problem.fields_read)
        with undisturbed(self.model, problem):
            some = self.points[:COMPARED]
            self.is_stackable = self.method == "jets" and is_stackable(self.residuals_at, self.model, some)
        self.blocks = Blocks(
            self.residuals_at, self.model, block, compiled=compiled and is_compilable(self.method),
            stackable=self.is_stackable, recompute=recompute, stateful=[problem],
        )  # fmt: skip
        self._batched: Callable[[], BatchedResiduals | None] | None = None
        self._take_conditions(given.conditions)
        schemes = self._schemes_of(weighting)
        self.check_residuals()
        self._sizes = dict.fromkeys(problem.equations, len(self.points)) | self._conditions.sizes()
        self._layout: Layout | None = None
        self.register_buffer("_domain", torch.as_tensor(problem.bounds, dtype=dtype, device=device), persistent=False)
        zeros = dict.fromkeys(problem.fields_read, self._domain.new_zeros(2))
        at = self._named(self._domain)
        self.field_names = tuple(fields_of(self.trained_coefficients.problem(), at, zeros, namespace))
        self.weighting = Weighting(schemes, self._blank_signals(), self._sizes)
        self.attention: Weighting | None = None
        self.changes = Changes()
        self.updates = 0
        watch_states(self)
        self.losses = Losses({}, {})

    def forward(self, indices: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            indices: which collocation points to use, integers of shape (batch,); None for all. The conditions are
                always used whole.

        Raises:
            InputError: for indices of another type or shape.
        """
        check_indices(indices, len(self.points))
        conditions = self._conditions()
        through_batches = indices is None and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        batched = self._batched() if through_batches and self._batched is not None else None
        residuals = self.residuals(indices) if batched is None else batched(self.points)
        if self.training and not evaluates_again():
            self._update_weights(residuals, conditions, indices)
        evaluation = evaluation_of(residuals, conditions, self.weighting.current(indices))
        evaluation = self.layout.shared(evaluation, indices)
        self.losses = Losses.of(evaluation)
        loss = torch.stack(list(evaluation.weighted.values())).sum()
        if batched is not None:
            batched.watch(loss)
        return loss

    def evaluate(self) -> Evaluation:
        """Return residuals and losses at all points with the current weights, which stay as they are."""
        return self.layout.shared(evaluation_of(self.residuals(), self._conditions(), self.weighting.current()))

    def residuals(self, indices: Tensor | None = None) -> dict[str, Tensor]:
        """Return the unweighted residual of each equation at the collocation points, shape (batch,) each."""
        return self.blocks(self.points if indices is None else self.points[indices])

    def _uncompiled(self, indices: Tensor) -> dict[str, Tensor]:
        return self.blocks.uncompiled(self.points[indices])

    def batch_loss(self, points: Tensor, weights: Products) -> Tensor:
        """Return the equations' part of the loss on a batch of points, with the weights given.

        Args:
            points: shape (batch, dimension).
            weights: of these points, such as `weighting.current(indices)`.
        """
        return torch.stack([weighted_loss(term, r, weights) for term, r in self.blocks(points).items()]).sum()

    def evaluate_through(self, batched: Callable[[], BatchedResiduals | None] | None) -> None:
        """Let the next calls at all points take residuals from what `batched` returns, if any, else from `blocks`."""
        self._batched = batched

    def shared_loss(self, weights: Products) -> Tensor:
        """Return the conditions' part of the loss, the same for every batch, with the weights given.

        Args:
            weights: those of the equations are not used.
        """
        losses = self.layout.shared(evaluation_of({}, self._conditions(), weights)).weighted
        return torch.stack(list(losses.values())).sum() if losses else torch.zeros_like(self.points[0, 0])

    def resample(self, points: CollocationPoints | ArrayLike | Points) -> None:
        """Go on with other collocation points, any number of them; what is known of a point stays with the point.

        A point that is among the old ones keeps its weight and its state; those of new points come from the nearest old
        one, or begin anew, as the scheme says (`on_move` of `phasecore.weighting.WeightingScheme`). Indices are those
        of the new points from now on. Give them in random order: the batches of the SNR are contiguous blocks.

        Args:
            points: as when the loss was made; of the collocation points alone, the conditions' points stay.

        Raises:
            InputError: for a weighting that forbids it, or points outside the domain or of a wrong shape.
            PluginError: for residuals that are not finite there.

        Example:
            >>> import phasecore
            >>> problem = phasecore.problem("helmholtz")
            >>> loss_fn = PhysicsLoss(problem, torch.nn.Linear(2, 1), problem.sample(100), weighting="rba")
            >>> loss_fn.resample(problem.sample(150, seed=1))
            >>> loss_fn.points.shape, loss_fn.point_weights()["pde"].shape
            (torch.Size([150, 2]), torch.Size([150]))
        """
        held = coordinates_given(points, self.problem.coordinates)
        before, sizes_before = self.collocation, self._sizes
        given = self._taken(held.detach().cpu().numpy() if isinstance(held, Tensor) else held)
        self.collocation = given
        self.points = torch.tensor(given.interior, dtype=self.points.dtype, device=self.points.device)
        if not all(map(np.array_equal, given.conditions, before.conditions)):
            self._take_conditions(given.conditions)
        self._sizes = dict.fromkeys(self.problem.equations, len(self.points)) | self._conditions.sizes()
        self._layout = None
        places = places_of_terms(self.problem, given, before, self._sizes, sizes_before)
        signals = self._blank_signals()
        for kept in (self.weighting, self.attention):
            if kept is not None:
                kept.move(signals, places)
        self.check_residuals()

    def _take_conditions(self, points: Sequence[NDArray[Any]]) -> None:
        placed = self.points.dtype, self.points.device
        self._conditions = Conditions(self.problem, points, placed, self._equations, self.trained_coefficients)
        self._tangents = Tangents(self._equations.model, self._uncompiled, self._conditions)

    def track_attention(self) -> None:
        """Keep the paper's residual-based attention beside the weights in use, as a statistic that enters no loss."""
        if self.attention is None and attention_of(self.weighting.parts) is None:
            self.attention = Weighting({"rba": rba()}, self._blank_signals(), self._sizes)

    @property
    def layout(self) -> Layout:
        """How the points lie in the processes of the training, all of which ask for it at the same place."""
        if self._layout is None or self._layout.processes != processes():
            self._layout = layout_of_loss(self, self._sizes)
        return self._layout

    def coefficients(self) -> dict[str, Tensor]:
        """Return the value of each trained coefficient now, a scalar, by name."""
        with torch.no_grad():
            return {name: value.clone() for name, value in self.trained_coefficients.values().items()}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return all that is to be trained as an optimizer takes it: the model, and the coefficients with their rates.

        Example:
            >>> import phasecore
            >>> problem = phasecore.problem("burgers", viscosity=phasecore.trained(0.1, learning_rate=1e-2))
            >>> model = torch.nn.Linear(2, 1)
            >>> loss_fn = PhysicsLoss(problem, model, problem.sample(100, seed=0))
            >>> optimizer = torch.optim.Adam(loss_fn.parameter_groups(), lr=1e-3)
            >>> [(len(group["params"]), group["lr"]) for group in optimizer.param_groups]
            [(2, 0.001), (1, 0.01)]
        """
        model = self.model
        groups: list[dict[str, Any]] = [{"params": list(model.parameters())}] if isinstance(model, nn.Module) else []
        return [*groups, *self.trained_coefficients.parameter_groups()]

    def change_weighting(self, weighting: registry.Weighting) -> None:
        """Go on with other schemes, which start anew; a statistic of the former attention is kept up.

        Args:
            weighting: as of the loss.

        Raises:
            InputError: as of the loss; the weights are what they were then.
        """
        schemes = self._schemes_of(weighting)
        former, self.weighting = self.weighting, Weighting(schemes, self._blank_signals(), self._sizes)
        self.changes.changed(weighting if isinstance(weighting, str) else "")
        if self.attention is None and attention_of(self.weighting.parts) is None:
            self.attention = former.attention_beside()

    def hold_weighting(self, action: Action) -> None:
        """Hold the weights, averaged or as they are, or release them; the attention goes on as a statistic."""
        self.weighting.hold(action)
        self.changes.held(self.weighting.held)
        if self.weighting.held and self.attention is None:
            self.attention = self.weighting.attention_beside()

    def term_gradients(self, indices: Tensor | None = None, *, weighted: bool = False) -> dict[str, dict[str, Tensor]]:
        """Return the gradient of each term's mean squared residual, {term: {parameter: of the parameter's shape}}.

        Args:
            indices: which collocation points to use, integers of shape (batch,); None for all.
            weighted: with the current weights of points; those of whole terms are left out.
        """
        factors = self.weighting.point_factors(indices) if weighted else {}
        return self._tangents.term_gradients(self._every(indices), factors)

    def tangent_kernel_traces(self, indices: Tensor | None = None, *, weighted: bool = False) -> dict[str, Tensor]:
        """Return the trace of each term's neural tangent kernel, a scalar, exactly: for each point a backward pass.

        Args:
            indices: see `term_gradients`.
            weighted: likewise.
        """
        factors = self.weighting.point_factors(indices) if weighted else {}
        return self._tangents.tangent_kernel_traces(self._every(indices), factors)

    def fields(self, points: Tensor, block: int = 16_384) -> dict[str, Tensor]:
        """Return the problem's fields at `points`, shape (m,) each, evaluated in blocks without gradient."""
        with torch.no_grad():
            blocks, problem = torch.split(points, block), self.trained_coefficients.problem()
            parts = [fields_of(problem, self._named(part), self._fields(part), namespace) for part in blocks]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def residuals_at(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        """Return the unweighted residual of each equation at points of your own, shape (m,) each, in one evaluation.

        Args:
            points: shape (m, dimension).
            parameters: used in place of the model's own, by name, as by `torch.func.functional_call`.
        """
        problem = self.trained_coefficients.problem()
        return residuals_of(problem, self._named(points), self._equations(points, parameters), namespace)

    def residuals_elsewhere(self, points: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the unweighted residual of each equation at points of your own, as numpy has them, shape (m,) each.

        Evaluated in blocks, aside from the training, which notices nothing of it.
        """
        placed = torch.as_tensor(points.copy(), dtype=self.points.dtype, device=self.points.device)
        size = points_in_cache(placed, self.blocks.width)
        with undisturbed(self.model, self.problem), torch.inference_mode(False), torch.no_grad():
            parts = [self.residuals_at(part) for part in torch.split(placed, size)]
        return {term: as_numpy(torch.cat([part[term] for part in parts])) for term in parts[0]}

    def _update_weights(
        self, residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor], indices: Tensor | None
    ) -> None:
        of_batch, (indices, residuals) = indices, self.layout.of_all_batches(indices, residuals)
        points = self.points if indices is None else self.points[indices]
        signals = self.signals(points, residuals, conditions)
        if not self.weighting.held:
            self.weighting.update(signals, indices, functools.partial(with_gradients, self, of_batch))
        if self.attention is not None:
            self.attention.update(signals, indices)
        if torch.compiler.is_compiling():
            return
        self.updates += 1
        if self.updates == 1 or self.updates % UPDATES_BETWEEN_CHECKS == 0:
            self.check_weights(self.updates)
            self.trained_coefficients.warn_of_forgotten(self.model)

    def _schemes_of(self, weighting: registry.Weighting) -> dict[str, WeightingScheme]:
        schemes = checked_schemes(registry.as_schemes(weighting), "torch")
        self.specification = weighting if isinstance(weighting, str) else "+".join(schemes)
        self._required = frozenset().union(*(scheme.requires for scheme in schemes.values()))
        return schemes

    def _every(self, indices: Tensor | None) -> Tensor:
        return torch.arange(len(self.points), device=self.points.device) if indices is None else indices

    def _attention_state(self) -> RBAState | None:
        return attention_of((self.weighting if self.attention is None else self.attention).parts)

    def _residuals_now(self) -> Mapping[str, NDArray[Any]]:
        return residuals_now(self)

    def signals(self, points: Tensor, residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor]) -> Signals:
        """Return the signals that schemes read, all but the costly ones, as constants.

        Args:
            points: shape (n, dimension).
            residuals: of each equation at these points, shape (n,).
            conditions: residuals of each condition term, shape (m,).
        """
        residuals, conditions = ({t: lasting(r.detach()) for t, r in own.items()} for own in (residuals, conditions))
        read = self.problem, lasting(self._domain), lasting(points), residuals, conditions, namespace
        reduce = None if self._layout is None else self._layout.reduction()
        return signals_of(*read, unit=UNIT_COORDINATES in self._required, reduce=reduce)

    def _blank_signals(self) -> Signals:
        blank = {term: self.points.new_zeros(size) for term, size in self._sizes.items()}
        equations = {term: blank[term] for term in self.problem.equations}
        conditions = {term: zeros for term, zeros in blank.items() if term not in equations}
        return with_blank_gradients(self, self.signals(self.points, equations, conditions), self._required)
