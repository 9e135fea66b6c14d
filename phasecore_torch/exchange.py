"""The optimizers of Lightning's Trainer, of which policies put one in charge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch

from phasecore.policies import SwitchOptimizer
from phasecore_torch.acting import InCharge, restore_loss
from phasecore_torch.resampling import Resampling

STATES = "optimizer_states"
"""Where Lightning's checkpoints have the states of the optimizers."""


def hindrances(trainer: Any, module: Any) -> list[str]:
    """Return why a Trainer cannot go on with another optimizer; nothing where it can.

    Line searches evaluate the loss of the same batch several times, and compare gradients that nothing else changes.

    Example:
        >>> from types import SimpleNamespace
        >>> options = {"accumulate_grad_batches": 4, "gradient_clip_val": None, "precision": "32-true"}
        >>> hindrances(SimpleNamespace(**options), SimpleNamespace(automatic_optimization=True))
        ['accumulate_grad_batches']
    """
    found = {
        "manual optimization": not module.automatic_optimization,
        "accumulate_grad_batches": trainer.accumulate_grad_batches > 1,
        "gradient_clip_val": bool(trainer.gradient_clip_val),
        "precision 16": str(trainer.precision).startswith("16"),
    }
    return [hindrance for hindrance, is_there in found.items() if is_there]


@final
class Exchange:
    """Which optimizer a Trainer has, of those that there are.

    Args:
        loss: the training's.
        first: the optimizer that the module was configured with.
        others: further ones, by name.
        resampling: by which points move.
        acted: `state_dict()` of an earlier session, whose loss is restored already; None for none.
    """

    def __init__(
        self,
        loss: Any,
        first: torch.optim.Optimizer,
        others: Mapping[str, torch.optim.Optimizer],
        resampling: Resampling | None,
        acted: Mapping[str, Any] | None,
    ) -> None:
        self.in_charge = InCharge(loss, first, others, resampling)
        self._first, self._others = first, dict(others)
        if acted is not None and set(acted["in_charge"]) <= {self.in_charge.name, *others, "lbfgs"}:
            self.in_charge.load_state_dict({**acted, "resampling": None})
            for name, state in acted["others"].items():
                self._others[name].load_state_dict(state)

    def declared(self, hindered: bool) -> frozenset[str]:
        """Return the actions that can be carried out; where something hinders it, no switch of the optimizer."""
        declared = self.in_charge.declared
        return frozenset(item for item in declared if not (hindered and item.startswith(SwitchOptimizer.name)))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry."""
        others = {name: optimizer.state_dict() for name, optimizer in self._others.items()}
        return {**self.in_charge.state_dict(), "others": others}

    def write(self, checkpoint: dict[str, Any]) -> None:
        """Have a checkpoint carry the state of the first optimizer, which is restored where the module makes it."""
        if STATES in checkpoint:
            checkpoint[STATES] = [self._first.state_dict()]


def restored_in_time(module: Any, loss: Any, resampling: Resampling | None, key: str) -> Callable[[], None]:
    """Have a loss weighted, when a checkpoint is loaded, as policies had left it, before the state of the module is.

    Args:
        module: the LightningModule, whose hook is heard.
        loss: the training's.
        resampling: by which its points move.
        key: of the callback in the checkpoint.

    Returns:
        What ends that.
    """
    own = module.on_load_checkpoint

    def on_load_checkpoint(checkpoint: dict[str, Any]) -> None:
        acted = checkpoint.get("callbacks", {}).get(key, {}).get("acted")
        if acted is not None:
            restore_loss(loss, resampling, acted)
        own(checkpoint)

    module.on_load_checkpoint = on_load_checkpoint
    return lambda: vars(module).pop("on_load_checkpoint", None)
