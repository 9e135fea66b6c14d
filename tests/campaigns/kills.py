"""SIGKILL at random moments of a training that is gone on with each time: `python tests/campaigns/kills.py KIND KILLS`.

Half of the kills come at a random time, half just before a random change of a file: its opening, renaming or removal.
After each kill every file is whole and the history is a part of an undisturbed training's, from its beginning on, to
the last bit; in the end files, history, outcome, phases and snapshots are that training's.

The trainings are those of `killed_trainings.py`. A server that has imported the framework forks a process for each
attempt, so that nearly all kills hit a training.
"""

import argparse
import collections
import contextlib
import csv
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 600
"""That no attempt takes."""
TIMES = {"seconds"}
OF_OTHERS = {"checkpoint", "checkpoints", "backup", "state.pt", "run.json", "compare.png"}
"""Files that depend on when a state was saved, or on how often a training was gone on with."""


MAY_BE_LONGER = {"keras-fit"}
"""`BackupAndRestore` writes weights and epoch into two files: killed between them, it trains for an epoch more."""


class Campaign:
    """Kills trainings of a kind.

    Args:
        kind: one of `killed_trainings.KINDS`.
        place: a folder.
        seed: of the moments.
    """

    def __init__(self, kind, place, seed):
        self.kind, self.place, self.chance = kind, place, random.Random(seed)
        self.kills, self.longer = collections.Counter(), 0
        self.context = multiprocessing.get_context("spawn")
        folder = self.make("undisturbed")
        assert self.train(folder) == 0, self.said(folder)
        self.undisturbed = content(folder)
        self.changes = json.loads((folder.parent / "changes.json").read_text())
        os.environ["PRELOADED"] = str(folder.parent / "modules.json")
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["preloaded"])
        server = self.context.Process(target=int)
        server.start()
        server.join(SECONDS)
        again, began = self.make("again"), time.monotonic()
        assert self.train(again) == 0, self.said(again)
        self.seconds = time.monotonic() - began
        compare(content(again), self.undisturbed)

    def make(self, name):
        """Make a folder for a training, which has its parent for itself."""
        folder = self.place / name / "training"
        folder.mkdir(parents=True)
        return folder

    def train(self, folder, seconds=SECONDS, dies_at=0, alone=False):
        """Train until it is done or killed, and return the status of the process.

        Args:
            folder: where.
            seconds: after which it is killed.
            dies_at: at which change of a file it kills itself.
            alone: whether processes that it started live on.
        """
        import killed_trainings

        process = self.context.Process(target=killed_trainings.attempt, args=(self.kind, folder, dies_at))
        process.start()
        process.join(seconds)
        before = histories(folder)
        if not alone:
            with contextlib.suppress(ProcessLookupError):  # it leads no group yet, or none is left
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join(SECONDS)
        check_grown(before, histories(folder))
        return process.exitcode

    def one_training(self, number, left):
        """Kill a training until it is done, at most `left` times, and return how many kills there were."""
        folder = self.make(str(number))
        for kills in range(left + 1):
            moment = {} if kills == left else self.moment()
            status = self.train(folder, **moment)
            self.check_whole(folder)
            if status != -signal.SIGKILL:
                assert status == 0, f"{folder} ended with {status} after {kills} kills:\n{self.said(folder)}"
                self.longer += compare(content(folder), self.undisturbed, self.kind in MAY_BE_LONGER)
                return kills
            self.kills[stage(folder), next(iter(moment))] += 1
        raise AssertionError(f"{folder} took more than {SECONDS} s:\n{self.said(folder)}")

    def moment(self):
        """Return when a process is to be killed."""
        if self.chance.random() < 0.5:
            # the first and the last ones are the ones that differ
            return {"dies_at": round(math.exp(self.chance.uniform(0, math.log(self.changes))))}
        return {"seconds": self.chance.uniform(0, self.seconds), "alone": self.chance.random() < 0.5}

    def check_whole(self, folder):
        """Refuse files that cannot be read, and rows that the undisturbed training has not, or has further on."""
        for name, values in content(folder).items():
            if name.endswith(".jsonl"):
                expected = self.undisturbed[name][: len(values)]
                known = len(expected) if self.kind in MAY_BE_LONGER else len(values)
                check_equal(folder / name, values[:known], expected)

    def said(self, folder):
        """Return what the last process in a folder has written to a terminal."""
        return (folder.parent / "output.txt").read_text()[-8000:]


def histories(folder):
    """Return the place on the disk and the content of each history file."""
    found = {}
    for file in folder.rglob("*.jsonl"):
        with file.open("rb") as stream:
            found[file] = os.fstat(stream.fileno()).st_ino, stream.read()
    return found


def check_grown(before, after):
    """Refuse a history that has lost something between two looks; of one that was replaced, the rows will tell."""
    for file, (place, text) in before.items():
        place_now, text_now = after.get(file, (None, b""))
        assert place_now != place or text_now.startswith(text), f"{file} has lost rows"


def content(folder):
    """Return what the files of a folder hold, by name, without times; all are read.

    Raises:
        Exception: if one cannot be.
    """
    import numpy as np

    from phasecore.recording.folder import open_run, read_json
    from phasecore.recording.history import read_rows

    found = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        parts = file.relative_to(folder).parts
        if not file.is_file() or any(part.startswith(".") for part in parts):
            continue
        if file.suffix == ".jsonl":
            found[name] = [without_times(row) for row in read_rows(file)]
        elif file.suffix == ".csv":
            with file.open(newline="") as stream:
                found[name] = [without_times(row) for row in csv.DictReader(stream)]
        elif file.suffix == ".json" and parts[0] != "backup":
            found[name] = without_times(read_json(file))
        elif file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                found[name] = {key: (arrays[key].shape, arrays[key].tobytes()) for key in arrays.files}
        elif file.suffix in (".pt", ".ckpt"):
            with zipfile.ZipFile(file) as archive:
                assert archive.testzip() is None
        elif file.suffix == ".png":
            assert file.read_bytes().endswith(b"IEND\xaeB\x60\x82"), file
            found[name] = True
        if file.name == "run.json":
            open_run(file.parent)
    return found


def without_times(row):
    return {name: value for name, value in row.items() if name not in TIMES}


def compare(one, other, may_be_longer=False):
    """Refuse two trainings that differ, and return whether the first one is longer, which may be allowed.

    Of a longer one the rows are compared that the other has too.
    """
    if may_be_longer and one["run/outcome.json"]["iterations"] > other["run/outcome.json"]["iterations"]:
        for name in filter(lambda name: name.endswith(".jsonl"), other):
            check_equal(name, one[name][: len(other[name])], other[name])
        return True
    ours, theirs = ({name for name in found if OF_OTHERS.isdisjoint(Path(name).parts)} for found in (one, other))
    assert ours == theirs, f"other files: {ours ^ theirs}"
    for name in sorted(ours):
        check_equal(name, one[name], other[name])
    return False


def check_equal(name, ours, theirs):
    """Refuse two contents that differ, and say where."""
    if ours == theirs:
        return
    if isinstance(ours, list):
        assert len(ours) == len(theirs), f"{name} has {len(ours)} rows in place of {len(theirs)}"
        ours, theirs = next(pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1])
    others = {key: (ours.get(key), theirs.get(key)) for key in ours | theirs if ours.get(key) != theirs.get(key)}
    raise AssertionError(f"{name}, {ours.get('iteration', 'values')}: {str(others)[:2000]}")


def stage(folder):
    """Return how far a training has come."""
    files = {file.name for file in folder.rglob("*") if file.is_file()}
    stages = {"outcome.json": "with an outcome", "history.jsonl": "with rows", "run.json": "begun"}
    return next((words for name, words in stages.items() if name in files), "nothing there")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind")
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent)]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:3])
    from processes import QUIET

    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        campaign = Campaign(arguments.kind, Path(place), arguments.seed)
        print(f"{campaign.seconds:.1f} s undisturbed, {campaign.changes} changes of files", flush=True)
        done = number = 0
        while done < arguments.kills:
            done += campaign.one_training(number, arguments.kills - done)
            number += 1
            print(f"{done} kills, {number} trainings", flush=True)
    for (where, how), count in sorted(campaign.kills.items()):
        print(f"{count} {where}, by {how}")
    print(f"{arguments.kind}: {done} kills in {number} trainings, all of which equal the undisturbed one")
    if campaign.longer:
        print(f"but that {campaign.longer} were longer")


if __name__ == "__main__":
    main()
