import numpy as np
import pytest

from phasecore.probes.relative_l2 import RelativeL2Error
from phasecore.probes.term_losses import TermLosses
from phasecore.signals import Signals


def test_losses_are_recorded_in_total_and_by_term_weighted_and_not():
    signals = Signals(
        {
            "term_losses": {"pde": np.float32(0.5), "boundary": np.asarray(2.0)},
            "weighted_term_losses": {"pde": np.float32(0.125), "boundary": np.asarray(2.0)},
        },
        np,
    )
    assert TermLosses().measure(signals) == {
        "training_loss": 2.125,
        "unweighted_loss": 2.5,
        "loss_pde": 0.5,
        "loss_boundary": 2.0,
        "weighted_loss_pde": 0.125,
        "weighted_loss_boundary": 2.0,
    }


def test_the_error_is_over_all_fields_together_and_in_double_precision():
    reference = {"u": np.asarray([3.0, 0.0]), "v": np.asarray([4.0])}
    fields = {"v": np.asarray([4.0], dtype=np.float32), "u": np.asarray([3.0, 1e-8], dtype=np.float32), "p": [9.0]}
    measured = RelativeL2Error().measure(Signals({"fields": fields, "reference_fields": reference}, np))
    assert measured == {"relative_l2_error": pytest.approx(2e-9, rel=1e-6)}
