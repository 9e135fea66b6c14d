"""What a policy that never acts costs: the same trainings with and without one, in turn, in one process.

    python -m benchmarks.policy_cost
    python -m benchmarks.policy_cost --every 1 --iterations 200

For each policy: the median over the rounds of the ratio of the processor times with it and without (which comes first
changes from round to round), its quartiles, and the part of the time with it that is spent within the policy's step,
which says what the noise of two trainings hides. The policies wait for a phase that does not come in so few iterations.
The bar is 1.02.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

from phasecore.phases import Timeline
from phasecore.recording.acting import Acting, Decision
from phasecore.runs import execute, prepare

POLICIES = (
    "quasi_newton:earliest=1000000,latest=1000000",
    "stop_when_done",
    "learning_rate_by_phase:total_diffusion=0.5",
)


class Spent:
    """The processor time spent within the policies' step."""

    seconds = 0.0


def timed(spent: Spent) -> Callable[..., list[Decision]]:
    """Return the policies' step, which adds up what it takes."""
    decide = Acting.decide

    def step(acting: Acting, timeline: Timeline, row: Mapping[str, Any]) -> list[Decision]:
        began = time.process_time()
        decisions = decide(acting, timeline, row)
        spent.seconds += time.process_time() - began
        return decisions

    return step


def seconds(policy: str | None, given: argparse.Namespace) -> float:
    """Return the processor time of one training."""
    training = prepare(
        given.problem, weighting="rba", backend="torch", points=given.points, iterations=given.iterations,
        every=given.every, policy=policy, seed=0,
    )  # fmt: skip
    began = time.process_time()
    outcome = execute(training)
    assert not outcome.actions
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", default="helmholtz")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    seconds(None, given)
    spent = Spent()
    ratios: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    within: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    with mock.patch.object(Acting, "decide", timed(spent)):
        for turn in range(given.rounds):
            for policy, found in ratios.items():
                took: dict[str | None, float] = {}
                for which in (None, policy) if turn % 2 else (policy, None):
                    spent.seconds = 0.0
                    took[which] = seconds(which, given)
                    if which is not None:
                        within[policy].append(spent.seconds / took[which])
                found.append(took[policy] / took[None])
    for policy, found in ratios.items():
        low, middle, high = statistics.quantiles(found, n=4)
        share = statistics.median(within[policy])
        print(f"{policy}: {middle:.3f} ({low:.3f} to {high:.3f}), {100 * share:.2f}% of the time within the policy")


if __name__ == "__main__":
    main()
