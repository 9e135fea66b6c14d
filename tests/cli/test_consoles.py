"""Where the commands print: what is redrawn on terminals alone, what commands none, and what nobody is shown."""

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

import phasecore.cli
from phasecore.backends import Acted, Outcome
from phasecore.cli import consoles, printable
from phasecore.cli.consoles import PIPE_WIDTH, can_redraw, make_console, result_console
from phasecore.cli.displays import ConsoleDisplays
from phasecore.cli.progress import LiveDisplay, PlainDisplay, make_display
from phasecore.cli.tables import acted_sentences, comparison_table, pairs_table, run_table, seeds_table
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.comparison import Compared
from phasecore.reporting.seeds import grouped_by_weighting, paired
from phasecore.reporting.wording import masked
from phasecore.runs import prepare
from phasecore.runs.attempts import Failure

STRIPPED = dict.fromkeys([7, 8, 11, 12, 13])
"""Letters that rich leaves out of any text."""

TERMINAL = {"TERM": "xterm"}
STREAMS = {
    "a terminal": (True, TERMINAL, True),
    "a file": (False, TERMINAL, False),
    "a file, colours forced": (False, {**TERMINAL, "FORCE_COLOR": "1"}, False),
    "a file said to be a terminal": (False, {**TERMINAL, "TTY_COMPATIBLE": "1"}, False),
    "a file said to be interactive": (False, {**TERMINAL, "TTY_INTERACTIVE": "1"}, False),
    "a dumb terminal": (True, {"TERM": "dumb"}, False),
    "a dumb terminal, colours forced": (True, {"TERM": "dumb", "FORCE_COLOR": "1"}, False),
    "an unknown terminal": (True, {"TERM": "unknown"}, False),
    "a terminal, colours forced": (True, {**TERMINAL, "FORCE_COLOR": "1"}, True),
    "a terminal without colours": (True, {**TERMINAL, "NO_COLOR": "1"}, True),
    "a terminal that is not to be redrawn": (True, {**TERMINAL, "TTY_INTERACTIVE": "0"}, False),
}
"""Whether it is a terminal, the environment, and whether displays are redrawn."""


class Stream(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.fixture(params=STREAMS)
def stream(request, monkeypatch):
    is_terminal, environment, live = STREAMS[request.param]
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Stream(is_terminal), is_terminal, live


def test_only_what_can_be_redrawn_has_a_live_display(stream, monkeypatch):
    file, is_terminal, live = stream
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setattr("sys.stdout", file)
    assert can_redraw(make_console(stderr=True)) == live
    assert isinstance(make_display(), LiveDisplay if live else PlainDisplay)
    with ConsoleDisplays(["one"]) as displays:
        assert isinstance(displays.begin(0), LiveDisplay if live else PlainDisplay)
    assert ("\x1b[?25l" in file.getvalue()) == live, "the cursor is hidden only where lines stay in place"
    if not is_terminal:
        assert result_console().width == PIPE_WIDTH


def test_what_has_no_terminal_to_ask_is_none():
    closed = io.StringIO()
    closed.close()
    for file in (closed, object()):
        assert not can_redraw(make_console(file=file))


HOSTILE = ["a\x1b]0;owned\x07\x1b[2Jb", "\x9b2J", "\rover", "\u202eright"]
HOSTILE += [":wave:", "wave.py:Wave:speed=2", "[bold]x[/]"]


def compared(text, seed=0):
    training = replace(prepare("helmholtz", backend="synthetic", points=60, seed=seed), scheme_name=text)
    found = (Transition(Phase.DIFFUSION, 100, (90, 110), 0.9, ()),)
    rows = ({"iteration": 10, "snr": 1.0, f"coefficient_{text}": 1.0},)
    acted = Acted(10, f"of {text}", "change_weighting", text, f"because {text}")
    return Compared.of(training, Outcome(100, 1.0, 0.5, Timeline(found, Phase.DIFFUSION, text), rows, (acted,)))


def printed_by_displays(text, file):
    run = compared(text)
    for kind in (PlainDisplay, LiveDisplay):
        display = kind(make_console(file=file, width=200), text)
        with display:
            display.started(run.training)
            display.resumed(5, Path(text))
            display.captured({"iteration": 10, "snr": 1.0}, run.timeline)
            display.acted(run.actions[0])
            display.warned(text)
            display.finished(run.outcome)
    displays = ConsoleDisplays([text], make_console(file=file, width=200))
    with displays:
        displays.begin(0)
        displays.said(text)
        displays.end(0, Failure(text, False))


def printed_by_tables(text, file):
    console = make_console(file=file, width=200)
    groups = grouped_by_weighting([compared(name, seed) for name in ("uniform", text) for seed in (0, 1)])
    for table in (
        run_table(compared(text)), comparison_table([compared(text)]), comparison_table([compared(text)] * 5),
        seeds_table(groups), pairs_table(paired(groups)),
    ):  # fmt: skip
        console.print(table)
    for sentence in (*acted_sentences(groups), *acted_sentences([groups[1].__class__(text, [compared(text)])])):
        console.print(sentence, markup=False, soft_wrap=True)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("by", [printed_by_displays, printed_by_tables])
def test_what_is_printed_is_text_and_commands_nothing(text, by):
    file = io.StringIO()
    by(text, file)
    shown = file.getvalue()
    bare = text.translate(STRIPPED)
    assert printable(text) in shown or printable(bare) in shown
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


@pytest.mark.parametrize("text", HOSTILE)
def test_so_are_messages(text, capsys):
    consoles.tell(f"Warning: {text}")
    assert capsys.readouterr().err == f"Warning: {printable(text)}\n"


def test_no_command_prints_past_these_consoles():
    """A console made elsewhere, or an `echo` of a text on standard error, would show what strangers wrote as it is."""
    folder = Path(phasecore.cli.__file__).parent
    for file in set(folder.glob("*.py")) - {folder / "consoles.py", folder / "__init__.py"}:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\bConsole\(|\berr=True|rich\.table", text) or file.name == "whole_table.py", file


SHOWN = {
    "mlflow:uri=postgresql://me:secret@host/runs": "mlflow:uri=postgresql://me:...@host/runs",
    "http://me:se:cr/e@t@host:5000,experiment=a": "http://me:...@host:5000,experiment=a",
    "//:secret@host": "//:...@host",
    "two://me:secret@one and three://me:secret@other": "two://me:...@one and three://me:...@other",
    "mine:token=secret,level=2": "mine:token=...,level=2",
    "sql://host/runs?user=me&password=secret&x=1": "sql://host/runs?user=me&password=...&x=1",
}
UNTOUCHED = ["http://host:5000/a@b", "sqlite:///runs.db", "rba:gamma=0.99", "me@host", "wave.py:Wave:speed=2", ""]


@pytest.mark.parametrize("text", [*SHOWN, *UNTOUCHED])
def test_passwords_are_not_shown(text):
    assert masked(text) == SHOWN.get(text, text)
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("text", SHOWN)
def test_nor_are_they_on_a_page(text, tmp_path):
    import json

    from phasecore.reporting import write_report

    acted = {"iteration": 5, "policy": "mine", "action": "stop", "to": None, "reason": text}
    rows = [{"iteration": 1, "snr": 1.0}, {"iteration": 5, "snr": 1.0, "actions": [acted]}]
    for name in ("one", "two"):
        os.mkdir(tmp_path / name)
        configuration = {"problem": "helmholtz", "weighting": f"{name}:{text}", "loggers": [text], "failure": text}
        (tmp_path / name / "run.json").write_text(json.dumps(configuration))
        (tmp_path / name / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_report([tmp_path / "one", tmp_path / "two"], tmp_path / "report.html")
    assert "secret" not in re.sub(r"<script nonce=\"\w+\">/\*\*.*?</script>", "",
                                  (tmp_path / "report.html").read_text(), flags=re.DOTALL)  # fmt: skip
    kept = json.loads((tmp_path / "one" / "run.json").read_text())
    assert kept["loggers"] == [text], "what resumes the run stays as it is"
