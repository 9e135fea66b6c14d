"""One training step on torch, side by side: nested autodiff, jets, jets in blocks, compiled, and with the SNR captured.

    python benchmarks/torch_step.py burgers helmholtz --points 10000 --width 128 --depth 6

Every contender has the same network, points, conditions, weighting (rba) and Adam; before timing, that they compute the
same loss from the same parameters is checked. Rounds are interleaved; medians and ratios are printed.
"""

import argparse
import contextlib
import platform
import statistics
import time

import torch

import phasecore
from phasecore.backends import Settings
from phasecore_torch import PhaseMonitor, PhysicsLoss
from phasecore_torch.training import network

WHOLE = 10**9


class Contender:
    """A training, and how its SNR is captured: not at all, apart, in one pass, or batch by batch as the authors do."""

    def __init__(self, problem, arguments, *, snr="", **options):
        settings = Settings(iterations=1, points=arguments.points, width=arguments.width, depth=arguments.depth)
        self.model = network(len(problem.coordinates), len(problem.outputs), settings)
        points = problem.sample(arguments.points, seed=0)
        self.loss = PhysicsLoss(problem, self.model, points, weighting="rba", **options)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.snr = snr
        self.batches = torch.arange(arguments.points).tensor_split(100)
        if snr in ("apart", "one pass"):
            self.monitor = PhaseMonitor(self.loss, self.optimizer, every=1, probes=["gradient_snr"])

    def step(self):
        """Train one iteration and return the loss."""
        with self.monitor if self.snr == "one pass" else contextlib.nullcontext():
            self.optimizer.zero_grad()
            value = self.loss()
            value.backward()
            if self.snr == "batch by batch":
                self.stacked_moments()
            self.optimizer.step()
        if self.snr == "apart":
            self.monitor.step()
        return value.item()

    def stacked_moments(self):
        """Take a backward pass for each batch's loss, conditions included; stack the gradients, reduce them."""
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        rows = []
        for batch in self.batches:
            weights = self.loss.weighting.current(batch)
            value = self.loss.batch_loss(self.loss.points[batch], weights) + self.loss.shared_loss(weights)
            found = torch.autograd.grad(value, matrices)
            rows.append(torch.cat([gradient.flatten() for gradient in found]))
        stacked = torch.stack(rows)
        return stacked.mean(0).norm() / stacked.std(0, correction=0).norm()


def contenders(problem, arguments):
    return {
        "nested autodiff": Contender(problem, arguments, derivatives="autodiff", block=WHOLE),
        "jets": Contender(problem, arguments, block=WHOLE),
        "jets, blocks": Contender(problem, arguments),
        "jets, compiled": Contender(problem, arguments, compiled=True),
        "compiled + SNR in one pass": Contender(problem, arguments, compiled=True, snr="one pass"),
        "compiled + SNR apart": Contender(problem, arguments, compiled=True, snr="apart"),
        "nested + SNR batch by batch": Contender(
            problem, arguments, derivatives="autodiff", block=WHOLE, snr="batch by batch"
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=["burgers"])
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}")
    for name in arguments.problems:
        entrants = contenders(phasecore.problem(name), arguments)
        for _ in range(3):
            losses = {entrant: contender.step() for entrant, contender in entrants.items()}
            reference = losses["jets"]
            for entrant, value in losses.items():
                assert abs(value - reference) < 1e-3 * abs(reference), f"{entrant}: loss {value}, not {reference}"
        times = {entrant: [] for entrant in entrants}
        for _ in range(arguments.rounds):
            for entrant, contender in entrants.items():
                began = time.perf_counter()
                contender.step()
                times[entrant].append(time.perf_counter() - began)
        medians = {entrant: statistics.median(values) for entrant, values in times.items()}
        print(f"\n{name}, {arguments.points} points, {arguments.depth} x {arguments.width}")
        print(f"{'':30}{'ms':>8}{'nested / this':>15}{'this / compiled':>17}")
        for entrant, median in medians.items():
            nested, compiled = medians["nested autodiff"] / median, median / medians["jets, compiled"]
            print(f"{entrant:30}{1e3 * median:8.1f}{nested:15.2f}{compiled:17.2f}")


if __name__ == "__main__":
    main()
