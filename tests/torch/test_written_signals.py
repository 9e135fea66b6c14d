"""A scheme that writes into its signals, which are the tensors of the loss itself, is refused when it does."""

import pytest
import torch
from written_signals import PROBLEM, SIGNALS, writer

from phasecore import PluginError
from phasecore_torch import PhysicsLoss


def loss_of(scheme, dtype=torch.float64, **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).to(dtype)
    return PhysicsLoss(PROBLEM, model, PROBLEM.sample(20, seed=0), weighting={"mine": scheme}, **options)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_update_that_writes_into_a_signal_is_refused_when_the_loss_is_made(signal, dtype):
    told = rf"weighting 'mine', update.*signal '{signal}' changed in place.*new arrays"
    with pytest.raises(PluginError, match=told):
        loss_of(writer(signal), dtype)


@pytest.mark.parametrize("signal", SIGNALS)
def test_an_init_too(signal):
    with pytest.raises(PluginError, match=rf"weighting 'mine', init.*signal '{signal}' changed in place"):
        loss_of(writer(signal, in_init=True))


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("indices", [None, torch.arange(7)])
def test_one_that_does_so_later_is_refused_then(signal, indices):
    calls = []
    loss = loss_of(writer(signal, when=lambda: calls.append(1) or len(calls) > 2))
    loss(indices).backward()
    with pytest.raises(PluginError, match=rf"signal '{signal}' changed in place"):
        loss(indices)


@pytest.mark.parametrize("compiled", [False, True])
def test_new_arrays_are_taken(compiled):
    loss = loss_of(writer("residuals", when=lambda: False))
    call = torch.compile(loss, backend="eager") if compiled else loss
    residuals = loss.evaluate().residuals
    conditions = loss.evaluate().condition_residuals
    expected = sum((r**2).mean() for r in (*residuals.values(), *conditions.values()))
    torch.testing.assert_close(call(), expected)
    with torch.inference_mode():
        loss()
