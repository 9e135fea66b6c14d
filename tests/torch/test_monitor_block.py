"""`with monitor:` around an iteration: captures on the training's own way back, none lost, nothing changed."""

import warnings

import pytest
import torch
from torch import nn

import phasecore
from phasecore import InputError
from phasecore.recording.schedule import is_due
from phasecore_torch import PhaseMonitor, PhysicsLoss
from phasecore_torch.capture import Capture

PROBLEM = phasecore.problem("burgers")


def parts(weighting="rba", **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    points = PROBLEM.sample(60, seed=0, condition_points=10)
    loss = PhysicsLoss(PROBLEM, model, points, weighting=weighting, **options)
    return loss, model, torch.optim.Adam(model.parameters(), lr=1e-2)


def iterate(loss, optimizer):
    optimizer.zero_grad()
    value = loss()
    value.backward()
    optimizer.step()


def due(every, iterations):
    return [iteration for iteration in range(1, iterations + 1) if is_due(iteration, every)]


@pytest.mark.parametrize("weighting", ["uniform", "rba", "grad_norm:every=1"])
def test_the_rows_are_those_of_captures_apart_before_the_step(weighting):
    loss, _, optimizer = parts(weighting)
    monitor = PhaseMonitor(loss, optimizer, every=3, batches=6)
    capture, apart = Capture(loss, optimizer, batches=6), []
    optimizer.register_step_pre_hook(lambda *_: apart.append({"iteration": monitor.iteration, **capture.measure()}))
    for _ in range(14):
        with monitor:
            iterate(loss, optimizer)
    rows = {row["iteration"]: row for row in monitor.history}
    assert list(rows) == due(3, 14)
    for expected in apart:
        if expected["iteration"] in rows:
            row = rows[expected["iteration"]]
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weighting", ["uniform", "rba"])
def test_the_training_is_that_of_a_loop_without_monitor(weighting):
    trained = []
    for monitored in (False, True):
        loss, model, optimizer = parts(weighting)
        monitor = PhaseMonitor(loss, optimizer, every=2, batches=6)
        for _ in range(9):
            if monitored:
                with monitor:
                    iterate(loss, optimizer)
            else:
                iterate(loss, optimizer)
        trained.append([*model.parameters(), *loss.weighting.state_dict().values()])
    torch.testing.assert_close(trained[1], trained[0], rtol=1e-9, atol=1e-12)


def test_the_gradients_of_weighting_schemes_are_not_taken_for_the_training_s():
    """A scheme that differentiates within the loss goes through the same parameters before the way back."""
    loss, _, optimizer = parts("ntk:every=1")
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=6)
    capture, rows = Capture(loss, optimizer, batches=6), []
    optimizer.register_step_pre_hook(lambda *_: rows.append(capture.measure()))
    for _ in range(4):
        with monitor:
            iterate(loss, optimizer)
    for row, expected in zip(monitor.history, rows[1:], strict=False):
        assert row["gradient_mean_norm"] == pytest.approx(expected["gradient_mean_norm"], rel=1e-9)


def test_a_row_is_taken_on_the_way_back_and_not_evaluated_again():
    loss, _, optimizer = parts("uniform")
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=6, probes=["gradient_snr"])
    with monitor:
        iterate(loss, optimizer)
    taken = []
    source = type(monitor.capture._source)
    original = source.gradient_moments
    source.gradient_moments = lambda *arguments: taken.append(1) or original(*arguments)
    try:
        for _ in range(5):
            with monitor:
                iterate(loss, optimizer)
    finally:
        source.gradient_moments = original
    assert not taken
    assert len(monitor.history) == 6


def lbfgs(loss, model):
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3, line_search_fn="strong_wolfe")

    def iterate():
        def closure():
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return value

        optimizer.step(closure)

    return optimizer, iterate


def some_points(loss, model):
    optimizer = torch.optim.Adam(model.parameters())

    def iterate():
        optimizer.zero_grad()
        loss(torch.randperm(60)[:20]).backward()
        optimizer.step()

    return optimizer, iterate


def accumulated(loss, model):
    optimizer = torch.optim.Adam(model.parameters())

    def iterate():
        optimizer.zero_grad()
        for indices in torch.arange(60).tensor_split(3):
            loss(indices).backward()
        optimizer.step()

    return optimizer, iterate


def another_optimizer(loss, model):
    other = torch.optim.SGD(model.parameters(), lr=1e-3)

    def iterate():
        other.zero_grad()
        loss().backward()
        other.step()

    return torch.optim.Adam(model.parameters()), iterate


def without_a_step(loss, model):
    return torch.optim.Adam(model.parameters()), lambda: loss().backward()


def by_autograd(loss, model):
    optimizer = torch.optim.Adam(model.parameters())

    def iterate():
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss(), list(model.parameters()), allow_unused=True), strict=True
        ):
            parameter.grad = gradient
        optimizer.step()

    return optimizer, iterate


@pytest.mark.parametrize(
    "way",
    [lbfgs, some_points, accumulated, another_optimizer, without_a_step, by_autograd],
    ids=lambda way: way.__name__,
)
@pytest.mark.parametrize("every", [1, 4])
def test_no_capture_is_lost_whatever_the_iteration_does(way, every):
    loss, model, _ = parts()
    optimizer, iterate = way(loss, model)
    monitor = PhaseMonitor(loss, optimizer, every=every, batches=6)
    for _ in range(9):
        with monitor:
            iterate()
    found = [row["iteration"] for row in monitor.history]
    assert len(found) == len(due(every, 9)) or way in (another_optimizer, without_a_step)
    for wanted in due(every, 8):
        assert wanted in found or wanted + 1 in found
    assert all(row["snr"] > 0 for row in monitor.history)


def test_a_way_that_changes_in_the_middle_loses_nothing():
    loss, _, optimizer = parts()
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=6)
    for iteration in range(12):
        with monitor:
            optimizer.zero_grad()
            loss(None if iteration % 3 else torch.arange(30)).backward()
            optimizer.step()
    assert [row["iteration"] for row in monitor.history] == list(range(1, 13))


def test_blocks_and_steps_may_follow_each_other():
    loss, _, optimizer = parts()
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=6)
    for iteration in range(12):
        if iteration // 4 == 1:
            iterate(loss, optimizer)
            monitor.step()
        else:
            with monitor:
                iterate(loss, optimizer)
    found = [row["iteration"] for row in monitor.history]
    assert found == sorted(set(found))
    assert set(found) >= set(range(1, 13)) - {4}


def test_an_iteration_that_an_exception_ends_is_not_counted():
    loss, _, optimizer = parts()
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=6)
    for iteration in range(6):
        try:
            with monitor:
                optimizer.zero_grad()
                loss().backward()
                if iteration == 3:
                    raise RuntimeError("out of memory")
                optimizer.step()
        except RuntimeError:
            pass
    assert monitor.iteration == 5
    assert [row["iteration"] for row in monitor.history] == [1, 2, 3, 4, 5]


def test_the_block_in_a_block_is_refused():
    loss, _, optimizer = parts()
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=6)
    with pytest.raises(InputError, match="'with' inside another 'with'"), monitor, monitor:
        pass
    with monitor:
        iterate(loss, optimizer)
    assert monitor.iteration == 1


def test_the_last_row_is_there_without_finish_and_only_once(tmp_path):
    loss, _, optimizer = parts()
    monitor = PhaseMonitor(loss, optimizer, every=5, batches=6, history_file=tmp_path / "history.jsonl")
    for _ in range(60):
        with monitor:
            iterate(loss, optimizer)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert len(lines) == len(due(5, 59))
    assert monitor.history[-1]["iteration"] == 60
    monitor.finish()
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == len(due(5, 60)) == len(monitor.history)


def test_a_penalty_of_the_user_s_is_common_to_all_batches():
    rows = []
    for strength in (0.0, 0.3):
        loss, model, _ = parts("uniform")
        monitor = PhaseMonitor(loss, torch.optim.SGD(model.parameters(), lr=0.0), every=1, batches=6)
        for _ in range(2):
            with monitor:
                monitor.capture._optimizer.zero_grad()
                (loss() + strength * sum(p.square().sum() for p in model.parameters())).backward()
                monitor.capture._optimizer.step()
        rows.append(monitor.history[0])
    assert rows[1]["gradient_std_norm"] == pytest.approx(rows[0]["gradient_std_norm"], rel=1e-9)
    assert rows[1]["gradient_mean_norm"] != pytest.approx(rows[0]["gradient_mean_norm"], rel=1e-2)


@pytest.mark.parametrize("saved_at", [5, 7])
def test_a_training_that_is_restored_gives_the_same_rows(saved_at):
    def trained(interruption):
        loss, model, optimizer = parts()
        monitor = PhaseMonitor(loss, optimizer, every=3, batches=6)
        for iteration in range(14):
            if iteration == interruption:
                kept = [part.state_dict() for part in (model, loss, optimizer, monitor)]
                loss, model, optimizer = parts()
                monitor = PhaseMonitor(loss, optimizer, every=3, batches=6)
                for part, state in zip((model, loss, optimizer, monitor), kept, strict=True):
                    part.load_state_dict(state)
            with monitor:
                iterate(loss, optimizer)
        return [{**row, "seconds": 0} for row in monitor.history]

    assert trained(saved_at) == trained(None)


def test_probes_have_their_own_schedule():
    loss, _, optimizer = parts()
    probes = ["gradient_snr", "term_losses:every=1", "saturation:every=20"]
    monitor = PhaseMonitor(loss, optimizer, every=6, batches=6, probes=probes)
    for _ in range(30):
        with monitor:
            iterate(loss, optimizer)
    rows = monitor.history
    assert [row["iteration"] for row in rows] == list(range(1, 31))
    assert [row["iteration"] for row in rows if "snr" in row] == due(6, 30)
    assert [row["iteration"] for row in rows if "saturation" in row or "layer0_saturation" in row] == due(20, 30)


def test_nothing_stays_behind_after_a_block():
    loss, model, optimizer = parts()
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with monitor:
                iterate(loss, optimizer)
    assert not any(parameter._backward_hooks for parameter in model.parameters())
    assert not optimizer._optimizer_step_pre_hooks
    assert loss._batched is None
