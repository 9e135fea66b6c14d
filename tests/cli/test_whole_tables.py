"""No table cuts a number, however narrow the terminal is."""

import io
import math
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from phasecore.backends import Acted, Outcome
from phasecore.cli import detect, plugins
from phasecore.cli.tables import ABREAST, comparison_table, pairs_table, run_table, seeds_table
from phasecore.cli.whole_table import ENDS, PROSE, WholeTable, folded
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.comparison import Compared
from phasecore.reporting.seeds import grouped_by_weighting, paired
from phasecore.runs import prepare

WIDTHS = [40, 60, 80, 120]
SCHEMES = ("uniform", "rba:gamma=0.99,eta=0.01", "softadapt:temperature=1.25,smoothing=0.875", "lra", "ntk", "sapinn")
REASON = "cannot tell: the SNR is NaN from iteration 123456 on; before that, it was 1.234e-05"


def compared(scheme, seed):
    error = (1.234e-4, 4.567e-5, 8.901e-4)[seed]
    training = replace(prepare("helmholtz", backend="synthetic", points=60, seed=seed), scheme_name=scheme)
    begins = [Transition(Phase.DIFFUSION, 1230 + 91 * seed, (1000, 2000), 0.87, ())]
    begins += [Transition(Phase.TOTAL_DIFFUSION, 240000 + 9 * seed, (1, 9), 0.91, ())] if seed != 2 else []
    timeline = Timeline(tuple(begins), begins[-1].phase if seed != 1 else None, REASON)
    at_end = {"snr": 0.0377 * (seed + 1), "gradient_order": 1.23e-3, "residual_order": 0.456}
    rows = [{"iteration": 300_000, **at_end, "seconds": 3723.0 + 700 * seed, "coefficient_viscosity": 0.00318}]
    acted = (Acted(1234, "halving", "scale_learning_rate", 0.25, "because 1234 are enough and 0.875 is too much"),)
    return Compared.of(training, Outcome(300_000, 3723.0 + 700 * seed, error, timeline, tuple(rows), acted))


TABLES = {
    "a run": lambda: run_table(compared(SCHEMES[1], 1)),
    "two columns": lambda: comparison_table([compared(scheme, 0) for scheme in SCHEMES[:2]]),
    "as many columns as there are": lambda: comparison_table([compared(scheme, 1) for scheme in SCHEMES[:ABREAST]]),
    "a row each": lambda: comparison_table([compared(scheme, 2) for scheme in SCHEMES]),
    "over seeds": lambda: seeds_table(networks()),
    "ratios": lambda: pairs_table(paired(networks())),
}


def networks():
    return grouped_by_weighting([compared(scheme, seed) for scheme in SCHEMES[:3] for seed in range(3)])


def printed(table, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(table)
    return console.file.getvalue()


def numbers(text):
    return re.findall(r"\d[\d.]*(?:e[+-]\d+)?", text)


@pytest.mark.parametrize("name", TABLES)
def test_every_number_is_there_in_one_piece_at_every_width(name):
    table = TABLES[name]()
    said = [cell.plain for cells, _ in table.rows for cell in cells] + [column.title.plain for column in table.columns]
    for width in WIDTHS:
        shown = printed(table, width)
        assert "\u2026" not in shown
        assert max(map(len, shown.splitlines())) <= width
        there = numbers(shown)
        for number in numbers(" ".join(said)):
            assert number in there, (width, number)
        letters = re.sub(r"\s", "", shown)
        for cell in said:
            assert all(letters.count(letter) >= cell.count(letter) for letter in set(cell) - {" "})


@pytest.mark.parametrize("name", TABLES)
def test_where_there_is_room_nothing_is_folded(name):
    table = TABLES[name]()
    lines = printed(table, 400).splitlines()
    longest = table.columns[0].most or 400
    labels = [folded(cells[0].plain, longest, PROSE) for cells, _ in table.rows]
    assert len(lines) == sum(map(len, labels)) + table.has_header + bool(table.caption)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("module", [detect, plugins], ids=["detect", "plugins"])
def test_those_of_the_other_commands_too(module, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    if module is detect:
        found = [replace(item, declared_at=item.iteration + 12345) for item in compared("rba", 0).timeline.transitions]
        detect._print(Timeline(tuple(found), Phase.DIFFUSION, ""), [])
        expected = [str(value) for item in found for value in (item.iteration, *item.interval, item.declared_at)]
    else:
        item = {"kind": "weighting", "name": "one_of_many_names", "distribution": "some-distribution",
                "version": "12.34.5", "missing_packages": ["torch"], "install": "phasecore[torch]"}  # fmt: skip
        plugins._print({"registered": [item], "hooks": [], "failed": []})
        expected = ["12.34.5"]
    shown = capsys.readouterr().out
    assert "\u2026" not in shown
    assert set(expected) <= set(numbers(shown))


@pytest.mark.parametrize("width", [1, 5, 9, 12, 30])
@pytest.mark.parametrize("text", ["4.57e-05\u20130.00089", "1 h 02 min\u20131 h 05 min", "0.1 (0.01\u20130.1), 2 of 3",
                                  "  3 seeds, 1 failed", SCHEMES[2], "\u5e45\u5e45\u5e45", ""])  # fmt: skip
def test_folding_loses_nothing_and_keeps_to_the_width(text, width):
    lines = folded(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(line) <= max(width, 2) for line in lines)
    assert width < cell_len(text) or lines == [text]


def test_a_range_is_folded_at_its_dash():
    assert folded("4.57e-05\u20130.00089", 9) == ["4.57e-05\u2013", "0.00089"]
    assert folded("0.1 (0.01\u20130.1)", 12) == ["0.1", "(0.01\u20130.1)"]
    assert folded("1 h 02 min\u20131 h 05 min", 12, ENDS) == ["1 h 02 min\u2013", "1 h 05 min"]


def test_what_does_not_fit_beside_one_another_is_a_list():
    table = WholeTable()
    table.add_column(justify="left")
    for place in range(5):
        table.add_column(f"column {place}")
    table.add_row("name", *(f"{math.pi * 10**place:.4e}" for place in range(5)))
    lines = printed(table, 30).splitlines()
    assert lines == ["name", *(f"  column {place}: {math.pi * 10**place:.4e}" for place in range(5))]
