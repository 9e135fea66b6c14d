"""Runs: preparing, executing, recording and reading trainings.

`prepare` makes a training from names, `execute` trains it into a run folder, `open_run` reads the folder.
"""

from phasecore.runs.execution import execute
from phasecore.runs.folder import Run, open_run
from phasecore.runs.preparation import prepare, prepare_resumed

__all__ = ["Run", "execute", "open_run", "prepare", "prepare_resumed"]
