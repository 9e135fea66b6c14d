import json
from pathlib import Path

import phasecore


class Diary:
    """Writes a line of JSON for everything that it hears."""

    def __init__(self, path="diary.jsonl"):
        self.path = Path(path)

    @phasecore.hookimpl
    def phasecore_run_started(self, training, resumed):
        self.write({"started": training.problem.name, "resumed": resumed})

    @phasecore.hookimpl
    def phasecore_captured(self, row):
        self.write({"captured": row["iteration"], "loss_imbalance": row.get("loss_imbalance")})

    @phasecore.hookimpl
    def phasecore_phase_changed(self, transition):
        self.write({"phase": transition.phase})

    @phasecore.hookimpl
    def phasecore_run_finished(self, outcome):
        self.write({"finished": outcome.iterations})

    @phasecore.hookimpl
    def phasecore_run_stopped(self, error):
        self.write({"stopped": type(error).__name__})

    def write(self, document):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")
