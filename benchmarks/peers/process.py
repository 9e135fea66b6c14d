"""Worker processes, as the driver sees them. Only one is asked at a time; the others wait on a read."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.peers.contenders import ENTRIES, ROOT

CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
SHARED_ACCELERATOR = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
RETURNED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Lets the C library give freed memory back, so that resident memory is memory in use."""


class WorkerError(RuntimeError):
    """What a worker could not do: its traceback, or how it ended."""


class Process:
    """A worker.

    Args:
        name: of the contender, a key of `ENTRIES`.
        device: "cpu" or "cuda".
        logs: folder for what it prints.
        variables: of its environment, beside the contender's own.
    """

    def __init__(self, name: str, device: str, logs: Path, variables: dict[str, str] | None = None) -> None:
        entry = ENTRIES[name]
        threads = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))), "TF_CPP_MIN_LOG_LEVEL": "3"}
        placed = CPU_ONLY if device == "cpu" else SHARED_ACCELERATOR
        self.name = name
        self.log = logs / f"{name}-{device}.log"
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [entry.python, "-m", "benchmarks.peers.worker", f"benchmarks.peers.{entry.factory}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, **threads, **placed, **entry.variables, **(variables or {})},
            )

    def ask(self, do: str, **arguments: Any) -> Any:
        """Return the worker's answer to a command.

        Raises:
            WorkerError: if it failed or ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{self.name} ended with status {self._process.wait()}, see {self.log}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["result"]

    def cpu_seconds(self) -> float:
        """Return the time that the process has spent on a processor."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


class Pool:
    """The workers that are kept from case to case, one for each contender and device."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._processes: dict[tuple[str, str], Process] = {}

    def get(self, name: str, device: str) -> Process:
        """Return the worker, started if there is none that lives."""
        process = self._processes.get((name, device))
        if process is None or not process.alive:
            process = self._processes[name, device] = Process(name, device, self._logs)
        return process

    def living(self) -> list[Process]:
        """Return all that run."""
        return [process for process in self._processes.values() if process.alive]

    def close(self) -> None:
        """End all."""
        for process in self.living():
            process.close()
        self._processes.clear()
