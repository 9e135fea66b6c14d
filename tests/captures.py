"""When captures of a training are expected, from the rule as the documentation states it."""

import math


def due(every, last, after=0):
    """Iterations after one and up to another that are captured: the multiples, and 20 per decade before the tenth."""

    def place(iteration):
        return math.floor(20 * math.log10(iteration)) if iteration else -math.inf

    return [
        iteration
        for iteration in range(after + 1, last + 1)
        if iteration % every == 0 or (iteration <= 10 * every and place(iteration) > place(iteration - 1))
    ]


def latest(every, last):
    """For each iteration from 1 on, the one at which the newest capture up to it was made."""
    captured = due(every, last)
    return [max(k for k in captured if k <= iteration) for iteration in range(1, last + 1)]
