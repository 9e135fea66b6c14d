"""Anchors keep the memory of a step: counted in page faults, in a process of its own."""

import platform
import subprocess
import sys

import pytest
import torch

from phasecore_torch.memory import ANCHORS, Anchors

STEPS = """
import resource, torch
from phasecore_torch.memory import Anchors

anchors = Anchors()

def step():
    activations = [torch.ones(2**18) for _ in range(150)]
    if {anchored}:
        anchors.drop(activations[0])

for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)
"""


def faults(anchored):
    code = STEPS.format(anchored=anchored)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how memory is handed back is glibc's")
def test_a_step_finds_the_memory_of_the_one_before():
    without, anchored = faults(False), faults(True)
    assert without > 5000
    assert anchored < without / 10


def test_there_are_few_and_none_without_gradients():
    anchors = Anchors()
    points = torch.zeros(3, 2)
    with torch.no_grad():
        anchors.drop(points)
    assert not anchors._dropped
    for _ in range(10):
        anchors.drop(points)
    assert len(anchors._dropped) == ANCHORS
