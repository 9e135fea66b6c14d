"""What users and plugins wrote is text in every table, whatever it holds, and no markup."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from phasecore.backends import Acted, Outcome
from phasecore.cli.tables import ABREAST, comparison_table, pairs_table, run_table, seeds_table
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.comparison import Compared
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
