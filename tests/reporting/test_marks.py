"""Marks of what policies had done: in the figure of a comparison, inside it, readable, one for each iteration."""

import dataclasses
import itertools

import numpy as np
import pytest

from phasecore.backends import Acted, Outcome
from phasecore.phases import Timeline
from phasecore.reporting.comparison import Compared
from phasecore.reporting.comparison_figure import draw_comparison
from phasecore.reporting.marks import LONGEST, placed_labels
from phasecore.reporting.seeds import Group, grouped_by_weighting
from phasecore.runs import prepare

ITERATIONS = np.unique(np.geomspace(1, 3000, 200).round())


def acted(iteration, action="switch_optimizer", to="lbfgs"):
    return Acted(iteration, "quasi_newton", action, to, f"total diffusion declared, since iteration {iteration // 2}")


def runs(*lists, failure=""):
    training = prepare("helmholtz", backend="synthetic", points=60)
    columns = {"iteration": ITERATIONS, "snr": ITERATIONS**-0.5, "relative_l2_error": ITERATIONS**-0.3}
    found = []
    for seed, actions in enumerate(lists):
        own = dataclasses.replace(training, settings=dataclasses.replace(training.settings, seed=seed))
        outcome = Outcome(3000, 10.0, 0.25, Timeline((), None, ""), actions=tuple(actions))
        found.append(Compared(own, outcome, columns, failure if seed == len(lists) - 1 else ""))
    return found


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    kept = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: kept.append(self) or save(self, *rest, **more))

    def draw(found):
        draw_comparison(found, tmp_path / "compare.png")
        panels = kept[-1].axes
        labels = [text for text in panels[0].texts if text.get_rotation() == 90]
        upright = [[line.get_xdata() for line in panel.lines if len({*line.get_xdata()}) == 1] for panel in panels]
        lines = [{round(at[0]) for at in every if len(at) == 2} for every in upright]
        return panels[0], labels, lines

    return draw


def test_every_panel_of_a_run_has_a_line_where_a_policy_acted_and_the_first_one_a_label(drawn):
    _, labels, lines = drawn(runs([acted(40, "scale_learning_rate", 0.1), acted(900), acted(900, "hold_weighting")]))
    assert lines == [{40, 900}] * len(lines)
    assert [label.get_text() for label in labels] == ["learning rate times 0.1", "optimizer lbfgs +1"]


MANY = {
    "at the sides": [acted(1), acted(3000, "stop", None)],
    "side by side": [acted(k, "snapshot", None) for k in range(1000, 1100, 3)],
    "long": [acted(500, "change_weighting", "relobralo:alpha=0.95,beta=0.99,temperature=0.1")],
    "often": [acted(k, ("hold_weighting", "release_weighting")[k % 2], None) for k in range(1, 3000, 7)],
}


@pytest.mark.parametrize("case", MANY)
def test_labels_stay_inside_and_apart(drawn, case):
    panel, labels, _ = drawn(runs(MANY[case]))
    renderer = panel.figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in labels]
    inside = panel.get_window_extent(renderer)
    assert boxes
    for box in boxes:
        assert inside.x0 <= box.x0
        assert box.x1 <= inside.x1
        assert inside.y0 <= box.y0
        assert box.y1 <= inside.y1
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


def test_seeds_have_a_line_at_the_median_and_the_number_that_acted(drawn):
    _, labels, lines = drawn(runs([acted(300)], [acted(500)], []))
    assert lines == [{400}] * len(lines)
    assert [label.get_text() for label in labels] == ["optimizer lbfgs, 2 of 3"]


def test_what_a_network_does_often_counts_once_and_a_failed_network_does_not_count():
    (group,) = grouped_by_weighting(runs([acted(300), acted(700)], [acted(500)], [acted(1)], failure="a loss of nan"))
    (done,) = group.done()
    assert (done.begins.values, done.words, done.policy) == ((300, 500), "optimizer lbfgs", "quasi_newton")
    assert group.to_json()["actions"][0]["iteration"] == {"median": 400.0, "low": 300.0, "high": 500.0, "count": 2}
    assert "actions" not in Group("rba", runs([])).to_json()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_labels_are_short_and_say_how_many_have_none(count):
    words = [f"weighting number_{k}" for k in range(count)]
    ((_, label),) = placed_labels({10: words}, 0.0, 3.0)
    assert len(label) <= LONGEST
    shown = label.count("weighting")
    assert label.endswith(f" +{count - shown}") == (shown < count)
