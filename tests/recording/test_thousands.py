"""Steps with thousands separators: read as what they are, or refused, and never as a thousandth of it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasecore.recording.delimited import number_of
from phasecore.recording.thousands import UnclearStepError, without_thousands

STEPS = st.lists(st.integers(0, 5_000_000), min_size=1, max_size=30)
SEPARATORS = [",", ".", "'", "\u2019", " ", "\u00a0", "\u202f"]
OTHERS = {".": ["30.0", "0.031", "1e-05"], ",": ["30,0", "0,031", "1e-05"], "": ["30", "2"], "1.": ["30.125", "1.234"]}


def read(steps, others):
    return [number_of(step, decimal_comma=True) for step in without_thousands(steps, others)]


CLEAR = [(",", "."), (",", ""), (",", "1."), (".", ",")]
"""Separators, and what marks decimals in the other columns."""


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("mark", OTHERS)
@given(steps=STEPS)
def test_a_column_of_whole_numbers_is_read_as_it_is_or_refused(separator, mark, steps):
    written = [f"{step:,}".replace(",", separator) for step in steps]
    has_separator = any(separator in text for text in written)
    is_clear = (
        separator not in ".,"
        or mark == {".": ",", ",": "."}[separator]
        or (separator, mark) in ((",", ""), (",", "1."))
    )
    if is_clear or not has_separator:
        assert read(written, OTHERS[mark]) == steps
        return
    with contextlib.suppress(UnclearStepError, ValueError):
        found = read(written, OTHERS[mark])
        # the separator is the decimal mark of all that the file has, as if the steps had been written with decimals
        assert (separator, mark) in [(".", "."), (".", "1.")]
        assert found == [float(text) for text in written]


@pytest.mark.parametrize("separator", ".,")
@given(steps=st.lists(st.integers(0, 5_000_000), min_size=1, max_size=30), digits=st.sampled_from([1, 2, 3, 4]))
def test_steps_with_decimals_are_read_as_they_are_or_refused(separator, steps, digits):
    written = [f"{step / 1000:.{digits}f}".replace(".", separator) for step in steps]
    others = OTHERS[separator]
    with contextlib.suppress(UnclearStepError):
        assert read(written, others) == [float(text.replace(",", ".")) for text in written]
        return
    assert digits == 3
    assert separator == ","


@pytest.mark.parametrize("odd", ["12000", "1e3", 12000, "2.000", "1,00", "1,0000"])
def test_a_column_that_is_not_of_one_kind_is_refused(odd):
    for steps in (["1,000", odd], [odd, "1,000"], ["500", "1,000", odd, "2,000"]):
        with pytest.raises(UnclearStepError) as caught:
            without_thousands(steps, ["0.5"])
        assert steps[caught.value.place] in ("1,000", "2.000")


def test_what_was_not_recorded_is_no_number_of_another_kind():
    missing = [None, "", "nan", "NA"]
    assert without_thousands(["1,000", *missing, "2,000"], ["0.5"]) == ["1000", *missing, "2000"]
