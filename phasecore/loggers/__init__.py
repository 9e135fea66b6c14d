"""Loggers: objects with run hooks that write one training down, each for a package that people already use.

Nothing logs unless asked: `phasecore run helmholtz --logger tensorboard`, or `execute(training, loggers=["csv"])`.
"""
