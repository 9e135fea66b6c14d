"""Runs: preparing, executing, recording and reading trainings.

`prepare` makes a training from names, `execute` trains it into a run folder, `open_run` reads the folder,
`write_report` makes a page of some.
"""

from phasecore.runs.execution import execute
from phasecore.runs.folder import Run, open_run
from phasecore.runs.preparation import prepare, prepare_resumed
from phasecore.runs.report import write_report

__all__ = ["Run", "execute", "open_run", "prepare", "prepare_resumed", "write_report"]
