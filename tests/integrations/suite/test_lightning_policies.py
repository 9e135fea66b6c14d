"""Policies in Lightning's Trainer."""

import math

import pytest
import torch
from broken_policies import check_broken_policies, check_refused
from failing_steps import spoil_steps
from plans import plan
from test_lightning import Helmholtz, Regression, fit, indices, inputs

from phasecore.errors import InputError
from phasecore.policies import (
    AverageWeighting,
    Call,
    ChangeWeighting,
    HoldWeighting,
    Resample,
    ScaleLearningRate,
    SetLearningRate,
    Stop,
    SwitchOptimizer,
)
from phasecore_torch import Resampling
from phasecore_torch.lightning import PhaseCallback
from phasecore_torch.quasi_newton import LBFGS

THERE_AND_BACK = (4, SwitchOptimizer("lbfgs")), (10, SwitchOptimizer("adam"))


def trained(policy, module=None, epochs=4, ckpt_path=None, callback=None, **options):
    module = module or Helmholtz()
    phases = callback or PhaseCallback(every=2, batches=4, policy=policy, **options)
    trainer = fit(module, indices(), phases, max_epochs=epochs, ckpt_path=ckpt_path)
    return module, phases, trainer


def rows_of(phases):
    return {row["iteration"]: {k: v for k, v in row.items() if k != "seconds"} for row in phases.history}


def test_the_trainer_goes_on_with_lbfgs_and_back():
    torch.optim.LBFGS([torch.zeros(1, requires_grad=True)])  # torch hooks its class now
    _, phases, trainer = trained(plan(*THERE_AND_BACK))
    rows = rows_of(phases)
    assert [acted.to for acted in phases.actions] == ["lbfgs", "adam"]
    assert {"adam_snr" in rows[k] for k in (4, 12, 16)} == {True}
    assert not {"adam_snr" in rows[k] for k in (6, 8, 10)} - {False}, "what is not Adam's is absent, not stale"
    assert rows[10]["evaluations"] >= 4 + 2 * 6
    assert rows[16]["evaluations"] == rows[10]["evaluations"] + 6
    assert (phases.iteration, trainer.global_step) == (16, 16)
    assert isinstance(trainer.optimizers[0], torch.optim.Adam)


@pytest.mark.parametrize(
    "further",
    [(), (AverageWeighting(),), (HoldWeighting(),), (ChangeWeighting("uniform"),)],
    ids=["", "averaged", "held", "other"],
)
def test_a_checkpoint_is_gone_on_from_with_the_optimizer_in_charge(tmp_path, further):
    policy = plan((4, SwitchOptimizer("lbfgs")), *((4, action) for action in further), (10, SwitchOptimizer("adam")))
    whole, expected, _ = trained(policy)
    _, _, trainer = trained(policy, epochs=2)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    again, phases, _ = trained(policy, ckpt_path=tmp_path / "half.ckpt")
    assert phases.actions == expected.actions
    assert repr(rows_of(phases)) == repr(rows_of(expected))
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_points_move_and_a_checkpoint_has_them(tmp_path):
    def run(epochs, ckpt_path=None):
        module = Helmholtz()
        resampling = Resampling(module.physics, "uniform", seed=0)
        return trained(plan((5, Resample())), module, epochs, ckpt_path, resampling=resampling)

    whole, _, _ = run(4)
    half, _, trainer = run(2)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    again, _, _ = run(4, tmp_path / "half.ckpt")
    assert not torch.equal(half.physics.points, Helmholtz().physics.points)
    assert torch.equal(again.physics.points, whole.physics.points)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_learning_rates_weights_calls_and_the_end():
    heard = []
    policy = plan(
        (2, SetLearningRate(0.5)), (4, ScaleLearningRate(0.5)), (4, ChangeWeighting("uniform")),
        (6, Call(lambda timeline, row: heard.append(row["iteration"]))), (8, Stop()),
    )  # fmt: skip
    module, phases, trainer = trained(policy)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.25
    assert module.physics.specification == "uniform"
    assert (heard, phases.iteration, phases.stopped) == ([6], 8, True)


def test_a_policy_that_never_acts_changes_no_parameter():
    found = [trained(policy)[0].network.state_dict() for policy in (None, plan((10**9, SwitchOptimizer("lbfgs"))))]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_failure_leads_back_to_the_modules_optimizer_and_is_said_once(monkeypatch):
    spoil_steps(monkeypatch, LBFGS, after=3)
    with pytest.warns(RuntimeWarning, match="lbfgs failed") as caught:
        _, phases, trainer = trained(plan((4, SwitchOptimizer("lbfgs"))))
    assert sum("lbfgs failed" in str(item.message) for item in caught) == 1
    assert [acted.to for acted in phases.actions] == ["lbfgs", "adam"]
    assert isinstance(trainer.optimizers[0], torch.optim.Adam)
    assert math.isfinite(phases.history[-1]["training_loss"])


def test_optimizers_of_ones_own_take_their_turn():
    module = Helmholtz()
    others = {"sgd": torch.optim.SGD(module.parameters(), lr=1e-4)}
    _, _, trainer = trained(plan((4, SwitchOptimizer("sgd"))), module, optimizers=others)
    assert trainer.optimizers == [others["sgd"]]


@pytest.mark.parametrize(
    ("policy", "make", "options", "message"),
    [
        ("quasi_newton", Helmholtz, {"gradient_clip_val": 1.0}, "gradient_clip_val"),
        ("quasi_newton", Helmholtz, {"accumulate_grad_batches": 2}, "accumulate_grad_batches"),
        ("at_phase:phase=diffusion,do=switch_optimizer,to=lbfg", Helmholtz, {}, "unknown optimizer"),
        ("at_phase:phase=diffusion,do=resample", Helmholtz, {}, "requires action 'resample'"),
        ("at_phase:phase=diffusion,do=snapshot", Helmholtz, {}, "requires action 'snapshot'"),
        ("at_phase:phase=diffusion,do=change_weighting,to=rbaa", Helmholtz, {}, "rba"),
    ],
)
def test_what_the_trainer_cannot_do_is_refused_before_the_first_step(policy, make, options, message):
    module = make()
    with pytest.raises(InputError, match=message):
        fit(module, indices(), PhaseCallback(every=2, batches=4, policy=policy), **options)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), make().parameters(), strict=True))


def test_a_loss_of_ones_own_has_no_weights_and_may_have_lbfgs():
    module = Regression()
    options = {"points": inputs().dataset, "every": 2, "batches": 4}
    with pytest.raises(InputError, match="hold_weighting"):
        fit(
            module, inputs(), PhaseCallback(module.loss, policy="at_phase:phase=diffusion,do=hold_weighting", **options)
        )
    phases = PhaseCallback(module.loss, policy=plan((4, SwitchOptimizer("lbfgs"))), **options)
    fit(module, inputs(), phases)
    assert phases.history[-1]["evaluations"] > 12


def test_no_faulty_policy_ends_a_training_and_bad_input_is_refused():
    def train(policy):
        module = Helmholtz()
        phases = PhaseCallback(every=1, batches=4, policy=policy)
        fit(module, indices(), phases, max_epochs=2, max_steps=6)
        return phases.iteration, phases.actions

    check_broken_policies(train)
    check_refused(lambda policy: PhaseCallback(policy=policy))
