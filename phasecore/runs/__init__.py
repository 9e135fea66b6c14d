"""Runs: preparing and executing trainings, and reading what was recorded of them.

`prepare` makes a training from names, `execute` trains it into a run folder, `open_run` reads the folder.
"""

from typing import Any

from phasecore.recording.folder import Run, open_run
from phasecore.runs.execution import execute
from phasecore.runs.preparation import prepare, prepare_resumed

__all__ = ["Run", "execute", "open_run", "prepare", "prepare_resumed", "write_report"]


def __getattr__(name: str) -> Any:
    if name == "write_report":
        from phasecore.reporting import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
