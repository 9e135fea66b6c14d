"""Listens to every training, and raises in the middle; so does its logger, when asked for."""

import phasecore


@phasecore.hookimpl
def phasecore_entries():
    return [phasecore.Entry("logger", "fragile", "broken_listener:Fragile")]


@phasecore.hookimpl
def phasecore_captured(row):
    if row["iteration"] >= 3:
        raise ConnectionError("the server is gone")


class Fragile:
    @phasecore.hookimpl
    def phasecore_captured(self, row):
        if row["iteration"] >= 5:
            raise OSError("no space left")
