"""A checkpoint that anybody may have made: refused with an error of ours, and nothing in it is executed."""

import io
import os
import pickle
import zipfile

import pytest
import torch

from phasecore.errors import InputError
from phasecore.runs import prepare
from phasecore_torch.training import TorchSession


class Executed:
    def __reduce__(self):
        return os.mkdir, (Executed.path,)


@pytest.fixture(scope="module")
def session():
    return TorchSession(prepare("helmholtz", points=20, width=4, depth=1, iterations=5))


def saved(state):
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def bomb():
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"model": torch.zeros(8)}))) as sound,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made,
    ):
        for name in sound.namelist():
            made.writestr(name, bytes(2**24) if name.endswith("/data/0") else sound.read(name))
    return stream.getvalue()


CONTENTS = {
    "nothing": lambda: b"",
    "half of one": lambda: saved({"iteration": 1, "model": torch.zeros(100)})[:300],
    "a list": lambda: saved([1, 2]),
    "another network": lambda: saved({"iteration": 1, "seconds": 1.0, "model": {}}),
    "what executes": lambda: saved({"iteration": Executed()}),
    "a pickle that executes": lambda: pickle.dumps(Executed()),
    "a bomb": bomb,
}


@pytest.mark.parametrize("what", CONTENTS)
def test_it_is_refused_and_nothing_is_executed(what, session, tmp_path):
    Executed.path = str(tmp_path / "executed")
    file = tmp_path / "state.pt"
    file.write_bytes(CONTENTS[what]())
    with pytest.raises(InputError, match=r"state\.pt"):
        session.load(file)
    assert not (tmp_path / "executed").exists()
    assert not session.loaded
