"""Statistics over seeds: only what is there counts, and the figure shows medians with their ranges."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from phasecore.backends import Acted, Outcome
from phasecore.cli.tables import pairs_table
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.comparison import Compared
from phasecore.reporting.comparison_figure import ROWS, draw_comparison
from phasecore.reporting.seeds import (
    BEGINS,
    Group,
    Paired,
    Spread,
    grouped_by_weighting,
    median_curve,
    paired,
    summary_of,
)
from phasecore.runs import prepare


def timeline(*begins: int) -> Timeline:
    found = [Transition(phase, at, (at - 1, at + 1), 0.9, ()) for phase, at in zip(BEGINS, begins, strict=False)]
    return Timeline(tuple(found), found[-1].phase if found else Phase.FITTING, "")


@dataclass(frozen=True)
class Trained:
    weighting: str
    seed: int
    error: float
    timeline: Timeline
    is_complete: bool = True
    seconds: float = 1.0
    actions: tuple[Acted, ...] = ()
    iterations: int = 100
    scheme: str = ""
    points: int = 50
    problem: str = "helmholtz"

    @property
    def trained(self) -> dict[str, Any]:
        settings = {"iterations": self.iterations, "points": self.points, "problem": self.problem}
        return {"weighting": self.scheme or self.weighting, **settings}

    def final(self, name: str) -> float:
        return math.nan


def test_only_networks_that_were_trained_to_the_end_count() -> None:
    group = Group("rba", [Trained("rba", 0, 0.1, timeline(10)), Trained("rba", 1, 0.9, timeline(90), False)])
    assert group.error() == Spread((0.1,))
    assert group.start(Phase.DIFFUSION) == Spread((10.0,))
    assert group.final("snr") is None
    assert group.to_json()["completed"] == 1


def test_the_timeline_of_a_group_has_what_most_reached() -> None:
    reached = [timeline(20, 300), timeline(10, 100), timeline(40), timeline(30)]
    group = Group("rba", [Trained("rba", seed, 0.1, item) for seed, item in enumerate(reached)])
    (begun,) = group.timeline().transitions
    assert (begun.phase, begun.iteration, begun.interval) == (Phase.DIFFUSION, 25, (10, 40))
    assert group.start(Phase.TOTAL_DIFFUSION) == Spread((300.0, 100.0))


def test_pairs_are_of_one_seed_and_of_what_both_have() -> None:
    base = [
        Trained("uniform", seed, error, timeline(at)) for seed, error, at in ((0, 1.0, 10), (1, 2.0, 20), (2, 4.0, 0))
    ]
    own = [
        Trained("rba", 1, 1.0, timeline(10, 99)),
        Trained("rba", 2, math.nan, timeline(7)),
        Trained("rba", 5, 9.0, timeline()),
    ]
    pair = Paired.of(Group("rba", own), Group("uniform", base))
    assert pair.error == Spread((0.5,))
    assert pair.starts[Phase.DIFFUSION] == Spread((0.5,)), "an iteration 0 has no ratio"
    assert pair.starts[Phase.TOTAL_DIFFUSION] is None
    assert list(pair.to_json()) == ["weighting", "against", "pairs", "relative_l2_error", "diffusion"]
    assert pair.to_json()["pairs"] == 2


@pytest.mark.parametrize("error", [1.0, math.nan])
@pytest.mark.parametrize("reached", [1, 2, 4])
def test_the_table_says_of_how_many_pairs_a_ratio_is(error: float, reached: int) -> None:
    """With a reference solution and without one; networks that were not trained to the end make no pair."""
    networks = [
        Trained(weighting, seed, error, timeline(10) if seed < reached else timeline(), is_complete=seed < 4)
        for weighting in ("uniform", "rba")
        for seed in range(6)
    ]
    (pair,) = paired(grouped_by_weighting(networks))
    assert pair.count == 4
    stream = io.StringIO()
    Console(file=stream, width=100).print(pairs_table([pair]))
    assert (f"1, {reached} of 4" in stream.getvalue()) is (reached < 4)
    assert " of " not in stream.getvalue().replace(f"1, {reached} of 4", "")


def test_weightings_without_a_common_seed_have_no_ratios() -> None:
    networks = [Trained("uniform", 0, 0.1, timeline()), Trained("rba", 1, 0.1, timeline())]
    assert summary_of(grouped_by_weighting(networks))["paired"] == []


UNIFORM, RBA, CAUSAL = "uniform", "rba", "causal"

GROUPS = {
    "alike": ([(UNIFORM, {}), (RBA, {}), (CAUSAL, {})], {1: 0, 2: 0}),
    "one of the first weighting went on": (
        [(UNIFORM, {"iterations": 200}), (UNIFORM, {}), (RBA, {}), (CAUSAL, {})],
        {2: 1, 3: 1},
    ),
    "all of the first weighting went on": ([(UNIFORM, {"iterations": 200}), (RBA, {}), (CAUSAL, {})], {}),
    "one of another weighting went on": ([(UNIFORM, {}), (RBA, {}), (RBA, {"iterations": 200})], {1: 0}),
    "both went on": (
        [(UNIFORM, {"iterations": 200}), (UNIFORM, {}), (RBA, {}), (RBA, {"iterations": 200})],
        {2: 1, 3: 0},
    ),
    "two sizes": ([(UNIFORM, {}), (RBA, {}), (RBA, {"points": 90}), (UNIFORM, {"points": 90})], {1: 0, 2: 3, 3: 0}),
    "one weighting in two ways": ([(RBA, {}), (RBA, {"points": 90})], {1: 0}),
    "two problems": ([(UNIFORM, {}), (RBA, {"problem": "burgers"}), (RBA, {})], {2: 0}),
}
"""Groups in order, and of those that are compared with another one the place of that one."""


@pytest.mark.parametrize("case", GROUPS)
@pytest.mark.parametrize("seeds", [(0,), (2, 0, 1)])
def test_ratios_are_between_networks_that_differ_in_their_weighting(case: str, seeds: Sequence[int]) -> None:
    made, expected = GROUPS[case]
    groups = []
    for place, (scheme, settings) in enumerate(made):
        name = f"{scheme}, {place}"
        networks = [Trained(name, seed, 2.0**place, timeline(10), scheme=scheme, **settings) for seed in seeds]
        groups.append(Group(name, networks))
    found = {(pair.weighting, pair.against): pair for pair in paired(groups)}
    assert list(found) == [(groups[one].weighting, groups[other].weighting) for one, other in expected.items()]
    for (one, other), pair in zip(expected.items(), found.values(), strict=True):
        assert pair.error == Spread((2.0 ** (one - other),) * len(seeds))
        assert pair.count == len(seeds)


def test_the_median_curve_is_that_of_a_naive_loop() -> None:
    random = np.random.default_rng(0)
    grid = np.unique(random.integers(1, 1000, 40)).astype(float)
    values = random.lognormal(size=(5, grid.size))
    iteration, median = median_curve(
        [(grid[: grid.size - 4 * place], row[: grid.size - 4 * place]) for place, row in enumerate(values)]
    )
    assert iteration.tolist() == grid[: grid.size - 8].tolist(), "where more than half of the curves go on"
    naive = [
        np.median([row[at] for place, row in enumerate(values) if at < grid.size - 4 * place])
        for at in range(len(iteration))
    ]
    np.testing.assert_allclose(median, naive)
    assert [part.size for part in median_curve([(np.empty(0), np.empty(0))])] == [0, 0]


def runs(with_error: bool) -> list[Compared]:
    iteration = np.unique(np.geomspace(1, 1000, 60).round())
    made = []
    for weighting in ("uniform", "rba"):
        for seed in (0, 1, 2):
            training = prepare("helmholtz", backend="synthetic", points=60, weighting=weighting, seed=seed)
            columns = {"iteration": iteration, "snr": (1.0 + seed) * 100 / iteration}
            if with_error:
                columns["relative_l2_error"] = (1.0 + seed) / iteration
            found = (
                timeline(20 + seed, 300 + 50 * seed) if weighting == "rba" else timeline(*[30, 500][: 1 + (seed == 2)])
            )
            outcome = Outcome(1000, 10.0, columns["relative_l2_error"][-1] if with_error else math.nan, found)
            failure = "lost" if (weighting, seed) == ("uniform", 0) else ""
            made.append(Compared(training, outcome, columns, failure))
    return made


@pytest.mark.parametrize("with_error", [True, False])
def test_the_figure_has_thin_lines_a_median_and_ranges(
    with_error: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: drawn.append(self))
    draw_comparison(runs(with_error), tmp_path / "compare.png")
    rows = 2 if with_error else 1
    assert len(ROWS) == 3
    panels = np.asarray(drawn[0].axes).reshape(rows, 2)
    (*_, median) = panels[0, 1].lines
    thin = [line for line in panels[0, 1].lines if line.get_linewidth() < 1 and line.get_linestyle() == "-"]
    assert len(thin) == 3
    assert median.get_linewidth() >= 2 * thin[0].get_linewidth()
    np.testing.assert_allclose(median.get_ydata(), thin[1].get_ydata())
    texts = [text.get_text() for text in panels[0, 1].texts]
    assert {"21 (20\u201322)", "350 (300\u2013400)"} <= set(texts)
    uniform = [text.get_text() for text in panels[0, 0].texts]
    assert "30" in uniform
    assert "500, 1 of 2" not in uniform
    assert any("2 of 3 seeds, the others failed" in text for text in uniform)
    assert "total diffusion in 1 of 2: 500" in uniform
    everything = " ".join(text.get_text() for panel in panels.flat for text in panel.texts)
    assert "nan" not in everything
    assert ("final error" in everything) == with_error
