"""The cache of computed fields: keys, damaged files, unusable folders, processes at the same time."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings

import numpy as np
import pytest
from processes import SECONDS

from phasecore.errors import InputError
from phasecore.problems.references import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PHASECORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned_folders", set())
    return tmp_path / "cache"


def fields():
    return {"u": np.linspace(0, 1, 7), "n": np.asarray(3, dtype=np.int32)}


def never():
    raise AssertionError("the cache should have answered")


def check_fields(found):
    assert sorted(found) == ["n", "u"]
    np.testing.assert_array_equal(found["u"], fields()["u"])
    assert found["n"] == 3
    assert found["n"].dtype == np.int32


def test_cache_computes_once_per_parameters(folder):
    check_fields(cache.cached("flow", {"reynolds": 100.0, "degree": 8}, fields))
    check_fields(cache.cached("flow", {"degree": np.int64(8), "reynolds": np.float64(100)}, never))
    other = cache.cached("flow", {"reynolds": 400.0, "degree": 8}, lambda: {"u": np.zeros(2)})
    assert list(other) == ["u"]
    assert len(list(folder.glob("flow-*.npz"))) == 2
    assert list(folder.glob(".*")) == []


def test_cache_key_depends_on_the_format_version(folder, monkeypatch):
    cache.cached("flow", {}, fields)
    monkeypatch.setattr(cache, "FORMAT_VERSION", cache.FORMAT_VERSION + 1)
    assert list(cache.cached("flow", {}, lambda: {"w": np.zeros(1)})) == ["w"]


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "flipped", "pickle", "other key"])
def test_cache_recomputes_a_damaged_file(folder, damage):
    cache.cached("flow", {}, fields)
    (path,) = folder.glob("*.npz")
    content = path.read_bytes()
    if damage == "pickle":
        with path.open("wb") as file:
            np.savez(file, cache_key=np.asarray(cache._key("flow", {})), u=np.asarray([{}], dtype=object))
    elif damage == "other key":
        with path.open("wb") as file:
            np.savez(file, cache_key=np.asarray("else"), u=np.zeros(1))
    else:
        middle = len(content) // 3
        flipped = (
            content[:middle] + bytes(255 - byte for byte in content[middle : middle + 40]) + content[middle + 40 :]
        )
        damaged = {"empty": b"", "text": b"not an archive", "truncated": content[:-60], "flipped": flipped}
        path.write_bytes(damaged[damage])
    with pytest.warns(RuntimeWarning, match=r"cannot read the cached file.*computed again"):
        check_fields(cache.cached("flow", {}, fields))
    check_fields(cache.cached("flow", {}, never))


def test_cache_survives_any_truncation_and_any_flipped_byte(folder):
    cache.cached("flow", {}, fields)
    (path,) = folder.glob("*.npz")
    content = path.read_bytes()
    damaged = [content[:length] for length in range(0, len(content), 23)]
    for place in range(0, len(content), 11):
        damaged.append(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
    for bad in damaged:
        path.write_bytes(bad)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_fields(cache.cached("flow", {}, fields))


def test_cache_does_without_a_folder(tmp_path, monkeypatch):
    occupied = tmp_path / "file"
    occupied.write_text("in the way")
    monkeypatch.setenv("PHASECORE_CACHE", str(occupied / "cache"))
    monkeypatch.setattr(cache, "_warned_folders", set())
    with pytest.warns(RuntimeWarning, match="cache folder") as caught:
        check_fields(cache.cached("flow", {}, fields))
    assert len(caught) == 1
    check_fields(cache.cached("flow", {}, fields))  # a second warning would be an error
    assert occupied.read_text() == "in the way"


def test_cache_leaves_no_half_file_behind(folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.cached("flow", {}, fields)
    assert list(folder.iterdir()) == []


def _store(path, size):
    os.environ["PHASECORE_CACHE"] = path
    for _ in range(10):
        cache.cached("flow", {}, lambda: {"u": np.full(size, 1.0)})
        cache._write(cache.cache_folder() / "shared.npz", "key", {"u": np.full(size, float(size))})
        stored = cache._read(cache.cache_folder() / "shared.npz", "key")
        assert stored is not None
        assert (stored["u"] == len(stored["u"])).all()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses to replace a file that is open")
def test_cache_under_two_processes(folder):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_store, args=(str(folder), size), daemon=True) for size in (1000, 2000)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    assert [process.exitcode for process in processes] == [0, 0]


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a b"])
def test_cache_refuses_names_that_are_no_file_names(folder, name):
    with pytest.raises(InputError, match="name of cached fields"):
        cache.cached(name, {}, fields)


def test_cache_refuses_parameters_and_fields_it_cannot_keep(folder):
    with pytest.raises(InputError, match="parameters of cached fields"):
        cache.cached("flow", {"f": object()}, fields)
    with pytest.raises(InputError, match="cached fields 'flow'"):
        cache.cached("flow", {}, lambda: {"u": np.asarray([None])})


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other folders")
def test_cache_folder(monkeypatch, tmp_path):
    for variable in ("PHASECORE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "phasecore"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.cache_folder() == tmp_path / ".cache" / "phasecore"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "phasecore"
    monkeypatch.setenv("PHASECORE_CACHE", str(tmp_path / "mine"))
    assert cache.cache_folder() == tmp_path / "mine"
