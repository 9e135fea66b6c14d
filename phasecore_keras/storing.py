"""What a saved PINN has beside its variables: where its points are, and what policies had done to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from phasecore.policies.actions import Action, HoldWeighting, ReleaseWeighting
from phasecore.problems import CollocationPoints
from phasecore_keras.loss import PhysicsLoss
from phasecore_keras.steps import note_steps_before, steps_before

HELD = "weighting_held"
CHANGED = "weighting_changed_to"
ACTED = "acted_until"
BEFORE = "steps_before"


def store(store: Any, model: Any) -> None:
    """Save it.

    Args:
        store: of a saved model, by name.
        model: the PINN.
    """
    store_points(store, model.physics)
    if model.weighting.held:
        store[HELD] = np.asarray(True)
    if model.specification != model.made_with:
        store[CHANGED] = np.frombuffer(model.specification.encode(), dtype=np.uint8)
    if acted_until(model) is not None:
        store[ACTED] = np.asarray(acted_until(model))
    if steps_before(model):
        store[BEFORE] = np.asarray(steps_before(model))
    model.quasi_newton.store(store)


def take_stored(store: Any, model: Any) -> None:
    """Go on from what `store` saved; the weights, which are saved beside, find their places.

    Args:
        store: of a saved model, by name.
        model: the PINN.
    """
    if take_stored_points(store, model.physics):
        changed = np.asarray(store[CHANGED]).tobytes().decode() if CHANGED in store else model.made_with
        if changed != model.specification:
            model.change_weighting(changed)
        hold_again(model, HELD in store)
        model.renew()
    if ACTED in store:
        note_acted(model, int(np.asarray(store[ACTED])))
    note_steps_before(model, int(np.asarray(store[BEFORE])) if BEFORE in store else 0)
    model.quasi_newton.take_stored(store)


def note_acted(model: Any, steps: int) -> None:
    """Note after how many steps a monitor carried out last what policies asked for."""
    vars(model)["acted_until"] = steps


def acted_until(model: Any) -> int | None:
    """Return what was noted, or None."""
    steps: int | None = vars(model).get("acted_until")
    return steps


def hold(model: Any, action: Action) -> None:
    """Hold the weights of a model, averaged or as they are, or release them; see `PhysicsLoss.hold_weighting`.

    Args:
        model: the PINN.
        action: `HoldWeighting`, `AverageWeighting` or `ReleaseWeighting`.
    """
    model.physics.hold_weighting(action)
    model.attention = model.physics.attention
    model.renew()


def hold_again(model: Any, held: bool) -> None:
    """Hold the weights of a model, or release them, as they were when a state was saved, which is to be loaded."""
    if held != model.weighting.held:
        hold(model, HoldWeighting() if held else ReleaseWeighting())


def store_points(store: Any, physics: PhysicsLoss) -> None:
    """Save the collocation points, with those of the conditions, wherever they have moved.

    Args:
        store: of a saved model, by name.
        physics: the loss.
    """
    points = physics.collocation
    if points is not None:
        store["points"] = points.interior
        for index, own in enumerate(points.conditions):
            store[f"condition_points_{index}"] = own
        store["tracks_attention"] = np.asarray(physics.attention.points > 0)


def take_stored_points(store: Any, physics: PhysicsLoss) -> bool:
    """Take the points that `store_points` saved, and return whether there were any; the weights are saved beside."""
    if "points" not in store:
        return False
    conditions = [np.asarray(store[f"condition_points_{k}"]) for k in range(len(physics.problem.conditions))]
    physics.set_points(CollocationPoints(np.asarray(store["points"]), tuple(conditions)), restored=True)
    if bool(np.asarray(store["tracks_attention"])):
        physics.track_attention()
    return True
