"""Who takes part, and in which environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Entry:
    """One contender.

    Attributes:
        title: as the tables name it.
        factory: "module:attribute" of what makes the `Contender`.
        framework: "torch", "tensorflow" or "jax".
        environment: name of its virtual environment in `.venv-bench`; none for that of the driver.
        variables: of its process' environment.
        attention: whether it trains with residual-based attention.
        epochs: whether its library trains epochs, the first of which sets it up and is not counted.
    """

    title: str
    factory: str
    framework: str = "torch"
    environment: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    attention: bool = True
    epochs: bool = False

    @property
    def python(self) -> str:
        """The interpreter that runs it."""
        return str(ROOT / ".venv-bench" / self.environment / "bin" / "python") if self.environment else sys.executable


def _deepxde(title: str, framework: str) -> Entry:
    variables = {"DDE_BACKEND": framework.replace("torch", "pytorch")}
    return Entry(f"DeepXDE, {title}", "with_deepxde:DeepXDE", framework, "deepxde", variables, attention=False)


def _keras(title: str, framework: str) -> Entry:
    variables = {"KERAS_BACKEND": framework}
    factory = "with_phasecore_keras:PhasecoreKeras"
    return Entry(f"phasecore, Keras on {title}", factory, framework, variables=variables, epochs=True)


ENTRIES = {
    "phasecore": Entry("phasecore, torch", "with_phasecore:eager"),
    "phasecore_compiled": Entry("phasecore, torch, compiled", "with_phasecore:compiled"),
    "phasecore_again": Entry("phasecore, torch, compiled, recompute", "with_phasecore:compiled_again"),
    "phasecore_snr": Entry("phasecore, torch, compiled, SNR in every step", "with_phasecore:compiled_with_snr"),
    "keras_tensorflow": _keras("TensorFlow", "tensorflow"),
    "keras_jax": _keras("JAX", "jax"),
    "nested": Entry("hand-written loop, torch", "nested:nested"),
    "nested_snr": Entry("hand-written loop, the authors' SNR in every step", "nested:nested_with_snr"),
    "deepxde_torch": _deepxde("torch", "torch"),
    "deepxde_tensorflow": _deepxde("TensorFlow", "tensorflow"),
    "deepxde_jax": _deepxde("JAX", "jax"),
    "pina": Entry("PINA", "with_pina:Pina", environment="pina", attention=False, epochs=True),
}

OURS = "phasecore_compiled"
PEERS = ("nested", "deepxde_torch", "deepxde_tensorflow", "deepxde_jax", "pina")
"""Those that train without statistics, as `OURS` does."""
