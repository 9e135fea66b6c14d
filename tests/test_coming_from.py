"""Every entry of ours in the tables of docs/coming_from.md is run, in the names that the page makes."""

import re
import types
from pathlib import Path

import pytest

import phasecore
from phasecore import registry
from phasecore.partials import parse_partial
from phasecore.problems.conditions import Condition
from phasecore.problems.domains.region import region_of

PAGE = (Path(__file__).parents[1] / "docs" / "coming_from.md").read_text()
CODES = [
    code for line in PAGE.splitlines() if line[:2] == "| " for code in re.findall(r"`([^`]+)`", line.split("|")[-2])
]
PLAIN = {"residuals", "reference", "relative_l2_error"}
"""Names of the contract of problems and of histories."""


@pytest.fixture(scope="module")
def names():
    module = types.ModuleType("documentation")
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "coming_from.md", "exec"), module.__dict__)
    return {**vars(module), "u": {"u_t": 0.0}}


def test_the_tables_are_read():
    assert len(CODES) > 30
    assert PLAIN - {"relative_l2_error"} <= set(dir(phasecore.Problem))


@pytest.mark.parametrize("code", [code for code in dict.fromkeys(CODES) if code not in PLAIN])
def test_an_entry_runs(code, names):
    if code.startswith("--sampling "):
        registry.as_sampling(code.removeprefix("--sampling "))
    elif code.startswith("phasecore run"):
        assert code == "phasecore run mine.py:Mine --iterations 1000"
    elif re.fullmatch("[a-z_]+", code) and code != "u":
        registry.weighting_scheme(code)
    elif code.startswith(("class ", "outputs = ")):
        exec(code + (": ..." if code.startswith("class") else ""), dict(names))
    else:
        found = eval(code, dict(names))
        if isinstance(found, dict):
            region_of("mine", found)
        if isinstance(found, str):
            parse_partial(found, ("u",), ("x", "y", "t"))
        if isinstance(found, Condition):
            problem = type("Made", (names["Mine"],), {"conditions": lambda self: [found]})()
            problem.check_partials()
            assert len(problem.sample(8, condition_points=6).conditions[0])
