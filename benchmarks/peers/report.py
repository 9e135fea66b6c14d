"""The tables and the picture of docs/benchmarks.md, made from the results alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.peers import bars
from benchmarks.peers.cases import Case
from benchmarks.peers.contenders import ENTRIES, OURS, ROOT
from benchmarks.peers.measured import Measured
from benchmarks.peers.picture import draw
from benchmarks.peers.roofline import operations

DOCUMENT = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "images" / "benchmarks.png"
BEGIN, END = "<!-- written by make bench -->", "<!-- end of what make bench writes -->"

CONDITIONS = """\
Whole training steps: forward, backward, Adam, and residual-based attention (RBA) where the contender has it. Every
contender runs in a process of its own. They take turns, one at a time; times are medians over {rounds} turns of half a
second or one step, ratios are medians of the turns' ratios. Network, points, float32 and Adam are the same. Before
anything is timed, all contenders have computed the same loss of each term from the same parameters, within 0.1 %, and
those with the same weights again after two steps. Waiting workers kept at most {idle:.0%} of a processor busy.

- DeepXDE has no RBA, and PINA's is not used: both train on the plain loss, which is less work than ours.
- The peers' equations take the fewest passes of autodiff that we know of: the cavity's viscous terms are the gradient
  of one Laplacian.
- DeepXDE repeats its own compiled step, without the loop around it; PINA and Keras run their own `train` and `fit`.
- DeepXDE hands its boundary conditions no derivatives on JAX; so, on each of its backends, the function of the
  equations returns the conditions too, in the same pass.
- The share of the peak counts the matrix products that jets must do: their operations in a step's time, relative to
  the fastest product of two 2048 x 2048 matrices by torch in the same turns.
"""


def write_report(file: Path, *, docs: bool) -> None:
    """Write the report of a results file: into docs/benchmarks.md, between its two marks, or to standard output.

    Raises:
        SystemExit: if docs/benchmarks.md has no marks.
    """
    measured = Measured(json.loads(file.read_text()))
    text = report(measured)
    if not docs:
        print(text)
        draw(measured, file.with_suffix(".png"))
        return
    before, begin, rest = DOCUMENT.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{DOCUMENT} has no lines {BEGIN!r} and {END!r}, between which the report belongs")
    draw(measured, PICTURE)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n![steps, growth and memory](images/{PICTURE.name})\n\n{END}{after}")


def report(measured: Measured) -> str:
    """Return all tables as Markdown."""
    setting = measured.setting
    versions = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
    machine = f"{setting['processor']}, {setting['cores']} cores"
    parts = [
        f"Measured on {machine}, with {versions}.\n",
        CONDITIONS.format(rounds=setting["rounds"], idle=measured.idle_cpu()),
    ]
    against = list(bars.rows(measured))
    if against:
        parts += ["### Against what was hoped for\n", _table(bars.HEADER, against)]
    for device in measured.devices():
        suffix = "" if device == "cpu" else f" on {setting['accelerator']}"
        parts += _device_tables(measured, device, suffix)
    failures = measured.failures()
    if failures:
        parts += ["### What failed\n", *(f"- {where}: `{reason}`" for where, reason in failures), ""]
    return "\n".join(parts)


def _device_tables(measured: Measured, device: str, suffix: str) -> Iterable[str]:
    for title, cases in measured.compared(device).items():
        yield f"### A training step{suffix}: {title}\n"
        yield "Milliseconds (times as long as `phasecore, torch, compiled`; share of the peak).\n"
        yield _table(["", *(case.problem for case in cases)], _step_rows(measured, cases))
    yield f"### Growth{suffix}\n"
    yield _table(["", "ours, ms", "nested, ms", "ours, MiB", "nested, MiB"], _growth_rows(measured, device))
    yield f"### Peak memory{suffix}\n"
    yield "What a fresh process holds at most within a step beyond what it holds between steps, MiB.\n"
    header = ["", "compiled", "recompute", "blocks", "nested, all points", "compiled / nested", "recompute / nested"]
    yield _table(header, _memory_rows(measured, device))


def _step_rows(measured: Measured, cases: Sequence[Case]) -> Iterable[list[str]]:
    for name, entry in ENTRIES.items():
        yield [entry.title, *(_step_cell(measured, case, name) for case in cases)]


def _step_cell(measured: Measured, case: Case, name: str) -> str:
    seconds, ratio, peak = measured.seconds(case, name), measured.ratio(case, name, OURS), measured.peak(case)
    if seconds is None:
        return "-"
    share = f"; {operations(case) / seconds / peak:.0%}" if peak else ""
    return f"{1e3 * seconds:.1f} ({'-' if ratio is None else f'{ratio:.2f}'}{share})"


def _growth_rows(measured: Measured, device: str) -> Iterable[list[str]]:
    for case in measured.grown(device):
        times = (measured.seconds(case, name) for name in (OURS, "nested"))
        held = (measured.memory(case, name) for name in (OURS, "nested"))
        label = f"{case.problem}, {case.points} points, {case.depth} x {case.width}"
        yield [label, *(_number(value, 1e3) for value in times), *(_number(value, 2.0**-20) for value in held)]


def _memory_rows(measured: Measured, device: str) -> Iterable[list[str]]:
    for case in measured.remembered(device):
        held = [measured.memory(case, name) for name in (OURS, "phasecore_again", "phasecore", "nested")]
        ratios = ["-" if own is None or not held[3] else f"{own / held[3]:.2f}" for own in held[:2]]
        label = f"{case.problem}, {case.points} points, {case.depth} x {case.width}"
        yield [label, *(_number(value, 2.0**-20) for value in held), *ratios]


def _number(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{factor * value:.1f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
