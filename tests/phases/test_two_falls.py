"""Which of two falls ends fitting: of two steps of the SNR the deeper, and Adam's before a late, doubtful one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from phasecore.phases import Phase, detect, replay

ITERATION = np.unique(np.geomspace(1, 6000, 900).astype(int))
TIME = np.log10(ITERATION)
ADAM = ([0.0, 1.65, 1.8, 2.08, 2.5], [0.0, -1.8, -1.8, -0.8, -2.5])
POOL = Path(__file__).parents[2] / "benchmarks" / "results" / "pool"


def columns(snr, adam, noise=0.03):
    random = np.random.default_rng(1).normal(0, noise, (2, len(TIME)))
    levels = (np.interp(TIME, *points) + own for points, own in zip((snr, adam), random, strict=True))
    return {"iteration": ITERATION, **dict(zip(("snr", "adam_snr"), (10.0**level for level in levels), strict=True))}


@pytest.mark.parametrize("find", [detect, replay])
@pytest.mark.parametrize("deep", [2.2, 3.0])
def test_a_step_deeper_than_the_first_is_the_end_of_fitting(find, deep):
    snr = ([1.2, 1.7, 2.05, 2.45], [4.3, 2.8, 2.8, 2.8 - deep])
    found = find(columns(snr, ADAM)).transition(Phase.DIFFUSION)
    assert abs(np.log10(found.iteration) - 2.45) < 0.2
    assert found.confidence > 0.9


@pytest.mark.parametrize("find", [detect, replay])
def test_it_is_where_adams_snr_rests_at_the_first_one_too(find):
    """A training of Allen-Cahn: the SNR rests at 64 and falls by three decades more, until 290."""
    history = json.loads((POOL / "allen_cahn-self_adaptive-seed0.json").read_text())["history"]
    assert abs(np.log10(find(history).start(Phase.DIFFUSION) / 290)) < 0.3


@pytest.mark.parametrize("find", [detect, replay])
@pytest.mark.parametrize("deep", [0.5, 1.0])
def test_a_step_less_deep_while_adams_snr_has_turned_up_is_diffusion(find, deep):
    snr = ([1.0, 1.7, 2.05, 2.45], [4.3, 1.8, 1.8, 1.8 - deep])
    found = find(columns(snr, (ADAM[0][:4], ADAM[1][:4]))).transition(Phase.DIFFUSION)
    assert abs(np.log10(found.iteration) - 1.7) < 0.2


@pytest.mark.parametrize("find", [detect, replay])
@pytest.mark.parametrize("late", [2.3, 2.4, 2.5])
@pytest.mark.parametrize("deep", [0.8, 0.85, 0.9])
def test_a_doubtful_fall_long_after_adams_does_not_move_the_end_of_fitting(find, late, deep):
    snr = ([late - 0.1, late], [-0.3, -0.3 - deep])
    found = find(columns(snr, ([0.8, 1.5], [-0.3, -2.0]), noise=0.05)).transition(Phase.DIFFUSION)
    assert abs(np.log10(found.iteration) - 1.5) < 0.2
    assert found.confidence < 0.8


@pytest.mark.parametrize("find", [detect, replay])
def test_a_sure_fall_long_after_adams_is_the_end_of_fitting(find):
    snr = ([2.3, 2.6], [2.0, -1.0])
    found = find(columns(snr, ([0.0, 1.9], [0.0, -1.5]))).transition(Phase.DIFFUSION)
    assert abs(np.log10(found.iteration) - 2.6) < 0.2
    assert found.confidence > 0.9
