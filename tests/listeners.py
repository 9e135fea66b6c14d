"""A listener that keeps what it hears, and a training for loggers to hear."""

import warnings

import phasecore
from phasecore.backends import Monitored


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


def goes_on_and_back(recorder, folder):
    """Train to 20 with an end at 10, then from 10 to 20 once more, to the end."""
    recorder.begin(Monitored("keras", folder=folder), iteration=0)
    recorder.captured({"iteration": 10, "snr": 1.0})
    recorder.finish(10)
    recorder.captured({"iteration": 20, "snr": 1.0})
    recorder.replay(recorder.rows[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        recorder.captured({"iteration": 20, "snr": 2.0})
    recorder.finish(20)
