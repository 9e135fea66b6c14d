"""The history file survives what happens to files, and strict readers read it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phasecore import InputError
from phasecore.phases.rows import columns_of
from phasecore.recording.history import History, plain, read_rows


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_row_is_in_the_file_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.append({"iteration": 0, "snr": 1.5})
    assert strict((tmp_path / "history.jsonl").read_text()) == {"iteration": 0, "snr": 1.5}
    history.close()


def test_numbers_without_json_counterpart_become_null_and_read_back_as_nan(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.append(
        {"iteration": np.int64(3), "a": math.nan, "b": math.inf, "c": np.float32(-np.inf), "d": np.float32(0.5)}
    )
    history.close()
    text = (tmp_path / "history.jsonl").read_text()
    assert strict(text) == {"iteration": 3, "a": None, "b": None, "c": None, "d": 0.5}
    columns = columns_of(read_rows(tmp_path / "history.jsonl"))
    assert columns["d"].tolist() == [0.5]
    assert all(np.isnan(columns[name]).all() for name in "abc")


def test_every_cut_of_the_last_line_leaves_the_rows_before_it(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    whole = '{"iteration": 0, "snr": 1.0}\n'
    half = '{"iteration": 10, "snr": 2.0}'
    for length in range(len(half)):
        file.write_text(whole + half[:length])
        assert read_rows(file) == [{"iteration": 0, "snr": 1.0}], length
    file.write_text(whole + half)
    assert len(read_rows(file)) == 2


@pytest.mark.parametrize("line", ['{"iteration": 0, "snr', "[1, 2]", '{"snr": 1.0}', '{"iteration": "0"}'])
def test_a_bad_line_that_is_not_the_last_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(f'{{"iteration": 0}}\n{line}\n{{"iteration": 20}}\n')
    with pytest.raises(InputError, match="line 2"):
        read_rows(file)


def test_cut_drops_later_rows_and_the_half_written_line_then_appends(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text('{"iteration": 0}\n{"iteration": 10}\n{"iteration": 20}\n{"itera')
    history = History(file)
    assert history.cut(20) == [{"iteration": 0}, {"iteration": 10}]
    history.append({"iteration": 20, "snr": 4.0})
    history.close()
    assert read_rows(file) == [{"iteration": 0}, {"iteration": 10}, {"iteration": 20, "snr": 4.0}]
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]


def test_a_failure_while_cutting_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "history.jsonl"
    before = '{"iteration": 0}\n{"iteration": 10}\n{"itera'
    file.write_text(before)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        History(file).cut(10)
    assert file.read_text() == before


def test_plain_of_what_json_lacks() -> None:
    assert plain({"a": (1, Path("x")), 2: np.asarray([[1.0, np.nan]])}) == {"a": [1, "x"], "2": [[1.0, None]]}
    assert plain(True) is True
