"""What every backend must satisfy, and `check_backend`, which runs it all on a network of a few neurons."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Backend, Settings, Training
from phasecore.errors import InputError, PhasecoreError, PluginError, TrainingError
from phasecore.probes.gradient_snr import GradientSNR
from phasecore.probes.term_losses import TermLosses
from phasecore.problems.base import Problem
from phasecore.problems.burgers import Burgers
from phasecore.problems.coefficients import Trained, columns_of_coefficients
from phasecore.recording.schedule import Schedule, is_due
from phasecore.sampling.uniform import uniform as uniformly
from phasecore.signals import RESIDUALS, TANGENT_KERNEL_TRACES, TERM_GRADIENTS, TERM_LOSSES, Signals
from phasecore.testing.laws import NotApplicableError, Report, run_laws
from phasecore.weighting.arithmetic import quotient
from phasecore.weighting.base import WeightingScheme
from phasecore.weighting.uniform import uniform

ROUNDING = 1e-4
"""Largest relative difference between two ways to compute the same numbers, in float32."""


@final
class Recording:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.snapshots: dict[int, Mapping[str, NDArray[np.float64]]] = {}
        self.resumed_at: list[int] = []

    def resumed(self, iteration: int) -> None:
        """Keep where the training goes on."""
        self.resumed_at.append(iteration)

    def progressed(self, iteration: int, loss: float) -> None:
        """Hear that iterations passed."""

    def captured(self, row: Mapping[str, Any]) -> None:
        """Keep a row."""
        self.rows.append(dict(row))

    def snapshot(self, iteration: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep a snapshot."""
        self.snapshots[iteration] = arrays

    def history(self) -> list[dict[str, Any]]:
        """Return the rows without their times."""
        return [{name: value for name, value in row.items() if name != "seconds"} for row in self.rows]


@final
@dataclass(frozen=True)
class BackendSubject:
    """A backend under test, with what it trains.

    Attributes:
        backend: what is checked.
        problem: what is solved.
        settings: how.
    """

    backend: Backend
    problem: Problem = field(default_factory=Burgers)
    settings: Settings = field(
        default_factory=lambda: Settings(
            iterations=12, points=24, width=5, depth=2, every=5, batches=4, condition_points=6
        )
    )

    def training(self, *schemes: WeightingScheme, **changes: Any) -> Training:
        """Return a training of the backend with one or several schemes, or none, and some settings changed."""
        settings = dataclasses.replace(self.settings, **changes)
        return Training(
            problem=self.problem,
            schemes={f"made_up_{place}": scheme for place, scheme in enumerate(schemes or (uniform(),))},
            scheme_name="made_up",
            backend=self.backend.name,
            settings=settings,
            points=self.problem.sample(settings.points, seed=0, condition_points=settings.condition_points),
            probes=[GradientSNR(), TermLosses()],
            snapshots=(1, settings.iterations),
        )

    def train(self, training: Training, checkpoint: Path | None = None, *, resume: bool = False) -> Recording:
        """Train, and return what was heard."""
        recording = Recording()
        self.backend.train(training, recording, checkpoint, resume=resume)
        return recording

    def losses_after(self, *schemes: WeightingScheme) -> dict[str, Any]:
        """Train without probes of gradients and without snapshots, and return the last row, of losses alone."""
        training = dataclasses.replace(self.training(*schemes), probes=[TermLosses()], snapshots=())
        return self.train(training).history()[-1]


def check_backend(backend: Backend, *, known_failures: Mapping[str, str] | None = None) -> Report:
    """Check that a backend keeps its contract, by training networks of a few neurons for a few iterations.

    Args:
        backend: the backend.
        known_failures: {law: reason} for laws that the backend is known to break; an error if it does not.

    Raises:
        AssertionError: listing every broken law and what to change.

    Example:
        >>> [law.__name__ for law in BACKEND_LAWS][:2]
        ['declares_itself', 'captures_when_due']
    """
    return run_laws(
        f"backend {getattr(backend, 'name', backend)!r}", BACKEND_LAWS, BackendSubject(backend), known_failures
    )


def declares_itself(subject: BackendSubject) -> None:
    """A backend has a name, supplies signals of known names, and tells versions as texts."""
    backend = subject.backend
    assert isinstance(backend, Backend), f"{backend!r} is no phasecore.backends.Backend; subclass it"
    assert isinstance(backend.supplies, frozenset), f"supplies is {backend.supplies!r}; use a frozenset of names"
    lacking = {RESIDUALS, TERM_LOSSES} - backend.supplies
    assert not lacking, f"supplies lacks {sorted(lacking)}, which every weighting and every history needs"
    versions = backend.versions()
    wrong = {name: version for name, version in versions.items() if not isinstance(version, str)}
    assert not wrong, f"versions() returned {dict(versions)!r}; return texts by name"
    assert versions, "versions() returned nothing; name the framework and its version"
    wrong_names = sorted(str(name) for name in backend.supplies if not isinstance(name, str))
    assert not wrong_names, f"supplies holds {wrong_names}; use the names in phasecore.signals"


def captures_when_due(subject: BackendSubject) -> None:
    """Rows are captured where `is_due` says and at the last iteration, each once, with all that was to be measured."""
    settings = subject.settings
    rows = subject.train(subject.training()).rows
    due = [k for k in range(1, settings.iterations + 1) if is_due(k, settings.every) or k == settings.iterations]
    found = [row.get("iteration") for row in rows]
    assert found == due, f"rows were captured at iterations {found}; capture at {due}"
    for row in rows:
        lacking = sorted({"seconds", "snr", *(f"loss_{term}" for term in subject.problem.terms)} - set(row))
        assert not lacking, f"the row at iteration {row['iteration']} lacks {lacking}; measure every probe"
    seconds = [row["seconds"] for row in rows]
    assert 0 < seconds[0] <= seconds[-1], f"'seconds' is {seconds}; count the training time"


def measures_each_probe_when_it_is_due(subject: BackendSubject) -> None:
    """A probe with a schedule of its own is measured where that says, at the last iteration too, and nowhere else."""
    settings = subject.settings
    probes = [GradientSNR().paced(settings.iterations), TermLosses().paced(1)]
    training = dataclasses.replace(subject.training(), probes=probes)
    schedule = Schedule(settings.every, probes)
    found = [(row["iteration"], "snr" in row, "training_loss" in row) for row in subject.train(training).rows]
    due = {k: schedule.due(k) for k in range(1, settings.iterations)} | {settings.iterations: probes}
    wanted = [(k, probes[0] in now, probes[1] in now) for k, now in due.items() if now is not None]
    assert found == wanted, (
        f"iteration, and whether the SNR and the losses were measured: {found}; by the probes' schedules: {wanted}; "
        "ask phasecore.recording.schedule.Schedule which are due"
    )


def takes_snapshots_when_asked(subject: BackendSubject) -> None:
    """Snapshots come at the iterations that were asked for, as finite arrays of points, residuals and fields."""
    training = subject.training()
    snapshots = subject.train(training).snapshots
    assert sorted(snapshots) == sorted(training.snapshots), (
        f"snapshots came at {sorted(snapshots)}; take them at {sorted(training.snapshots)}"
    )
    wanted = {"points", "grid", *(f"residual_{term}" for term in subject.problem.equations)}
    for iteration, arrays in snapshots.items():
        lacking = sorted(wanted - set(arrays))
        assert not lacking, f"the snapshot at iteration {iteration} lacks {lacking}; it has {sorted(arrays)}"
        wrong = sorted(name for name, array in arrays.items() if not np.isfinite(array).all())
        assert not wrong, f"the snapshot at iteration {iteration} is not finite in {wrong}"


def one_seed_gives_one_history(subject: BackendSubject) -> None:
    """Training twice gives the same history; another seed gives another network."""
    first, second = (subject.train(subject.training()).history() for _ in range(2))
    assert first == second, "two trainings with one seed differ; seed the network by settings.seed, and nothing else"
    other = subject.train(subject.training(seed=1)).history()
    assert other != first, "another seed gives the same history; seed the network by settings.seed"


def an_interrupted_training_goes_on_alike(subject: BackendSubject) -> None:
    """Resumed from its checkpoint, a training ends as one that was not interrupted, to the bit, and says so rightly."""
    whole = subject.train(subject.training())
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        stop = subject.settings.iterations // 2
        subject.train(subject.training(iterations=stop), checkpoint)
        resumed = subject.train(subject.training(), checkpoint, resume=True)
    rest, expected = resumed.history(), [row for row in whole.history() if row["iteration"] > stop]
    assert rest == expected, (
        f"resumed after {stop} iterations, the rows are {rest[:1]}..., not {expected[:1]}...; save and load the "
        "network, the optimizer with its schedule, the weighting's state and the iteration"
    )
    told = whole.resumed_at, resumed.resumed_at
    assert told in (([], [stop]), ([], [])), (
        f"the observer heard of resuming at {told[0]} from the start and at {told[1]} after {stop} iterations; call "
        "observer.resumed(iteration) once, after the state was loaded, or never"
    )


def resuming_without_a_checkpoint_is_refused(subject: BackendSubject) -> None:
    """Where there is nothing to go on with, `InputError` says so."""
    with tempfile.TemporaryDirectory() as folder:
        error = _raised(lambda: subject.train(subject.training(), Path(folder) / "none", resume=True))
    assert isinstance(error, InputError), f"resuming from an empty folder gave {error!r}; raise an InputError"


def a_loss_that_is_not_finite_ends_the_training(subject: BackendSubject) -> None:
    """A training that diverges raises `TrainingError`, at the latest at the capture after the step that broke it."""
    recording = Recording()
    training = subject.training(learning_rate=1e30, iterations=60)
    error = _raised(lambda: subject.backend.train(training, recording, None, resume=False))
    assert isinstance(error, TrainingError), f"a learning rate of 1e30 gave {error!r}; raise a TrainingError"
    before = recording.rows[:-1]
    wrong = [row for row in before if not all(np.isfinite(row[f"loss_{t}"]) for t in subject.problem.terms)]
    assert not wrong, f"it went on after {wrong[0]}; look at the loss before capturing"


def weights_enter_the_loss(subject: BackendSubject) -> None:
    """A weight w on the residual trains as w^2 on its square does, and not as without; weights per point likewise."""
    plain = subject.losses_after()
    rows = [
        subject.losses_after(_constant(factor, kind, per_point=per_point))
        for factor, kind in ((3.0, "residual"), (9.0, "squared_residual"))
        for per_point in (False, True)
    ]
    term = next(iter(subject.problem.equations))
    losses = [row[f"loss_{term}"] for row in rows]
    assert np.allclose(losses, losses[0], rtol=ROUNDING), (
        f"equal weights, per term and per point, on residuals and on squares, give losses {losses}; the loss is the "
        "mean of (w r)^2 or of w r^2"
    )
    assert abs(losses[0] - plain[f"loss_{term}"]) > ROUNDING * losses[0], "weights do not reach the training"


def terms_are_balanced_as_points_weight_them(subject: BackendSubject) -> None:
    """Gradients and traces that schemes read have the weights of points in: what is balanced is what is minimized.

    A scheme that divides each term by the size of its gradient, or by its trace, makes up for points that all weigh one
    half, in whatever order the two are named: the training is as without them.
    """
    supplied = [name for name in (TERM_GRADIENTS, TANGENT_KERNEL_TRACES) if name in subject.backend.supplies]
    if not supplied:
        raise NotApplicableError("the backend supplies neither gradients nor traces of terms")
    half, names = _constant(0.5, "residual"), [f"loss_{term}" for term in subject.problem.terms]

    def losses_after(*ways: tuple[WeightingScheme, ...]) -> NDArray[np.float64]:
        return np.asarray([[row[name] for name in names] for row in (subject.losses_after(*way) for way in ways)])

    (halved,) = losses_after((half,))
    for signal in supplied:
        losses = losses_after((_balanced(signal),), (half, _balanced(signal)), (_balanced(signal), half))
        assert np.allclose(losses[1:], losses[0], rtol=10 * ROUNDING), (
            f"a scheme that divides terms by their {signal} gives losses {losses[0]} alone and {losses[1:]} beside "
            "point weights of one half; update it last, from residuals times the weights of points that the step uses "
            "(phasecore.weighting.composition)"
        )
        assert not np.allclose(halved, losses[0], rtol=10 * ROUNDING), f"weights made of {signal} reach no training"


def wrong_weights_are_refused(subject: BackendSubject) -> None:
    """Weights that are not numbers, or of a wrong shape, raise `PluginError`, which names the term."""
    term = next(iter(subject.problem.equations))
    for what, scheme in (("NaN", _constant(float("nan"), "residual")), ("of shape (3,)", _short())):
        error = _raised(lambda scheme=scheme: subject.train(subject.training(scheme)))
        told = isinstance(error, PluginError) and term in str(error)
        assert told, f"weights that are {what} gave {error!r}; raise a PluginError that names scheme and term"


def trained_coefficients_are_trained(subject: BackendSubject) -> None:
    """A coefficient that is trained is in each row, begins at its initial value, has its own rate, and keeps bounds."""
    # steps of Adam are no longer than the rate: all together they stay within the problem's range
    column, rate = columns_of_coefficients({"viscosity": 0.1}), 0.05 / subject.settings.iterations
    (name,) = column
    with_own_rate = Burgers(Trained(0.1, learning_rate=rate), data_points=8)
    bounded = Burgers(Trained(0.1, bounds=(0.09, 0.11), learning_rate=5.0), data_points=8)
    subjects = [dataclasses.replace(subject, problem=problem) for problem in (with_own_rate, bounded)]
    try:
        free, kept = ([row.get(name, np.nan) for row in own.train(own.training()).rows] for own in subjects)
    except (InputError, PluginError) as error:
        raise NotApplicableError(f"the backend refuses trained coefficients: {error}") from None
    assert not np.isnan(free).any(), (
        f"rows without {name!r}; add phasecore.problems.coefficients.columns_of_coefficients()"
    )
    assert abs(abs(free[0] - column[name]) - rate) < 0.02 * rate, (
        f"from {column[name]} the first step of Adam led to {free[0]}; train the coefficient at its own rate, {rate:g}"
    )
    assert len(set(free)) > 1, f"the coefficient stays at {free[0]}; give it to the optimizer"
    assert all(0.09 <= value <= 0.11 for value in kept), f"the bounds 0.09 and 0.11 do not hold: {kept}"


def points_move_as_the_sampling_says(subject: BackendSubject) -> None:
    """A backend that moves points trains on them where they went, and a resumed training has them there, to the bit."""
    if not subject.backend.moves_points:
        raise NotApplicableError("the backend moves no points")
    name = "uniform:every=3"
    stop = subject.settings.iterations // 2

    def moving(**changes: Any) -> Training:
        return dataclasses.replace(subject.training(**changes), sampling=uniformly(every=3), sampling_name=name)

    whole = subject.train(moving())
    first, last = (whole.snapshots[iteration]["points"] for iteration in (1, subject.settings.iterations))
    assert not np.array_equal(first, last), (
        f"with sampling {name!r} the points are the same to the end; move them by phasecore.sampling.Resampler"
    )
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        subject.train(moving(iterations=stop), checkpoint)
        resumed = subject.train(moving(), checkpoint, resume=True)
    rest, expected = resumed.history(), [row for row in whole.history() if row["iteration"] > stop]
    assert rest == expected, (
        f"with points that move, resumed after {stop} iterations, the rows are {rest[:1]}..., not {expected[:1]}...; "
        "save where the points are, and make the move that is due at an iteration before the next one begins"
    )


BACKEND_LAWS = (
    declares_itself,
    captures_when_due,
    measures_each_probe_when_it_is_due,
    takes_snapshots_when_asked,
    one_seed_gives_one_history,
    an_interrupted_training_goes_on_alike,
    resuming_without_a_checkpoint_is_refused,
    a_loss_that_is_not_finite_ends_the_training,
    weights_enter_the_loss,
    terms_are_balanced_as_points_weight_them,
    wrong_weights_are_refused,
    trained_coefficients_are_trained,
    points_move_as_the_sampling_says,
)
"""Every law of backends; each takes a `BackendSubject`."""


class _NoState(NamedTuple):
    """Nothing to remember."""


def _constant(factor: float, multiplies: Any, *, per_point: bool = True) -> WeightingScheme:
    def update(signals: Signals, state: _NoState) -> tuple[dict[str, Any], _NoState]:
        ones = {term: signals.namespace.ones_like(r) for term, r in signals[RESIDUALS].items()}
        return {term: factor * (one if per_point else signals.mean(one)) for term, one in ones.items()}, state

    return WeightingScheme(lambda signals: _NoState(), update, frozenset({RESIDUALS}), multiplies=multiplies)


def _balanced(signal: str) -> WeightingScheme:
    """Each term over the length of its gradient, or over its trace."""

    def update(signals: Signals, state: _NoState) -> tuple[dict[str, Any], _NoState]:
        xp, sizes = signals.namespace, {}
        for term, value in signals[signal].items():
            squares = [xp.sum(xp.square(part)) for part in value.values()] if isinstance(value, Mapping) else []
            sizes[term] = xp.sqrt(sum(squares[1:], squares[0])) if squares else value
        ones = {term: xp.ones_like(size) for term, size in sizes.items()}
        return {term: quotient(0.1 * ones[term], size, ones[term], xp) for term, size in sizes.items()}, state

    return WeightingScheme(lambda signals: _NoState(), update, frozenset({signal}), multiplies="squared_residual")


def _short() -> WeightingScheme:
    def update(signals: Signals, state: _NoState) -> tuple[dict[str, Any], _NoState]:
        return {term: residual[:3] for term, residual in signals[RESIDUALS].items()}, state

    return WeightingScheme(lambda signals: _NoState(), update, frozenset({RESIDUALS}))


def _raised(call: Any) -> PhasecoreError | None:
    try:
        call()
    except PhasecoreError as error:
        return error
    return None
