"""Synthetic training curves with known phases, to calibrate and to judge detectors.

Every curve is drawn on a logarithmic time axis: a fitting plateau, a decline, a diffusion level with false rises and
slow wandering, a rise to total diffusion, and noise on top. A family fixes the shapes; a seed draws the rest:
lengths, heights, spacing of captures, amount of noise. Half of the families are meant for calibration and half
are held out, so that what a detector has learnt of one set of shapes is judged on another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from phasecore.errors import UnknownNameError

FloatArray = npt.NDArray[np.float64]
Shape = Callable[[FloatArray], FloatArray]


def _step(x: FloatArray) -> FloatArray:
    return (x >= 0).astype(np.float64)


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 + 0.5 * np.tanh(2.0 * x))


def _ramp(x: FloatArray) -> FloatArray:
    return np.asarray(np.clip(x + 0.5, 0.0, 1.0))


def _overshoot(x: FloatArray) -> FloatArray:
    return np.asarray(_ramp(x) * (1.0 + 0.3 * np.exp(-np.maximum(x, 0.0))))


def _staircase(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * _ramp(4.0 * (x + 0.4)) + 0.5 * _ramp(4.0 * (x - 0.4)))


def _arctangent(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 + np.arctan(6.0 * x) / np.pi)


@final
@dataclass(frozen=True)
class Family:
    """A family of curves: the shapes that its members share.

    Args:
        rise: how the SNR goes from 0 to 1 around the start of total diffusion, or None where it never rises.
        decline: likewise for the end of fitting, or None where there is no fitting plateau to fall from.
        noise: "gaussian", "student" (three degrees of freedom), "correlated", "flicker" (captures fall to a low
            level at random), or "growing" (four times as strong at the end as at the start).
        false_rises: largest number of rises that do not last.
        falls_again: whether the SNR leaves total diffusion again before the end.
        wandering: standard deviation of the slow random walk, decades per decade.
        tail: whether the SNR goes on falling after fitting, at a quarter of the rate or less, for about a decade.
        hints: which of the other quantities change as for total diffusion without the SNR, some time before it rises
            or though it never does: "residuals" (the residual order and the loss), "convergence" (the loss and the
            error, right after the end of fitting), or none.
        held_out: whether the family is kept from calibration.
    """

    rise: Shape | None
    decline: Shape | None
    noise: str = "gaussian"
    false_rises: int = 0
    falls_again: bool = False
    wandering: float = 0.1
    tail: bool = False
    hints: str = ""
    held_out: bool = False


FAMILIES: Mapping[str, Family] = {
    "step": Family(_step, _sigmoid),
    "sigmoid": Family(_sigmoid, _sigmoid, wandering=0.2),
    "flickering sigmoid": Family(_sigmoid, _step, noise="flicker", false_rises=1),
    "false rises": Family(_step, _sigmoid, false_rises=3),
    "correlated noise": Family(_sigmoid, _sigmoid, noise="correlated"),
    "no fitting plateau": Family(_sigmoid, None),
    "decline only": Family(None, _sigmoid, wandering=0.2),
    "level": Family(None, None, wandering=0.1),
    "only false rises": Family(None, _sigmoid, false_rises=3),
    "only flicker": Family(None, _step, noise="flicker", wandering=0.1),
    "slow tail": Family(_sigmoid, _sigmoid, tail=True),
    "residuals first": Family(_sigmoid, _sigmoid, hints="residuals"),
    "residuals alone": Family(None, _sigmoid, hints="residuals"),
    "relief after fitting": Family(None, _sigmoid, hints="convergence"),
    "ramp": Family(_ramp, _ramp, noise="growing", held_out=True),
    "overshoot": Family(_overshoot, _ramp, held_out=True),
    "staircase": Family(_staircase, _staircase, false_rises=1, held_out=True),
    "heavy tails": Family(_arctangent, _arctangent, noise="student", held_out=True),
    "falls again": Family(_ramp, _ramp, noise="flicker", false_rises=2, falls_again=True, held_out=True),
    "late start": Family(_overshoot, None, noise="growing", held_out=True),
    "no rise, heavy tails": Family(None, _arctangent, noise="student", wandering=0.2, held_out=True),
    "no rise, growing noise": Family(None, _ramp, noise="growing", held_out=True),
    "no rise, false rises": Family(None, _staircase, noise="flicker", false_rises=2, held_out=True),
    "no rise, no decline": Family(None, None, noise="student", wandering=0.1, held_out=True),
    "no rise, slow tail": Family(None, _ramp, noise="growing", tail=True, held_out=True),
    "ramp, residuals first": Family(_ramp, _ramp, hints="residuals", held_out=True),
    "no rise, residuals alone": Family(None, _arctangent, noise="flicker", hints="residuals", held_out=True),
    "no rise, relief after fitting": Family(None, _ramp, noise="student", hints="convergence", held_out=True),
}


class SyntheticCurve(NamedTuple):
    """A curve and the truth about it.

    Args:
        columns: as of a recorded curve, each of shape `(captures,)`.
        family: name of the family.
        fitting_end: iteration at which the decline ends, or None.
        total_diffusion_start: iteration half way up the rise, or None.
        rise: height of the rise in decades, 0 where there is none.
        noise: standard deviation of log10(SNR) between captures, in decades.
    """

    columns: dict[str, FloatArray]
    family: str
    fitting_end: int | None
    total_diffusion_start: int | None
    rise: float
    noise: float


def synthetic_curve(
    family: str,
    seed: int,
    *,
    rise: tuple[float, float] = (0.3, 4.0),
    noise: tuple[float, float] = (0.1, 2.0),
    columns: str = "all",
) -> SyntheticCurve:
    """Draw a synthetic training curve.

    Args:
        family: a name in `FAMILIES`.
        seed: the curve is a function of family, seed and the ranges alone.
        rise: range of the height of the rise, decades (drawn uniformly).
        noise: range of the standard deviation of the noise, decades (drawn log-uniformly).
        columns: "all", or "snr" for `iteration` and `snr` alone.

    Raises:
        UnknownNameError: there is no such family.

    Example:
        >>> curve = synthetic_curve("step", seed=0, rise=(2, 2), noise=(0.1, 0.1), columns="snr")
        >>> sorted(curve.columns), curve.rise, curve.fitting_end < curve.total_diffusion_start
        (['iteration', 'snr'], 2.0, True)
    """
    if family not in FAMILIES:
        raise UnknownNameError("family of synthetic curves", family, FAMILIES)
    shapes = FAMILIES[family]
    random = np.random.default_rng([seed, *family.encode()])
    last = float(random.uniform(4.1, 5.6))
    time, iteration = _captures(random, last, late=shapes.decline is None and shapes.rise is not None)
    fitting_end = random.uniform(1.5, 2.6)
    start = random.uniform(max(fitting_end + 0.8, time[0] + 0.7), last - 0.6)
    height = random.uniform(*rise)
    deviation = float(np.exp(random.uniform(*np.log(noise))))

    level = np.full(time.size, random.uniform(-2.5, 0.5))
    level += shapes.wandering * _walk(random, time)
    decline_width = random.uniform(0.1, 0.4 if shapes.tail else 0.8) if shapes.decline is not _step else 0.02
    if shapes.decline is not None:
        depth = random.uniform(1.0, 4.0)
        level += depth * (1.0 - shapes.decline((time - fitting_end + 0.5 * decline_width) / decline_width))
    if shapes.tail:
        length = random.uniform(0.8, 1.5)
        level -= random.uniform(0.2, 0.5) * depth * np.clip((time - fitting_end) / length, 0.0, 1.0)
    for _ in range(random.integers(1, shapes.false_rises + 1) if shapes.false_rises else 0):
        stop = start - 0.3 if shapes.rise is not None else last
        place, length = random.uniform(fitting_end + 0.1, max(stop, fitting_end + 0.2)), random.uniform(0.04, 0.16)
        level += random.uniform(0.5, 2.0) * ((time > place) & (time < place + length))
    width = random.uniform(0.02, 0.3)
    if shapes.rise is not None:
        level += height * shapes.rise((time - start) / width)
        if shapes.falls_again:
            level -= height * _sigmoid((time - start - random.uniform(0.7, 1.2)) / 0.1)
    snr = level + _noise(random, shapes.noise, deviation, time)
    table = {"iteration": iteration, "snr": 10.0**snr}
    if columns == "all":
        table |= _other_columns(random, shapes, time, level, deviation, fitting_end, start)
    has_rise, has_decline = shapes.rise is not None, shapes.decline is not None
    return SyntheticCurve(
        table,
        family,
        round(10**fitting_end) if has_decline else None,
        round(10**start) if has_rise else None,
        height if has_rise else 0.0,
        deviation,
    )


def _captures(random: np.random.Generator, last: float, late: bool) -> tuple[FloatArray, FloatArray]:
    count = int(10 ** random.uniform(2.2, 3.5))
    first = random.uniform(1.7, 2.3) if late else 0.0
    spacing = random.choice(["linear", "logarithmic", "dense, then linear", "random"])
    if spacing == "logarithmic":
        iteration = np.geomspace(10**first, 10**last, count)
    elif spacing == "random":
        iteration = 10 ** np.sort(random.uniform(first, last, count))
    else:
        iteration = np.linspace(10**first, 10**last, count)
    if spacing != "logarithmic" and not late:
        iteration = np.concatenate([np.arange(2.0, 10**2.8, 2.0), iteration])
    iteration = np.unique(np.maximum(np.floor(iteration), 1.0))
    gap = random.uniform(0, 0.9) * last
    if random.random() < 0.2:
        iteration = iteration[(np.log10(iteration) < gap) | (np.log10(iteration) > gap + 0.05)]
    return np.log10(iteration), iteration


def _walk(random: np.random.Generator, time: FloatArray) -> FloatArray:
    knots = np.arange(0.0, time[-1] + 0.5, 0.25)
    steps = np.cumsum(random.normal(0.0, 0.5, knots.size))
    return np.asarray(np.interp(time, knots, steps - steps.mean()))


def _noise(random: np.random.Generator, kind: str, deviation: float, time: FloatArray) -> FloatArray:
    white = random.normal(0.0, 1.0, time.size)
    if kind == "student":
        return np.asarray(deviation * random.standard_t(3, time.size) / np.sqrt(3.0))
    if kind == "growing":
        return np.asarray(deviation * white * np.interp(time, [time[0], time[-1]], [0.4, 1.6]))
    if kind == "correlated":
        noise = white.copy()
        for place in range(1, noise.size):
            noise[place] = 0.6 * noise[place - 1] + 0.8 * white[place]
        return deviation * noise
    if kind == "flicker":
        share = random.uniform(0.05, 0.3)
        depth = deviation / np.sqrt(share * (1.0 - share))
        return np.asarray(0.1 * white - depth * (random.random(time.size) < share))
    return deviation * white


def _other_columns(
    random: np.random.Generator,
    shapes: Family,
    time: FloatArray,
    level: FloatArray,
    deviation: float,
    fitting_end: float,
    start: float,
) -> dict[str, FloatArray]:
    def response(low: float, high: float) -> FloatArray:
        """A fall that goes with total diffusion in nine runs of ten, somewhat before or after the SNR."""
        if shapes.rise is None or random.random() < 0.1:
            return np.zeros(time.size)
        width, shift = random.uniform(0.1, 0.5), random.uniform(-0.25, 0.1)
        return np.asarray(random.uniform(low, high) * shapes.rise((time - start - shift) / width))

    hint = np.zeros((3, time.size))
    if shapes.hints == "residuals":
        place = random.uniform(max(fitting_end + 0.4, start - 1.2), start - 0.4)
        hint[:2] = _sigmoid((time - place) / random.uniform(0.1, 0.4)) * np.array([[0.5], [0.8]])
    elif shapes.hints:
        place = fitting_end + random.uniform(0.1, 0.5)
        hint[1:] = _sigmoid((time - place) / random.uniform(0.2, 0.6)) * np.array([[1.0], [0.3]])
    uneven = 0.6 * _sigmoid((time - fitting_end + 0.25) / 0.5) if shapes.decline is not None else 0.0
    disorder = random.uniform(-1.1, -0.4) + uneven - response(0.25, 1.0) - hint[0]
    disorder += 0.08 * _walk(random, time) + 0.02 * random.normal(size=time.size)
    after = np.maximum(time - start, 0.0) if shapes.rise is not None else np.zeros(time.size)
    loss = random.uniform(-4, 2) - random.uniform(0.0, 0.6) * time - response(1.0, 3.0) - random.uniform(0, 1.5) * after
    loss += -hint[1] + 0.15 * _walk(random, time) + random.uniform(0.02, 0.3) * random.normal(size=time.size)
    error = random.uniform(-0.5, 0.3) - random.uniform(0.0, 0.05) * time - response(0.1, 1.0)
    error += -hint[2] + 0.02 * _walk(random, time) + 0.01 * random.normal(size=time.size)
    adam = -1.5 + 0.6 * (level - level.mean()) + _noise(random, shapes.noise, min(deviation, 1.0), time)
    adam = np.where(time < 1.0, -0.5 * time, np.minimum(adam, 0.0))
    columns = {
        "adam_snr": 10.0**adam,
        "residual_order": 1.0 / np.sqrt(1.0 + 10.0 ** (2.0 * disorder)),
        "training_loss": 10.0**loss,
        "relative_l2_error": 10.0**error,
    }
    for layer in range(4):
        columns[f"layer{layer}_mean_norm"] = 10.0 ** (
            level + random.uniform(-0.5, 0.5) + _noise(random, shapes.noise, deviation, time)
        )
        columns[f"layer{layer}_std_norm"] = np.ones(time.size)
    return columns
