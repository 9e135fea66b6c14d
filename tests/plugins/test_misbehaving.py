"""Plugins that hang, print, exit, draw random numbers or are slow: named, and kept from what is not theirs."""

import json
import os
import random
import time

import numpy as np
import pytest
from processes import ROOT, python

import phasecore
from phasecore import foreign
from phasecore.backends import Monitored
from phasecore.cli import printable
from phasecore.errors import PluginError
from phasecore.monitoring.measuring import Measuring
from phasecore.phases import Phase, Timeline
from phasecore.probes import Probe
from phasecore.recording import hooks
from phasecore.recording.acting import Acting
from phasecore.recording.recorder import Recorder

ENTRIES = """
    import phasecore

    @phasecore.hookimpl
    def phasecore_entries():
        return [phasecore.Entry("weighting", "mine", "{module}:make")]
"""


def drawn():
    return random.random(), float(np.random.random())  # noqa: NPY002


def seeded():
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002


def test_what_hangs_while_it_is_loaded_is_named(install, load, monkeypatch, capfd):
    monkeypatch.setattr(foreign, "PATIENCE", 0.02)
    install("slow-scheme", "2.5", {"slow": "slow_plugin"}, slow_plugin="import time; time.sleep(0.3)")
    assert not load().failures
    told = capfd.readouterr().err
    assert "still loading slow-scheme 2.5 (plugin 'slow') after 0.02 s; Ctrl-C stops it" in told


def test_what_loads_quickly_is_not_named(install, load, capfd):
    install("quick-scheme", "2.5", {"quick": "quick_plugin"}, quick_plugin="")
    load()
    assert capfd.readouterr().err == ""


def test_random_numbers_are_the_same_with_plugins_and_without(install, load):
    reseeding = "import random, numpy; random.seed(99); numpy.random.seed(99)"
    install("rash", "1.0", {"rash": "rash_plugin"}, rash_plugin=f"{reseeding}\n{ENTRIES.format(module='rash_scheme')}"
            .replace("\n    ", "\n"), rash_scheme=reseeding + "\ndef make(): raise SystemExit(4)")  # fmt: skip
    seeded()
    expected = drawn()
    seeded()
    load()
    assert drawn() == expected
    seeded()
    with pytest.raises(PluginError, match=r"weighting 'mine' of rash 1\.0 .*SystemExit: 4"):
        phasecore.weighting_scheme("mine")
    assert drawn() == expected


class Rash:
    """Draws and seeds in each hook."""

    @phasecore.hookimpl
    def phasecore_run_started(self):
        random.seed(1)

    @phasecore.hookimpl
    def phasecore_captured(self):
        drawn()
        np.random.seed(5)  # noqa: NPY002

    @phasecore.hookimpl
    def phasecore_run_finished(self):
        random.random()


@pytest.mark.parametrize("loggers", [(), (Rash(),)])
def test_a_seeded_training_draws_the_same_numbers_whoever_listens(loggers):
    seeded()
    recorder = Recorder(loggers=loggers)
    recorder.begin(Monitored("torch"), iteration=0)
    found = []
    for iteration in range(1, 4):
        found += drawn()
        recorder.captured({"iteration": iteration, "snr": 1.0})
    recorder.finish(3)
    seeded()
    assert found == [number for _ in range(3) for number in drawn()]


class Exiting(Probe):
    name = "exiting"
    requires = frozenset()

    def measure(self, signals):
        raise SystemExit(5)


def test_a_probe_that_exits_is_switched_off():
    with pytest.warns(RuntimeWarning, match=r"'exiting'.*SystemExit: 5.*disabled"):
        assert Measuring([Exiting()]).row({}) == {}


def test_a_policy_that_exits_is_switched_off():
    def update(timeline, row, state):
        raise SystemExit(6)

    told = []
    policy = phasecore.policy("at_phase", phase="fitting", do="stop")._replace(update=update)
    acting = Acting({"mine": policy}, 100, told.append)
    assert acting.decide(Timeline((), Phase.FITTING, ""), {"iteration": 1}) == []
    assert len(told) == 1
    assert "SystemExit: 6" in told[0]


class Slow:
    @phasecore.hookimpl
    def phasecore_captured(self):
        time.sleep(0.03)


@pytest.mark.parametrize("end", ["finish", "stopped"])
def test_hooks_that_take_a_large_share_of_the_time_are_named_with_it(monkeypatch, end):
    monkeypatch.setattr(hooks, "LEAST_SECONDS", 0.01)
    recorder = Recorder(loggers=[Slow()])
    recorder.begin(Monitored("torch"), iteration=0)
    for iteration in range(1, 4):
        recorder.captured({"iteration": iteration, "snr": 1.0})
    with pytest.warns(RuntimeWarning, match=r"logger Slow: its hooks took \d+% of the time of this run, 0\.\d s"):
        getattr(recorder, end)({"finish": 3, "stopped": KeyboardInterrupt()}[end])


PRINTING = """
import atexit, os, sys
import phasecore
print("printed while loading")
os.write(1, b"past Python while loading\\n")
os.system("echo by a process")
atexit.register(print, "printed at the end")


@phasecore.hookimpl
def phasecore_entries():
    print("printed by a hook")
    return []
"""


def test_standard_output_holds_one_document_whatever_plugins_print(install, tmp_path):
    where = install("loud", "1.0", {"loud": "loud_plugin"}, loud_plugin=PRINTING)
    path = os.pathsep.join([str(where), ROOT, os.environ.get("PYTHONPATH", "")])
    done = python("-m", "phasecore", "plugins", "--json", env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["failed"] == []
    for text in ("printed while loading", "past Python", "by a process", "printed by a hook", "printed at the end"):
        assert text in done.stderr


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "\x1b[2J", "a\rb", "\x9b31m"])
def test_messages_do_not_command_the_terminal(text):
    assert printable(text).isprintable()
    assert printable("snr\n\tµ, λ") == "snr\n\tµ, λ"
