"""`--precision float64` with torch."""

import torch
from precisions import SMALL, check_run

from phasecore.backends import Settings
from phasecore_torch.training import network


def layers():
    model = network(2, 1, Settings(**SMALL)).double()
    linear = [part for part in model if isinstance(part, torch.nn.Linear)]
    return [(part.weight.detach().numpy().T, part.bias.detach().numpy()) for part in linear]


def test_all_is_in_float64(tmp_path):
    check_run(tmp_path / "run", "torch", layers)
    assert torch.get_default_dtype() == torch.float32
