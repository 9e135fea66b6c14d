"""A listener that keeps what it hears."""

import phasecore


class Listener:
    def __init__(self):
        self.told = []
        self.rows = []
        self.transitions = []

    @phasecore.hookimpl
    def phasecore_run_started(self, training, resumed):
        self.told.append("run_started")
        self.training, self.resumed = training, resumed

    @phasecore.hookimpl
    def phasecore_captured(self, row):
        self.told.append("captured")
        self.rows.append(dict(row))

    @phasecore.hookimpl
    def phasecore_phase_changed(self, transition):
        self.told.append("phase_changed")
        self.transitions.append(transition)

    @phasecore.hookimpl
    def phasecore_run_finished(self, outcome):
        self.told.append("run_finished")
        self.outcome = outcome

    @phasecore.hookimpl
    def phasecore_run_stopped(self, error):
        self.told.append("run_stopped")
        self.error = error
