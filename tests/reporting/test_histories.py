"""What is drawn of a history: a quantity that was measured and is no number leaves a gap, a rarer one leaves none."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest

from phasecore.backends import Outcome
from phasecore.phases import Curve, Timeline
from phasecore.recording.folder import create
from phasecore.recording.history import plain
from phasecore.reporting import gather
from phasecore.reporting.comparison import Compared
from phasecore.reporting.comparison_figure import draw_comparison
from phasecore.reporting.curves import curves_figure, recorded_figure
from phasecore.reporting.histories import running_median, thinned, thinned_curve
from phasecore.reporting.seeds import median_curve
from phasecore.reporting.timeline_figure import draw_timeline
from phasecore.runs import prepare

ITERATIONS = sorted({round(10 ** (place / 20)) for place in range(61)})

GAP = (20, 200)
"""Between these iterations nothing is drawn, where a quantity was measured and is no number."""

LOST = {"null": None, "not a number": math.nan, "infinite": math.inf, "less than infinite": -math.inf}
"""What a row may have in place of a number."""

SPARSE = "captured less often"
LONELY, LONELY_AT = "a number in the middle of the gap", 50
CASES = [*LOST, "zero on a logarithmic scale", SPARSE]
QUANTITIES = ("snr", "relative_l2_error", "residual_order")


def rows(case, *, norms=False):
    """A history in which one quantity after another has no number within the gap, or is not captured there."""
    found = []
    for iteration in ITERATIONS:
        row = {"iteration": iteration, "snr": 100.0 / iteration, "relative_l2_error": iteration**-0.5}
        row |= {"residual_order": 0.5, "training_loss": 1.0 / iteration}
        if norms:
            row |= {"gradient_mean_norm": row.pop("snr"), "gradient_std_norm": 1.0}
        if GAP[0] < iteration < GAP[1] and (case, iteration) != (LONELY, LONELY_AT):
            for name in [name for name in row if name not in ("iteration", "training_loss")]:
                if case == SPARSE:
                    del row[name]
                elif case in LOST or case == LONELY:
                    row[name] = LOST.get(case)
                elif name != "residual_order":
                    row[name] = 0.0
        found.append(row)
    return found


def is_drawn_across(iteration, values):
    """Whether a line goes through the middle of the gap."""
    pairs = pairwise(zip(iteration, values, strict=True))
    drawn = [(one, other) for (one, here), (other, there) in pairs if np.isfinite([here, there]).all()]
    return any(one <= GAP[0] and GAP[1] <= other for one, other in drawn)


def compared(case, seed):
    training = prepare("helmholtz", backend="synthetic", points=60, seed=seed)
    outcome = Outcome(1000, 1.0, 0.1, Timeline((), None, ""), tuple(rows(case)))
    return Compared.of(training, outcome)


def lines_of(figure):
    """Those that follow a quantity, none that marks a place, and where they have dots."""
    lines = [line for panel in figure.axes for line in panel.lines if line.get_linestyle() != "None"]
    lines = [line for line in lines if len(line.get_xdata()) > 2]
    return [((line.get_xdata(), line.get_ydata()), line.get_markevery() or []) for line in lines]


def traces_of(figure, first):
    """Likewise of a figure of a report, in which the bars of phases may be first."""
    traces = [trace for trace in figure.data if (trace.yaxis or "y") != "y" or first == 0]
    traces = [trace for trace in traces if "lines" in trace.mode]
    sizes = [[] if trace.mode == "lines" else np.flatnonzero(trace.marker.size) for trace in traces]
    return [((trace.x, trace.y), list(dots)) for trace, dots in zip(traces, sizes, strict=True)]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    kept = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: kept.append(self))

    def draw(how, case):
        """Return the lines of a figure, and the places of the dots in each."""
        seeds = range(3 if "seeds" in how else 1)
        if how.startswith("comparison"):
            draw_comparison([compared(case, seed) for seed in seeds], tmp_path / "compare.png")
            return lines_of(kept[-1])
        if how.startswith("timeline"):
            history = rows(case, norms="norms" in how)
            draw_timeline(Curve.of(history), Timeline((), None, ""), tmp_path / "timeline.png")
            return lines_of(kept[-1])
        for seed in seeds:
            create(tmp_path / "runs" / str(seed), {"problem": "helmholtz", "weighting": "rba", "seed": seed})
            lines = [json.dumps(plain(row)) for row in rows(case)]
            (tmp_path / "runs" / str(seed) / "history.jsonl").write_text("".join(f"{line}\n" for line in lines))
        reported = gather([tmp_path / "runs"])
        if "recorded" in how:
            return traces_of(recorded_figure(reported), first=0)
        return traces_of(curves_figure(reported), first=1)

    return draw


FIGURES = ["comparison", "comparison of seeds", "timeline", "timeline of norms", "report", "report of seeds",
           "everything recorded"]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("how", FIGURES)
def test_a_gap_is_a_gap_in_every_figure(how, case, drawn):
    lines = drawn(how, case)
    for (iteration, values), _ in lines:
        shown = np.asarray(iteration)[np.isfinite(np.asarray(values, dtype=float))]
        assert shown.min() < GAP[0] < GAP[1] < shown.max(), "what lies on both sides is there"
    across = sum(is_drawn_across(*line) for line, _ in lines)
    assert across >= len(QUANTITIES) if case == SPARSE else across == 0


@pytest.mark.parametrize("how", ["comparison", "comparison of seeds", "report of seeds", "everything recorded"])
def test_a_number_between_two_gaps_is_a_dot(how, drawn):
    """No line goes through it: with a dot it is there."""
    dots = [[iteration[place] for place in places] for (iteration, _), places in drawn(how, LONELY)]
    assert sum(places == [LONELY_AT] for places in dots) >= len(QUANTITIES)
    assert all(places in ([], [LONELY_AT]) for places in dots)


CURVES = 5


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.4, 0.8, 1.0])
def test_the_median_over_seeds_takes_nothing_from_a_gap(missing):
    """Against a naive loop: a curve counts between two of its captures if it has a number at both."""
    random = np.random.default_rng(0)
    curves = []
    for _ in range(CURVES):
        iteration = np.unique(random.integers(1, 100, 30)).astype(float)
        values = random.lognormal(size=iteration.size)
        values[random.uniform(size=iteration.size) < missing] = np.nan
        curves.append((iteration, values))

    def value(curve, at):
        iteration, values = curve
        if not iteration[0] <= at <= iteration[-1]:
            return math.nan
        after = int(np.searchsorted(iteration, at))
        if iteration[after] == at:
            return values[after]
        share = np.log(at / iteration[after - 1]) / np.log(iteration[after] / iteration[after - 1])
        return (1 - share) * values[after - 1] + share * values[after]

    found = dict(zip(*median_curve(curves), strict=True))
    places = sorted({at for iteration, _ in curves for at in iteration})
    assert list(found) == [at for at in places if found and min(found) <= at <= max(found)], "gaps are in it"
    for at in places:
        known = [here for curve in curves if np.isfinite(here := value(curve, at))]
        expected = np.median(known) if 2 * len(known) > CURVES else math.nan
        np.testing.assert_allclose(found.get(at, math.nan), expected)
    ends = [values[place] for values in [list(found.values())] if values for place in (0, -1)]
    assert np.isfinite(ends).all(), "it begins and ends with a number"


@pytest.mark.parametrize("missing", [0.0, 0.01, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("most", [2, 50, 5000])
def test_a_thinned_curve_has_every_gap_between_its_numbers(missing, most):
    random = np.random.default_rng(1)
    iteration, values = np.arange(1.0, 2001.0), random.lognormal(size=2000)
    values[random.uniform(size=2000) < missing] = np.nan
    places = thinned_curve(iteration, values, most)[0].astype(int) - 1
    there = np.isfinite(values[places])
    assert there.sum() <= most
    kept = np.flatnonzero(np.isfinite(values))
    np.testing.assert_array_equal(places[there], kept[thinned(iteration[kept], most)])
    for one, other in pairwise(places[there]):
        between = places[(one < places) & (places < other)]
        assert between.size == (not np.isfinite(values[one : other + 1]).all()), "a NaN if there is one, and no more"


def test_the_running_median_has_the_gaps_of_what_it_follows():
    random = np.random.default_rng(2)
    iteration, values = np.arange(1.0, 301.0), random.lognormal(size=300)
    values[random.uniform(size=300) < 0.4] = np.nan
    there = np.isfinite(values)
    found = running_median(iteration, values)
    np.testing.assert_array_equal(np.isfinite(found), there)
    np.testing.assert_array_equal(found[there], running_median(iteration[there], values[there]))
