"""The run folder refuses to overwrite, and gives back what was put in."""

import io
from pathlib import Path

import numpy as np
import pytest

from phasecore import InputError
from phasecore.recording.folder import check_free, create, reserve_folder, save_snapshot, slug
from phasecore.runs import open_run


def test_reserved_folders_never_collide(tmp_path: Path) -> None:
    names = [reserve_folder("helmholtz-rba-seed0", tmp_path / "runs").name for _ in range(3)]
    assert names == [f"helmholtz-rba-seed0-{number}" for number in (1, 2, 3)]


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError, match="cannot make"):
        reserve_folder("a", tmp_path / "runs")


@pytest.mark.parametrize("name", ["run.json", "history.jsonl", "outcome.json", "snapshots", "checkpoint"])
def test_any_trace_of_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match="already holds a run"):
        create(tmp_path, {"problem": "helmholtz"})
    assert (tmp_path / name).read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_process_killed_before_run_json_leaves_a_folder_in_which_a_run_can_begin(tmp_path: Path) -> None:
    for name in ("snapshots", "checkpoint"):
        (tmp_path / name).mkdir()
    (tmp_path / ".run.json.0123456789ab.part").write_text('{"probl')
    create(tmp_path, {"problem": "helmholtz"})
    assert open_run(tmp_path).configuration == {"problem": "helmholtz"}


def test_a_folder_with_other_files_is_free_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    check_free(tmp_path)
    check_free(tmp_path / "new" / "one")
    with pytest.raises(InputError, match="a file"):
        check_free(tmp_path / "notes.txt")


def test_a_run_is_read_back(tmp_path: Path) -> None:
    create(tmp_path, {"problem": "helmholtz", "settings": {"learning_rate": float("nan")}})
    (tmp_path / "history.jsonl").write_text('{"iteration": 0, "snr": null}\n{"iteration": 10, "snr": 2.5}\n')
    save_snapshot(tmp_path, 1000, {"u": np.asarray([1.0, 2.0]), "weights_pde": np.ones((3, 1))})
    save_snapshot(tmp_path, 10, {"u": np.asarray([0.0, 0.0])})
    run = open_run(tmp_path)
    assert run.configuration["settings"] == {"learning_rate": None}
    np.testing.assert_array_equal(run.history["snr"], [np.nan, 2.5])
    assert run.outcome is None
    assert run.snapshots == (10, 1000)
    assert run.snapshot(1000)["u"].tolist() == [1.0, 2.0]
    assert (tmp_path / "snapshots" / "iteration_00001000.npz").exists()
    with pytest.raises(InputError, match=r"\[10, 1000\]"):
        run.snapshot(11)


def test_a_damaged_snapshot_is_named(tmp_path: Path) -> None:
    create(tmp_path, {"problem": "helmholtz"})
    save_snapshot(tmp_path, 10, {"u": np.arange(4.0)})
    file = tmp_path / "snapshots" / "iteration_00000010.npz"
    whole, run = file.read_bytes(), open_run(tmp_path)
    objects = io.BytesIO()
    np.savez(objects, u=np.asarray([{}], dtype=object))
    shorter = [whole[:length] for length in range(len(whole))]
    flipped = [whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :] for place in range(len(whole))]
    messages = []
    for damaged in (b"", b"text", objects.getvalue(), *shorter, *flipped):
        file.write_bytes(damaged)
        try:
            arrays = run.snapshot(10)
        except InputError as error:
            messages.append(str(error))
        else:
            assert all(values.tolist() == [0.0, 1.0, 2.0, 3.0] for values in arrays.values())
    assert all(str(file) in message and "Delete it" in message for message in messages)
    # what the archive does not check, such as dates, may be anything
    assert len(messages) > len(shorter) + len(flipped) // 2


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run at"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text('{"problem": ')
    with pytest.raises(InputError, match=r"run\.json"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object"):
        open_run(tmp_path)


def test_slug_keeps_different_specifications_apart() -> None:
    specifications = ["rba", "rba:gamma=0.99", "rba:gamma=0.9", "rba:start=zeros", "a_b", "a-b"]
    assert len({slug(item) for item in specifications}) == len(specifications)
    assert all("/" not in slug(item) for item in [*specifications, "../etc/passwd", "a b/c"])
