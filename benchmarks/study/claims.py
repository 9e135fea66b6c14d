"""What the paper claims, as numbers of runs: on which side of which boundary each must lie was fixed before looking."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.study.intervals import Interval, Verdict, median, rank_correlation, share, verdict, within_groups
from benchmarks.study.measures import Measured, distance

LOSS, ERROR = "unweighted_loss", "relative_l2_error"
LAYERS = 10
KINDS = {(True, True): "both", (False, True): "rba only", (True, False): "uniform only", (False, False): "neither"}
"""Of pairs of runs, by whether total diffusion begins with uniform weights and with residual-based attention."""


@dataclass(frozen=True)
class Claim:
    """Something that each run says yes or no to, by a number.

    Attributes:
        name: short, for tables.
        statement: what the paper claims, in a sentence.
        measure: the number of a run; NaN where the run cannot say.
        boundary: the number that divides yes from no.
        side: where the number lies if the claim is true.
        unit: of the number, in words.
    """

    name: str
    statement: str
    measure: Callable[[Measured], float]
    boundary: float
    side: Literal["above", "below"]
    unit: str

    def over(self, runs: Sequence[Measured]) -> Interval:
        """Return the median over the runs that can say."""
        return median([value for run in runs if math.isfinite(value := self.measure(run))])

    def judged(self, runs: Sequence[Measured]) -> Verdict:
        """Return what the runs say of the claim."""
        return verdict(self.over(runs), self.boundary, self.side)


def coincidence(run: Measured) -> float:
    """Return the decades between total diffusion and the error's steepest fall, less those of a random moment."""
    steepest = run.steepest(ERROR, falls=True)
    found = distance(run.total_diffusion, steepest)
    return found - run.random_distance(steepest) if math.isfinite(found) else math.nan


def nearer_than_loss(run: Measured) -> float:
    """Return the decades from the error's steepest fall to total diffusion, less those to the loss's steepest fall."""
    steepest = run.steepest(ERROR, falls=True)
    return distance(run.total_diffusion, steepest) - distance(run.steepest(LOSS, falls=True), steepest)


def slope_change(run: Measured) -> float:
    """Return the slope of the error on log axes in the half decade after total diffusion, less that before."""
    before, after = run.slopes(ERROR, run.total_diffusion)
    return after - before


def rise(name: str) -> Callable[[Measured], float]:
    """Return the measure of how much a column's level rises from before total diffusion to after."""

    def measure(run: Measured) -> float:
        if not math.isfinite(run.total_diffusion) or not run.has(name):
            return math.nan
        before, after = run.around(name, run.total_diffusion)
        return after - before

    return measure


def decades(name: str) -> Callable[[Measured], float]:
    """Return the measure of by how many decades a column's level rises at total diffusion."""

    def measure(run: Measured) -> float:
        if not math.isfinite(run.total_diffusion) or not run.has(name):
            return math.nan
        before, after = run.around(name, run.total_diffusion)
        return math.log10(after / before) if before > 0 and after > 0 else math.nan

    return measure


def gradient_order(run: Measured) -> float:
    """Return how much the gradient order, `snr / sqrt(1 + snr^2)`, rises at total diffusion."""
    if not math.isfinite(run.total_diffusion):
        return math.nan
    before, after = (snr / math.sqrt(1 + snr**2) for snr in run.around("snr", run.total_diffusion))
    return after - before


def over_layers(suffix: str) -> Callable[[Measured], float]:
    """Return the measure of how much a quantity of the hidden layers rises at total diffusion, their mean."""

    def measure(run: Measured) -> float:
        found = [rise(name)(run) for name in layers(run, suffix)]
        return float(np.mean(found)) if found else math.nan

    return measure


def deep_against_first(run: Measured) -> float:
    """Return the last hidden layer's change of entropy from the end of fitting on, less the first hidden layer's."""
    names = layers(run, "_entropy_bits")
    if len(names) < 2:
        return math.nan
    changes = [run.final(name) - run.level(name, run.settled / 2, run.settled * 2) for name in (names[0], names[-1])]
    return changes[1] - changes[0]


def oscillation(run: Measured) -> float:
    """Return, after total diffusion, the rank correlation of the SNR with how far the loss is above its running median.

    Near 1, the SNR is high at those captures at which the training has just overshot.
    """
    late = run.iteration >= run.total_diffusion
    if late.sum() < 20:
        return math.nan
    loss, snr = np.log10(run.column("training_loss")[late]), run.column("snr")[late]
    usual = np.asarray([np.median(loss[max(0, place - 5) : place + 6]) for place in range(len(loss))])
    valid = np.isfinite(loss) & np.isfinite(snr)
    return rank_correlation(snr[valid], (loss - usual)[valid])


def layers(run: Measured, suffix: str) -> list[str]:
    """Return the columns of the hidden layers with a suffix, first layer first."""
    return [name for number in range(LAYERS) if run.has(name := f"layer{number}{suffix}")]


CLAIMS = (
    Claim(
        "near the error's steepest fall",
        "Total diffusion coincides with the steepest fall of the test error: nearer to it than a random moment.",
        coincidence,
        0.0,
        "below",
        "decades",
    ),
    Claim(
        "nearer than the loss says",
        "It tells where the test error falls better than the training loss does: it is nearer to the steepest fall of "
        "the error than the steepest fall of the loss is.",
        nearer_than_loss,
        0.0,
        "below",
        "decades",
    ),
    Claim(
        "error falls faster after",
        "The network generalizes from there on: the error falls faster in the half decade after than before.",
        slope_change,
        0.0,
        "below",
        "slope on log axes",
    ),
    Claim(
        "SNR rises",
        "The batch gradients' SNR rises abruptly: by more than half a decade, from half a decade to the next.",
        decades("snr"),
        0.5,
        "above",
        "decades",
    ),
    Claim(
        "gradient order rises", "Gradients become homogeneous over the batches.", gradient_order, 0.0, "above", "order"
    ),
    Claim(
        "residual order rises",
        "Residuals become homogeneous over the domain.",
        rise("residual_order"),
        0.0,
        "above",
        "order",
    ),
    Claim(
        "learning rates even out",
        "Adam's learning rates come to an equilibrium: their coefficient of variation falls.",
        decades("adam_learning_rate_variation"),
        0.0,
        "below",
        "decades",
    ),
    Claim(
        "activations saturate",
        "Activations saturate: a larger share lies in the end bins.",
        over_layers("_saturation"),
        0.0,
        "above",
        "share",
    ),
    Claim(
        "layers compress",
        "Layers compress: their entropy falls by more than a tenth of a bit.",
        over_layers("_entropy_bits"),
        -0.1,
        "below",
        "bits",
    ),
    Claim(
        "deep layers keep more",
        "Deep layers lose less information than the first one, from the end of fitting to the end of the training.",
        deep_against_first,
        0.0,
        "above",
        "bits",
    ),
)


def sooner(pairs: Sequence[tuple[Measured, Measured]]) -> tuple[Interval, Interval, Interval, dict[str, int]]:
    """Compare when total diffusion begins with residual-based attention and with uniform weights, seed by seed.

    Args:
        pairs: (uniform, rba) of a problem and a seed.

    Returns:
        The share of pairs in which rba is sooner, of those in which either begins; the ratio of iterations, and that of
        processor times, where both begin; and how many pairs there are of each kind.
    """
    kinds = dict.fromkeys(KINDS.values(), 0)
    wins, iterations, times = 0, [], []
    for uniform, rba in pairs:
        first, second = uniform.total_diffusion, rba.total_diffusion
        both = math.isfinite(first), math.isfinite(second)
        kinds[
            {(True, True): "both", (False, True): "rba only", (True, False): "uniform only"}.get(both, "neither")
        ] += 1
        wins += second < first
        if all(both):
            iterations.append(second / first)
            times.append(_seconds(rba) / _seconds(uniform))
    decided = len(pairs) - kinds["neither"]
    return share(wins, decided), median(iterations), median(times), kinds


def prediction(groups: Mapping[str, Sequence[Measured]]) -> tuple[Interval, Interval, Interval]:
    """Say how the beginning of total diffusion predicts the final error, over all schemes and seeds of a problem.

    Returns:
        The rank correlation of when it begins (never ranks last) with the final error; that of the final loss with it;
        and the partial one of when it begins, beyond what the final loss predicts. All within problems.
    """
    rows = [
        [(run.total_diffusion, run.final(ERROR), run.final(LOSS)) for run in runs if math.isfinite(run.final(ERROR))]
        for runs in groups.values()
    ]
    begins = [[(begun if math.isfinite(begun) else 1e12, error, loss) for begun, error, loss in own] for own in rows]
    by_loss = [[(loss, error, begun) for begun, error, loss in own] for own in begins]
    return within_groups(begins), within_groups(by_loss), within_groups(begins, partial=True)


def _seconds(run: Measured) -> float:
    return float(run.kept["processor_seconds"]) * run.total_diffusion / run.last
