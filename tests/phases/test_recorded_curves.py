"""Recorded curves are found wherever the project lies below them, or where a variable says; else the reader is told."""

import pytest
from recorded_curves import LABELS, VARIABLE, find


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A folder that has recorded curves, and none that the variable names."""
    monkeypatch.delenv(VARIABLE, raising=False)
    folder = tmp_path / "project" / "shared" / "recorded_curves"
    folder.mkdir(parents=True)
    (folder / LABELS).write_text("{}")
    return folder


@pytest.mark.parametrize("checkout", ["project/tests/a.py", "project/main/tests/phases/a.py", "project/a/b/c/d/a.py"])
def test_they_are_found_above_a_checkout_of_any_depth(checkout, beside, tmp_path):
    assert find(tmp_path / checkout) == beside


def test_the_variable_says_where_they_are(beside, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(beside))
    assert find(tmp_path / "elsewhere" / "tests" / "a.py") == beside
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"no recorded curves \(labels.json\) in \S+nowhere\. Say where"):
        find(beside / "a.py")


def test_where_there_are_none_it_is_said_where_they_were_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError) as caught:
        find(tmp_path / "main" / "tests" / "a.py")
    for folder in (tmp_path / "main" / "tests", tmp_path / "main", tmp_path):
        assert str(folder / "shared" / "recorded_curves") in str(caught.value)
    assert VARIABLE in str(caught.value)
