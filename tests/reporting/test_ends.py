"""What is said of the end of a run, and of runs that have no proper one: everywhere the same, whatever was recorded."""

import json
import math

import numpy as np
import pytest

from phasecore.cli.tables import comparison_table
from phasecore.recording.folder import create
from phasecore.recording.outcome import outcome_of
from phasecore.reporting import gather
from phasecore.reporting.comparison import Compared
from phasecore.reporting.curves import curves_figure, recorded_figure
from phasecore.reporting.page import page
from phasecore.reporting.seeds import grouped_by_weighting
from phasecore.runs import open_run, prepare

MEASURED = ("relative_l2_error", "snr", "gradient_order", "residual_order", "coefficient_k", "seconds")

ENDS = {
    "a number": ({"value": 0.125}, 0.125),
    "null": ({"value": None}, math.nan),
    "no number": ({"value": "0.125"}, math.nan),
    "not captured any more": ({}, 0.5),
}
"""What the last rows say, and what is said of the end, where the rows before say 0.5."""


def rows(end):
    before = [{"iteration": k, "training_loss": 1.0, **dict.fromkeys(MEASURED, 0.5)} for k in range(1, 20)]
    last = dict.fromkeys(MEASURED, ENDS[end][0]["value"]) if ENDS[end][0] else {}
    return before + [{"iteration": k, "training_loss": 1.0, **last} for k in range(20, 40)]


def make_run(folder, history, *, outcome=True, **configuration):
    create(folder, {"problem": "helmholtz", "weighting": "rba", "seed": 0, **configuration})
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    if outcome:
        (folder / "outcome.json").write_text(json.dumps({"iterations": history[-1]["iteration"]}))
    return folder


@pytest.mark.parametrize("end", ENDS)
def test_what_was_measured_last_is_what_every_result_says(end, tmp_path):
    folder, expected = make_run(tmp_path / "run", rows(end)), ENDS[end][1]
    (reported,) = gather([folder])
    training = prepare("helmholtz", backend="synthetic", points=60)
    compared = Compared.of(training, outcome_of(rows(end), 39))
    for network in (reported, compared):
        for name in MEASURED:
            assert network.final(name) == pytest.approx(expected, nan_ok=True), name
        assert network.error == pytest.approx(expected, nan_ok=True)
        spread = grouped_by_weighting([network])[0].error()
        assert spread is None if math.isnan(expected) else spread.values == (expected,)
    document = reported.summary()
    told = None if math.isnan(expected) else expected
    assert (document["relative_l2_error"], document["seconds"]) == (told, told)
    words = {-1: "-"}.get(told or -1, f"{expected:.3g}")
    assert f"<td>{words}</td>" in page([reported])
    (label,) = {cells[1].plain for cells, _ in comparison_table([compared]).rows if cells[0].plain == "final SNR"}
    assert label == words


def test_a_run_that_has_lost_its_numbers_says_so_in_the_table(tmp_path):
    lost = [{"iteration": k, "snr": 1.0 / k if k < 20 else None, "training_loss": None} for k in range(1, 40)]
    (reported,) = gather([make_run(tmp_path / "run", lost)])
    assert reported.is_complete
    assert f'<td class="words">{reported.timeline.nonfinite.statement}</td>' in page([reported])


@pytest.mark.parametrize("end", ["a number", "null", "not captured any more"])
def test_coefficients_are_those_of_the_last_row(end, tmp_path):
    (reported,) = gather([make_run(tmp_path / "run", rows(end))])
    there = {"k": ENDS[end][0]["value"]} if ENDS[end][0] else None
    assert reported.summary().get("coefficients") == there


SNR = {"snr": 2.0}
STRANGE = {
    "no SNR, no number": [{"iteration": 1, "training_loss": None}],
    "a loss alone": [{"iteration": k, "training_loss": 1.0 / k} for k in range(1, 20)],
    "losses of terms": [{"iteration": k, "term_losses": {"pde": 1.0, "boundary": 2.0}} for k in range(1, 20)],
    "iterations alone": [{"iteration": k} for k in range(1, 20)],
    "the start alone": [{"iteration": 0, **SNR}],
    "going backwards": [{"iteration": k, **SNR, "training_loss": 1.0} for k in (1, 50, 100, 20, 30)],
    "repeated": [{"iteration": k // 2, **SNR} for k in range(2, 40)],
    "below zero": [{"iteration": k, "snr": -1.0, "relative_l2_error": 0.1} for k in range(1, 20)],
    "texts": [{"iteration": k, "snr": "high", "training_loss": 1.0} for k in range(1, 20)],
    "lists": [{"iteration": k, "snr": [1.0, 2.0]} for k in range(1, 20)],
    "nothing": [],
}
"""Histories that are no curve, or hardly one."""


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("failure", ["", "a loss of nan"])
def test_whatever_a_run_has_recorded_its_page_is_made_and_the_others_are_on_it(strange, failure, tmp_path):
    sound = [{"iteration": k, "snr": 10.0 / k, "training_loss": 1.0} for k in range(1, 40)]
    make_run(tmp_path / "runs" / "sound", sound, weighting="uniform")
    make_run(tmp_path / "runs" / "strange", STRANGE[strange], outcome=False, failure=failure)
    reported = gather([tmp_path / "runs"])
    text = page(reported)
    for item in reported:
        assert f"<h2>{item.label}</h2>" in text
        assert f"<td>{item.last_iteration}</td>" in text
    assert f"failed: {failure}" in text if failure else "unfinished" in text
    drawn = {trace.name for trace in curves_figure(reported).data if trace.yaxis != "y"}
    has_loss = any(row.get("training_loss") is not None for row in STRANGE[strange])
    assert drawn >= {"uniform", *(["rba"] if has_loss else [])}


def test_iterations_that_go_backwards_are_drawn_in_order(tmp_path):
    (reported,) = gather([make_run(tmp_path / "run", STRANGE["going backwards"])])
    for figure in (curves_figure([reported]), recorded_figure([reported])):
        lines = [trace for trace in figure.data if "lines" in trace.mode and len(trace.x) == 5]
        assert lines
        assert all(list(line.x) == [1, 20, 30, 50, 100] for line in lines)


def test_what_cannot_be_read_is_named(tmp_path):
    own_columns = [{"iteration": k, f"column_{k}": 1.0} for k in range(1, 4000)]
    folder = make_run(tmp_path / "run", own_columns)
    with pytest.raises(ValueError, match="3999 rows") as caught:
        open_run(folder)
    assert str(folder) in str(caught.value)


MEMBERS = {
    "complete": {"outcome": True},
    "failed": {"outcome": False, "failure": "a loss of nan"},
    "interrupted": {"outcome": False},
}
GROUPS = [
    ("complete", "complete", "failed", "interrupted"),
    ("complete", "failed", "failed"),
    ("complete", "interrupted"),
    ("failed", "interrupted"),
    ("complete", "complete", "complete"),
]


@pytest.mark.parametrize("members", GROUPS, ids=", ".join)
def test_the_thick_line_of_a_report_is_over_the_networks_of_its_table(members, tmp_path):
    for seed, kind in enumerate(members):
        error = 0.1 * (seed + 1) if kind == "complete" else 9.0
        own = [{"iteration": k, "snr": 1.0, "relative_l2_error": error} for k in range(1, 100 if error < 9 else 50)]
        make_run(tmp_path / str(seed), own, seed=seed, settings={"iterations": 99}, **MEMBERS[kind])
    reported = gather([tmp_path])
    (group,) = grouped_by_weighting(reported)
    figure = curves_figure(reported)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["rba"]
    errors = [trace for trace in figure.data if trace.yaxis == "y3"]
    thick = [trace for trace in errors if trace.opacity == 1.0]
    assert len(errors) - len(thick) == len(members), "each network has a thin line"
    if not group.completed:
        assert thick == []
        return
    assert np.allclose(thick[0].y, group.error().median)
    assert thick[0].x[-1] == 99


@pytest.mark.parametrize("failed", [0, 1, 2])
def test_that_of_a_comparison_too(failed, monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    from phasecore.reporting.comparison_figure import draw_comparison

    kept = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: kept.append(self))
    runs = []
    for seed in range(3):
        error = 9.0 if seed < failed else 0.1 * (seed + 1)
        own = [{"iteration": k, "snr": 1.0, "relative_l2_error": error} for k in range(1, 50 if seed < failed else 100)]
        training = prepare("helmholtz", backend="synthetic", points=60, seed=seed)
        runs.append(Compared.of(training, outcome_of(own, 99), "a loss of nan" if seed < failed else ""))
    draw_comparison(runs, tmp_path / "compare.png")
    (group,) = grouped_by_weighting(runs)
    panel = kept[0].axes[1]
    (thick,) = [line for line in panel.lines if line.get_linewidth() == 2.0]
    assert np.allclose(thick.get_ydata(), group.error().median)
