"""The state of a loss is that of its points: it says of which, and is not loaded where there are others.

Weights are kept by place. In the state of a loss whose points had moved, or that was made of other ones, they would be
those of other points than the ones they came to, and nothing would show.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from phasecore.errors import InputError
from phasecore_torch.layout import of_this_process
from phasecore_torch.weighting import with_or_without_attention

KEY = "weighting_at"
"""What a state has some of the points under."""

SOME = 16
NEAR = 0.01
"""Part of the points' extent by which they may differ: another precision rounds them."""


def watch_states(loss: Any) -> None:
    """Have the states of a `PhysicsLoss` looked at before they are loaded, and say of which points they are."""
    loss.register_load_state_dict_pre_hook(with_or_without_attention)
    loss.register_load_state_dict_pre_hook(of_this_process)
    loss.register_load_state_dict_pre_hook(check_points)
    loss.register_state_dict_post_hook(with_points)


def with_points(loss: Any, state: dict[str, Any], prefix: str, metadata: object) -> None:
    """Put some of the points into the state of a loss that weights points: those of this process."""
    if loss.attention is not None or loss.point_weights():
        state[prefix + KEY] = _some(loss.points)


def check_points(loss: Any, state: dict[str, Any], prefix: str, *unused: object) -> None:
    """Refuse a state of other points; take it where it does not say of which it is.

    Raises:
        InputError: if it is of others.
    """
    kept: Tensor | None = state.pop(prefix + KEY, None)
    if kept is None:
        return
    now = _some(loss.points)
    kept = kept.to(now)
    if kept.shape == now.shape:
        extent = now.amax(0) - now.amin(0)
        if bool(((kept - now).abs() <= NEAR * extent).all()):
            return
    raise InputError(
        "state of a PhysicsLoss",
        received=f"weights of other points than its {len(loss.points)} of now",
        expected="those of the same points, in the same order",
        fix="Load the state of its Resampling, or of a monitor that has one, before; or call resample(points) with the "
        f"points that it had. Without its entry {prefix + KEY!r} it is taken by place, whatever the points.",
    )


def _some(points: Tensor) -> Tensor:
    """Return some points, in float64 on the CPU, as many as `SOME` at most, from the first to the last."""
    places = torch.linspace(0, len(points) - 1, min(SOME, len(points)), dtype=torch.float64)
    return points.detach()[places.round().long().to(points.device)].cpu().double()
