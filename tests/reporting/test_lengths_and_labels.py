"""The figure of a comparison: one axis of iterations for networks of any lengths, and labels where they belong."""

import dataclasses
import itertools

import numpy as np
import pytest

from phasecore.backends import Acted, Outcome
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.comparison import Compared
from phasecore.reporting.comparison_figure import draw_comparison
from phasecore.reporting.marks import heading_lines
from phasecore.reporting.palette import PHASE_NAMES
from phasecore.runs import prepare

GROUND = 0.25 * 9 * 100 / 72
"""How far the ground of a label goes beyond it, in pixels."""

PHASES = (Phase.DIFFUSION, Phase.TOTAL_DIFFUSION)


def run(last=1000, begins=(), weighting="rba", *, seed=0, actions=(), snr=1.0, **columns):
    """A run that was captured from the first iteration to the last, and went through phases."""
    training = prepare("helmholtz", backend="synthetic", points=60, seed=seed)
    iteration = np.unique(np.geomspace(1, last, 80).round())
    found = [Transition(phase, at, (at, at), 0.92, ()) for phase, at in zip(PHASES, begins, strict=False)]
    timeline = Timeline(tuple(found), found[-1].phase if found else Phase.FITTING, "")
    recorded = {"iteration": iteration, "snr": snr * iteration**-0.5, "relative_l2_error": iteration**-0.3}
    recorded |= {name: np.full(iteration.shape, value) for name, value in columns.items()}
    outcome = Outcome(last, 1.0, float(recorded["relative_l2_error"][-1]), timeline, actions=tuple(actions))
    return Compared(dataclasses.replace(training, scheme_name=weighting), outcome, recorded)


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """Draw runs, and return the panels, a row of them for each quantity."""
    from matplotlib.figure import Figure

    kept = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: kept.append(self) or save(self, *rest, **more))

    def drawn(runs):
        draw_comparison(runs, tmp_path / "compare.png")
        columns = len({item.weighting for item in runs})
        return np.asarray(kept[-1].axes).reshape(-1, columns)

    return drawn


def box(artist):
    return artist.get_window_extent(artist.figure.canvas.get_renderer())


LENGTHS = [(300, 3000, 30), (3000, 30), (1, 1000), (1, 1), (500, 500)]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_all_columns_show_the_longest_run_whole_and_each_ends_where_it_ends(lengths, draw):
    actions = [[Acted(last, "at_phase", "stop", None, "told so")] for last in lengths]
    runs = [run(last, [max(last // 2, 1)], f"w{place}", actions=actions[place]) for place, last in enumerate(lengths)]
    panels = draw(runs)
    for panel in panels.flat:
        assert panel.get_xlim() == (min(1, max(lengths) / 10), max(lengths))
    for column, (last, item) in enumerate(zip(lengths, runs, strict=True)):
        for panel in panels[:, column]:
            ends = [line.get_xdata()[-1] for line in panel.lines if len(line.get_xdata()) > 2 or last == 1]
            assert max(ends) == last, "the curve is there to its end"
        dots = [line for line in panels[1, column].lines if line.get_marker() == "o"]
        assert [(*dot.get_xdata(), *dot.get_ydata()) for dot in dots] == [(last, item.error)]
        for panel in panels[:, column]:
            edges = [max(patch.get_corners()[:, 0]) for patch in panel.patches]
            assert max(edges) == last, "no phase goes on beyond it"

    for panel in panels[0]:
        inside = box(panel)
        labels = [text for text in panel.texts if text.get_text() == "stop" or "sure" in text.get_text()]
        assert len(labels) == 2
        for label in labels:
            assert inside.x0 - 12 <= box(label).x0
            assert box(label).x1 <= inside.x1 + 12


HEADINGS = [
    "uniform",
    "rba:gamma=0.99,eta=0.01+grad_norm:every=100",
    "rba:gamma=0.99,eta=0.01,start=residuals,normalization=minmax+grad_norm:every=100+fixed:initial=100,pde=0.01",
    "fixed:pde=1e+30,initial=1e+30,left=1e-30,right=1E+7",
    "a_weighting_whose_name_has_no_sign_at_which_a_line_may_end",
    "rba, problem wave (speed = 2.0), iterations 100000",
]


@pytest.mark.parametrize("title", HEADINGS)
@pytest.mark.parametrize("begins", [[], [900, 990]], ids=["fitting", "all phases"])
def test_headings_stand_above_one_another(title, begins, draw):
    panels = draw([run(weighting=title, begins=begins), run(weighting="rba")])
    (first, other) = panels[0]
    assert first.get_title().replace("\n", "").replace(" ", "") == title.replace(" ", "")
    heading, subtitle = first.title, next(text for text in first.texts if "final error" in text.get_text())
    assert box(heading).y0 >= box(subtitle).y1
    names = [text for text in first.texts if text.get_text().replace("\n", " ") in PHASE_NAMES.values()]
    assert len(names) == 1 + len(begins)
    assert box(subtitle).y0 >= max(box(name).y1 for name in names)
    assert not box(heading).overlaps(box(other.title))
    assert box(heading).y1 <= box(first.figure._suptitle).y0


@pytest.mark.parametrize("title", [*HEADINGS, "", ",", "+", "a" * 200, "1e+5," * 20])
@pytest.mark.parametrize("longest", [5, 36])
def test_a_heading_is_whole_in_lines_that_are_not_too_long(title, longest):
    lines = heading_lines(title, longest)
    assert "".join(lines).replace(" ", "") == title.replace(" ", "")
    assert all(0 < len(line) <= longest for line in lines if title)
    if longest == 36 and len(title) < 100:
        assert not any(line.endswith(("e+", "E+")) for line in lines), "an exponent is whole"


NARROW = {
    "at the end": [[900], [900, 990], [990, 999]],
    "at the beginning": [[2], [2, 3], [1, 2]],
    "in the middle": [[100, 110], [30, 900]],
}


@pytest.mark.parametrize("where", NARROW)
@pytest.mark.parametrize("columns", [1, 2, 4])
def test_names_of_phases_stay_above_their_panel_and_apart(where, columns, draw):
    panels = draw([run(begins=NARROW[where][k % len(NARROW[where])], weighting=f"w{k}") for k in range(columns)])
    for panel in panels[0]:
        names = [text for text in panel.texts if text.get_text().replace("\n", " ") in PHASE_NAMES.values()]
        assert len(names) >= 2
        inside = box(panel)
        for name in names:
            assert inside.x0 - 2 <= box(name).x0
            assert box(name).x1 <= inside.x1 + 2
        for one, other in itertools.combinations(names, 2):
            assert not box(one).overlaps(box(other))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("begins", [[5], [40, 600], [500, 900]])
@pytest.mark.parametrize("heights", [(1.0,), (1.0, 1e5)], ids=["one height", "two heights"])
def test_no_label_with_a_ground_hides_a_curve(seeds, begins, heights, draw):
    runs = [
        run(begins=begins, weighting=f"w{place}", seed=seed, snr=height)
        for place, height in enumerate(heights)
        for seed in range(seeds)
    ]
    for panel in draw(runs)[0]:
        grounds = [box(text).padded(GROUND) for text in panel.texts if text.get_bbox_patch()]
        assert len(grounds) == len(begins)
        curves = [line for line in panel.lines if len(line.get_xdata()) > 2]
        assert curves
        for curve in curves:
            path = curve.get_transform().transform_path(curve.get_path())
            assert not any(path.intersects_bbox(ground, filled=False) for ground in grounds)


@pytest.mark.parametrize("error", [0.0, 1e-3, 1.0, 1e3])
def test_a_final_error_is_told_inside_its_panel(error, draw):
    item = run()
    item = dataclasses.replace(item, outcome=dataclasses.replace(item.outcome, relative_l2_error=error))
    panels = draw([item, run(weighting="other")])
    panel = panels[1, 0]
    (label,) = (text for text in panel.texts if text.get_text().startswith("final error"))
    assert box(panel).y0 <= box(label).y0
    assert box(label).y1 <= box(panel).y1
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert len(dots) == (error > 0), "0 is on no logarithmic axis"
    assert box(panel).height > 0.15 * panel.figure.bbox.height
