import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phasecore import InputError
from phasecore.partials import parse_partial

COORDINATES = ("x", "y", "t")
OUTPUTS = ("u", "psi", "p")

exponents = st.tuples(*[st.integers(0, 3)] * len(COORDINATES))


def spelled(output, powers, order=None):
    letters = [name for name, power in zip(COORDINATES, powers, strict=True) for _ in range(power)]
    return output + ("_" + "".join(order or letters) if letters else "")


@given(st.sampled_from(OUTPUTS), exponents, st.randoms())
def test_a_partial_is_read_whatever_the_order_of_differentiation(output, powers, random):
    letters = [name for name, power in zip(COORDINATES, powers, strict=True) for _ in range(power)]
    random.shuffle(letters)
    partial = parse_partial(spelled(output, powers, letters), OUTPUTS, COORDINATES)
    assert (partial.output, partial.operator, partial.order) == (output, ((powers, 1.0),), sum(powers))


def number(text):
    return 1.0 if text == "" else float(text)


@given(
    st.sampled_from(OUTPUTS),
    st.lists(
        st.tuples(st.sampled_from("+-"), st.sampled_from(["", "2", "0.5", "1e-4", "3.5E+2", "1e3"]), st.integers(0, 3)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["", " "]),
)
@example("u", [("-", "1e-4", 2)], "")
def test_a_sum_is_read_term_by_term(output, terms, space):
    order = 3
    expected = {}
    text = ""
    for sign, factor, first in terms:
        powers = (first, order - first, 0)
        symbol = spelled(output, powers)
        text += f"{space}{sign}{space}{factor}{'*' if factor else ''}{symbol}"
        expected[powers] = expected.get(powers, 0.0) + (1 if sign == "+" else -1) * number(factor)
    expected = {powers: factor for powers, factor in expected.items() if factor != 0}
    if not expected:
        with pytest.raises(InputError, match="cancels"):
            parse_partial(text, OUTPUTS, COORDINATES)
        return
    partial = parse_partial(text, OUTPUTS, COORDINATES)
    assert partial.output == output
    assert dict(partial.operator) == expected
    assert list(partial.operator) == sorted(partial.operator)


def test_names_of_several_letters_are_matched_whole_and_the_longest_output_wins():
    assert parse_partial("u_theta", ["u"], ["t", "theta"]).operator == (((0, 1), 1.0),)
    assert parse_partial("u_ttheta", ["u"], ["t", "theta"]).operator == (((1, 1), 1.0),)
    assert parse_partial("u_v_x", ["u", "u_v"], ["x"]).output == "u_v"
    assert parse_partial("u_ab", ["u"], ["ab", "a", "b"]).operator == (((1, 0, 0), 1.0),)
    assert parse_partial("u_aab", ["u"], ["aa", "ab", "a"]).operator == (((0, 1, 1), 1.0),)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("u_", "unreadable"),
        ("v", "unreadable"),
        ("u_z", "unreadable"),
        ("u__x", "unreadable"),
        ("ux", "unreadable"),
        ("u_x +", "unreadable"),
        ("+ + u", "unreadable"),
        ("two*u", "unreadable"),
        ("u*2", "unreadable"),
        ("nan*u", "unreadable"),
        ("inf*u_x", "unreadable"),
        ("2**u", "unreadable"),
        ("u_x*p_x", "unreadable"),
        ("u + p", "several outputs"),
        ("nu*u_x", "unreadable"),
        ("u_x*", "unreadable"),
        ("2 3*u_x", "unreadable"),
        ("u_xx - u_xx", "cancels"),
        ("0*u", "cancels"),
    ],
)
def test_what_is_no_partial_is_refused_with_what_would_be_one(name, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        parse_partial(name, OUTPUTS, COORDINATES)
    assert repr(name) in str(caught.value)
    assert "psi" in str(caught.value)


def test_factors_may_have_names():
    factors = {"nu": 0.25, "k": 3, "steep": True, "word": "half", "endless": math.inf, "nothing": None}
    partial = parse_partial("u_t - nu*u_xx + 2*k*k*u", OUTPUTS, COORDINATES, factors)
    assert dict(partial.operator) == {(0, 0, 1): 1.0, (2, 0, 0): -0.25, (0, 0, 0): 18.0}
    assert partial.order == 2
    assert parse_partial("2 * nu * u_x", OUTPUTS, COORDINATES, factors).operator == (((1, 0, 0), 0.5),)
    assert parse_partial("u_t - 0*u_xx", OUTPUTS, COORDINATES).operator == (((0, 0, 1), 1.0),)
    for wrong in ("steep", "word", "endless", "nothing", "unknown"):
        with pytest.raises(InputError, match="unreadable") as caught:
            parse_partial(f"{wrong}*u_x", OUTPUTS, COORDINATES, factors)
        assert "'nu'" in str(caught.value)


@given(st.text(alphabet="u_pxyt+-*. 0123eE", max_size=12))
def test_any_text_is_either_read_or_refused(text):
    try:
        partial = parse_partial(text, OUTPUTS, COORDINATES)
    except InputError:
        return
    assert partial.output in OUTPUTS
    assert partial.operator
    assert all(math.isfinite(factor) and factor != 0 for _, factor in partial.operator)
    assert max(sum(powers) for powers, _ in partial.operator) == partial.order


class Scalar:
    """What a tensor or a variable looks like to somebody who imports no framework."""

    dtype = "float64"

    def __init__(self, value, shape=()):
        self.value, self.shape = value, shape

    def __mul__(self, other):
        return self.value * other


@pytest.mark.parametrize("shape", [(), (1,)])
def test_factors_that_are_tensors_are_read_anew_each_time(shape):
    factors = {"nu": Scalar(3.0, shape), "k": 2.0, "c": Scalar(5.0)}
    partial = parse_partial("u_t - k*nu*u_xx + nu*u_yy - nu*k*c*u + 2*u_y", OUTPUTS, COORDINATES, factors)
    assert partial.summands == (
        ((), (((0, 0, 1), 1.0), ((0, 1, 0), 2.0))),
        (("c", "nu"), (((0, 0, 0), -2.0),)),
        (("nu",), (((0, 2, 0), 1.0), ((2, 0, 0), -2.0))),
    )
    assert partial.order == 2
    with pytest.raises(InputError, match=r"factors that are tensors \['c', 'nu'\]"):
        _ = partial.operator
    sizes = {(0, 0, 1): 1.0, (0, 1, 0): 10.0, (0, 0, 0): 100.0, (0, 2, 0): 1e3, (2, 0, 0): 1e4}

    def evaluate(operator):
        return sum(factor * sizes[exponents] for exponents, factor in operator)

    assert partial.total(evaluate, factors) == 1.0 + 20.0 - 2 * 5 * 3 * 100.0 + 3 * (1e3 - 2e4)
    factors["nu"].value = -1.0
    assert partial.total(evaluate, factors) == 1.0 + 20.0 + 2 * 5 * 100.0 - (1e3 - 2e4)


def test_a_tensor_of_several_numbers_is_no_factor():
    for shape in [(2,), (1, 1), (0,)]:
        with pytest.raises(InputError, match="unreadable partial derivative"):
            parse_partial("nu*u_xx", OUTPUTS, COORDINATES, {"nu": Scalar(1.0, shape)})


def test_a_sum_of_tensors_times_an_operator_that_cancels():
    factors = {"nu": Scalar(3.0)}
    partial = parse_partial("u_t + nu*u_xx - nu*u_xx", OUTPUTS, COORDINATES, factors)
    assert partial.operator == (((0, 0, 1), 1.0),)
    with pytest.raises(InputError, match="cancels to zero"):
        parse_partial("nu*u_xx - nu*u_xx", OUTPUTS, COORDINATES, factors)


@pytest.mark.parametrize(
    ("outputs", "coordinates", "told"),
    [
        (["u", "u_x"], ["x", "t"], "'u_x' for an output and for a derivative of 'u'"),
        (["u_xt", "u"], ["x", "t"], "'u_xt' for an output and for a derivative of 'u'"),
        (["p", "u", "u_theta"], ["r", "theta"], "'u_theta' for an output and for a derivative of 'u'"),
        (["u", "v", "u"], ["x"], "'u' for an output and for another output"),
        (["u", "x"], ["x", "t"], "'x' for an output and for a coordinate"),
    ],
)
def test_a_name_that_means_two_things_is_refused_whichever_partial_is_read(outputs, coordinates, told):
    for name in (outputs[0], outputs[-1], f"{outputs[-1]}_{coordinates[0]}"):
        with pytest.raises(InputError, match=f"received {told}; expected names that mean one thing each"):
            parse_partial(name, outputs, coordinates)


@pytest.mark.parametrize("name", ["u+v", "u-v", "2*u", " u", "", 0, None])
def test_a_name_that_no_partial_can_be_read_by_is_refused(name):
    for outputs, coordinates in (([name, "w"], ["x"]), (["w"], ["x", name])):
        with pytest.raises(InputError, match=f"received {re.escape(repr(name))}; expected texts without the signs"):
            parse_partial("w", outputs, coordinates)


def test_names_that_only_look_alike_are_read():
    for outputs in (["u", "u_v"], ["u", "ux"], ["u", "u_"], ["x_u", "u"], ["u", "U"], ["u", "u_x_t"], ["größe", "u 2"]):
        assert [parse_partial(name, outputs, ["x", "t"]).output for name in outputs] == outputs


@pytest.mark.parametrize(("name", "told"), [("nu*u_xx", "nu"), ("u_t - u_t + 2*nu*u_x", "nu"), ("k*nu*u", "nu")])
def test_a_partial_whose_factor_is_zero_is_told_so(name, told):
    with pytest.raises(InputError, match=rf", with {told} = 0; .* Where {told} may be 0, read the partial alone"):
        parse_partial(name, ["u"], ["x", "t"], {"nu": 0, "k": 2.0})
