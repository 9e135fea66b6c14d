"""What the papers' formulas give, point by point in plain loops; written from the formulas, not from the code."""

import math

import numpy as np
from numpy.random import default_rng

from phasecore.signals import Signals


def signals_of(residuals=None, conditions=None, **others):
    values = dict(others)
    if residuals is not None:
        values["residuals"] = residuals
        values["condition_residuals"] = conditions or {}
    return Signals(values, np)


def residuals_at(seed, sizes):
    """Residuals whose size falls with the seed, faster in some terms than in others."""
    generator = default_rng(seed)
    return {
        term: generator.standard_normal(size) * math.exp(-0.1 * seed * (1 + place))
        for place, (term, size) in enumerate(sizes.items())
    }


def rows_of_state(scheme, state, rows, terms):
    """What a batch sees of the state: rows of the equations' points, the points of conditions whole."""
    fields = {
        name: {term: values[rows] if term in terms else values for term, values in getattr(state, name).items()}
        for name in scheme.per_point
    }
    return state._replace(**fields)


def train_in_batches(scheme, sizes, condition_sizes, batch, epochs):
    """Yield (rows, residuals, conditions, weights) of shuffled batches; the state is kept by point index."""
    count = next(iter(sizes.values()))
    state = scheme.init(
        signals_of({t: np.zeros(n) for t, n in sizes.items()}, {t: np.zeros(n) for t, n in condition_sizes.items()})
    )
    generator = default_rng(3)
    step = 0
    for _ in range(epochs):
        for rows in np.split(generator.permutation(count), range(batch, count, batch)):
            residuals = residuals_at(step, dict.fromkeys(sizes, len(rows)))
            conditions = residuals_at(1000 + step, condition_sizes) if condition_sizes else {}
            conditions = {t: v * math.exp(100) for t, v in conditions.items()}
            weights, new = scheme.update(signals_of(residuals, conditions), rows_of_state(scheme, state, rows, sizes))
            merged = {}
            for name, value in zip(new._fields, new, strict=True):
                old = getattr(state, name)
                merged[name] = dict(value)
                for term in value:
                    if name in scheme.per_point and term in sizes:
                        whole = old[term].copy()
                        whole[rows] = value[term]
                        merged[name][term] = whole
            state = type(new)(**merged)
            yield rows, residuals, conditions, weights
            step += 1


SLOPES = {
    "square": lambda w: 2 * w,
    "linear": lambda w: 1.0,
    "sigmoid": lambda w: math.exp(-w) / (1 + math.exp(-w)) ** 2,
}
MASKS = {"square": lambda w: w * w, "linear": lambda w: w, "sigmoid": lambda w: 1 / (1 + math.exp(-w))}


def adam_ascent(weight, history, learning_rate, mask="square", beta1=0.99, beta2=0.999, epsilon=1e-7):
    """Roots of the masked weight before each step of one point, for its (residual, number of points) at each.

    Adam is Keras's, which adds epsilon to the root of the uncorrected second moment.
    """
    m = v = 0.0
    seen = []
    for step, (residual, count) in enumerate(history, start=1):
        seen.append(math.sqrt(MASKS[mask](weight)))
        g = SLOPES[mask](weight) * residual**2 / count
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        rate = learning_rate * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        weight += rate * m / (math.sqrt(v) + epsilon)
    return seen


class Brdr:
    """Balanced residual decay rate of points by (term, index); what is remembered fades with the updates of all."""

    def __init__(self, decay, weight_decay, epsilon):
        self.decay, self.weight_decay, self.epsilon = decay, weight_decay, epsilon
        self.fourth, self.seen, self.weight = {}, {}, {}
        self.step = 0

    def update(self, residuals):
        """`residuals`: {(term, index): residual} of the points at hand."""
        self.step += 1
        rate = {}
        for point, r in residuals.items():
            kept = self.decay ** (self.step - self.seen.get(point, 0))
            self.fourth[point] = kept * self.fourth.get(point, 0.0) + (1 - kept) * r**4
            unbiased = self.fourth[point] / (1 - self.decay**self.step)
            rate[point] = r**2 / (math.sqrt(unbiased) + self.epsilon)
        mean = sum(rate.values()) / len(rate)
        for point in residuals:
            kept = self.weight_decay ** (self.step - self.seen.get(point, 0))
            self.weight[point] = kept * self.weight.get(point, 1.0) + (1 - kept) * rate[point] / mean
            self.seen[point] = self.step
        return {point: self.weight[point] for point in residuals}


def causal_weights(times, residuals, slabs, epsilon, minimum=False, initial=0.0):
    """Weights of the points; `times` in [0, 1], `residuals` a list of lists, one for each equation."""
    slab_of = [min(int(time * slabs), slabs - 1) for time in times]
    weights = []
    for slab in range(slabs):
        passed = []
        for r in residuals:
            losses = []
            for earlier in range(slab):
                inside = [r[i] ** 2 for i, place in enumerate(slab_of) if place == earlier]
                losses.append(sum(inside) / len(inside) if inside else 0.0)
            passed.append(sum(losses))
        each = [math.exp(-epsilon * (initial + one)) for one in passed]
        weights.append(min(each) if minimum else math.exp(-epsilon * (initial + sum(passed))))
    return [weights[slab] for slab in slab_of], min(weights)


def softmax_of(scores):
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]
