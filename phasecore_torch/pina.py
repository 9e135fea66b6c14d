"""PINA (pina-mathlab): weighting schemes for its solvers' conditions, and the loss whose gradients tell the phases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from phasecore import registry
from phasecore.errors import InputError, MissingDependencyError
from phasecore.signals import RESIDUALS, TERM_GRADIENTS, TERM_LOSSES, Signals, check_requirements
from phasecore_torch.gradients import filled, gradients
from phasecore_torch.lightning import LossFinder
from phasecore_torch.movements import evaluates_again
from phasecore_torch.namespace import namespace
from phasecore_torch.sources import BatchLoss
from phasecore_torch.weighting import Weighting

try:
    from pina import Trainer
    from pina.solver import BaseSolver, PhysicsInformedSingleModelSolver, RBAPhysicsInformedSingleModelSolver
    from pina.weighting import BaseWeighting
except ImportError as error:
    raise MissingDependencyError(
        "phasecore_torch.pina needs the package 'pina-mathlab', 0.3 or newer",
        received=str(error),
        fix="Install with: pip install 'pina-mathlab>=0.3'",
    ) from error

SUPPLIES = frozenset({TERM_LOSSES, TERM_GRADIENTS})
"""Signals that a weighting scheme can require of PINA, which hands over the loss of each condition and nothing else."""


@final
class TermWeighting(BaseWeighting):  # type: ignore[misc, unused-ignore]
    """Runs phasecore's weighting schemes on the conditions of a PINA solver, one weight for each condition.

    The state of the schemes is a part of the solver, so that checkpoints carry it. Weights are updated in training
    alone, in every batch or as the scheme's `every` says; validation uses them as they are.

    Args:
        weighting: a scheme that needs no more than the losses of terms or their gradients, or a specification such as
            "relobralo", "soft_adapt:beta=0.5" or "grad_norm:every=10"; or several of these, whose weights are
            multiplied.
        aggregator: "sum", "mean" or a callable that makes one scalar of the weighted losses, as PINA has it.

    Raises:
        InputError: for a scheme that weights points, such as rba: PINA shows a weighting the conditions' losses alone.
        PluginError: in training, for weights that are not finite, or negative where they multiply squares.

    Example:
        >>> import torch
        >>> from pina.model import FeedForward
        >>> from pina.problem.zoo import Poisson2DSquareProblem
        >>> from pina.solver import PhysicsInformedSingleModelSolver
        >>> problem, network = Poisson2DSquareProblem(), FeedForward(input_dimensions=2, output_dimensions=1)
        >>> problem.discretise_domain(50)
        >>> solver = PhysicsInformedSingleModelSolver(problem, network, weighting=TermWeighting("grad_norm:every=10"))
        >>> sorted(name for name in solver.state_dict() if "state" in name)[0]
        'phasecore_weighting.grad_norm.state_weights_D'
    """

    def __init__(self, weighting: registry.Weighting, aggregator: str | Callable[[Tensor], Tensor] = "sum") -> None:
        self._schemes = registry.as_schemes(weighting)
        for name, scheme in self._schemes.items():
            check_requirements(
                f"weighting {name!r}",
                scheme.requires,
                "pina",
                SUPPLIES,
                fix="PINA hands a weighting the loss of each condition, nothing of its points. Use fixed, soft_adapt, "
                "relobralo or grad_norm; for attention to points PINA has RBAPhysicsInformedSingleModelSolver.",
            )
        self._weighting: Weighting | None = None
        super().__init__(update_every_n_epochs=1, aggregator=aggregator)

    @property
    def _solver(self) -> BaseSolver | None:
        return self._attached

    @_solver.setter
    def _solver(self, solver: BaseSolver | None) -> None:
        """Hear which solver this is the weighting of: PINA sets the attribute once its models are there."""
        self._attached = solver
        if solver is None:
            return
        terms = dict.fromkeys(solver.problem.conditions, 1)
        zeros = {name: torch.zeros_like(parameter) for name, parameter in _parameters(solver).items()}
        zero = next(iter(zeros.values())).new_zeros(())
        blank = _signals(dict.fromkeys(terms, zero), dict.fromkeys(terms, zeros))
        self._weighting = Weighting(self._schemes, blank, terms)
        solver.add_module("phasecore_weighting", self._weighting)

    def update_weights(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weight of each condition, a scalar, from the conditions' losses in this batch, scalars."""
        weighting = self._weighting
        assert weighting is not None
        if self.solver.training and not evaluates_again():
            gradients = {}
            if TERM_GRADIENTS in weighting.required():
                parameters = _parameters(self.solver)
                gradients = {term: _gradients(loss, parameters) for term, loss in losses.items()}
            plain = {term: loss.detach().as_subclass(Tensor) for term, loss in losses.items()}
            weighting.update(_signals(plain, gradients), None)
            weighting.check(self.solver.trainer.global_step + 1)
        return {term: _weight(weighting, term, loss) for term, loss in losses.items()}


@final
class SolverLoss(LossFinder):
    """The loss of a PINA solver, for `phasecore_torch.lightning.PhaseCallback`.

    The loss of a batch is that of the equations on the batch of their points, plus that of all other conditions on all
    of their points, each with its weight: the points that the solver trains with, those of the split "train".

    Args:
        equations: name of the condition whose points are cut into batches, such as "D" in PINA's own problems; or
            names, of conditions with equally many points.

    Raises:
        InputError: when training starts, for a name that no condition has, a loss that is no mean, and solvers other
            than `PhysicsInformedSingleModelSolver` and, without mini-batches, `RBAPhysicsInformedSingleModelSolver`.

    Example:
        >>> from phasecore_torch.lightning import PhaseCallback
        >>> phases = PhaseCallback(SolverLoss("D"), every=10)
    """

    def __init__(self, equations: str | Sequence[str]) -> None:
        self.equations = (equations,) if isinstance(equations, str) else tuple(equations)

    def find(self, trainer: Trainer, module: BaseSolver) -> tuple[BatchLoss, tuple[Tensor, ...]]:
        """Return the loss of a batch, and the numbers of the equations' points, integers of shape (n,) each."""
        _check_solver(trainer, module)
        data = {name: subset.get_all_data().to_batch() for name, subset in trainer.data_module.train_datasets.items()}
        unknown = sorted(set(self.equations) - set(data))
        if unknown or not self.equations:
            raise InputError(
                "SolverLoss, argument 'equations'",
                received=", ".join(map(repr, unknown)) or "no name",
                expected=f"names of conditions with points to train with: {', '.join(data)}",
            )
        data = {name: dict(batch.to(module.device)) for name, batch in data.items()}
        every = {name: torch.arange(len(batch["input"]), device=module.device) for name, batch in data.items()}

        @torch.enable_grad()  # the equations' derivatives are taken by autograd
        def loss(*rows: Tensor) -> Tensor:
            chosen = every | dict(zip(self.equations, rows, strict=True))
            weights = module.weighting.last_saved_weights()
            losses = [
                weights.get(name, 1.0) * _condition_loss(module, name, batch, chosen[name])
                for name, batch in data.items()
            ]
            aggregated: Tensor = module.weighting.aggregator_fn(torch.stack(losses))
            return aggregated

        return loss, tuple(every[name] for name in self.equations)


def _condition_loss(solver: BaseSolver, name: str, data: Mapping[str, Any], rows: Tensor) -> Tensor:
    """The mean loss of a condition at some of its points, as the solver computes it, a scalar."""
    residual = solver.problem.conditions[name].evaluate({key: value[rows] for key, value in data.items()}, solver)
    losses: Tensor = solver.loss(residual, torch.zeros_like(residual)).as_subclass(Tensor)
    if isinstance(solver, RBAPhysicsInformedSingleModelSolver) and name in solver.weight_buffers:
        losses = losses * getattr(solver, solver.weight_buffers[name])[rows]
    return losses.mean()


def _check_solver(trainer: Trainer, solver: BaseSolver) -> None:
    known = isinstance(solver, PhysicsInformedSingleModelSolver | RBAPhysicsInformedSingleModelSolver)
    attentive = isinstance(solver, RBAPhysicsInformedSingleModelSolver)
    if not known or (attentive and trainer.batch_size is not None):
        raise InputError(
            "SolverLoss",
            received=f"a {type(solver).__name__}" + (f" with batch_size={trainer.batch_size}" if known else ""),
            expected="a PhysicsInformedSingleModelSolver, or an RBAPhysicsInformedSingleModelSolver without batch_size",
            fix="Of other losses it is not known what a part of the points contributes, and the attention of PINA's "
            "solver belongs to places in a batch, not to points. A loss of your own: PhaseCallback(loss, points=...).",
        )
    reduction = getattr(solver, "_reduction", "mean")
    if reduction != "mean":
        raise InputError("SolverLoss", received=f"a loss with reduction={reduction!r}", expected="a mean over points")


def _parameters(solver: BaseSolver) -> dict[str, Tensor]:
    """All that is trained, by name: the models' parameters, and what an inverse problem does not know."""
    unknown = getattr(solver.problem, "unknown_parameters", {})
    named = {**dict(solver.named_parameters()), **unknown}
    return {name: parameter for name, parameter in named.items() if parameter.requires_grad}


def _gradients(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = filled(gradients(loss, parameters.values(), retain_graph=True), parameters.values())
    return {name: gradient.as_subclass(Tensor) for name, gradient in zip(parameters, found, strict=True)}


def _signals(losses: Mapping[str, Tensor], gradients: Mapping[str, Mapping[str, Tensor]]) -> Signals:
    """No term has residuals that are seen, so that none has weights for points."""
    return Signals({RESIDUALS: {}, TERM_LOSSES: losses, TERM_GRADIENTS: gradients}, namespace)


def _weight(weighting: Weighting, term: str, like: Tensor) -> Tensor:
    """What a term's mean squared residual is multiplied by, a scalar: a scheme's weight, or its square."""
    product = torch.ones_like(like.as_subclass(Tensor))
    for part in weighting.parts:
        weight = part.weight(term)
        if weight is not None:
            product = product * (weight.square() if part.scheme.multiplies == "residual" else weight)
    return product.detach()
