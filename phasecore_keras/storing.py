"""What a saved PINN has beside its variables: where its points are, and what policies had done to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from phasecore.policies.actions import Action
from phasecore.problems import CollocationPoints
from phasecore.weighting.changes import Changes, change_again, changes_of_older
from phasecore_keras.internals import put_in_place
from phasecore_keras.loss import PhysicsLoss
from phasecore_keras.steps import note_steps_before, steps_before

CHANGES = "weighting_changes"
HELD, CHANGED = "weighting_held", "weighting_changed_to"
"""What models that were saved before have in the place of `CHANGES`."""

ACTED = "acted_until"
BEFORE = "steps_before"


def store(store: Any, model: Any) -> None:
    """Save it.

    Args:
        store: of a saved model, by name.
        model: the PINN.
    """
    store_points(store, model.physics)
    if model.physics.changes.done:
        store[CHANGES] = np.frombuffer(json.dumps(changes_of(model)).encode(), dtype=np.uint8)
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
        change_again_as(model, _stored_changes(store, model))
        if bool(np.asarray(store["tracks_attention"])):
            model.physics.track_attention()
        read_weighting(model)
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
    read_weighting(model)
    model.renew()


def read_weighting(model: Any) -> None:
    """Give a model, which saves and trains what it has, the weighting and the attention that its loss has now."""
    for name in ("weighting", "attention"):
        put_in_place(model, name, getattr(model.physics, name))


def changes_of(model: Any) -> dict[str, Any]:
    """Return what a checkpoint must carry of the changes of a model's weighting, as JSON has it."""
    return {"made_with": model.made_with, "changes": model.physics.changes.to_json()}


def changes_of_before(model: Any, changed_to: str | None, held: bool) -> dict[str, Any]:
    """Return what `changes_of` would have of a state that tells what the weighting was in the end alone."""
    return {"made_with": model.made_with, "changes": changes_of_older(changed_to, held)}


def change_again_as(model: Any, saved: Mapping[str, Any]) -> None:
    """Do to a model what was done to its weighting when a state was saved, which is to be loaded after this.

    Args:
        model: the PINN, to which something else may have been done.
        saved: as `changes_of` returned it.
    """
    done, wanted = model.physics.changes.done, [(kind, to) for kind, to in saved["changes"]]
    if saved["made_with"] and (saved["made_with"] != model.made_with or wanted[: len(done)] != done):
        model.change_weighting(saved["made_with"])
        model.physics.forget_attention()
        model.made_with = saved["made_with"]
        done.clear()
    change_again(_Weighted(model), wanted)


@final
class _Weighted:
    """A model as `change_again` takes it."""

    def __init__(self, model: Any) -> None:
        self.changes: Changes = model.physics.changes
        self.change_weighting = model.change_weighting
        self._model = model

    def hold_weighting(self, action: Action) -> None:
        hold(self._model, action)


def _stored_changes(store: Any, model: Any) -> dict[str, Any]:
    if CHANGES in store:
        saved: dict[str, Any] = json.loads(np.asarray(store[CHANGES]).tobytes().decode())
        return saved
    changed = np.asarray(store[CHANGED]).tobytes().decode() if CHANGED in store else None
    return changes_of_before(model, changed, HELD in store)


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
    return True
