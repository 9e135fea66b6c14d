"""Files that anybody may have written, and what reads them: nothing but errors of ours may come of it."""

import io
import json
import shutil
import warnings
import zipfile

import numpy as np

from phasecore.errors import PhasecoreError
from phasecore.phases import detect, replay
from phasecore.recording.reading import read_curve
from phasecore.recording.untrusted import read_arrays
from phasecore.reporting import gather
from phasecore.runs import open_run

RUN = {
    "format": 1,
    "problem": "helmholtz",
    "problem_parameters": {"a1": 1},
    "weighting": "rba",
    "seed": 0,
    "settings": {"points": 10, "batches": 5},
    "plugins": [{"kind": "problem", "name": "helmholtz", "distribution": "phasecore", "version": "0.1.0"}],
    "resumed": [{"created_at_utc": "2026-01-01T00:00:00Z", "versions": {}}],
}
ACTED = {"iteration": 2, "policy": "at_phase", "action": "stop", "to": None, "reason": "because"}
HISTORY = (
    '{"iteration": 1, "snr": 9.0, "layer1_mean_norm": 1.0}\n{"iteration": 2, "snr": null, "actions": ['
    + json.dumps(ACTED)
    + ']}\n{"iteration": 40, "snr": 0.01, "training_loss": 1e-3}\n'
)


def archive(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


SNAPSHOT = archive(grid=np.zeros((3, 2)), field_u=np.zeros(3), points=np.zeros((2, 2)), residual_pde=np.ones(2))


def made(folder, **files):
    """Make a run folder of these files' contents, sound ones where none are given."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "snapshots").mkdir(parents=True)
    contents = {"run.json": json.dumps(RUN).encode(), "history.jsonl": HISTORY.encode(), **files}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def history(content, folder):
    run = open_run(made(folder, **{"history.jsonl": content}))
    for acted in run.actions:
        assert isinstance(acted.words, str)
    for item in gather([folder]):
        json.dumps(item.summary(), allow_nan=False)


def configuration(content, folder):
    made(folder, **{"run.json": content})
    for item in gather([folder]):
        json.dumps([item.summary(), item.problem, item.failure, item.seed], allow_nan=False)


def outcome(content, folder):
    assert open_run(made(folder, **{"outcome.json": content})).outcome is not None


def snapshot(content, folder):
    made(folder, **{"snapshots/iteration_00000001.npz": content})
    for values in open_run(folder).snapshot(1).values():
        assert values.dtype.kind in "biuf"


def arrays(content, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.npz").write_bytes(content)
    read_arrays(folder / "state.npz")


def curve(content, folder, name="curve.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    found = read_curve(folder / name)
    if found.captures < 200:
        detect(found)
        replay(found)


def curve_of_json(content, folder):
    curve(content, folder, "curve.jsonl")


READERS = {
    "history": (history, HISTORY.encode()),
    "configuration": (configuration, json.dumps(RUN).encode()),
    "outcome": (outcome, b'{"iterations": 40}'),
    "snapshot": (snapshot, SNAPSHOT),
    "arrays": (arrays, SNAPSHOT),
    "curve": (curve, b"iteration,snr,training_loss\n1,10.0,1\n2,,0.5\n5,0.1,nan\n"),
    "curve of JSON": (curve_of_json, HISTORY.encode()),
}
"""{what is read: (what reads it, a sound example)}."""


def read(name, content, folder):
    """Read these bytes; return whether they were refused."""
    reader, _ = READERS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader(content, folder)
        except PhasecoreError:
            return True
    return False


def bomb(names, size):
    """An archive of so many members of `size` zeros each, which takes a thousandth of that."""
    stream = io.BytesIO()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made_archive:
        for name in names:
            with made_archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(header.getvalue())
                for _ in range(size // 2**20):
                    member.write(bytes(2**20))
    return stream.getvalue()
