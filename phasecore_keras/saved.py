"""A PINN as Keras saves it, and makes it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from phasecore_keras import configuration, storing


class SavedModel(keras.Model):  # type: ignore[misc, unused-ignore]
    """What `save`, `save_weights` and `load_model` ask of a PINN. Base class of `PINN` alone."""

    _derivatives: str

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` makes the PINN from again.

        Raises:
            InputError: for a weighting scheme that was given as an object, which has no name to save.
        """
        return configuration.configuration_of(self, self._derivatives)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Make a PINN from `get_config()`.

        A problem that is not registered is found by its class name in `custom_objects`, as Keras finds layers.

        Raises:
            InputError: for a problem that is found in neither.
        """
        return cls(**configuration.given_by(config, custom_objects))

    def get_compile_config(self) -> dict[str, Any]:
        """Return what `compile_from_config` compiles from."""
        return configuration.with_first_rate(super().get_compile_config(), self)

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as a saved model was compiled, and make the optimizer's variables, to be loaded."""
        self.compile(**configuration.compiled_from(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def get_build_config(self) -> dict[str, Any]:
        """Return nothing: a PINN is built when it is made."""
        return {}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Do nothing, likewise."""

    def save_own_variables(self, store: Any) -> None:
        """Save the points, and what policies had done."""
        storing.store(store, self)

    def load_own_variables(self, store: Any) -> None:
        """Go on from there."""
        storing.take_stored(store, self)
