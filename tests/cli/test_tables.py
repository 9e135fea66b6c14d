"""What users and plugins wrote is text in every table, whatever it holds, and no markup."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from phasecore.backends import Acted, Outcome
from phasecore.cli.tables import ABREAST, comparison_table, pairs_table, run_table, seeds_table
from phasecore.phases import Nonfinite, Phase, Timeline, Transition
from phasecore.recording.folder import Run
from phasecore.reporting.comparison import Compared
from phasecore.reporting.page import page
from phasecore.reporting.reported import Reported
from phasecore.reporting.seeds import grouped_by_weighting, paired
from phasecore.runs import prepare

HOSTILE = ["[threshold]", "[/b]", "[bold red]x", "[link=x]y[/link]", "\\[z]", ":smile:"]


def compared(text, seed=0, known=True):
    training = replace(prepare("helmholtz", backend="synthetic", points=60, seed=seed), scheme_name=text)
    found = (Transition(Phase.DIFFUSION, 100, (90, 110), 0.9, ()),)
    timeline = Timeline(found, Phase.DIFFUSION, "") if known else Timeline((), None, f"cannot tell: {text}")
    acted = Acted(10, f"of {text}", "change_weighting", text, f"because {text}")
    columns = {"iteration": np.asarray([10.0]), f"coefficient_{text}": np.asarray([1.0])}
    return Compared(training, Outcome(100, 1.0, 0.5, timeline, (), (acted,)), columns)


def printed(table):
    console = Console(width=400, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return re.sub(r" +", " ", capture.get())


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("known", [True, False])
def test_the_outcome_of_a_run(text, known):
    shown = printed(run_table(compared(text, known=known)))
    for words in (f"weighting {text}", f"(of {text}: because {text})", *([] if known else [f"cannot tell: {text}"])):
        assert words in shown


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("count", [1, ABREAST + 1])
def test_a_comparison(text, count):
    assert text in printed(comparison_table([compared(text)] * count))


@pytest.mark.parametrize("text", HOSTILE)
def test_statistics_and_ratios(text):
    groups = grouped_by_weighting([compared(name, seed) for name in ("uniform", text) for seed in (0, 1)])
    assert f"\n{text} " in printed(seeds_table(groups))
    assert f"{text} / uniform" in printed(pairs_table(paired(groups)))
    assert not math.isnan(groups[1].networks[0].error)


BEGUN = Transition(Phase.DIFFUSION, 100, (90, 110), 0.9, ())
LOST = Nonfinite(500, "the SNR is NaN from iteration 500 on", Phase.DIFFUSION)

ENDS = {
    "fitting": (Timeline((), Phase.FITTING, "no diffusion yet"), ("not reached", "not reached")),
    "diffusion": (Timeline((BEGUN,), Phase.DIFFUSION, ""), ("100", "not reached")),
    "too few captures": (Timeline((), None, "cannot tell: 1 capture"), ("cannot tell", "cannot tell")),
    "fitting, then NaN": (
        Timeline((), None, "cannot tell", replace(LOST, before=Phase.FITTING)), ("cannot tell", "cannot tell"),
    ),
    "diffusion, then NaN": (Timeline((BEGUN,), None, "cannot tell", LOST), ("100", "cannot tell")),
}  # fmt: skip
"""How a training may end, and what is said of each transition."""


def ended(timeline, seed=0):
    made = compared("rba", seed)
    return replace(made, outcome=replace(made.outcome, timeline=timeline))


def cells(table):
    """What is said of both transitions, by a table with a row or a column for each."""
    rows = [re.split(r"  +", line.strip()) for line in printed_wide(table).splitlines()]
    labelled = {row[0]: row[1:] for row in rows}
    if "diffusion from iteration" in labelled:
        return labelled["diffusion from iteration"][0], labelled["total diffusion from iteration"][0]
    found = labelled["rba"]
    return found[1], found[2]


def printed_wide(table):
    console = Console(width=400, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "table",
    [
        lambda timeline: comparison_table([ended(timeline)]),
        lambda timeline: comparison_table([ended(timeline)] * (ABREAST + 1)),
        lambda timeline: seeds_table(grouped_by_weighting([ended(timeline, seed) for seed in (0, 1)])),
    ],
    ids=["a column each", "a row each", "over seeds"],
)
def test_a_phase_that_cannot_be_told_is_not_said_not_to_be_reached(table, end):
    timeline, expected = ENDS[end]
    said = tuple(cell.split(" (")[0] for cell in cells(table(timeline)))
    assert said in (expected, tuple("-" if word == "not reached" else word for word in expected))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("other", ENDS)
def test_nor_is_it_in_a_report(end, other, tmp_path):
    runs = []
    for seed, (timeline, _) in enumerate((ENDS[end], ENDS[other])):
        configuration = {"problem": "helmholtz", "weighting": "rba", "seed": seed}
        columns = {"iteration": np.asarray([1.0, 2.0]), "snr": np.asarray([2.0, 1.0])}
        run = Run(tmp_path, configuration, columns, {"iterations": 2}, (), columns)
        runs.append(Reported(run, f"run {seed}", timeline, "rba"))
    rows = re.findall(r"<tr>(.*?)</tr>", page(runs), re.DOTALL)
    said = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    by_label = {row[0]: row[1:] for row in said if row}
    expected = [ENDS[end][1], ENDS[other][1]]
    for seed, words in enumerate(expected):
        assert tuple(cell.split(" (")[0] for cell in by_label[f"run {seed}"][1:3]) == words
    for place, cell in enumerate(by_label["rba"][1:3]):
        both = {words[place] for words in expected}
        if "100" in both:
            assert cell.startswith("100")
        elif len(both) == 1:
            assert cell == both.pop()
        else:
            assert cell == "not reached, in 1"
