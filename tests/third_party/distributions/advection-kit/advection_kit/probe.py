from dataclasses import dataclass

from phasecore.probes import Probe


@dataclass(frozen=True)
class LossImbalance(Probe):
    """Largest loss of a term over the smallest."""

    name = "loss_imbalance"
    requires = frozenset({"term_losses"})

    def measure(self, signals):
        losses = [float(loss) for loss in signals["term_losses"].values()]
        return {"loss_imbalance": max(losses) / max(min(losses), 1e-300)}
