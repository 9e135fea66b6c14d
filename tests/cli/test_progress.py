"""What a person sees of a training, live and in plain lines."""

import contextlib
import io
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from phasecore.backends import Outcome
from phasecore.cli.progress import LiveDisplay, PlainDisplay, duration, number
from phasecore.phases import Nonfinite, Phase, Timeline, Transition
from phasecore.runs import prepare

DIFFUSION = Timeline((Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ()),), Phase.DIFFUSION, "")
UNKNOWN = Timeline((), None, "not yet")


def clock(seconds_per_call: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += seconds_per_call


def plain(seconds_per_call: float) -> tuple[PlainDisplay, io.StringIO]:
    stream, ticks = io.StringIO(), clock(seconds_per_call)
    return PlainDisplay(Console(file=stream, highlight=False), "rba", clock=lambda: next(ticks)), stream


def test_plain_lines_come_at_each_tenth() -> None:
    display, stream = plain(0.0)
    display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=1000))
    for iteration in range(1, 1001):
        display.captured({"iteration": iteration, "snr": 0.5, "training_loss": 2.0, "relative_l2_error": None}, UNKNOWN)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 11
    assert "rba: iteration  500/1000   loss 2         error -         SNR 0.5" in lines[6]
    assert "phase not known yet" in lines[6]


def test_a_line_holds_values_of_one_iteration() -> None:
    display, stream = plain(0.0)
    display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=100))
    for iteration in (50, 100):
        display.progressed(iteration, 9.0)
        display.captured({"iteration": iteration, "snr": iteration / 100, "training_loss": 2.0}, UNKNOWN)
    lines = stream.getvalue().splitlines()[1:]
    assert ["SNR 0.5" in lines[0], "SNR 1 " in lines[1]] == [True, True]
    assert len(lines) == 2


def test_a_value_that_was_not_due_is_shown_as_measured_last() -> None:
    display, stream = plain(0.0)
    display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=100))
    display.captured({"iteration": 50, "snr": 0.5, "relative_l2_error": 0.25}, UNKNOWN)
    display.captured({"iteration": 60, "training_loss": 2.0, "relative_l2_error": None}, UNKNOWN)
    line = stream.getvalue().splitlines()[-1]
    assert "loss 2 " in line
    assert "error - " in line
    assert "SNR 0.5" in line


def test_plain_lines_come_at_least_once_a_minute() -> None:
    display, stream = plain(1.0)
    display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=10_000_000))
    for iteration in range(1, 301):
        display.captured({"iteration": iteration, "training_loss": 2.0}, UNKNOWN)
    assert 5 <= len(stream.getvalue().splitlines()) <= 20


def test_a_phase_is_announced_once() -> None:
    display, stream = plain(0.0)
    display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=1000))
    for iteration in (100, 200, 300):
        display.captured({"iteration": iteration, "snr": 0.5}, DIFFUSION if iteration > 100 else UNKNOWN)
    announced = [line for line in stream.getvalue().splitlines() if "since iteration" in line]
    assert announced == ["rba: iteration 200: diffusion since iteration 150"]


def test_a_training_that_has_gone_to_nan_shows_no_earlier_loss_and_no_phase() -> None:
    display, stream = plain(0.0)
    display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=1000))
    ended = replace(DIFFUSION, current=None, nonfinite=Nonfinite(300, "the SNR is NaN", Phase.DIFFUSION))
    for iteration in (200, 300, 400, 500):
        lost = iteration in (300, 400)
        row = {"iteration": iteration, "snr": None if lost else 0.5, "training_loss": None if lost else 2.0}
        display.captured(row, ended if lost else DIFFUSION)
    lines = stream.getvalue().splitlines()
    assert [line for line in lines if "since iteration" in line] == [
        "rba: iteration 200: diffusion since iteration 150"
    ]
    assert ["not finite from iteration 300 on" in line for line in lines[2:]] == [False, True, True, False]
    assert "loss -" in lines[3]


def test_the_time_left_is_that_of_this_sessions_pace() -> None:
    now = [0.0]
    display = PlainDisplay(Console(file=io.StringIO()), clock=lambda: now[0])
    assert math.isnan(display.seconds_left())
    display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=1000))
    display.resumed(490, Path("here"))
    now[0] = 1000.0
    display.progressed(500, 1.0)
    assert math.isnan(display.seconds_left())
    for seconds, iteration, left in ((20.0, 600, 80.0), (50.0, 700, 75.0), (60.0, 1000, 0.0)):
        now[0] = 1000.0 + seconds
        display.progressed(iteration, 1.0)
        display.captured({"iteration": iteration, "snr": 0.5}, UNKNOWN)
        assert display.seconds_left() == pytest.approx(left)


def test_the_live_display_shows_everything_and_leaves_the_terminal_in_order() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, highlight=False)
    display = LiveDisplay(console, "rba (2 of 2)")
    with display:
        display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=1000))
        display.progressed(200, 0.25)
        display.captured({"iteration": 250, "snr": 0.5, "training_loss": 0.125, "relative_l2_error": 0.75}, DIFFUSION)
        display.warned("something")
        shown = Console(file=io.StringIO(), width=80)
        shown.print(display.rendered())
        text = shown.file.getvalue()  # type: ignore[attr-defined]
        display.finished(Outcome(1000, 61.0, 0.5, DIFFUSION))
    for part in ("rba (2 of 2)", "250/1000", "left", "loss 0.125", "error 0.75", "SNR 0.5", "diffusion"):
        assert part in text
    assert max(len(line) for line in text.splitlines()) <= 80
    output = stream.getvalue()
    assert_in_order(output)
    assert "Warning: something" in output
    assert "1 min 01 s" in output


def assert_in_order(output: str) -> None:
    """The cursor is shown again at the end, and each line of the display is taken away after it was drawn last."""
    assert output.rfind("\x1b[?25h") > output.rfind("\x1b[?25l") > -1
    assert output.rfind("\x1b[2K") > max(output.rfind(part) for part in ("left", "phase not known yet"))


def test_before_a_training_starts_nothing_is_drawn() -> None:
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, force_terminal=True, width=80), "rba"):
        pass
    assert "rba" not in stream.getvalue()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_ends_a_training_leaves_the_terminal_in_order(error: type[BaseException]) -> None:
    stream = io.StringIO()
    display = LiveDisplay(Console(file=stream, force_terminal=True, width=80, highlight=False), "[label] {0}")

    def train() -> None:
        with display:
            display.started(prepare("helmholtz", backend="synthetic", points=60, iterations=1000))
            display.progressed(200, 0.25)
            display._live.refresh()
            raise error

    with pytest.raises(error):
        train()
    assert "[label] {0}" in stream.getvalue()
    assert " 200/1000" in stream.getvalue()
    assert_in_order(stream.getvalue())


RUN = ["run", "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "400", "--output", "here"]
RUN_PAUSED = """
import time
from phasecore.cli import main
import synthetic_backend

fast = synthetic_backend.synthetic_row
synthetic_backend.synthetic_row = lambda training, iteration: time.sleep(0.02) or fast(training, iteration)
main(prog_name="phasecore")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_ctrl_c_at_a_terminal(tmp_path: Path, synthetic_backend: Path) -> None:
    """Standard error is a terminal, standard output a pipe: the bar goes to the one, nothing to the other."""
    import pty

    ours, theirs = pty.openpty()
    path = os.pathsep.join([str(synthetic_backend), *(os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    environment = {**os.environ, "PYTHONPATH": path, "TERM": "xterm", "SYNTHETIC_STOP": "interrupt:255"}
    command = [sys.executable, "-c", RUN_PAUSED, *RUN, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, cwd=tmp_path, env=environment) as process:
        os.close(theirs)
        deadline = threading.Timer(120, process.kill)
        deadline.start()
        output = b""
        with contextlib.suppress(OSError):
            while part := os.read(ours, 65536):
                output += part
        os.close(ours)
        printed, _ = process.communicate(timeout=60)
        deadline.cancel()
    text = output.decode()
    assert (process.returncode, printed) == (130, b"")
    assert re.search(r" \d+/400", text)
    assert_in_order(text)
    assert "\x1b" not in text[text.rindex("Interrupted.") :]
    assert "Go on with: phasecore run helmholtz --output here --resume" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 00 s"), (3600, "1 h 00 min"), (math.nan, "-")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_number() -> None:
    assert [number(value) for value in (None, math.inf, 0.0, 1e-7, 12345.0)] == ["-", "-", "0", "1e-07", "1.23e+04"]
