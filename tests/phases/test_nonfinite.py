"""Curves that end in what is no number say so, with the iteration; gaps that training gets over say nothing."""

import math

import numpy as np
import pytest

from phasecore.phases import Phase, detect, tracker
from phasecore.testing.curves import synthetic_curve

NAN, INFINITY = math.nan, math.inf
ITERATION = list(range(10, 3010, 10))
LATER = 1230
HIGH = [30.0] * len(ITERATION)
NORMS = {"gradient_mean_norm": HIGH, "gradient_std_norm": [1.0] * len(ITERATION)}
BASE = {"iteration": ITERATION, "snr": HIGH, "training_loss": [1e-2] * len(ITERATION)}


def offline(columns):
    return detect(columns)


def online(columns):
    init, update = tracker()
    state = init()
    for place in range(len(columns["iteration"])):
        timeline, state = update({name: values[place] for name, values in columns.items()}, state)
    return timeline


def from_on(values, iteration, value):
    return [value if step >= iteration else before for step, before in zip(ITERATION, values, strict=True)]


def curve(iteration=LATER, **ends):
    """The columns of BASE, and those that are named: each with the given value from an iteration on."""
    usual = NORMS | BASE
    return BASE | {name: from_on(usual.get(name, [0.5] * len(HIGH)), iteration, value) for name, value in ends.items()}


@pytest.fixture(params=[offline, online])
def found(request):
    return request.param


@pytest.mark.parametrize(
    ("ends", "statement"),
    [
        ({"snr": NAN, "training_loss": NAN}, "the training loss and the SNR are NaN"),
        ({"snr": INFINITY, "training_loss": -INFINITY}, "the training loss and the SNR are infinite"),
        ({"snr": NAN, "training_loss": INFINITY},
         "the training loss is infinite from iteration 1230 on, the SNR is NaN"),
        ({"snr": NAN}, "the SNR is NaN"),
        ({"snr": None, "training_loss": NAN}, "the training loss is NaN"),
        ({"gradient_mean_norm": 0.0, "gradient_std_norm": 0.0}, "the SNR is NaN"),
        ({"gradient_mean_norm": INFINITY, "gradient_std_norm": NAN, "snr": NAN}, "the SNR is NaN"),
        ({"snr": NAN, "adam_snr": NAN, "residual_order": NAN, "training_loss": NAN, "relative_l2_error": NAN},
         "the training loss, the SNR, the Adam SNR, the residual order and the relative error are NaN"),
    ],
)  # fmt: skip
def test_a_training_that_has_gone_to_nan_has_no_phase_and_says_from_where_on(found, ends, statement):
    timeline = found(curve(**ends))
    assert timeline.current is None
    assert timeline.nonfinite.iteration == LATER
    assert timeline.nonfinite.before is Phase.FITTING
    assert timeline.nonfinite.statement == f"{statement} from iteration 1230 on"
    assert timeline.reason == f"cannot tell: {timeline.nonfinite.statement}; before that, no diffusion yet: " + (
        "the SNR has not fallen for good"
    )
    assert timeline.phase_at(LATER - 10) is Phase.FITTING


def test_what_was_found_before_stays_found(found):
    made = synthetic_curve("sigmoid", seed=3, rise=(2.0, 2.0), noise=(0.2, 0.2)).columns
    whole = found({name: values.tolist() for name, values in made.items()})
    last = int(made["iteration"][-1])
    rows = {name: [*values.tolist(), *[NAN] * 3] for name, values in made.items()}
    ended = found(rows | {"iteration": [*made["iteration"].tolist(), last + 1, last + 2, last + 3]})
    assert ended.transitions == whole.transitions
    assert len(ended.transitions) == 2
    assert ended.nonfinite.iteration == last + 1


@pytest.mark.parametrize("value", [NAN, INFINITY])
def test_a_curve_of_nothing_but_nan(found, value):
    timeline = found({"iteration": ITERATION, "snr": [value] * 300, "training_loss": [value] * 300})
    assert timeline.reason.startswith(
        "cannot tell: 0 captures of the SNR, at least 10 are needed; the training loss and"
    )
    assert timeline.reason.endswith("from iteration 10 on")
    assert timeline.nonfinite.iteration == 10


@pytest.mark.parametrize("gaps", [[50], [50, 51, 52], [50, 90, 130, 200], range(0, 290, 3)])
@pytest.mark.parametrize("value", [NAN, INFINITY])
def test_gaps_that_training_gets_over_say_nothing(found, gaps, value):
    holes = {name: list(values) for name, values in BASE.items()}
    for gap in gaps:
        holes["snr"][gap] = holes["training_loss"][gap] = value
    assert found(holes) == found(BASE)


def test_one_capture_without_a_number_flips_no_phase_and_is_mentioned(found):
    timeline = found(curve(3000, snr=NAN, training_loss=NAN))
    assert timeline.current is Phase.FITTING
    assert timeline.nonfinite is None
    assert timeline.reason.endswith("; the training loss and the SNR are NaN from iteration 3000 on")


def test_an_end_no_longer_than_the_gaps_before_is_one_more_gap(found):
    holes = curve(2980, snr=NAN, training_loss=NAN)
    for name in ("snr", "training_loss"):
        holes[name][100:103] = holes[name][50:53] = [NAN] * 3
    assert found(holes).current is Phase.FITTING
    assert "NaN" not in found(holes).reason


@pytest.mark.parametrize("name", ["residual_order", "relative_l2_error", "training_loss"])
def test_one_quantity_without_numbers_is_mentioned_and_ends_no_phase(found, name):
    timeline = found(curve(**{name: NAN}))
    assert timeline.current is Phase.FITTING
    assert timeline.nonfinite is None
    assert timeline.reason.endswith(" is NaN from iteration 1230 on")


def test_an_adam_ratio_goes_on_telling_the_phase(found):
    assert found(curve(snr=NAN) | {"adam_snr": HIGH}).nonfinite is None


@pytest.mark.parametrize("name", ["snr", "training_loss", "residual_order"])
def test_what_was_not_recorded_any_more_is_no_nan(found, name):
    assert "NaN" not in found(curve(**{name: None})).reason
    assert found(curve(**{name: None})).nonfinite is None


def test_the_tracker_says_at_each_capture_what_the_detector_says_of_the_curve_so_far():
    random = np.random.default_rng(0)
    names = [
        "adam_snr",
        "residual_order",
        "training_loss",
        "relative_l2_error",
        "gradient_mean_norm",
        "gradient_std_norm",
    ]
    special = [NAN, INFINITY, None, 0.0]
    said = 0
    for _ in range(25):
        captures = int(random.integers(1, 50))
        columns = {"iteration": (np.cumsum(random.integers(1, 6, captures)) - 1).tolist()}
        for name in ["snr", *(name for name in names if random.random() < 0.6)]:
            values = [special[random.integers(4)] if random.random() < 0.35 else 0.5 for _ in range(captures)]
            end = int(random.integers(0, captures)) if random.random() < 0.5 else captures
            columns[name] = values[:end] + [NAN] * (captures - end)
        init, update = tracker()
        state = init()
        for place in range(captures):
            timeline, state = update({name: values[place] for name, values in columns.items()}, state)
            so_far = detect({name: values[: place + 1] for name, values in columns.items()})
            for one, other in ((timeline, so_far), (so_far, timeline)):
                if one.nonfinite is not None:
                    assert other.nonfinite is not None
                    assert (one.nonfinite.iteration, one.nonfinite.statement) == (
                        other.nonfinite.iteration,
                        other.nonfinite.statement,
                    )
                    said += 1
    assert said > 50


def test_rows_without_a_capture_change_nothing(found):
    made = synthetic_curve("sigmoid", seed=3, rise=(2.0, 2.0), noise=(0.2, 0.2)).columns
    columns = {name: values.tolist()[:600] for name, values in made.items()}
    columns["iteration"] = [2 * step for step in columns["iteration"]]
    spread = {name: [cell for value in values for cell in (value, None)] for name, values in columns.items()}
    spread["iteration"] = [cell for step in columns["iteration"] for cell in (step, step + 1)]
    assert found(spread) == found(columns)
    assert found(columns).transitions


def test_a_ratio_of_two_zeros_is_no_ratio_of_one(found):
    zeros = {"iteration": ITERATION, "gradient_mean_norm": [0.0] * 300, "gradient_std_norm": [0.0] * 300}
    assert "0 captures of the SNR" in found(zeros).reason
    assert "the SNR is NaN from iteration 10 on" in found(zeros).reason
