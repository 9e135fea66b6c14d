"""Runs: preparing and executing trainings, and reading what was recorded of them.

`prepare` makes a training from names, `execute` trains it into a run folder, `execute_all` trains several, side by side
where wanted, and `open_run` reads a folder.
"""

from typing import Any

from phasecore.recording.folder import Run, open_run
from phasecore.runs.attempts import Failure
from phasecore.runs.execution import execute
from phasecore.runs.preparation import prepare, prepare_resumed
from phasecore.runs.several import execute_all

__all__ = ["Failure", "Run", "execute", "execute_all", "open_run", "prepare", "prepare_resumed", "write_report"]


def __getattr__(name: str) -> Any:
    if name == "write_report":
        from phasecore.reporting import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
