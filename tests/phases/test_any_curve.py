"""Whatever a curve holds: no crash, no warning, answers that make sense."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from phasecore.phases import Curve, Phase, Timeline, detect, tracker

COLUMNS = ["snr", "gradient_order", "adam_snr", "residual_order", "training_loss", "relative_l2_error"]


@st.composite
def curves(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    captures = draw(st.integers(0, 120))
    iteration = np.cumsum(10 ** random.uniform(0, draw(st.floats(0, 4)), captures)).astype(int) + np.arange(captures)
    columns = {"iteration": iteration}
    for name in ["snr", *draw(st.sets(st.sampled_from(COLUMNS)))]:
        values = 10.0 ** (draw(st.floats(0, 3)) * np.cumsum(random.normal(size=captures)))
        values[random.random(captures) < draw(st.floats(0, 1))] = draw(
            st.sampled_from([0.0, np.nan, np.inf, 1.0, 1e300])
        )
        columns[name] = values
    return columns


def check(timeline: Timeline, first: float, last: float):
    assert timeline.reason
    starts = [transition.iteration for transition in timeline.transitions]
    assert starts == sorted(starts)
    assert [transition.phase for transition in timeline.transitions] == sorted(
        {transition.phase for transition in timeline.transitions}, key=list(Phase).index
    )
    for transition in timeline.transitions:
        low, high = transition.interval
        assert low <= transition.iteration <= high
        assert max(first, 1) * 0.9 <= transition.iteration <= last
        assert 0.0 <= transition.confidence <= 1.0
        assert all(np.isfinite(item.log_odds) and item.statement for item in transition.evidence)
    if timeline.nonfinite is not None:
        assert timeline.current is None
        assert timeline.nonfinite.statement in timeline.reason
    elif timeline.transitions:
        assert timeline.current is timeline.transitions[-1].phase


@settings(deadline=None, max_examples=60)
@given(curves())
def test_offline(columns):
    curve = Curve.from_columns(columns)
    check(detect(curve), curve.iteration.min(initial=0), curve.iteration.max(initial=0))


@settings(deadline=None, max_examples=30)
@given(curves())
def test_online(columns):
    init, update = tracker()
    state = init()
    names = list(columns)
    for row in zip(*(values.tolist() for values in columns.values()), strict=True):
        timeline, state = update(dict(zip(names, row, strict=True)), state)
        check(timeline, columns["iteration"][0], row[0])
        for transition in timeline.transitions:
            assert transition.iteration <= transition.declared_at <= row[0]
