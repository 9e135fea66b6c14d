"""A file that is written holds the old or the new content, whatever happens meanwhile."""

import threading

import pytest
from processes import SECONDS

from phasecore.files import replacing


def test_a_reader_never_sees_a_part(tmp_path):
    file = tmp_path / "state"
    contents = [bytes([65 + k]) * 100_000 for k in range(4)]
    file.write_bytes(contents[0])
    done = threading.Event()
    seen = set()

    def read():
        while not done.is_set():
            seen.add(file.read_bytes())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def write(content):
        for _ in range(10):
            with replacing(file) as stream:
                for start in range(0, len(content), 10_000):
                    stream.write(content[start : start + 10_000])

    writers = [threading.Thread(target=write, args=(content,), daemon=True) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(SECONDS)
    done.set()
    reader.join(SECONDS)
    assert not any(thread.is_alive() for thread in (*writers, reader))
    assert seen <= set(contents)
    assert list(tmp_path.iterdir()) == [file]


def test_what_raises_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    file = tmp_path / "state"
    file.write_bytes(b"old")

    def fail():
        with replacing(file) as stream:
            stream.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
