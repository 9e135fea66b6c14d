"""Functions for JAX, which keeps what it compiled with the values that it met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from phasecore_keras.scopes import OwnValues, random_state_kept

Function = Callable[..., Any]


class _UnlistedVariablesError(Exception):
    """Variables that a function reads and nobody listed."""

    def __init__(self, variables: Sequence[Any]) -> None:
        super().__init__()
        self.variables = variables


@final
class Closed:
    """A function that is handed the values of the variables that it reads, as JAX keeps what it compiled with others.

    Variables that hide in closures, in layers that nobody tracks or in random states are found when they are read.

    Args:
        function: of tensors.
        variables: the first of its variables, with respect to which it may be differentiated.
        others: further ones.
        transform: makes what is called of a function of their values, of the others' values, and of tensors.
        compile: whether to compile that.
    """

    def __init__(
        self,
        function: Function,
        variables: Sequence[Any],
        others: Sequence[Any] = (),
        *,
        transform: Callable[[Function], Function] = lambda function: function,
        compile: bool = False,
    ) -> None:
        import jax

        self._function = function
        self._variables = list(variables)
        self._others = list(others)
        transformed = transform(self._of_values)
        self._call = jax.jit(transformed) if compile else transformed

    def __call__(self, *arguments: Any) -> Any:
        """Return what the transformed function makes of tensors, at the present values of its variables."""
        while True:
            values, rest = [v.value for v in self._variables], [v.value for v in self._others]
            try:
                with random_state_kept():
                    return self._call(values, rest, *arguments)
            except _UnlistedVariablesError as unlisted:
                self._others += unlisted.variables

    def _of_values(self, values: list[Any], rest: list[Any], *arguments: Any) -> Any:
        given = zip([*self._variables, *self._others], [*values, *rest], strict=True)
        with OwnValues(given) as scope:
            result = self._function(*arguments)
        if scope.read:
            raise _UnlistedVariablesError(list(scope.read.values()))
        return result
