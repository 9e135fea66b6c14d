"""Specifications are split as documented; what a comparison reads off a run is right; the figure is drawn."""

import math
from pathlib import Path

import numpy as np
import pytest

from phasecore import InputError, MissingDependencyError
from phasecore.backends import Outcome
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.comparison import Compared
from phasecore.reporting.comparison_figure import ROWS, draw_comparison
from phasecore.reporting.histories import running_median
from phasecore.reporting.palette import PHASE_COLOURS, PHASE_NAMES
from phasecore.reporting.wording import grouped, number
from phasecore.runs import execute, open_run, prepare
from phasecore.specifications import split_weightings


@pytest.mark.parametrize(
    ("text", "specifications"),
    [
        ("uniform", ["uniform"]),
        ("uniform,rba", ["uniform", "rba"]),
        (" uniform , rba ", ["uniform", "rba"]),
        ("rba:gamma=0.99,eta=0.01,uniform", ["rba:gamma=0.99,eta=0.01", "uniform"]),
        ("rba:gamma=0.9,rba:gamma=0.99,start=zeros,rba", ["rba:gamma=0.9", "rba:gamma=0.99,start=zeros", "rba"]),
    ],
)
def test_split(text: str, specifications: list[str]) -> None:
    assert split_weightings(text) == specifications


@pytest.mark.parametrize("text", ["", ",", "uniform,", "uniform,,rba", "gamma=1", "uniform,gamma=1", "rba,rba"])
def test_split_refuses(text: str) -> None:
    with pytest.raises(InputError, match="--weightings"):
        split_weightings(text)


def compared(columns: dict[str, list[float]], timeline: Timeline) -> Compared:
    training = prepare("helmholtz", backend="synthetic", points=60)
    rows = [
        {name: value for name, value in zip(columns, row, strict=True) if not math.isnan(value)}
        for row in zip(*columns.values(), strict=True)
    ]
    outcome = Outcome(1000, 10.0, 0.25, timeline, tuple(rows))
    return Compared(training, outcome, {name: np.asarray(values) for name, values in columns.items()})


def test_values_of_a_run() -> None:
    timeline = Timeline((Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ()),), Phase.DIFFUSION, "")
    run = compared({"iteration": [100, 200, 400], "seconds": [1.0, 3.0, 4.0], "snr": [2.0, 7.0, math.nan]}, timeline)
    assert run.start(Phase.DIFFUSION) == (150, 2.0)
    assert run.start(Phase.TOTAL_DIFFUSION) is None
    assert run.final("snr") == 7.0
    assert math.isnan(run.final("gradient_order"))


def test_running_median_against_a_naive_loop() -> None:
    random = np.random.default_rng(0)
    iteration = np.unique(random.integers(1, 10_000, 300)).astype(float)
    values = random.lognormal(size=iteration.size)
    naive = [np.median(values[np.abs(np.log10(iteration) - np.log10(centre)) <= 0.05]) for centre in iteration]
    np.testing.assert_allclose(running_median(iteration, values, 0.1), naive)


def test_every_phase_has_a_colour_and_a_name() -> None:
    assert set(PHASE_COLOURS) == set(PHASE_NAMES) == set(Phase)
    assert len(set(PHASE_COLOURS.values())) == len(Phase)


def test_the_figure_has_a_panel_per_row_and_run_with_shared_scales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: drawn.append(self) or save(self, *rest, **more))
    runs = []
    for weighting in ("uniform", "rba"):
        training = prepare(
            "helmholtz", backend="synthetic", points=60, weighting=weighting, output=tmp_path / weighting
        )
        outcome = execute(training)
        runs.append(Compared(training, outcome, open_run(tmp_path / weighting).history))
    draw_comparison(runs, tmp_path / "compare.png")
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    panels = np.asarray(drawn[0].axes).reshape(len(ROWS), 2)
    for row in panels:
        assert row[0].get_ylim() == row[1].get_ylim()
    for panel, run in zip(panels[0], runs, strict=True):
        assert panel.get_xscale() == panel.get_yscale() == "log"
        since = run.columns["iteration"] >= 1
        np.testing.assert_array_equal(panel.lines[-2].get_ydata(), run.columns["snr"][since])
        texts = [text.get_text().replace("\n", " ") for text in panel.texts]
        for transition in run.outcome.timeline.transitions:
            assert f"from {grouped(transition.iteration)} ({transition.confidence:.0%} sure)" in texts
            assert PHASE_NAMES[transition.phase] in texts
    for panel, run in zip(panels[1], runs, strict=True):
        assert f"final error {number(run.error)}" in [text.get_text() for text in panel.texts]
    lines = [text.get_text() for text in panels[-1, 0].get_legend().get_texts()]
    assert lines == ["as captured", "running median", "a phase begins"]


@pytest.mark.parametrize("iterations", [(1, 2), (4, 60), (990, 1000)])
def test_the_labels_of_transitions_stay_inside_the_panel(
    iterations: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: drawn.append(self) or save(self, *rest, **more))
    phases = (Phase.DIFFUSION, Phase.TOTAL_DIFFUSION)
    found = [Transition(p, at, (at, at), 0.97, ()) for p, at in zip(phases, iterations, strict=True)]
    timeline = Timeline(tuple(found), Phase.TOTAL_DIFFUSION, "")
    recorded = np.unique(np.geomspace(1, 1000, 100).round())
    columns = {"iteration": recorded.tolist(), "snr": (1.0 + recorded).tolist()}
    draw_comparison([compared(columns, timeline)], tmp_path / "compare.png")
    panel = drawn[0].axes[0]
    inside = panel.get_window_extent()
    labels = [text for text in panel.texts if "(97% sure)" in text.get_text()]
    assert len(labels) == 2
    for label in labels:
        box = label.get_window_extent()
        assert inside.x0 - 12 <= box.x0
        assert box.x1 <= inside.x1 + 12


@pytest.mark.parametrize("columns", [{}, {"snr": [math.nan] * 3}, {"snr": [0.0, 0.0, 0.0]}])
def test_a_quantity_that_was_not_recorded_is_said_to_be_so(tmp_path: Path, columns: dict[str, list[float]]) -> None:
    run = compared({"iteration": [10, 100, 1000], **columns}, Timeline((), None, "cannot tell"))
    draw_comparison([run], tmp_path / "compare.png")
    assert (tmp_path / "compare.png").stat().st_size > 10_000


def test_many_weightings_stand_in_bands_of_as_many_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: drawn.append(self))
    monkeypatch.setattr("phasecore.reporting.comparison_figure.ABREAST", 2)
    names = ("uniform", "rba", "vrba")
    trainings = [prepare("helmholtz", backend="synthetic", points=60, weighting=name) for name in names]
    columns = {"iteration": np.asarray([1.0, 10.0, 100.0]), "snr": np.asarray([3.0, 1.0, 2.0])}
    outcome = Outcome(100, 10.0, math.nan, Timeline((), None, "cannot tell"))
    draw_comparison([Compared(training, outcome, columns) for training in trainings], tmp_path / "compare.png")
    panels = drawn[0].axes
    assert len(panels) == 4, "a row of the SNR in each of two bands"
    assert [panel.get_title().strip() for panel in panels if panel.get_visible()] == [*names]


def test_without_matplotlib_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'phasecore\[report\]'"):
        draw_comparison([], tmp_path / "compare.png")
