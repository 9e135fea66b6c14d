"""The figure of a comparison: one axis of iterations for networks of any lengths, and labels where they belong."""

import dataclasses

import numpy as np
import pytest

from phasecore.backends import Acted, Outcome
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.comparison import Compared
from phasecore.reporting.comparison_figure import draw_comparison
from phasecore.runs import prepare

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
