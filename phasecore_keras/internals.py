"""What the adapter reads of Keras that Keras does not promise: all of it is here, and a test looks for each name.

A release of Keras that lacks one fails that test, and nothing else in the package needs to be searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

_OF_BACKENDS = {
    "_jax_state_synced": ("jax", "whether the variables have the values of a training with JAX"),
    "_maybe_symbolic_build": ("tensorflow", "looks at a batch before training, and fails where replicas' parts differ"),
}

USED: Mapping[str, tuple[str, Callable[[], Any]]] = MappingProxyType(
    {
        "_run_through_graph": ("walks a Functional model", lambda: _functional()),
        "_inbound_nodes": ("the arguments of an operation in a graph", lambda: _functional().operations[-1]),
        "_flatten_layers": ("the dtypes that a model computes in", lambda: _functional()),
        "_tracker": ("forgets a layer that another one has the place of", lambda: _functional()),
        "_call_has_training_arg": ("whether a model is called with training=", lambda: _functional()),
        "_iterations": ("an optimizer's steps, gradient accumulation not counted", lambda: _adam()),
        "_value": ("the value of a variable, whatever scope it is read in", lambda: keras.Variable(0.0)),
        "_compute_loss": ("the loss, whether its override takes training= or not", lambda: _functional()),
        "_trainable_variables": ("the variables that an optimizer updates", lambda: _adam()),
        "_get_variable_index": ("the place of a variable in an optimizer", lambda: _adam()),
        "_momentums": ("Adam's first moments", lambda: _adam()),
        "_velocities": ("Adam's second moments", lambda: _adam()),
        "_backend_update_step": ("the step of an optimizer alone, before averages are made", lambda: _adam()),
        "_apply_weight_decay": ("the decay before that step", lambda: _adam()),
        "_use_weight_decay": ("whether a variable decays", lambda: _adam()),
        "_u_product": ("what Nadam moves on once a step", lambda: _built(keras.optimizers.Nadam())),
        "_learning_rate": ("the schedule of an optimizer", lambda: _adam()),
        "_get_current_learning_rate": ("the learning rate of a step", lambda: _adam()),
        "_velocity_hats": ("the largest second moments of AMSGrad", lambda: _adam()),
        **{
            name: (what, lambda: _functional())
            for name, (backend, what) in _OF_BACKENDS.items()
            if keras.backend.backend() == backend
        },
    }
)
"""Attribute: what it is read for, and a small object that must have it."""

_DECAY, _UPDATE, _RATE = "_apply_weight_decay", "_backend_update_step", "_get_current_learning_rate"
_RATIOS = "phasecore_ratios"
"""Attribute of an optimizer: the variables with learning rates of their own, and the ratios of these to its own."""

OF_ALL_VARIABLES = ("_u_product",)
"""What an optimizer keeps for all variables together and moves on in its update."""


def run_through_graph(graph: Any, inputs: Any, operation_fn: Callable[[Any], Callable[..., Any]]) -> Any:
    """Evaluate the graph of a Functional model, each operation as `operation_fn` says."""
    return graph._run_through_graph(inputs, operation_fn=operation_fn)


def arguments_of(operation: Any) -> list[Any]:
    """Return whatever an operation of a graph is called with, flattened."""
    nodes = operation._inbound_nodes
    return [item for node in nodes for item in keras.tree.flatten((node.arguments.args, node.arguments.kwargs))]


def flat_layers(model: Any) -> list[Any]:
    """Return a layer and all layers within it."""
    return list(model._flatten_layers())


def put_in_place(model: Any, name: str, layer: Any) -> None:
    """Give a model another layer under a name, and forget the one that was there, with its variables."""
    former = getattr(model, name)
    if former is not layer:
        model._tracker.untrack(former)
        setattr(model, name, layer)


def takes_training(model: Any) -> bool:
    """Return whether a model is called with `training=`."""
    return bool(model._call_has_training_arg)


def note_synchronized(model: Any) -> None:
    """Say that the variables of a model have their values, and not only the state in which JAX keeps them."""
    model._jax_state_synced = True


def inner(optimizer: Any) -> Any:
    """Return the optimizer itself, inside one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def put_rates_in_place(optimizer: Any, ratios: Sequence[tuple[Any, float]]) -> None:
    """Have an optimizer decay and update some variables at other learning rates than its own.

    They take part in a step of their own, at that rate: what is read off a step that is made at another one has its
    rounding. What an optimizer does before and after, such as clipping gradients and averaging variables, it does to
    all at once.

    Args:
        optimizer: whose attributes they become.
        ratios: the variables with the ratio of the learning rate of each to that of the optimizer.
    """
    decay, update = getattr(optimizer, _DECAY), getattr(optimizer, _UPDATE)

    def decay_each(variables: Sequence[Any]) -> None:
        for ratio, group in _by_ratio(optimizer, variables).items():
            # torch has no decay of no variable
            decaying = [variables[place] for place in group if optimizer._use_weight_decay(variables[place])]
            if decaying:
                with _at(optimizer, ratio):
                    decay(decaying)

    def update_each(gradients: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
        kept = [getattr(optimizer, name) for name in OF_ALL_VARIABLES if hasattr(optimizer, name)]
        before = [ops.copy(variable.value) for variable in kept]
        for number, (ratio, group) in enumerate(_by_ratio(optimizer, variables).items()):
            for variable, value in zip(kept, before, strict=True) if number else ():
                variable.assign(value)
            own = [gradients[place] for place in group], [variables[place] for place in group]
            with _at(optimizer, ratio):
                update(*own, learning_rate if ratio == 1.0 else learning_rate * ratio)

    # past the optimizer's own way of setting attributes, which would take the variables for its state
    vars(optimizer).update({_RATIOS: tuple(ratios), _DECAY: decay_each, _UPDATE: update_each})


def forget_rates_in_place(optimizer: Any) -> None:
    """Undo `put_rates_in_place`."""
    for name in (_RATIOS, _DECAY, _UPDATE):
        vars(optimizer).pop(name, None)


def ratio_of(optimizer: Any, variable: Any) -> float:
    """Return the ratio of the learning rate of a variable to that of the optimizer that trains it."""
    return next((ratio for own, ratio in vars(optimizer).get(_RATIOS, ()) if own is variable), 1.0)


def _by_ratio(optimizer: Any, variables: Sequence[Any]) -> dict[float, list[int]]:
    """The places of variables by the ratios of their learning rates."""
    found: dict[float, list[int]] = {}
    for place, variable in enumerate(variables):
        found.setdefault(ratio_of(optimizer, variable), []).append(place)
    return found


@contextmanager
def _at(optimizer: Any, ratio: float) -> Iterator[None]:
    """Let an optimizer have so many times its learning rate, for what reads it there."""
    if ratio != 1.0:
        vars(optimizer)[_RATE] = lambda: ratio * getattr(type(optimizer), _RATE)(optimizer)
    try:
        yield
    finally:
        vars(optimizer).pop(_RATE, None)


def schedule_of(optimizer: Any) -> Any:
    """Return the schedule of the learning rate of an optimizer, None where there is none."""
    rate = optimizer._learning_rate
    return rate if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else None


def raw_iterations(optimizer: Any) -> Any:
    """Return the variable that counts an optimizer's steps, those that only accumulate gradients among them."""
    return optimizer._iterations


def own_value(variable: Any) -> Any:
    """Return the value of a variable outside of any scope, None if it has none yet."""
    return variable._value


def compute_loss(model: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
    """Return the loss of a batch as the `train_step` of Keras computes it."""
    return model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)


def variables_of(optimizer: Any) -> list[Any]:
    """Return the variables that a built optimizer updates."""
    return list(optimizer._trainable_variables)


def adam_moments(optimizer: Any, variable: Any) -> tuple[Any, Any] | None:
    """Return the variables of Adam's first and second moment of a model's variable, or None if it does not train it."""
    try:
        place = optimizer._get_variable_index(variable)
    except KeyError:
        return None
    return optimizer._momentums[place], optimizer._velocities[place]


def largest_velocity(optimizer: Any, variable: Any) -> Any:
    """Return the variable that AMSGrad keeps of a model's variable: the largest second moment so far."""
    return optimizer._velocity_hats[optimizer._get_variable_index(variable)]


def _functional() -> Any:
    inputs = keras.Input((1,))
    return keras.Model(inputs, keras.layers.Dense(1)(inputs))


def _adam() -> Any:
    return _built(keras.optimizers.Adam(amsgrad=True))


def _built(optimizer: Any) -> Any:
    optimizer.build(_functional().trainable_variables)
    return optimizer
