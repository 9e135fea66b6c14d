"""What a policy that never acts costs: the same trainings with and without one, in turn, in one process.

    python -m benchmarks.policy_cost
    python -m benchmarks.policy_cost --every 1 --iterations 200

Prints the median over the rounds of the ratio of the times with a policy and without, and its quartiles. The policies
wait for a phase that does not come in so few iterations. The bar is 1.02.
"""

from __future__ import annotations

import argparse
import statistics
import time

from phasecore.runs import execute, prepare

POLICIES = (
    "quasi_newton:earliest=1000000,latest=1000000",
    "stop_when_done",
    "learning_rate_by_phase:total_diffusion=0.5",
)


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
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    seconds(None, given)
    ratios: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for _ in range(given.rounds):
        for policy, found in ratios.items():
            without, with_policy = seconds(None, given), seconds(policy, given)
            found.append(with_policy / without)
    for policy, found in ratios.items():
        low, middle, high = statistics.quantiles(found, n=4)
        print(f"{policy}: {middle:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
