"""Which Keras variables a computation reads, wherever they are held: attributes, closures, globals, other networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import keras

from phasecore.errors import InputError
from phasecore_keras.scopes import random_state_kept


@final
class _Recording(keras.StatelessScope):  # type: ignore[misc, unused-ignore]
    """Notes each variable whose value is asked for; what is assigned inside is forgotten at the end."""

    def __init__(self) -> None:
        super().__init__(collect_losses=True)
        self.read: dict[int, Any] = {}

    def get_current_value(self, variable: Any) -> Any:
        """Return what was assigned to a variable inside, if anything was."""
        self.read[id(variable)] = variable
        return super().get_current_value(variable)


def variables_read(function: Callable[[], Any]) -> list[Any]:
    """Return the variables that a function reads, each once, in the order in which it reads them first.

    Args:
        function: is called once; it leaves every variable and random state as it is.

    Example:
        >>> rate, unread = keras.Variable(2.0), keras.Variable(3.0)
        >>> [variable is rate for variable in variables_read(lambda: 2 * rate.value)]
        [True]
    """
    with random_state_kept(), _Recording() as scope:
        function()
    return list(scope.read.values())


def others_than(variables: Iterable[Any], known: Iterable[Any]) -> list[Any]:
    """Return the variables that are not among the known ones.

    Example:
        >>> mine, yours = keras.Variable(2.0), keras.Variable(3.0)
        >>> [variable is yours for variable in others_than([mine, yours], [mine])]
        [True]
    """
    found = {id(variable) for variable in known}
    return [variable for variable in variables if id(variable) not in found]


def named_variables(variables: Iterable[Any]) -> dict[str, Any]:
    """Return variables by path, each once; a path that is there twice gets a number.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, name="first")], name="net")
        >>> list(named_variables(model.trainable_variables))
        ['net/first/kernel', 'net/first/bias']
    """
    found: dict[str, Any] = {}
    for variable in variables:
        name, number = variable.path, 1
        while name in found:
            number += 1
            name = f"{variable.path}#{number}"
        found[name] = variable
    return found


def check_trainable(variables: Sequence[Any], where: str) -> None:
    """Refuse variables that are to be trained and cannot be differentiated.

    Raises:
        InputError: for the first of whole numbers or truth values.
    """
    for variable in variables:
        if variable.trainable and not keras.backend.is_float_dtype(variable.dtype):
            raise InputError(
                f"variable {variable.path!r}, read by {where}",
                received=f"a trainable variable of dtype {variable.dtype}",
                expected="real numbers, which have a gradient",
                fix="Give it a floating dtype, or trainable=False.",
            )


@final
class HeldVariables(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Makes variables that others hold known to the model that is trained: its optimizer, its state, its files.

    Args:
        name: of the layer.
        saved: whether they are saved with the model.
    """

    def __init__(self, name: str, *, saved: bool) -> None:
        super().__init__(name=name, autocast=False)
        self._saved = saved
        self.built = True

    def hold(self, variables: Sequence[Any]) -> None:
        """Hold these variables, in place of those held before."""
        for variable in others_than(self.variables, variables):
            self._untrack_variable(variable)
        for variable in others_than(variables, self.variables):
            self._track_variable(variable)

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: the variables are there."""

    def save_own_variables(self, store: Any) -> None:
        """Save the values in the order in which the variables are read."""
        if self._saved:
            super().save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Load them likewise."""
        if self._saved:
            super().load_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        """Say nothing of the variables: the model that reads them finds them again."""
        return {"name": self.name, "saved": self._saved}
