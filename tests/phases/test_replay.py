"""What is said of a recorded curve afterwards is what was said while it was recorded."""

import pytest

from phasecore.errors import InputError
from phasecore.phases import Curve, declarations, replay, tracker
from phasecore.testing.curves import synthetic_curve


def announced(curve):
    """The first mention of each phase, as a person at the tracker would note it down."""
    init, update = tracker()
    state, notes = init(), {}
    for place, iteration in enumerate(curve.iteration.tolist()):
        row = {name: curve.values(name)[place] for name in curve.columns}
        timeline, state = update({"iteration": iteration, **row}, state)
        for transition in timeline.transitions:
            if transition.phase not in notes:
                notes[transition.phase] = (transition.iteration, iteration)
    return notes, timeline


@pytest.mark.parametrize("family", ["sigmoid", "overshoot", "false rises", "no fitting plateau", "only flicker"])
@pytest.mark.parametrize("seed", [0, 1])
def test_declarations_are_what_was_announced(family, seed):
    curve = Curve.from_columns(synthetic_curve(family, seed=seed).columns)
    notes, last = announced(curve)
    assert {item.phase: (item.iteration, item.declared_at) for item in declarations(curve)} == notes
    assert replay(curve) == last


QUICK_RUN = {
    1: 15552.869, 2: 3728.116, 3: 1585.718, 4: 852.003, 5: 519.775, 6: 343.306, 7: 239.32, 8: 173.407, 9: 129.309,
    10: 98.56, 12: 60.014, 13: 47.624, 15: 30.63, 16: 24.728, 18: 16.188, 20: 10.538, 23: 5.28, 26: 2.282, 29: 0.59,
    30: 0.245, 32: 0.387, 36: 0.894, 40: 0.969, 45: 0.786, 50: 0.518, 51: 0.467, 57: 0.212, 60: 0.13, 64: 0.079,
    70: 0.083, 71: 0.085, 80: 0.081, 90: 0.075, 100: 0.076, 110: 0.073, 120: 0.07, 130: 0.068, 140: 0.069, 150: 0.071,
}  # fmt: skip
"""The SNR of a run of `rba` on a small network, whose fall goes on after a halt."""


def test_a_declaration_is_kept_as_it_was_made_though_it_was_moved_or_taken_back():
    curve = {"iteration": list(QUICK_RUN), "snr": list(QUICK_RUN.values())}
    (first,) = declarations(curve)
    before = {name: values[: list(QUICK_RUN).index(first.declared_at) + 1] for name, values in curve.items()}
    assert replay(before).transitions == (first,)
    (last,) = replay(curve).transitions
    assert last.iteration > first.iteration
    assert last.declared_at > first.declared_at


def test_no_curve_is_refused():
    for columns in ({}, {"iteration": [1, 1], "snr": [1.0, 2.0]}):
        with pytest.raises(InputError):
            declarations(columns)
        with pytest.raises(InputError):
            replay(columns)
