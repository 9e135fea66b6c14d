"""A process with one contender. It waits for commands, one JSON object a line, and answers each with one.

    python -m benchmarks.peers.worker benchmarks.peers.nested:nested

Commands: {"do": "hello", "framework": "torch"}, {"do": "set_up", "problem": ..., "file": ...}, {"do": "losses"},
{"do": "train", "steps": 9}, {"do": "rest"}, {"do": "memory", "steps": 2} and {"do": "peak"}. An answer is
{"result": ...} or {"error": traceback}.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("torch", "tensorflow", "jax", "keras", "deepxde", "pina-mathlab", "lightning", "phasecore", "numpy")


class Worker:
    """Holds the contender of one case at a time."""

    def __init__(self, factory: Callable[..., Any]) -> None:
        self.factory = factory
        self.contender: Any = None

    def hello(self, framework: str) -> dict[str, Any]:
        """Return versions, and the name of the accelerator if the contender's framework sees one."""
        found = {}
        for package in PACKAGES:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return {"versions": found, "accelerator": _accelerator(framework)}

    def set_up(self, problem: str, file: str) -> None:
        """Replace the contender."""
        self.contender = None
        self.rest()
        with np.load(file) as stored:
            self.contender = self.factory(problem, dict(stored))

    def losses(self) -> dict[str, float]:
        """Return the unweighted loss of each term."""
        return self.contender.losses()  # type: ignore[no-any-return]

    def train(self, steps: int) -> float:
        """Return the seconds of a step."""
        return self.contender.train(steps)  # type: ignore[no-any-return]

    def rest(self) -> None:
        """Give free memory back: the machine may not have enough for all that its workers keep."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    def memory(self, steps: int) -> int:
        """Return by how many bytes the peak of the memory in use exceeds what is held between steps.

        On an accelerator it is that of torch's allocator there, otherwise the process' resident set.
        """
        self.contender.train(steps)
        self.rest()
        torch = sys.modules.get("torch")
        if torch and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.contender.train(steps)
            return int(torch.cuda.max_memory_allocated() - before)
        Path("/proc/self/clear_refs").write_text("5")
        before = _kilobytes("VmRSS")
        self.contender.train(steps)
        return 1024 * (_kilobytes("VmHWM") - before)

    def peak(self, size: int = 2048, repeats: int = 8) -> float:
        """Return the float32 operations per second of torch's matrix product, the fastest of several."""
        import torch

        from benchmarks.peers.torch_network import device, wait

        a, b = (torch.rand(size, size, device=device()) for _ in range(2))
        fastest = float("inf")
        for _ in range(repeats):
            wait()
            began = time.perf_counter()
            torch.mm(a, b)
            wait()
            fastest = min(fastest, time.perf_counter() - began)
        return 2 * size**3 / fastest


def _accelerator(framework: str) -> str | None:
    if framework == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if framework == "tensorflow":
        import tensorflow

        names = [device.name for device in tensorflow.config.list_physical_devices("GPU")]
    else:
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return names[0] if names else None


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    module, _, name = sys.argv[1].partition(":")
    worker = Worker(getattr(importlib.import_module(module), name))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"result": getattr(worker, command.pop("do"))(**command)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
