"""What the suites share: the slow, plain way to the signal-to-noise ratio, and the documentation's examples."""

import os
import re
import types
from pathlib import Path

import pytest

assert os.environ.get("PHASECORE_INTEGRATIONS_SUITE"), "run by tests/integrations/test_integrations.py"

PAGE = Path(__file__).parents[3] / "docs" / "integrations.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
OF_OTHERS = [
    # Lightning with torch 2.13
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning",
    # torch_geometric, which PINA imports
    "ignore:.torch.jit.* is deprecated:DeprecationWarning",
    # Lightning, of set-ups that are as small as tests are
    "ignore:.*does not have many workers:UserWarning",
    "ignore:The number of training batches:UserWarning",
    "ignore:You defined a .validation_step. but have no .val_dataloader.:UserWarning",
    "ignore:Checkpoint directory .* exists and is not empty:UserWarning",
]


def pytest_configure(config):
    for line in OF_OTHERS:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def snr_of():
    """Return `snr_of(losses, weights)`: from batch losses and weight matrices, all gradients stacked, in float64."""
    import torch

    def snr_of(losses, weights):
        gradients = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses]
        stacked = torch.stack([torch.cat([part.flatten() for part in one]) for one in gradients])
        assert stacked.dtype == torch.float64
        return float(stacked.mean(dim=0).norm() / stacked.std(dim=0, correction=0).norm())

    return snr_of


@pytest.fixture
def run_section(tmp_path, monkeypatch):
    """Return `run_section(title, **others)`: runs the python blocks of a section of docs/integrations.md, in order.

    What is given by name takes the place of that argument of a call on the page: other numbers, for a shorter run.
    """
    monkeypatch.chdir(tmp_path)

    def run_section(title, **others):
        section = PAGE.read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
        for name, value in others.items():
            section, count = re.subn(rf"\b{name}=\w+", f"{name}={value}", section)
            assert count
        blocks = BLOCK.findall(section)
        assert blocks
        module = types.ModuleType("documentation")
        for number, block in enumerate(blocks, start=1):
            exec(compile(block, f"{PAGE.name}, {title}, block {number}", "exec"), module.__dict__)
        return module

    return run_section
