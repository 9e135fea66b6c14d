"""`phasecore run --processes N`: the run of one process, from several."""

import threading

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner

import phasecore
from phasecore.cli import main
from phasecore.runs import execute, open_run, prepare, prepare_resumed
from phasecore.runs.interruption import interrupt

SMALL = {"points": 41, "width": 8, "depth": 2, "iterations": 12, "every": 4}


def workers():
    every = psutil.Process().children(recursive=True)
    return [process for process in every if "phasecore_torch.workers" in process.cmdline()]


@pytest.fixture(autouse=True)
def left_as_it_was():
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    assert not workers()
    assert not torch.distributed.is_initialized()
    assert torch.get_num_threads() == threads


class At:
    """A logger that does something at the capture of an iteration."""

    def __init__(self, iteration, do):
        self._iteration, self._do = iteration, do

    @phasecore.hookimpl
    def phasecore_captured(self, row):
        if row["iteration"] == self._iteration:
            self._do()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected.keys() - {"seconds"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-8, atol=1e-12, err_msg=name)


def trained(folder, processes, **options):
    weighting = "rba+grad_norm:every=2"
    execute(prepare("burgers", weighting=weighting, output=folder, processes=processes, **SMALL), **options)
    return open_run(folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    torch.set_default_dtype(torch.float64)
    return trained(tmp_path_factory.mktemp("alone") / "run", 1)


def test_history_and_snapshots_are_those_of_one_process(tmp_path, alone):
    run = trained(tmp_path / "run", 2)
    assert run.configuration["settings"]["processes"] == 2
    assert_same(run.history, alone.history)
    assert run.snapshots == alone.snapshots
    assert_same(run.snapshot(run.snapshots[-1]), alone.snapshot(alone.snapshots[-1]))


SEEN = np.random.default_rng(0).uniform(0, 1, (7, 2))[[0, 1, 2, 3, 4, 5, 6, 0, 3]]


class Conserved(phasecore.Problem):
    """u_t = 0 with u(x, 0) = x, and the integral of u over x given."""

    domain = {"x": (0, 1), "t": (0, 1)}  # noqa: RUF012
    outputs = ("u",)

    def conditions(self):
        return [
            phasecore.Integral("mass", {"x": (0, 1)}, lambda x, u, xp: u["u"], 0.5, nodes=5),
            phasecore.Periodic("wrap", "t", ("u", "u_x")),
            phasecore.Data("seen", SEEN, {"u": np.arange(9.0)}),
        ]

    def residuals(self, x, u, xp):
        return u["u_t"]


@pytest.mark.parametrize("problem", ["allen_cahn", "burgers_inverse", Conserved()], ids=["periodic", "data", "all"])
def test_what_belongs_together_of_a_condition_stays_in_one_process(tmp_path, problem):
    histories = []
    for processes in (1, 2):
        folder = tmp_path / f"of-{processes}"
        execute(prepare(problem, weighting="rba", output=folder, processes=processes, **SMALL, backend="torch"))
        histories.append(open_run(folder).history)
    assert_same(*reversed(histories))


class OneValue(phasecore.Problem):
    """u_t = 0, and a condition on the mean over all its points."""

    domain = {"x": (0, 1), "t": (0, 1)}  # noqa: RUF012
    outputs = ("u",)

    def conditions(self):
        return [phasecore.ResidualCondition("mean", ("t", 0), lambda x, u, xp: xp.reshape(xp.mean(u["u"]) - 1, (1,)))]

    def residuals(self, x, u, xp):
        return u["u_t"]


def test_what_cannot_be_sent_to_another_process_is_refused_and_leaves_no_run(tmp_path):
    lock = threading.Lock()

    class Locked(Conserved):
        def residuals(self, x, u, xp):
            with lock:
                return u["u_t"]

    training = prepare(Locked(), processes=2, backend="torch", output=tmp_path / "run", **SMALL)
    with pytest.raises(phasecore.InputError, match=r"2 processes: .*cannot be sent .*\(cannot pickle '_thread.lock"):
        execute(training)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_residual_of_all_points_together_is_refused():
    with pytest.raises(phasecore.InputError, match="received condition mean, of whose points"):
        prepare(OneValue(), processes=2, backend="torch", **SMALL)


def test_an_interrupted_run_goes_on_in_as_many_processes(tmp_path, alone):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trained(folder, 2, loggers=[At(4, interrupt)])
    with pytest.raises(phasecore.InputError, match="differs in 'processes': received 3; expected 2"):
        prepare_resumed(folder, processes=3)
    assert open_run(folder).history["iteration"][-1] == 4
    execute(prepare_resumed(folder), resume=True)
    assert_same(open_run(folder).history, alone.history)


def test_a_process_that_is_killed_ends_all_and_the_run_can_go_on(tmp_path, alone):
    folder = tmp_path / "run"
    with pytest.raises(phasecore.TrainingError, match="process 1 of 2 of the training ended: received exit status -9"):
        trained(folder, 2, loggers=[At(8, lambda: workers()[0].kill())])
    execute(prepare_resumed(folder), resume=True)
    assert_same(open_run(folder).history, alone.history)


def test_a_loss_that_is_lost_ends_all_as_in_one_process():
    torch.set_default_dtype(torch.float32)
    with pytest.raises(phasecore.TrainingError, match=r"loss (nan|inf)") as one:
        execute(prepare("burgers", learning_rate=1e30, **SMALL))
    with pytest.raises(phasecore.TrainingError) as two:
        execute(prepare("burgers", learning_rate=1e30, processes=2, **SMALL))
    assert "not finite at 41 of 41 points" in str(one.value)
    # those of the first process that has any
    assert str(two.value) == str(one.value).replace("41 of 41", "21 of 21")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"backend": "keras"}, "backend 'keras'"),
        ({"policy": "stop_when_done"}, "policy 'stop_when_done', which acts in one process"),
        ({"sampling": "rad:every=5"}, "sampling 'rad:every=5', which moves points"),
        ({"points": 2}, "2 batches of the gradient statistics"),
        ({"processes": 1000, "points": 2000}, "100 batches of the gradient statistics"),
    ],
)
def test_what_cannot_be_cut_is_refused_before_anything_is_trained(options, told):
    options = {**SMALL, "processes": 3, **options}
    with pytest.raises(phasecore.InputError, match=f"a training in {options['processes']} processes: received {told}"):
        prepare("burgers", **options)


def test_the_command_takes_the_number_of_processes(tmp_path):
    told = CliRunner().invoke(main, ["run", "burgers", "--processes", "0", "--output", str(tmp_path / "run")])
    assert told.exit_code == 2
    assert "setting 'processes': received 0; expected a positive integer" in told.output
