"""Whatever a file holds, reading it raises errors of ours alone, takes bounded memory, and executes nothing."""

import io
import json
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import hostile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phasecore.backends import Acted
from phasecore.errors import InputError
from phasecore.phases import detect
from phasecore.phases.rows import columns_of
from phasecore.recording.history import read_rows
from phasecore.recording.reading import read_curve
from phasecore.recording.row_order import in_order
from phasecore.recording.untrusted import MOST_DOCUMENT, read_arrays, read_bytes
from phasecore.runs import open_run

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def exchanged(document):
    """The document with some of its values exchanged for any."""
    return st.dictionaries(st.sampled_from([*document, "failure", "outcome", "probes"]), VALUES, max_size=3).map(
        lambda given: json.dumps({**document, **given}).encode()
    )


def damaged(sound):
    """Sound bytes of which some are exchanged, left out or added."""
    edit = st.tuples(st.integers(0, len(sound)), st.integers(0, 4), st.binary(max_size=4))

    def apply(edits):
        content = sound
        for place, length, new in edits:
            content = content[:place] + new + content[place + length :]
        return content

    return st.lists(edit, max_size=4).map(apply)


ROWS = st.lists(
    st.dictionaries(st.sampled_from(["iteration", "snr", "gradient_order", "actions", "seconds"]), VALUES), max_size=4
).map(lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode())

OF_JSON = {
    "configuration": exchanged(hostile.RUN),
    "history": ROWS,
    "curve of JSON": ROWS,
    "outcome": VALUES.map(lambda value: json.dumps(value).encode()),
}


def read_any(name, folder, examples):
    sound = hostile.READERS[name][1]

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(damaged(sound) | OF_JSON.get(name, st.binary(max_size=200)))
    def never_fails(content):
        hostile.read(name, content, folder / "run")

    never_fails()


@pytest.mark.parametrize("name", hostile.READERS)
def test_any_content_is_read_or_refused(name, tmp_path):
    assert not hostile.read(name, hostile.READERS[name][1], tmp_path / "run")
    read_any(name, tmp_path, 20)


@pytest.mark.campaign
@pytest.mark.parametrize("name", hostile.READERS)
def test_much_more_of_any_content_is_read_or_refused(name, tmp_path):
    read_any(name, tmp_path, 20_000)


DEEP = b"[" * 100_000
REFUSED = {
    "a number of thousands of digits": ("history", b'{"iteration": 1, "snr": ' + b"9" * 5000 + b"}\n{}\n"),
    "a number of hundreds of digits": ("history", b'{"iteration": ' + b"9" * 400 + b"}\n"),
    "deep lists in a history": ("history", b'{"iteration": 1, "snr": ' + DEEP + b"\n{}\n"),
    "deep lists in run.json": ("configuration", b'{"problem": ' + DEEP),
    "whole and deep": ("configuration", b'{"probes": ' + b"[" * 900 + b"]" * 900 + b"}"),
    "a list as parameters": ("configuration", b'{"problem_parameters": [1]}'),
    "a curve that is deep": ("curve", DEEP),
    "a separator that is none": ("curve", b'sep="\niteration,snr\n1,2\n'),
    "no archive": ("snapshot", b"PK\x03\x04"),
    "an array of texts": ("snapshot", hostile.archive(field_u=np.asarray(["text"]))),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_none_is_refused(what, tmp_path):
    name, content = REFUSED[what]
    assert hostile.read(name, content, tmp_path / "run")


def peak_of(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_archive_is_refused_by_the_size_that_it_declares(tmp_path):
    content = hostile.bomb(["field_u", "field_v"], 32 * 2**20)
    assert len(content) < 2**17
    file = tmp_path / "bomb.npz"
    file.write_bytes(content)

    def refused():
        with pytest.raises(InputError, match=r"a content of 67\d+ bytes"):
            read_arrays(file, most=2**25)

    assert peak_of(refused) < 2**21


def test_a_member_that_declares_too_little_is_not_read_beyond_that(tmp_path):
    content = hostile.bomb(["field_u"], 8 * 2**20)
    size = (8 * 2**20 + 128).to_bytes(4, "little")
    assert content.count(size) >= 1
    file = tmp_path / "lie.npz"
    file.write_bytes(content.replace(size, (1000).to_bytes(4, "little")))

    def refused():
        with pytest.raises(InputError, match="cannot read"):
            read_arrays(file)

    assert peak_of(refused) < 2**20 + 8 * 2**20  # numpy makes room for what the array's own head says, and no more


class Executed:
    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_snapshot_is_executed(tmp_path):
    bad = Executed()
    bad.path = tmp_path / "executed"
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray([bad], dtype=object), allow_pickle=True)
    assert b"mkdir" in stream.getvalue()
    file = tmp_path / "state.npz"
    for content in (stream.getvalue(), pickle.dumps(bad)):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("field_u.npy", content)
        with pytest.raises(InputError, match="cannot read"):
            read_arrays(file)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("template", ["{to.__class__}", "{0}", "{to:>999999999}", "{", "{nothing}"])
def test_the_name_of_an_action_is_no_template(template):
    assert Acted(1, "mine", template, "lbfgs", "because").words == template


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "history.jsonl")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="no regular file"):
        open_run(tmp_path)
    for place in ("/dev/zero", "/dev/null", "/proc/self"):
        with pytest.raises(InputError, match="cannot read"):
            read_bytes(Path(place), 100)


def test_a_file_larger_than_such_files_are_is_refused_unread(tmp_path):
    with (tmp_path / "run.json").open("wb") as stream:
        stream.truncate(MOST_DOCUMENT + 1)
    with pytest.raises(InputError, match=rf"a file of {MOST_DOCUMENT + 1} bytes"):
        open_run(tmp_path)


def test_a_history_in_which_each_row_has_columns_of_its_own_is_refused(tmp_path):
    file = tmp_path / "history.jsonl"
    rows = ({"iteration": k, **{f"a{k}_{place}": 0 for place in range(50)}} for k in range(500))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"25001 columns in 500 rows"):
        columns_of(read_rows(file))


def test_steps_that_go_back_a_hundred_thousand_times_are_put_in_order_quickly():
    blocks = range(100_000, 0, -1)
    steps = [5.0 * block + place for block in blocks for place in range(4)]
    ordered, _ = in_order(steps, {"snr": [1.0] * len(steps)})
    assert ordered["iteration"] == sorted(steps)


@pytest.mark.campaign
def test_a_million_captures_are_read_and_detected_in_seconds(tmp_path):
    iteration = np.arange(1, 1_000_001)
    snr = np.where(iteration < 1000, 30.0, np.where(iteration < 500_000, 0.03, 3.0))
    lines = "\n".join(f"{k},{value}" for k, value in zip(iteration.tolist(), snr.tolist(), strict=True))
    (tmp_path / "curve.csv").write_text(f"iteration,snr\n{lines}\n")
    found = detect(read_curve(tmp_path / "curve.csv"))
    assert [item.iteration // 1000 for item in found.transitions][1] in range(490, 510)
