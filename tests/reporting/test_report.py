"""The report of runs: what is read, what is drawn, and what the page says."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import phasecore
from phasecore.errors import InputError, MissingDependencyError
from phasecore.phases import Evidence, Phase, Timeline, detect
from phasecore.recording.folder import create, save_snapshot
from phasecore.reporting import gather
from phasecore.reporting.curves import MOST_DRAWN, curves_figure, recorded_figure
from phasecore.reporting.fields import fields_figure
from phasecore.reporting.histories import thinned
from phasecore.reporting.page import page as write_page
from phasecore.reporting.panels import in_cells, on_grid, panels_of
from phasecore.runs import open_run, write_report

VOID = {"meta", "br", "link", "img", "input"}


def row(iteration: int) -> dict[str, Any]:
    snr = 30.0 if iteration < 100 else 0.03 if iteration < 5000 else 3.0
    return {"iteration": iteration, "seconds": iteration / 100, "snr": snr, "relative_l2_error": 100.0 / iteration}


def make_run(folder: Path, *, last: int = 20_000, finished: bool = True, **configuration: Any) -> Path:
    create(folder, {"problem": "helmholtz", "problem_parameters": {"a1": 1, "a2": 4}, "weighting": "rba", "seed": 0,
                    "backend": "torch", "preset": "quick", **configuration})  # fmt: skip
    rows = [row(iteration) for iteration in range(10, last, 10)]
    (folder / "history.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    if finished:
        (folder / "outcome.json").write_text(json.dumps({"iterations": last}))
    return folder


def add_snapshot(folder: Path, iteration: int, *, dimension: int = 2, shift: float = 0.0) -> dict[str, Any]:
    random = np.random.default_rng(iteration)
    axes = [np.linspace(-1.0, 1.0, count) for count in (21, 11, 5, 3)[:dimension]]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dimension)
    points = random.uniform(-1.0, 1.0, (600, dimension))
    arrays = {"grid": grid, "points": points, "field_u": np.sin(grid).sum(axis=1) + shift,
              "residual_pde": random.normal(size=600), "weight_pde": random.uniform(size=600)}  # fmt: skip
    save_snapshot(folder, iteration, arrays)
    return arrays


class Balanced(HTMLParser):
    """Fails on tags that are closed in another order than opened; keeps the text and what is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


def read(file: Path) -> Balanced:
    return Balanced(file.read_text(encoding="utf-8"))


def test_the_page_says_what_detection_found(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    write_report([run], run / "report.html")
    page = read(run / "report.html")
    text = " ".join(page.text)
    timeline = detect(open_run(run).history)
    assert [item.phase for item in timeline.transitions] == [Phase.DIFFUSION, Phase.TOTAL_DIFFUSION]
    for transition in timeline.transitions:
        assert f"from {transition.iteration} ({transition.interval[0]} to {transition.interval[1]})" in text
        for item in transition.evidence:
            assert item.statement in page.text
    assert f"T{timeline.reason[1:]}." in page.text
    assert "helmholtz (a1 = 1, a2 = 4): rba" in page.text
    assert "unfinished" not in page.text
    assert page.loaded == []


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"points": 2500, "batches": 100}, {"points": 50, "batches": 2}, ["batches of 25 points. "]),
        (
            {"points": 2500, "batches": 100},
            {"points": 2500, "batches": 10},
            ["25 points (rba, batches 100), 250 points (uniform, batches 10)"],
        ),
        ({"points": 250, "batches": 100}, {"points": None, "batches": 10}, ["batches of 2.5 points. "]),
        ({"batches": None}, {}, []),
    ],
)
def test_the_page_says_what_the_level_of_the_snr_goes_with(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], said: list[str]
) -> None:
    """Of old runs too, which have points and batches among their settings and nothing more."""
    for name, settings in (("rba", first), ("uniform", second)):
        make_run(tmp_path / name, weighting=name, settings=settings)
    write_report([tmp_path / "rba", tmp_path / "uniform"], tmp_path / "report.html")
    text = " ".join(" ".join(read(tmp_path / "report.html").text).split())
    assert all(words in text for words in said)
    assert ("root of that number" in text) is bool(said)


def test_a_comparison_is_all_of_its_runs_in_order_of_their_start(tmp_path: Path) -> None:
    make_run(tmp_path / "both" / "a", weighting="rba", created_at_utc="2026-01-01T00:00:01Z")
    make_run(tmp_path / "both" / "b", weighting="uniform", created_at_utc="2026-01-01T00:00:00Z")
    other = make_run(tmp_path / "c", weighting="uniform", seed=3)
    again = tmp_path / "both" / "a"
    labels = [item.label for item in gather([tmp_path / "both", other, again])]
    assert labels == ["uniform, seed 0", "rba, seed 0", "uniform, seed 3"]


def test_runs_that_nothing_tells_apart_have_their_folders_names(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name) for name in "ab"]
    assert [item.label for item in gather(runs)] == [f"rba, {run}" for run in runs]


def test_a_killed_run_is_reported_as_far_as_it_came(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", last=3000, finished=False)
    with (run / "history.jsonl").open("a") as stream:
        stream.write('{"iteration": 3000, "sn')
    (item,) = write_report([run], tmp_path / "report.html")
    assert item.summary()["iterations"] == 2990
    assert item.summary()["phases"]["current"] == "diffusion"
    page = read(tmp_path / "report.html")
    assert "unfinished" in page.text
    assert "not reached" in page.text


def test_a_run_without_captures_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", last=0, finished=False)
    other = tmp_path / "other"
    create(other, {})
    write_report([run, other], tmp_path / "report.html")
    assert "Cannot tell: nothing was captured yet." in read(tmp_path / "report.html").text


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script><b>",
    "\"quoted\" & 'apostrophes' &amp; <!-- more",
    "{{ 7 * 7 }}{% raw %}",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_never_html(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"run {name.replace('/', '')}"
    run = make_run(folder, weighting=name, problem=f"of {name}", problem_parameters={name: name})
    add_snapshot(run, 1)
    write_report([run, make_run(tmp_path / "other", weighting=name, problem=f"of {name}")], tmp_path / "report.html")
    assert "<script>alert" not in (tmp_path / "report.html").read_text()
    page = read(tmp_path / "report.html")
    text = "".join(page.text)
    assert f"{name}, of {name} ({name} = {name})" in text
    assert f"Configuration, from {folder}" in page.text
    assert json.dumps({"weighting": name})[1:-1] in text


def test_what_a_probe_says_is_text_too(tmp_path: Path) -> None:
    (item,) = gather([make_run(tmp_path / "run")])
    evidence = Evidence("snr", '<img src="x"> rose & fell', 2.0)
    transition = replace(item.timeline.transitions[0], evidence=(evidence,))
    hostile = replace(item, timeline=Timeline((transition,), None, "no <b>phase</b>"))
    page = Balanced(write_page([hostile]))
    assert evidence.statement in page.text
    assert "No <b>phase</b>." in page.text
    assert page.loaded == []


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_what_holds_no_run_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"no run at .*{name}"):
        write_report([make_run(tmp_path / "run"), tmp_path / name], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(InputError, match="no folders"):
        write_report([], tmp_path / "report.html")


def test_a_report_is_replaced_and_any_other_file_is_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    file = tmp_path / "new" / "report.html"
    write_report([run], file)
    first = file.read_bytes()
    write_report([run], file)
    assert file.read_bytes() == first
    before = (run / "history.jsonl").read_bytes()
    with pytest.raises(InputError, match="no report"):
        write_report([run], run / "history.jsonl")
    assert (run / "history.jsonl").read_bytes() == before
    with pytest.raises(InputError, match="a folder"):
        write_report([run], run)
    with pytest.raises(InputError, match="cannot write"):
        write_report([run], run / "run.json" / "report.html")


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_what_is_not_installed_is_said_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    message = f"a report needs {package}, not installed. Install with: pip install 'phasecore[report]'"
    with pytest.raises(MissingDependencyError, match=re.escape(message)):
        write_report([tmp_path / "nowhere"], tmp_path / "report.html")


def test_a_run_has_a_bar_for_each_phase_and_its_curves_below(tmp_path: Path) -> None:
    (item,) = gather([make_run(tmp_path / "run")])
    figure = curves_figure([item])
    bars = [trace for trace in figure.data if trace.yaxis == "y"]
    spans = item.timeline.spans(item.last_iteration)
    assert [(trace.name, tuple(trace.x)) for trace in bars] == [
        ("fitting", (1, spans[0][2])),
        ("diffusion", spans[1][1:]),
        ("total diffusion", spans[2][1:]),
    ]
    assert len(figure.layout.shapes) == 3 * 2
    lines = [trace for trace in figure.data if trace.mode == "lines" and trace not in bars]
    assert [figure.layout[f"yaxis{place}"].title.text for place in (2, 3)] == ["gradient SNR", "relative L2 error"]
    assert np.allclose([np.max(lines[0].y), np.min(lines[0].y)], [30.0, 0.03])
    assert lines[1].x[-1] == item.last_iteration


def test_several_runs_share_panels_and_each_keeps_its_colour(tmp_path: Path) -> None:
    reported = gather([make_run(tmp_path / name, weighting=name) for name in ("uniform", "rba")])
    figure = curves_figure(reported)
    assert not figure.layout.shapes
    colours = {(trace.name, trace.line.color) for trace in figure.data if trace.mode == "lines" and trace.yaxis != "y"}
    assert len(colours) == 2
    legend = [trace.name for trace in figure.data if trace.showlegend]
    assert legend == ["uniform", "rba"]


def test_the_menu_shows_one_recorded_column_of_all_runs(tmp_path: Path) -> None:
    reported = gather([make_run(tmp_path / name, weighting=name) for name in ("uniform", "rba")])
    figure = recorded_figure(reported)
    assert figure is not None
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["snr", "relative_l2_error", "seconds"]
    history = reported[0].run.history
    for button in menu.buttons:
        shown = [trace for trace, visible in zip(figure.data, button.args[0]["visible"], strict=True) if visible]
        assert [trace.name for trace in shown] == ["uniform", "rba"]
        kept = thinned(history["iteration"], MOST_DRAWN)
        assert np.array_equal(shown[0].y, history[button.label][kept])
    visible = [trace.visible for trace in figure.data]
    assert visible == list(menu.buttons[0].args[0]["visible"])


def test_thinning_keeps_the_ends_and_every_part_of_the_logarithm() -> None:
    iteration = np.arange(1.0, 300_001.0)
    place = thinned(iteration, 500)
    assert place[0] == 0
    assert place[-1] == iteration.size - 1
    assert 300 < place.size <= 500
    steps = np.diff(np.log10(iteration[place]))
    assert steps[iteration[place][:-1] > 1000].max() < 2 * np.log10(3e5) / 499


def test_cells_hold_the_mean_of_their_points() -> None:
    random = np.random.default_rng(0)
    points, values = random.uniform(-1, 1, (500, 2)), random.normal(size=500)
    x, y, mean = in_cells(points, values)
    width, height = x[1] - x[0], y[1] - y[0]
    for row_number, centre_y in enumerate(y):
        for column, centre_x in enumerate(x):
            inside = np.abs(points - [centre_x, centre_y]) <= [width / 2, height / 2]
            naive = values[inside.all(axis=1)]
            assert (
                np.isnan(mean[row_number, column])
                if not naive.size
                else np.isclose(mean[row_number, column], naive.mean())
            )


def test_a_grid_in_any_order_is_drawn_where_its_points_are() -> None:
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 2, 7), indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid[random.permutation(len(grid))]
    x, y, values = on_grid(grid, 10 * grid[:, 0] + grid[:, 1])
    assert x.size <= 128
    assert np.allclose(values, 10 * x[None, :] + y[:, None])


def test_snapshots_are_drawn_one_iteration_at_a_time_the_last_first(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    arrays = {iteration: add_snapshot(run, iteration, shift=1.0 / iteration) for iteration in (1, 100)}
    figure = fields_figure(open_run(run))
    assert figure is not None
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps] == ["1", "100"]
    assert [trace.visible for trace in figure.data] == list(slider.steps[1].args[0]["visible"])
    problem = phasecore.problem("helmholtz", a1=1, a2=4)
    for step in slider.steps:
        expected = arrays[int(step.label)]
        field, error, residual, weight = (
            trace for trace, shown in zip(figure.data, step.args[0]["visible"], strict=True) if shown
        )
        exact = problem.reference(expected["grid"])["u"]
        assert np.allclose(np.asarray(field.z).T.ravel(), expected["field_u"], atol=1e-6)
        assert np.allclose(np.asarray(error.z).T.ravel(), expected["field_u"] - exact, atol=1e-6)
        mean = np.abs(expected["residual_pde"]).mean()
        cells = in_cells(expected["points"], np.abs(expected["residual_pde"]) / mean)[2]
        assert np.allclose(10 ** np.asarray(residual.z), cells, rtol=1e-5, equal_nan=True)
        assert np.allclose(weight.z, in_cells(expected["points"], expected["weight_pde"])[2], equal_nan=True)
        titles = [annotation["text"] for annotation in step.args[1]["annotations"]]
        size = np.sqrt(np.square(expected["field_u"] - exact).sum() / np.square(exact).sum())
        assert titles[:2] == ["u", f"error of u, relative L2 {size:.2g}"]
        assert titles[2] == f"|residual| of pde / its mean {mean:.2g}"


def test_without_a_known_problem_the_fields_are_drawn_without_errors(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problem="elsewhere", problem_parameters=None)
    add_snapshot(run, 5)
    figure = fields_figure(open_run(run))
    assert figure is not None
    assert len(figure.data) == 3


def test_four_coordinates_are_not_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problem=None)
    add_snapshot(run, 5, dimension=4)
    assert fields_figure(open_run(run)) is None
    write_report([run], tmp_path / "report.html")
    assert "No picture: pictures are made of one coordinate to three" in (tmp_path / "report.html").read_text()


def test_over_one_coordinate_outputs_and_reference_are_curves(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problem="lorenz", problem_parameters={"end": 1.0})
    grid = np.random.default_rng(0).permutation(np.linspace(0.0, 1.0, 41))[:, None]
    points = np.random.default_rng(1).uniform(0.0, 1.0, (30, 1))
    reference = phasecore.problem("lorenz", end=1.0).reference(grid)
    for iteration in (10, 20):
        fields = {f"field_{name}": values + 1 / iteration for name, values in reference.items()}
        residual = np.where(points[:, 0] < 0.5, 1.0, 3.0)
        save_snapshot(
            run,
            iteration,
            {"grid": grid, "points": points, **fields, "residual_rate": residual, "weight_rate": residual},
        )
    figure = fields_figure(open_run(run))
    assert figure is not None
    assert figure.layout.xaxis.title.text == "t"
    assert [step.label for step in figure.layout.sliders[0].steps] == ["10", "20"]
    for step in figure.layout.sliders[0].steps:
        shown = [trace for trace, visible in zip(figure.data, step.args[0]["visible"], strict=True) if visible]
        assert [trace.name for trace in shown] == ["x", "reference", "error", "y", "reference", "error", "z",
                                                   "reference", "error", "ratio", "weight"]  # fmt: skip
        order = np.argsort(grid[:, 0])
        for place, (_, values) in enumerate(reference.items()):
            field, exact, error = shown[3 * place : 3 * place + 3]
            assert np.array_equal(field.x, grid[order, 0])
            assert np.allclose(exact.y, values[order])
            assert np.allclose(error.y, 1 / int(step.label))
            assert np.allclose(np.asarray(field.y) - exact.y, error.y)
        assert np.allclose(shown[-2].y, residual[np.argsort(points[:, 0])] / residual.mean())
    assert figure.layout.annotations[0].text == "x, its reference dashed"
    assert figure.layout.yaxis7.type == "log"


def test_through_three_coordinates_slices_are_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problem=None, problem_source={"coordinates": ["x", "y", "t"]})
    arrays = add_snapshot(run, 5, dimension=3)
    save_snapshot(run, 5, {**arrays, "reference_u": arrays["field_u"] - 0.5})
    figure = fields_figure(open_run(run))
    assert figure is not None
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert [title for title in titles if not title.startswith(("error", "|", "w"))] == [
        "u at t = -1", "u at t = 0", "u at t = 1"
    ]  # fmt: skip
    for place, at in enumerate((-1.0, 0.0, 1.0)):
        own = arrays["grid"][:, 2] == at
        assert np.allclose(np.asarray(figure.data[2 * place].z).T.ravel(), arrays["field_u"][own], atol=1e-6)
        assert np.allclose(figure.data[2 * place + 1].z, 0.5)
    cells = in_cells(arrays["points"][:, :2], arrays["weight_pde"])[2]
    assert np.allclose(figure.data[-1].z, cells, equal_nan=True)
    assert titles[-1].endswith("over all t")


def test_a_run_without_snapshots_says_why_there_is_no_picture(tmp_path: Path) -> None:
    write_report([make_run(tmp_path / "run")], tmp_path / "report.html")
    assert "No picture: no snapshot was saved" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("count", [40, 600])
def test_weights_of_conditions_are_not_drawn_at_the_points_of_the_equations(tmp_path, count):
    arrays = add_snapshot(make_run(tmp_path / "run"), 100)
    panels = panels_of(arrays | {"weight_boundary": np.linspace(0.0, 1.0, count)}, {})
    assert [panel.title.split(",")[0] for panel in panels if panel.title.startswith("weights")] == ["weights of pde"]
