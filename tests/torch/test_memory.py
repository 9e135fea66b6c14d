"""Anchors keep the memory of a step: read off the end of the heap, in a process of its own."""

import os
import platform

import pytest
import torch
from processes import python

from phasecore_torch.memory import ANCHORS, Anchors

STEPS = """
import ctypes, torch
from phasecore_torch.memory import Anchors

end_of_heap = ctypes.CDLL(None).sbrk
end_of_heap.restype, end_of_heap.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
anchors = Anchors()

def step():
    activations = [torch.ones(2**18) for _ in range(150)]
    if {anchored}:
        anchors.drop(activations[0])
    return end_of_heap(0)

for _ in range(5):
    step()
print(step() - end_of_heap(0))
"""


def handed_back(anchored):
    """Bytes at the top of the heap that a step had and that are the system's after it."""
    code = STEPS.format(anchored=anchored)
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = python("-c", code, env=unset)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how memory is handed back is glibc's")
def test_a_step_finds_the_memory_of_the_one_before():
    # in some processes something else lies on top of the heap
    if not any(handed_back(anchored=False) > 100 * 2**20 for _ in range(8)):
        pytest.skip("here the heap keeps its memory anyway")
    assert handed_back(anchored=True) < 10 * 2**20


def test_there_are_few_and_none_without_gradients():
    anchors = Anchors()
    points = torch.zeros(3, 2)
    with torch.no_grad():
        anchors.drop(points)
    assert not anchors._dropped
    for _ in range(10):
        anchors.drop(points)
    assert len(anchors._dropped) == ANCHORS
