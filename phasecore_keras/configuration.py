"""What a saved PINN is made from again: its weighting and its problem, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import keras

import phasecore
from phasecore import registry
from phasecore.errors import InputError, UnknownNameError
from phasecore.problems import Problem, Trained
from phasecore.problems.checks import check_problem_given
from phasecore.problems.coefficients import as_trained
from phasecore.weighting import WeightingScheme
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.coefficients import BEGAN_WITH
from phasecore_keras.internals import inner

_VARIABLE = "keras_variable"


def check_made_from(network: Any, problem: Any) -> None:
    """Refuse what no PINN is made from.

    Raises:
        InputError: for a network that is no Keras model or layer, or a problem that is none.
    """
    check_problem_given(problem, network)
    if not isinstance(network, keras.layers.Layer):
        raise InputError("the network of a PINN", received=type(network).__name__, expected="a Keras model or layer")


def specification_of(weighting: registry.Weighting) -> str:
    """Return the specification of registered schemes, which a saved model keeps, or nothing if one is an object."""
    if isinstance(weighting, str):
        return weighting
    given = list(weighting) if isinstance(weighting, Sequence) and not isinstance(weighting, WeightingScheme) else []
    names = [part for part in given if isinstance(part, str)]
    return "+".join(names) if len(names) == len(given) else ""


def saved_parameters(problem: Problem) -> dict[str, Any]:
    """Return the parameters that a problem is made from, as a saved model keeps them.

    A variable is kept by its value and what it is made from, and a trained coefficient as text: its value is saved with
    the weights.
    """
    made_from: set[str] = {item.name for item in fields(problem)} if is_dataclass(problem) else set()
    return {name: _saved(value) for name, value in problem.parameters.items() if name in made_from}


def _saved(parameter: Any) -> Any:
    if isinstance(parameter, Trained):
        return repr(parameter)
    if not isinstance(parameter, keras.Variable):
        return parameter
    value = to_numpy(parameter.value).tolist()
    kept = {"name": parameter.name, "dtype": parameter.dtype, "trainable": parameter.trainable}
    return {_VARIABLE: {"initializer": value, **kept}}


def _restored(parameter: Any) -> Any:
    is_variable = isinstance(parameter, Mapping) and set(parameter) == {_VARIABLE}
    return keras.Variable(**parameter[_VARIABLE]) if is_variable else as_trained(parameter)


def problem_of(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> Problem:
    """Return the problem of a saved model.

    Args:
        config: its "name", "class_name" and "parameters", and "options" where a function makes it.
        custom_objects: classes by name, for problems that are not registered.

    Raises:
        InputError: for a problem that is found in neither.
    """
    own = keras.saving.get_registered_object(config["class_name"], custom_objects=custom_objects)
    parameters = {name: _restored(value) for name, value in config["parameters"].items()}
    if own is not None:
        return own(**parameters)  # type: ignore[no-any-return]
    try:
        options = {name: _restored(value) for name, value in config.get("options", config["parameters"]).items()}
        return phasecore.problem(config["name"], **options)
    except UnknownNameError as error:
        raise InputError(
            "the problem of a saved PINN",
            received=f"{config['name']!r}, of class {config['class_name']}, which is not registered",
            expected="a registered problem, or its class",
            fix=f"Load with custom_objects={{{config['class_name']!r}: {config['class_name']}}}.",
        ) from error


def description_of(problem: Problem) -> dict[str, Any]:
    """Return what `problem_of` makes a problem from again, as a saved model keeps it."""
    own = saved_parameters(problem)
    described = {"name": problem.name, "class_name": type(problem).__name__, "parameters": own}
    origin = registry.origin_of("problem", problem)
    if origin is None:
        return described
    made_as = origin.made_as
    given = {name: _saved(value) for name, value in made_as.parameters(own).items()}
    return {**described, "name": made_as.name, "parameters" if made_as.defaults is None else "options": given}


def configuration_of(model: Any, derivatives: str) -> dict[str, Any]:
    """Return what a PINN is made from again.

    Args:
        model: the PINN.
        derivatives: how its derivatives are computed.

    Raises:
        InputError: for a weighting scheme that was given as an object, which has no name to save.
    """
    if not model.specification:
        raise InputError(
            "saving a PINN",
            received="a weighting scheme given as an object",
            expected="a registered scheme given by name, such as 'rba:gamma=0.99'",
            fix="Save the weights alone (save_weights), or register the scheme (see docs/extending.md).",
        )
    return {
        "name": model.name,
        "trainable": model.trainable,
        "dtype": keras.saving.serialize_keras_object(model.dtype_policy),
        "network": keras.saving.serialize_keras_object(model.network),
        "problem": description_of(model.problem),
        "weighting": model.specification,
        "derivatives": derivatives,
    }


def given_by(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of a PINN from `configuration_of` one.

    Raises:
        InputError: for a problem that is found in neither the registry nor `custom_objects`.
    """
    return {
        **config,
        "dtype": keras.saving.deserialize_keras_object(config["dtype"]),
        "network": keras.saving.deserialize_keras_object(config["network"], custom_objects),
        "problem": problem_of(config["problem"], custom_objects),
    }


def with_first_rate(config: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Return what a saved model is compiled from, with the learning rate that its optimizer began with, if it is noted.

    Args:
        config: what Keras saves of it.
        model: the PINN, which need not be compiled.
    """
    noted = getattr(inner(getattr(model, "optimizer", None)), BEGAN_WITH, None)
    return dict(config) if noted is None else {**config, BEGAN_WITH: noted}


def compiled_from(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `compile` from `with_first_rate`, with that rate noted."""
    options = dict(config)
    began_with = options.pop(BEGAN_WITH, None)
    options = dict(keras.saving.deserialize_keras_object(options))
    if began_with is not None:
        setattr(inner(options["optimizer"]), BEGAN_WITH, began_with)
    return options
