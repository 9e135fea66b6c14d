"""Each law of weighting schemes against a scheme that breaks it."""

import itertools
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest

from phasecore.signals import Signals
from phasecore.testing import WEIGHTING_LAWS, WeightingSubject, check_weighting
from phasecore.testing.laws import run_laws
from phasecore.weighting import WeightingScheme


class State(NamedTuple):
    weights: dict
    extra: dict = MappingProxyType({})


def scheme(update=None, init=None, requires=("residuals",), per_point=("weights",), **options):
    """A sound scheme, `w <- 0.9 w + 0.1 abs(r)`, unless a part is replaced."""

    def sound_init(signals):
        xp = signals.namespace
        return State({term: xp.zeros_like(residual) for term, residual in signals["residuals"].items()})

    def sound_update(signals, state):
        xp = signals.namespace
        weights = {
            term: 0.9 * state.weights[term] + 0.1 * xp.abs(residual) for term, residual in signals["residuals"].items()
        }
        return weights, state._replace(weights=weights)

    return WeightingScheme(
        init or sound_init, update or sound_update, frozenset(requires), per_point=per_point, **options
    )


def each(function):
    """An update that makes a weight of each term from namespace, residual and old weight."""

    def update(signals, state):
        weights = {
            term: function(signals.namespace, residual, state.weights[term])
            for term, residual in signals["residuals"].items()
        }
        return weights, state._replace(weights=weights)

    return update


def mean_of_this_replica(signals, state):
    """Reduces its points with the namespace, where it should ask the signals."""
    xp = signals.namespace
    weights = {term: xp.mean(xp.abs(residual)) for term, residual in signals["residuals"].items()}
    return weights, state


def of_two_equations(signals, state):
    first, second = signals["residuals"]
    return {second: signals.namespace.abs(signals["residuals"][first])}, state


def divides_by_the_maximum(signals, state):
    sizes = {term: signals.namespace.abs(residual) for term, residual in signals["residuals"].items()}
    weights = {term: size / signals.maximum(size) for term, size in sizes.items()}
    return weights, state._replace(weights=weights)


def writes_in_place(signals, state):
    for term, residual in signals["residuals"].items():
        state.weights[term][:] = signals.namespace.abs(residual)
    return state.weights, state


def counts_in_a_closure():
    counter = itertools.count(1)
    return scheme(each(lambda xp, r, w: 0.9 * w + xp.abs(r) / next(counter)))


def init_from_values(signals):
    return State({term: signals.namespace.abs(r) for term, r in signals["residuals"].items()})


def init_one_array_twice(signals):
    zeros = {term: signals.namespace.zeros_like(r) for term, r in signals["residuals"].items()}
    return State(zeros, dict(zeros))


def init_double(signals):
    return State({term: np.zeros(r.shape) for term, r in signals["residuals"].items()})


def init_of_numbers(signals):
    return State(dict.fromkeys(signals["residuals"], 0.0))


def forgets_a_term(signals, state):
    weights = {term: signals.namespace.abs(r) for term, r in signals["residuals"].items()}
    first, *_ = weights.values()
    kept = weights if bool(first[0] > 0) else {}
    return kept, state._replace(weights=weights)


def grows(signals, state):
    return {}, state._replace(extra={"iteration": signals.namespace.zeros_like(next(iter(state.weights.values())))})


def by_position(xp, residual, weight):
    ramp = xp.ones_like(residual)
    ramp = xp.concat([2.0 * ramp[:1], ramp[1:]])
    return 0.9 * weight + 0.1 * ramp * xp.abs(residual)


def undeclared_rows(signals, state):
    weights = {term: state.weights[term] + signals.namespace.abs(r) for term, r in signals["residuals"].items()}
    return weights, state._replace(weights=weights)


def balances_what_is_not_minimized(signals, state):
    """Residuals have no weights of points, gradients have."""
    xp = signals.namespace
    lengths = {
        term: sum(xp.sum(xp.square(value)) for value in gradients.values())
        for term, gradients in signals["term_gradients"].items()
    }
    return {term: signals.mean(xp.square(r)) / lengths[term] for term, r in signals["residuals"].items()}, state


BROKEN = {
    "declares_itself": scheme(multiplies="cube"),
    "state_is_a_named_tuple_of_arrays": scheme(init=init_of_numbers),
    "per_point_state_has_a_row_for_each_point": scheme(each(lambda xp, r, w: xp.mean(xp.abs(r)))),
    "state_arrays_are_separate": scheme(init=init_one_array_twice),
    "init_reads_only_shapes": scheme(init=init_from_values),
    "reads_what_it_requires": scheme(requires=("residuals", "term_losses")),
    "state_and_signals_are_not_mutated": scheme(writes_in_place),
    "state_structure_is_stable": scheme(grows),
    "is_deterministic": counts_in_a_closure(),
    "weights_have_the_right_shape": scheme(each(lambda xp, r, w: xp.concat([w, w]))),
    "the_same_terms_are_always_weighted": scheme(forgets_a_term),
    "weights_are_finite": scheme(divides_by_the_maximum),
    "weights_of_squares_are_not_negative": scheme(each(lambda xp, r, w: w + r), multiplies="squared_residual"),
    "runs_compiled": scheme(each(lambda xp, r, w: xp.abs(r) if bool(xp.max(r) > 1) else w)),
    "agrees_across_libraries": scheme(each(lambda xp, r, w: xp.abs(r) * (1 + 1e-9 * (xp.__name__ != "numpy")))),
    "weights_follow_their_points": scheme(each(by_position)),
    "takes_batches": scheme(undeclared_rows, per_point=()),
    "reductions_go_through_the_signals": scheme(mean_of_this_replica),
    "takes_any_number_of_terms": scheme(of_two_equations),
    "composes_with_weights_of_points": scheme(
        balances_what_is_not_minimized, requires=("residuals", "term_gradients"), per_point=()
    ),
    "takes_points_that_moved": scheme(each(lambda xp, r, w: 1.0 * w), per_point=()),
    "a_batch_updates_as_its_rows": scheme(each(lambda xp, r, w: 0.9 * w + xp.abs(r) / xp.max(xp.abs(r)))),
}


def test_the_scheme_that_the_broken_ones_start_from_is_sound():
    assert not check_weighting(scheme()).known_failures


@pytest.mark.parametrize("law", WEIGHTING_LAWS, ids=lambda law: law.__name__)
def test_each_law_can_fail_and_says_what_to_change(law):
    broken = BROKEN[law.__name__]
    seen_not_stumbled_over = rf"  - (\w+, )*{law.__name__}(, \w+)*: (?!it raised)"
    with pytest.raises(AssertionError, match=seen_not_stumbled_over):
        run_laws("weighting scheme", [law], WeightingSubject(broken))


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda xp, r, w: xp.abs(r) * float(xp.max(r)), r"float\(array\)"),
        (lambda xp, r, w: xp.abs(r) * r.mean(), "no 'mean'"),
        (lambda xp, r, w: xp.cumulative_sum(xp.abs(r)), "xp.cumulative_sum is not there"),
        (lambda xp, r, w: np.sqrt(np.abs(np.asarray(r))), "numpy itself"),
        (lambda xp, r, w: sum(xp.abs(value) for value in r) + w, "loop over an array"),
        (lambda xp, r, w: xp.abs(r) * len(r), r"shape\[0\]"),
        (lambda xp, r, w: xp.abs(r)[r > 0], "use xp.where"),
    ],
)
def test_what_no_compiler_traces_is_refused_with_what_to_use_instead(function, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_weighting(scheme(each(function)), ["numpy"])


def test_known_failures_are_declared_with_a_reason_and_strictly():
    broken = BROKEN["a_batch_updates_as_its_rows"]
    reason = "normalized over the batch, as in the paper"
    report = check_weighting(
        broken,
        known_failures={
            "a_batch_updates_as_its_rows": reason,
            "reductions_go_through_the_signals": reason,
            "weights_are_finite": "0/0",
        },
    )
    assert report.known_failures["a_batch_updates_as_its_rows"] == reason
    with pytest.raises(AssertionError, match=r"do not fail.*is_deterministic"):
        check_weighting(scheme(), known_failures={"is_deterministic": "who knows"})
    with pytest.raises(AssertionError, match=r"no_such_law"):
        check_weighting(scheme(), known_failures={"no_such_law": "who knows"})


def mean_of_all(signals, state):
    return {term: signals.mean(signals.namespace.abs(r)) for term, r in signals["residuals"].items()}, state


def test_a_reduction_through_the_signals_is_sound():
    assert "reductions_go_through_the_signals" in check_weighting(scheme(mean_of_all)).passed


@pytest.mark.parametrize("every", [0, 2.5, True])
def test_iterations_between_updates_are_a_positive_integer(every):
    with pytest.raises(AssertionError, match=r"every is .*positive integer"):
        check_weighting(scheme(every=every))


def test_state_of_the_points_of_conditions_is_checked_too():
    def init(signals):
        xp = signals.namespace
        points = {**signals["residuals"], **signals["condition_residuals"]}
        return State({term: xp.zeros_like(residual) for term, residual in points.items()})

    def update(signals, state):
        xp = signals.namespace
        points = {**signals["residuals"], **signals["condition_residuals"]}
        weights = {term: 0.9 * state.weights[term] + xp.abs(residual) for term, residual in points.items()}
        return weights, state._replace(weights=weights)

    def shortened(signals):
        return State({term: values[:3] for term, values in init(signals).weights.items()})

    check_weighting(scheme(update, init, requires=("residuals", "condition_residuals")))
    with pytest.raises(AssertionError, match=r"per_point_state_has_a_row.*make it that of the residuals"):
        check_weighting(scheme(update, shortened, requires=("residuals", "condition_residuals")))


def test_a_signal_of_ones_own_is_made_up_on_demand():
    def update(signals, state):
        return dict(signals["term_gradient_norms"].items()), state

    def init(signals):
        return State({})

    def maker(generator, layout):
        return {term: generator.uniform(1, 2) for term in layout.terms}

    mine = WeightingScheme(init, update, frozenset({"term_gradient_norms"}))
    with pytest.raises(AssertionError, match=r"'term_gradient_norms' is not in.*pass signals="):
        check_weighting(mine)
    assert "agrees_across_libraries" in check_weighting(mine, signals={"term_gradient_norms": maker}).passed


def test_signals_are_a_real_signals_object():
    seen = []

    def init(signals):
        seen.append(signals)
        return State({})

    check_weighting(WeightingScheme(init, lambda signals, state: ({}, state), frozenset()), ["numpy"])
    assert all(isinstance(item, Signals) for item in seen)


@pytest.mark.parametrize("shape", [(), (1,), (3, 2)])
def test_a_field_of_the_state_may_be_an_array(shape):
    def init(signals):
        xp = signals.namespace
        zeros = {term: xp.zeros_like(residual) for term, residual in signals["residuals"].items()}
        zero = xp.sum(next(iter(zeros.values())))
        return State(zeros, xp.reshape(xp.stack([zero] * int(np.prod(shape))), shape))

    def update(signals, state):
        xp = signals.namespace
        weights = {term: 0.5 * state.weights[term] + xp.abs(r) for term, r in signals["residuals"].items()}
        return weights, State(weights, state.extra + 1.0)

    assert "state_is_a_named_tuple_of_arrays" in check_weighting(scheme(update, init)).passed
    with pytest.raises(AssertionError, match=r"per_point: received 'extra', which is an array"):
        check_weighting(scheme(update, init, per_point=("weights", "extra")), ["numpy"])
    with pytest.raises(AssertionError, match=r"state 'extra': received a float"):
        check_weighting(scheme(update, lambda signals: State({}, 0.0)), ["numpy"])
