"""Reading curves from CSV files, run folders and histories."""

import json

import numpy as np
import pytest

from phasecore.errors import InputError
from phasecore.recording.reading import read_curve

ROWS = [{"iteration": 1, "snr": 10.0, "seconds": 0.1}, {"iteration": 2, "snr": None}, {"iteration": 5, "snr": 0.5}]


def history(folder, rows, end="\n"):
    file = folder / "history.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + end)
    return file


def test_csv_with_empty_cells_unknown_columns_and_blank_lines(tmp_path):
    file = tmp_path / "curve.csv"
    file.write_text("iteration, snr ,note\n1,10,first\n2,,\n\n5,5e-1,last\n7,nan,\n9,inf,\n")
    curve = read_curve(file)
    assert curve.iteration.tolist() == [1, 2, 5, 7, 9]
    np.testing.assert_array_equal(curve.columns["snr"], [10.0, np.nan, 0.5, np.nan, np.nan])
    assert list(curve.columns) == ["snr"]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    file = tmp_path / "curve.csv"
    file.write_bytes(b"\xef\xbb\xbfiteration,snr\r\n1,2\r\n2,3\r\n")
    assert read_curve(str(file)).captures == 2


def test_history_and_run_folder_are_the_same(tmp_path):
    file = history(tmp_path, ROWS)
    for path in (file, tmp_path, str(tmp_path)):
        curve = read_curve(path)
        assert curve.iteration.tolist() == [1, 2, 5]
        np.testing.assert_array_equal(curve.columns["snr"], [10.0, np.nan, 0.5])


def test_a_quantity_may_be_missing_from_some_rows(tmp_path):
    history(tmp_path, [{"iteration": 1, "snr": 1.0}, {"iteration": 2, "snr": 1.0, "training_loss": 0.5}])
    np.testing.assert_array_equal(read_curve(tmp_path).columns["training_loss"], [np.nan, 0.5])


@pytest.mark.parametrize("half", ['{"iteration": 9, "sn', "{", '{"iteration": 9, "snr": 1.0'])
def test_a_half_written_last_line_is_left_out(tmp_path, half):
    history(tmp_path, ROWS, end="\n" + half)
    assert read_curve(tmp_path).captures == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"iteration": 1, "snr": 1}\n{"iter\n{"iteration": 3, "snr": 1}\n', "line 2"),
        ('{"iteration": 1, "snr": 1}\n{"iter\n', "line 2"),
        ('{"iteration": 1, "snr": 1}\n[1, 2]\n', "line 2: received list"),
        ('{"iteration": 1, "snr": 1}\n\n{"iteration": 2, "snr": "high"}\n', "line 3, 'snr': received 'high'"),
        ('{"iteration": 1, "snr": 1}\n{"iteration": 1, "snr": 1}\n', "iteration in row 2 is repeated"),
        ('{"snr": 1}\n', "iteration in row 1: received nan"),
        ('{"iteration": 1, "loss": 1}\n', "without a signal-to-noise ratio"),
    ],
)
def test_bad_histories_name_the_line(tmp_path, text, message):
    (tmp_path / "history.jsonl").write_text(text)
    with pytest.raises(InputError) as caught:
        read_curve(tmp_path)
    assert message in str(caught.value)
    assert "history.jsonl" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("iteration,snr\n1,2\n2\n", "line 3: received 1 cells; expected 2"),
        ("iteration,snr\n1,2\n2,high\n", "line 3, column 'snr': received 'high'"),
        ("iteration,snr,snr\n1,2,3\n", "line 1: received column 'snr' twice"),
        ("iteration,snr\n1,2\n1,3\n", "iteration in row 2 is repeated"),
        ("time,snr\n1,2\n", "without iterations: received the columns time, snr"),
        ("iteration,loss\n1,2\n", "without a signal-to-noise ratio: received the columns iteration, loss"),
    ],
)
def test_bad_csv_files(tmp_path, text, message):
    (tmp_path / "curve.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_curve(tmp_path / "curve.csv")
    assert message in str(caught.value)


def test_what_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_curve(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match=r"a folder without history\.jsonl"):
        read_curve(tmp_path)
    (tmp_path / "picture.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="a text file in UTF-8"):
        read_curve(tmp_path / "picture.csv")
