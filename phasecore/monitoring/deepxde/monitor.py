"""What DeepXDE's callback that captures statistics does on every backend."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from phasecore import registry
from phasecore.backends import Monitored
from phasecore.errors import InputError
from phasecore.monitoring.deepxde.evaluation import Evaluator
from phasecore.monitoring.deepxde.terms import Terms
from phasecore.monitoring.deepxde.weighting import BACKEND, Steering
from phasecore.monitoring.host_weighting import HostWeighting, check_points_stay
from phasecore.monitoring.measuring import Measuring
from phasecore.monitoring.monitor import Monitor, check_batches, choose_probes
from phasecore.policies.actions import (
    RATES,
    WEIGHTS,
    Action,
    ChangeWeighting,
    Resample,
    ScaleLearningRate,
    SetLearningRate,
    SwitchOptimizer,
)
from phasecore.probes import Probe
from phasecore.recording.acting import changes_of, required_by, standing_of
from phasecore.recording.display import level_outside
from phasecore.recording.recorder import Loggers
from phasecore.signals import (
    ADAM_LEARNING_RATES,
    ADAM_MOMENTS,
    BATCH_GRADIENT_MOMENTS,
    BATCH_SIZES,
    RESIDUAL_ATTENTION,
    RESIDUALS,
)
from phasecore.weighting.rba import rba

DRAWN = ("pseudo", "LHS")
"""Distributions of DeepXDE's that draw other points each time."""


class Monitoring(Monitor):
    """Captures gradient statistics every few iterations, see the adapters' `PhaseMonitor`."""

    model: Any
    adapter: ClassVar[str]
    """Name of phasecore's backend that evaluates."""

    def __init__(
        self,
        *,
        every: int = 10,
        probes: Sequence[str | Probe] | None = None,
        batches: int = 100,
        biases: bool = False,
        history_file: str | Path | None = None,
        run_folder: str | Path | None = None,
        snapshots: Sequence[int] = (),
        resume: bool = False,
        loggers: Loggers = (),
        on_capture: Callable[[Mapping[str, float]], None] | None = None,
        policy: registry.Policies | None = None,
    ) -> None:
        super().__init__(
            every=every,
            history_file=history_file,
            run_folder=run_folder,
            snapshots=snapshots,
            resume=resume,
            loggers=loggers,
            on_capture=on_capture,
            policy=policy,
        )
        self._asked = probes
        self._batches = batches
        self._biases = biases
        self._evaluator: Evaluator | None = None
        self._attention: HostWeighting | None = None
        self._attention_restored: Mapping[str, Any] | None = None
        self._tracked: Any = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: as any monitor's, and the attention where it is tracked here."""
        return {**super().state_dict(), "attention": None if self._attention is None else self._attention.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`, in a model that was restored and whose `train_state.iteration` is that of then."""
        super().load_state_dict(state)
        self._attention_restored = state.get("attention")

    @abstractmethod
    def evaluator(self, model: Any) -> Evaluator:
        """Return what evaluates a compiled model."""

    def on_train_begin(self) -> None:
        """Set up the captures of the model as it is compiled now, and check everything."""
        if self._evaluator is None or not self._evaluator.is_current(self.model):
            self._evaluator = self.evaluator(self.model)
        self._check_iteration(int(self.model.train_state.iteration))
        points = len(self.model.data.train_x) - sum(self.model.data.num_bcs)
        check_batches(self._batches, points, of="collocation points")
        self.probes = self._choose(self._evaluator)
        self._measuring = Measuring(self.probes)
        self._measures(self.probes)
        is_read = RESIDUAL_ATTENTION in self._measuring.required()
        if is_read and not self._attention_in_use() and self._attention is None:
            self._attention = HostWeighting({"rba": rba()}, BACKEND, self._evaluator.supplies)
        if self._attention is not None and self._attention_restored is not None:
            self._attention.load_state_dict(self._attention_restored)
        self._attention_restored = None
        self.iteration = int(self.model.train_state.iteration)
        known = {"every": self.every, "batches": self._batches, "points": points}
        described = Monitored(self.adapter, None, None, known, self.probes, self._wanted, self._log.folder)
        if self._policies:
            self._take_up_policies(self._evaluator)
        self._begin(described, {"deepxde": metadata.version("deepxde")})
        self._go_on()
        self._clock.start()

    def _check_iteration(self, now: int) -> None:
        """Refuse a training that begins before what was captured of it."""
        if now < self.iteration:
            raise InputError(
                "PhaseMonitor",
                received=f"a training that begins at iteration {now}, after rows up to {self.iteration}",
                expected="one that goes on from there",
                fix=f"Model.restore leaves the iteration as it is: set model.train_state.iteration = "
                f"model.train_state.step = {self.iteration}, that of the parameters, before model.train.",
            )

    def on_batch_begin(self) -> None:
        """Track the residual-based attention before the step, where a probe reads it and no weighting has it."""
        if self._attention is None or self._evaluator is None:
            return
        if self._tracked is not None and self._tracked is not self.model.data.train_x:
            check_points_stay(self._attention, "PhaseMonitor with probe 'residual_order': the attention")
        self._tracked = self.model.data.train_x
        evaluation = self._evaluator.evaluate(weighted=False)
        self._attention.update(Terms(self.model.data, evaluation.errors).signals(evaluation), self.iteration)

    def on_batch_end(self) -> None:
        """Capture if the steps so far have reached an iteration that is due."""
        before, self.iteration = self.iteration, int(self.model.train_state.iteration)
        due = self._due(before)
        if self._is_wanted(before):
            self._save_snapshot()
        if due is not None and self._evaluator is not None:
            self._record(self._measure(self._evaluator, due))
            self._rates_kept.look(self._evaluator.learning_rate)
            was_stopped = self.stopped
            self._act()
            if self.stopped and not was_stopped:
                self.model.stop_training = True

    def on_train_end(self) -> None:
        """Capture once more if steps passed unseen, as those of TensorFlow's L-BFGS do, and finish the record."""
        self.on_batch_end()
        self._clock.stop()
        self._finish()

    def _take_up_policies(self, evaluator: Evaluator) -> None:
        """Check what policies require."""
        steering, declared, fix = self._steering(), set(), "Use another policy."
        weightings = [weighting for policy in self._policies.values() for weighting in changes_of(policy)]
        schemes = [scheme for weighting in weightings for scheme in registry.as_schemes(weighting).values()]
        kept = self._attention is not None or (steering is not None and steering.per_point)
        drawn = getattr(self.model.data, "train_distribution", None) in DRAWN
        if drawn and not kept and not any(scheme.per_point for scheme in schemes):
            declared |= {Resample.name}
        if evaluator.learning_rate is not None:
            declared |= RATES
        if steering is not None:
            declared |= WEIGHTS
        required = required_by(self._policies)
        if any(item.startswith(SwitchOptimizer.name) for item in required):
            fix += (
                " Optimizers are switched in your script: let a policy stop the training, then model.compile('L-BFGS')."
            )
        if not required.isdisjoint(RATES):
            fix += " Learning rates are set on pytorch, and on tensorflow where compile was given an optimizer object."
        if any(item.partition(":")[0] in WEIGHTS for item in required):
            fix += " Weights are those of a Weighting among the callbacks."
        if Resample.name in required:
            fix += f" Points move where train_distribution is one of {DRAWN} and nothing keeps weights of each."
        supplies = evaluator.supplies if steering is None else steering.supplies
        self._check_policies(BACKEND, declared, supplies, saves=self._log.folder is not None, fix=fix)

    def _go_on(self) -> None:
        """Weight the loss as policies had left it."""
        standing, steering = standing_of(self._log.actions), self._steering()
        if steering is not None and self._policies:
            if standing.weighting not in (None, steering.specification):
                steering.change(str(standing.weighting))
            if standing.held and steering.is_fresh:
                warnings.warn(
                    "a policy had the weights held, but the history does not have them, and the Weighting of this "
                    "session has updated none: every weight stays one. Give the Weighting that was trained with, or "
                    "leave out resume=",
                    RuntimeWarning,
                    stacklevel=level_outside(),
                )
            steering.held = standing.held or steering.held

    def _carry_out(self, action: Action) -> None:
        evaluator, steering = self._evaluator, self._steering()
        assert evaluator is not None
        if isinstance(action, SetLearningRate | ScaleLearningRate):
            now = evaluator.learning_rate or 0.0
            with self._rates_kept.watched(lambda: evaluator.learning_rate, self.iteration):
                evaluator.set_learning_rate(action.rate if isinstance(action, SetLearningRate) else action.factor * now)
        elif isinstance(action, Resample):
            self.model.data.resample_train_points()
        elif isinstance(action, ChangeWeighting):
            assert steering is not None
            had_attention = steering.has_attention
            former = steering.change(action.weighting)
            is_read = RESIDUAL_ATTENTION in self._measuring.required()
            if had_attention and is_read and not steering.has_attention:
                self._attention = former.alone("rba")
                self._tracked = self.model.data.train_x
        else:
            assert steering is not None
            steering.hold(action)

    def _arrays(self) -> dict[str, Any] | None:
        if self._log.folder is None or self._evaluator is None:
            return None
        evaluation = self._evaluator.evaluate()
        terms = Terms(self.model.data, evaluation.errors)
        residuals = terms.signals(evaluation)[RESIDUALS]
        arrays = {"points": terms.points, **{f"residual_{name}": part for name, part in residuals.items()}}
        return {name: np.asarray(part, np.float64) for name, part in arrays.items()}

    def _choose(self, evaluator: Evaluator) -> list[Probe]:
        supplied = evaluator.supplies | ({ADAM_MOMENTS} if evaluator.keeps_adam else frozenset())
        supplied |= {ADAM_LEARNING_RATES} if evaluator.keeps_learning_rates else frozenset()
        if self._asked is not None or self._attention_in_use() or self._attention_restored:
            supplied |= {RESIDUAL_ATTENTION}
        fix = (
            "For 'adam_moments' compile with 'adam', on DeepXDE's backend tensorflow with an optimizer object "
            "such as keras.optimizers.Adam(1e-3); or drop the probe."
        )
        return choose_probes(self._asked, supplied, BACKEND, fix=fix)

    def _steering(self) -> Steering | None:
        """The weighting of this training, if it has one."""
        return next((callback for callback in self.model.callbacks.callbacks if isinstance(callback, Steering)), None)

    def _attention_in_use(self) -> Steering | None:
        steering = self._steering()
        return steering if steering is not None and steering.has_attention else None

    def _measure(self, evaluator: Evaluator, due: Sequence[Probe]) -> dict[str, float]:
        required = self._measuring.required(due)
        evaluation = evaluator.evaluate()
        terms = Terms(self.model.data, evaluation.errors)
        values = terms.signals(evaluation) | terms.further(evaluator, required)
        if ADAM_MOMENTS in required:
            adam = evaluator.adam_moments()
            matrices = [name for name, own in adam.items() if self._biases or np.ndim(own.first) >= 2]
            values |= {ADAM_MOMENTS: _renamed(adam, matrices)} if adam else {}
        if ADAM_LEARNING_RATES in required:
            rates = evaluator.adam_learning_rates()
            matrices = [name for name, own in rates.items() if self._biases or np.ndim(own) >= 2]
            values |= {ADAM_LEARNING_RATES: _renamed(rates, matrices)} if rates else {}
        if RESIDUAL_ATTENTION in required:
            source = self._attention_in_use() or self._attention
            attention = source.attention() if source is not None else None
            values |= {RESIDUAL_ATTENTION: attention} if attention else {}
        if required & {BATCH_GRADIENT_MOMENTS, BATCH_SIZES}:
            batches = batch_rows(terms.start, len(terms.points), self._batches)
            values[BATCH_SIZES] = np.asarray([len(batch) for batch in batches])
            moments = evaluator.moments(batches, len(terms.equations), biases=self._biases)
            values[BATCH_GRADIENT_MOMENTS] = _by_layer(moments)
        return self._measuring.row(values, self.iteration, due)


def batch_rows(start: int, points: int, batches: int) -> list[NDArray[np.int64]]:
    """Return the rows of the training points that make each batch: contiguous blocks of a random order of their own.

    DeepXDE's points are sorted: initial, boundary, domain. The order is drawn anew, the same at each call.

    Example:
        >>> [len(rows) for rows in batch_rows(start=40, points=5, batches=2)]
        [3, 2]
    """
    return np.array_split(start + np.random.default_rng(0).permutation(points), batches)


def _renamed(values: Mapping[str, Any], layers: Sequence[str]) -> dict[str, Any]:
    """The same values, those of layers by their number."""
    names = {name: f"layer{place}" for place, name in enumerate(layers)}
    return {names.get(name, name): value for name, value in values.items()}


def _by_layer(values: Sequence[Any]) -> dict[str, Any]:
    return {f"layer{place}": value for place, value in enumerate(values)}
