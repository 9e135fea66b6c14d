"""The physics-informed loss of a torch model, with its weighting."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from phasecore import registry
from phasecore.jets.derivatives import COMPARED, Method
from phasecore.losses import ResidualLoss, attention_of, check_schemes
from phasecore.problems import CollocationPoints, Problem
from phasecore.problems.checks import fields_of, residuals_of
from phasecore.signals import (
    CONDITION_RESIDUALS,
    COORDINATES,
    DOMAIN,
    RESIDUALS,
    TANGENT_KERNEL_TRACES,
    TERM_GRADIENTS,
    TERM_LOSSES,
    UNIT_COORDINATES,
    Signals,
    unit_coordinates,
)
from phasecore.weighting import WeightingScheme
from phasecore.weighting.composition import Products
from phasecore.weighting.rba import RBAState, rba
from phasecore_torch.batches import BatchedResiduals
from phasecore_torch.blocks import Blocks, is_stackable
from phasecore_torch.checks import residuals_now
from phasecore_torch.conditions import Conditions
from phasecore_torch.derivatives import Model, Parameters, PartialDerivatives
from phasecore_torch.device import placement
from phasecore_torch.distribution import warn_of_processes
from phasecore_torch.evaluation import Evaluation, Losses
from phasecore_torch.movements import evaluates_again
from phasecore_torch.namespace import namespace
from phasecore_torch.points import Points, coordinates_given
from phasecore_torch.tangents import Tangents
from phasecore_torch.undisturbed import undisturbed
from phasecore_torch.weighting import Weighting, check_indices, weighted_loss, with_or_without_attention

Floats = NDArray[np.float64]

UPDATES_BETWEEN_CHECKS = 100
"""How often the values of weights are looked at."""


@final
class PhysicsLoss(ResidualLoss, nn.Module):
    """The loss of a physics-informed network: the mean squared weighted residual of every term, summed.

    Each call updates the weights (unless `eval()` was called), evaluates the loss, and keeps it per term in `losses`.
    Within a step of an optimizer that evaluates its closure several times, as L-BFGS does, the first evaluation alone
    updates them, so that a line search follows one function. `weighting.held = True` updates them no more.
    The model stays yours: it is not registered as a submodule, so that `state_dict` holds the weighting's state alone
    and `parameters()` is empty.

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
        warn_of_processes("PhysicsLoss")
        self.problem = problem
        problem.check_terms()
        held = coordinates_given(points, problem.coordinates)
        self.collocation = given = problem.check_collocation_points(
            held.detach().cpu().numpy() if isinstance(held, Tensor) else held
        )
        dtype, device = placement(model, held)
        self.register_buffer("points", torch.as_tensor(given.interior, dtype=dtype, device=device), persistent=False)
        self._equations = PartialDerivatives(
            model,
            problem.outputs,
            problem.coordinates,
            problem.all_partials(),
            self.points,
            derivatives,
            lambda: problem.parameters,
        )
        self._fields = self._equations.of(problem.fields_read)
        with undisturbed(self.model, problem):
            self.is_stackable = self.method == "jets" and is_stackable(
                self.residuals_at, self.model, self.points[:COMPARED]
            )
        if compiled and self.method != "jets":
            warnings.warn(
                "torch.compile does not go through nested autodiff; residuals are evaluated without it.", stacklevel=2
            )
            compiled = False
        self.blocks = Blocks(
            self.residuals_at,
            self.model,
            block,
            compiled=compiled,
            stackable=self.is_stackable,
            recompute=recompute,
            stateful=[problem],
        )
        self._batched: Callable[[], BatchedResiduals | None] | None = None
        self._conditions = Conditions(problem, given.conditions, (dtype, device), self._equations)
        self._tangents = Tangents(self._equations.model, self.residuals, self._conditions)
        schemes = self._schemes_of(weighting)
        self.check_residuals()
        self._sizes = dict.fromkeys(problem.equations, len(self.points)) | self._conditions.sizes()
        self.register_buffer("_domain", torch.as_tensor(problem.bounds, dtype=dtype, device=device), persistent=False)
        some = {name: self._domain.new_zeros(2) for name in problem.fields_read}
        self.field_names = tuple(fields_of(problem, self._named(self._domain), some, namespace))
        self.weighting = Weighting(schemes, self._blank_signals(), self._sizes)
        self.attention: Weighting | None = None
        self.updates = 0
        self.register_load_state_dict_pre_hook(with_or_without_attention)  # type: ignore[no-untyped-call]
        self.losses = Losses({}, {})

    def forward(self, indices: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            indices: which collocation points to use, integers of shape (batch,); None for all. The conditions are
                always used whole.

        Raises:
            InputError: for indices of another type or shape.
        """
        check_indices(indices)
        conditions = self._conditions()
        through_batches = indices is None and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        batched = self._batched() if through_batches and self._batched is not None else None
        residuals = self.residuals(indices) if batched is None else batched(self.points)
        if self.training and not evaluates_again():
            self._update_weights(residuals, conditions, indices)
        evaluation = self._evaluation(residuals, conditions, self.weighting.current(indices))
        self.losses = Losses(
            {term: loss.detach() for term, loss in evaluation.unweighted.items()},
            {term: loss.detach() for term, loss in evaluation.weighted.items()},
        )
        loss = torch.stack(list(evaluation.weighted.values())).sum()
        if batched is not None:
            batched.watch(loss)
        return loss

    def evaluate(self) -> Evaluation:
        """Return residuals and losses at all points with the current weights, which stay as they are."""
        return self._evaluation(self.residuals(), self._conditions(), self.weighting.current())

    def residuals(self, indices: Tensor | None = None) -> dict[str, Tensor]:
        """Return the unweighted residual of each equation at the collocation points, shape (batch,) each."""
        return self.blocks(self.points if indices is None else self.points[indices])

    def batch_loss(self, points: Tensor, weights: Products) -> Tensor:
        """Return the equations' part of the loss on a batch of points, with the weights given.

        Args:
            points: shape (batch, dimension).
            weights: of these points, such as `weighting.current(indices)`.
        """
        return torch.stack([weighted_loss(term, r, weights) for term, r in self.blocks(points).items()]).sum()

    def evaluate_through(self, batched: Callable[[], BatchedResiduals | None] | None) -> None:
        """Let the following calls at all points take their residuals from what `batched` returns, if it returns any.

        None: from `blocks`, as usual.
        """
        self._batched = batched

    def shared_loss(self, weights: Products) -> Tensor:
        """Return the conditions' part of the loss, the same for every batch, with the weights given.

        Args:
            weights: those of the equations are not used.
        """
        losses = [weighted_loss(term, residual, weights) for term, residual in self._conditions().items()]
        return torch.stack(losses).sum() if losses else torch.zeros_like(self.points[0, 0])

    def track_attention(self) -> None:
        """Keep the paper's residual-based attention beside the weights in use, as a statistic that enters no loss."""
        if self.attention is None and attention_of(self.weighting.parts) is None:
            schemes = {"rba": rba()}
            self.attention = Weighting(schemes, self._blank_signals(), self._sizes)

    def change_weighting(self, weighting: registry.Weighting) -> None:
        """Go on with other schemes, which start anew; a statistic of the former attention is kept up.

        Args:
            weighting: as of the loss.

        Raises:
            InputError: as of the loss; the weights are what they were then.
        """
        schemes = self._schemes_of(weighting)
        former = self.weighting
        self.weighting = Weighting(schemes, self._blank_signals(), self._sizes)
        if self.attention is None and attention_of(self.weighting.parts) is None:
            known = {part.scheme_name: part.scheme for part in former.parts if attention_of([part]) is not None}
            if known:
                self.attention = Weighting(known, self._blank_signals(), self._sizes)
                self.attention.load_state_dict(former.state_dict(), strict=False)

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
            indices: which collocation points to use, integers of shape (batch,); None for all.
            weighted: with the current weights of points; those of whole terms are left out.
        """
        factors = self.weighting.point_factors(indices) if weighted else {}
        return self._tangents.tangent_kernel_traces(self._every(indices), factors)

    def fields(self, points: Tensor, block: int = 16_384) -> dict[str, Tensor]:
        """Return the problem's fields at `points`, shape (m,) each, evaluated in blocks without gradient."""
        with torch.no_grad():
            blocks = torch.split(points, block)
            parts = [fields_of(self.problem, self._named(part), self._fields(part), namespace) for part in blocks]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def residuals_at(self, points: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        """Return the unweighted residual of each equation at points of your own, shape (m,) each, in one evaluation.

        Args:
            points: shape (m, dimension).
            parameters: used in place of the model's own, by name, as by `torch.func.functional_call`.
        """
        return residuals_of(self.problem, self._named(points), self._equations(points, parameters), namespace)

    def _evaluation(
        self, residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor], weights: Products
    ) -> Evaluation:
        every = {**residuals, **conditions}
        return Evaluation(
            residuals,
            conditions,
            {term: residual.square().mean() for term, residual in every.items()},
            {term: weighted_loss(term, residual, weights) for term, residual in every.items()},
        )

    def _update_weights(
        self, residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor], indices: Tensor | None
    ) -> None:
        points = self.points if indices is None else self.points[indices]
        signals = self.signals(points, residuals, conditions)
        further = functools.partial(self._with_gradients, indices)
        if not self.weighting.held:
            self.weighting.update(signals, indices, further)
        if self.attention is not None:
            self.attention.update(signals, indices)
        if torch.compiler.is_compiling():
            return
        self.updates += 1
        if self.updates == 1 or self.updates % UPDATES_BETWEEN_CHECKS == 0:
            self.check_weights(self.updates)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _with_gradients(self, indices: Tensor | None, signals: Signals, required: frozenset[str]) -> Signals:
        values = dict(signals.values)
        if TERM_GRADIENTS in required:
            values[TERM_GRADIENTS] = self.term_gradients(indices, weighted=True)
        if TANGENT_KERNEL_TRACES in required:
            values[TANGENT_KERNEL_TRACES] = self.tangent_kernel_traces(indices, weighted=True)
        return Signals(values, namespace)

    def _schemes_of(self, weighting: registry.Weighting) -> dict[str, WeightingScheme]:
        schemes = registry.as_schemes(weighting)
        check_schemes(schemes, "torch")
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
        residuals = {term: residual.detach() for term, residual in residuals.items()}
        conditions = {term: residual.detach() for term, residual in conditions.items()}
        values: dict[str, Any] = {
            RESIDUALS: residuals,
            CONDITION_RESIDUALS: conditions,
            TERM_LOSSES: {term: r.square().mean() for term, r in {**residuals, **conditions}.items()},
            COORDINATES: points,
            DOMAIN: self._domain,
        }
        if UNIT_COORDINATES in self._required:
            values[UNIT_COORDINATES] = unit_coordinates(points, self._domain, self.problem.coordinates)
        return Signals(values, namespace)

    def _blank_signals(self) -> Signals:
        blank = {term: self.points.new_zeros(size) for term, size in self._sizes.items()}
        equations = {term: blank[term] for term in self.problem.equations}
        conditions = {term: zeros for term, zeros in blank.items() if term not in equations}
        signals = self.signals(self.points, equations, conditions)
        values = dict(signals.values)
        if TERM_GRADIENTS in self._required:
            some = torch.arange(1, device=self.points.device)
            gradients = self.term_gradients(some).items()
            values[TERM_GRADIENTS] = {t: {name: torch.zeros_like(g) for name, g in own.items()} for t, own in gradients}
        if TANGENT_KERNEL_TRACES in self._required:
            values[TANGENT_KERNEL_TRACES] = {term: zeros.sum() for term, zeros in blank.items()}
        return Signals(values, namespace)
