"""How the points of a training lie in its processes (`torch.distributed`).

Each process has a part of the points, or all of them and batches as its part. What is reduced over points is then
reduced over those of all, so that weights, statistics and phases are those of one process with all points. The
gradients of the training are averaged by whoever trains, `DistributedDataParallel` or the loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from phasecore.errors import InputError
from phasecore.monitoring.monitor import check_batches
from phasecore.recording.history import plain
from phasecore.signals import Reduce
from phasecore_torch.arrays import as_numpy
from phasecore_torch.conditions import Conditions
from phasecore_torch.evaluation import Evaluation
from phasecore_torch.parts import batches_of_parts
from phasecore_torch.processes import joined, of_all, processes, rank, reduced, refuse, summed

if TYPE_CHECKING:
    from phasecore_torch.loss import PhysicsLoss

PLACE = "process"
"""Name of the buffer that says whose part of the points the state of a loss has: the process, and of how many."""


@final
@dataclass(frozen=True)
class Layout:
    """How the points of a training lie in its processes.

    Attributes:
        processes: how many there are.
        in_parts: whether each has a part of the points; else each has them all.
        shares: by term, what a mean over the points of this process counts where the means of all processes are
            averaged; absent for 1.
        points: of each process, where it has a part, how many there are that batches are cut of.

    Example:
        >>> Layout().own_batches(100, 2500), Layout().reduction()
        (100, None)
    """

    processes: int = 1
    in_parts: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
    points: Sequence[int] = ()

    def reduction(self) -> Reduce | None:
        """Return how schemes reduce points over those of all processes; None where this one has them all."""
        return reduced if self.in_parts else None

    def shares_of(self, conditions: Iterable[str], indices: Tensor | None) -> Mapping[str, float]:
        """Return `shares`, of a batch those of the conditions alone: batches are as large in each process.

        Args:
            conditions: the terms that are used whole.
            indices: of a batch, or None.
        """
        if indices is None or not self.shares:
            return self.shares
        return {term: self.shares[term] for term in conditions if term in self.shares}

    def shared(self, evaluation: Evaluation, indices: Tensor | None = None) -> Evaluation:
        """Return an evaluation whose losses, averaged over the processes, are those of all points.

        Args:
            evaluation: of the points of this process.
            indices: of the batch that it is of, or None.
        """
        shares = self.shares_of(evaluation.condition_residuals, indices)
        if not shares:
            return evaluation
        weighted = {term: shares.get(term, 1.0) * loss for term, loss in evaluation.weighted.items()}
        unweighted = {term: shares.get(term, 1.0) * loss for term, loss in evaluation.unweighted.items()}
        return evaluation._replace(weighted=weighted, unweighted=unweighted)

    def of_all_batches(
        self, indices: Tensor | None, residuals: Mapping[str, Tensor]
    ) -> tuple[Tensor | None, Mapping[str, Tensor]]:
        """Return the batch that those of all processes make together, where each process has all points.

        Args:
            indices: of the points of this process's batch, shape (batch,), or None for all.
            residuals: there, by equation, shape (batch,) each.
        """
        if indices is None or self.in_parts or self.processes == 1:
            return indices, residuals
        lengths = [torch.zeros_like(indices[:1]).sum() for _ in range(self.processes)]
        torch.distributed.all_gather(lengths, torch.zeros_like(lengths[0]) + len(indices))
        sizes = [int(length) for length in lengths]
        return joined(indices, sizes), {term: joined(own.detach(), sizes) for term, own in residuals.items()}

    def own_batches(self, batches: int, points: int) -> int:
        """Return how many of the batches of the gradient statistics are cut from the points of this process.

        Args:
            batches: of all processes together.
            points: of this one.

        Raises:
            InputError: for batches that points cannot be cut into, or fewer than processes.
        """
        check_batches(batches, sum(self.points) if self.in_parts else points)
        if not self.in_parts:
            return batches
        if batches < self.processes:
            refuse(
                f"a training in {self.processes} processes: the batches of the gradient statistics",
                received=f"{batches} of them",
                expected="one or more for each process, which has a part of the points",
                fix="Take more batches, or fewer processes.",
            )
        return batches_of_parts(batches, self.points)[rank()]

    def averaged(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the means over processes, by name, of what each has of its part of the points."""
        return summed(values, 1.0 / self.processes) if self.in_parts else dict(values)


def layout_of_loss(loss: PhysicsLoss, sizes: Mapping[str, int]) -> Layout:
    """Return how the points of a loss lie in the processes, see `layout_of`."""
    if processes() == 1:
        return Layout()
    # once weights were updated, the optimizers may have rounded differently
    trained = [p for group in loss.parameter_groups() for p in group["params"] if loss.updates == 0]
    made_of = {
        "problem": f"{loss.problem.name} {plain(loss.problem.parameters)}",
        "weighting": loss.specification,
        "initial parameters": digest(map(as_numpy, trained)),
    }
    layout = layout_of(_points_given(loss), sizes, made_of, overwritten=_are_overwritten(loss))
    if layout.in_parts:
        place = torch.tensor([rank(), layout.processes], device=loss.points.device)
        loss.register_buffer(PLACE, place)
    return layout


def digest_of_points(loss: PhysicsLoss) -> str:
    """Return a short text that differs where the points of losses do, see `digest`."""
    return digest(_points_given(loss))


def _points_given(loss: PhysicsLoss) -> list[NDArray[Any]]:
    return [loss.collocation.interior, *loss.collocation.conditions]


def _are_overwritten(loss: PhysicsLoss) -> bool:
    """Whether a loss computes at other points than it was given."""
    conditions = (part for part in loss.children() if isinstance(part, Conditions))
    placed = [loss.points, *(points for part in conditions for points in part.points())]
    # coarser than what a dtype makes of them
    near = 0.01 * np.ptp(loss.problem.bounds, axis=0)
    pairs = zip(placed, _points_given(loss), strict=True)
    return any(bool((np.abs(as_numpy(own) - given) > near).any()) for own, given in pairs)


def layout_of(
    points: Iterable[NDArray[Any]], sizes: Mapping[str, int], made_of: Mapping[str, str], *, overwritten: bool = False
) -> Layout:
    """Return how the points lie in the processes, which all ask for it at the same place, and compare what they train.

    Args:
        points: of this process: of the equations, of each condition.
        sizes: number of points by term, first of one that batches are cut of.
        made_of: what the training is made of, in words, by what it is: the same in each.
        overwritten: whether this process computes at other points than those.

    Raises:
        InputError: in the first process, where they do not train the same; the others end.
    """
    count = processes()
    every = of_all((made_of, dict(sizes), digest(points), overwritten))
    for name in made_of:
        _check_same(name, [other[name] for other, *_ in every])
    _check_not_overwritten([own for *_, own in every])
    if len({digest for _, _, digest, _ in every}) == 1:
        return Layout(count)
    totals = {term: sum(other[term] for _, other, *_ in every) for term in sizes}
    shares = {term: size * count / totals[term] for term, size in sizes.items()}
    unequal = {term: share for term, share in shares.items() if share != 1.0}
    return Layout(count, True, unequal, [other[next(iter(sizes))] for _, other, *_ in every])


def check_standing(iteration: int, is_restored: bool, parameters: Iterable[Tensor]) -> None:
    """Refuse to go on where processes stand at different places, as after saves of which some were cut short.

    All processes ask for it at the same place.

    Args:
        iteration: at which this process stands.
        is_restored: whether it has loaded a state: parameters are then the same in each, to the digit.
        parameters: all that is trained.

    Raises:
        InputError: in the first process; the others end.
    """
    if processes() == 1:
        return
    every = of_all((iteration, is_restored, digest(map(as_numpy, parameters))))
    standing = [f"iteration {reached}" for reached, *_ in every]
    if len(set(standing)) == 1 and any(restored for _, restored, _ in every):
        standing = [f"parameters {found}" for *_, found in every]
    if len(set(standing)) > 1:
        refuse(
            f"a training that goes on in {len(every)} processes",
            received=", ".join(f"{own} in process {place}" for place, own in enumerate(standing)),
            expected="the same in each",
            fix="Load states that all saved in one iteration: keep the former ones until all processes have saved.",
        )


def digest(arrays: Iterable[NDArray[Any]]) -> str:
    """Return a short text that differs where arrays do.

    Example:
        >>> digest([np.zeros(2)]) == digest([np.zeros(2)]), digest([np.zeros(2)]) == digest([np.zeros(3)])
        (True, False)
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:12]


def _check_same(name: str, values: Sequence[str]) -> None:
    if len(set(values)) > 1:
        refuse(
            f"a training in {len(values)} processes: the {name}",
            received=", ".join(f"{value} in process {place}" for place, value in enumerate(values)),
            expected="the same in each",
            fix="Give all processes the same problem, weighting and model: the same seed before the model is made, "
            "or DistributedDataParallel around it.",
        )


def _check_not_overwritten(overwritten: Sequence[bool]) -> None:
    if any(overwritten):
        refuse(
            f"a training in {len(overwritten)} processes: the points",
            received=f"those of process 0 in process {overwritten.index(True)} too, which was given others",
            expected="the points that each was given",
            fix="Hand out no buffers of a PhysicsLoss: they are its points and what goes with them. Put a wrapper that "
            "does so around the model alone, or give each process all points, and batches of them as its part.",
        )


def of_this_process(loss: Any, state: dict[str, Any], prefix: str, *unused: Any) -> None:
    """Refuse the state of a `PhysicsLoss` that had another part of the points, to be called before it is loaded.

    Raises:
        InputError: so.
    """
    saved, own = state.pop(prefix + PLACE, None), getattr(loss, PLACE, None)
    here = [rank(), processes()]
    if saved is not None and saved.tolist() != here:
        raise InputError(
            "the state of a PhysicsLoss",
            received=f"that of process {saved[0]} of {saved[1]}, with the weights of its points",
            expected=f"that of process {here[0]} of {here[1]}" if here[1] > 1 else "one of a training in one process",
            fix="Save the state of each process, and go on with as many.",
        )
    if own is not None:
        state[prefix + PLACE] = own
