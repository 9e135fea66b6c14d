"""DeepXDE on its tensorflow and jax backends: callbacks that say which phase a training is in, and weight its loss."""

from __future__ import annotations

from typing import Any, ClassVar, final

from phasecore.errors import InputError, MissingDependencyError
from phasecore.monitoring.deepxde.evaluation import Evaluator
from phasecore.monitoring.deepxde.monitor import Monitoring
from phasecore.monitoring.deepxde.weighting import Steering
from phasecore_keras.deepxde_evaluation import CompiledEvaluator, JaxEvaluator, TensorFlowEvaluator

try:
    import deepxde
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        f"phasecore_keras.deepxde needs the package {error.name!r}, which is not installed",
        fix="Install with: pip install deepxde",
    ) from error

BACKEND = deepxde.backend.backend_name

if BACKEND not in ("tensorflow", "jax"):
    raise InputError(
        "phasecore_keras.deepxde",
        received=f"DeepXDE on its backend {BACKEND!r}",
        expected="'tensorflow' or 'jax'",
        fix="Import phasecore_torch.deepxde with 'pytorch', or set DDE_BACKEND. Paddle and TensorFlow 1.x "
        "('tensorflow.compat.v1') are not supported.",
    )


@final
class PhaseMonitor(Monitoring, deepxde.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Captures gradient statistics every few iterations and says which phase the training is in.

    Pass it to `model.train(callbacks=[...])`. Nothing of the training is changed: parameters, Adam's state and random
    state are bitwise those of a training without it. Loss functions and `loss_weights` that the model was compiled
    with count, and so do the weights of a `Weighting`.

    Args:
        every: iterations between captures, once they are regular: at the start, where phases are short, there are about
            20 per decade, see `phasecore.recording.schedule`.
        probes: names, such as "saturation" or "saturation:every=500" for a schedule of its own, or objects; by default
            those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
        batches: number of batches of the gradient statistics, blocks of the equations' points in a random order.
        biases: count biases among the parameters of the gradient statistics too.
        history_file: also append each row to this file, as `phasecore detect` reads it.
        run_folder: also write a run folder, as `phasecore run` does: `run.json` with null for what is not known,
            `history.jsonl`, `outcome.json`, and snapshots of the equations' points and residuals.
        snapshots: iterations after which snapshots are saved; one more is saved at the end.
        resume: go on with a file and a folder that are there, in a model that was restored. `Model.restore` leaves
            the iteration as it is: set `model.train_state.iteration` and `.step`. Rows up to that are taken over; later
            ones are dropped with a warning.
        loggers: who else writes the training down: "name" or "name:key=value", such as "csv" or "tensorboard", or
            objects with run hooks. Installed plugins that listen to trainings hear of this one too.
        on_capture: called with each row.
        policy: what changes the training when a phase begins: "name" or "name:key=value", such as "stop_when_done" or
            "learning_rate_by_phase", or policies, see `phasecore.policies`. The optimizer is switched by your script.

    Attributes:
        history: the rows captured so far: "iteration" (DeepXDE's), "seconds", and the probes' scalars.
        timeline: the phases so far, found without looking ahead.
        phase: the phase that the training is in, or None while that cannot be told.
        actions: what policies had done so far.

    Raises:
        InputError: for bad arguments, or a `history_file` or run that exists without `resume`; when training begins,
            for data that is no `PDE` or `TimePDE`, too few points, a probe whose signals are not there, or an
            action that cannot be carried out.

    Example:
        >>> import deepxde as dde
        >>> def decay(x, y):
        ...     return dde.grad.jacobian(y, x) + y
        >>> data = dde.data.PDE(dde.geometry.Interval(0, 1), decay, [], num_domain=40)
        >>> model = dde.Model(data, dde.nn.FNN([1, 8, 1], "tanh", "Glorot normal"))
        >>> model.compile("adam", lr=1e-3, verbose=0)
        >>> monitor = PhaseMonitor(every=5, batches=20)
        >>> _ = model.train(iterations=10, callbacks=[monitor], verbose=0)
        >>> [row["iteration"] for row in monitor.history][-2:], "snr" in monitor.history[-1]
        ([9, 10], True)
    """

    adapter: ClassVar[str] = "keras"

    def evaluator(self, model: Any) -> Evaluator:
        """Return what evaluates a compiled model."""
        return _evaluator(model)


@final
class Weighting(Steering, deepxde.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Weights the terms of the loss, or each of their points, by schemes of phasecore's.

    Weights are updated before each step from the errors at the current parameters, which costs one more evaluation of
    them. They multiply the errors that DeepXDE hands to the loss function, beside the `loss_weights` of `compile`. The
    end of the training takes them out again. The train losses that DeepXDE shows are the weighted ones.

    Args:
        weighting: a scheme, a specification such as "rba:gamma=0.99" or "rba+grad_norm", or several of these.

    Attributes:
        factors: what multiplies the residuals of each term, shape (n,) or ().

    Raises:
        InputError: for an unknown scheme or option, or one whose signals are not there; when training begins, for data
            that is no `PDE` or `TimePDE`; while training, if the points change under a scheme that weights each.

    Example:
        >>> import deepxde as dde
        >>> def decay(x, y):
        ...     return dde.grad.jacobian(y, x) + y
        >>> data = dde.data.PDE(dde.geometry.Interval(0, 1), decay, [], num_domain=40)
        >>> model = dde.Model(data, dde.nn.FNN([1, 8, 1], "tanh", "Glorot normal"))
        >>> model.compile("adam", lr=1e-3, verbose=0)
        >>> weighting = Weighting("rba:gamma=0.5,eta=0.5")
        >>> _ = model.train(iterations=10, callbacks=[weighting], verbose=0)
        >>> weighting.factors["pde"].shape
        (40,)
    """

    supplies = CompiledEvaluator.supplies

    def on_train_begin(self) -> None:
        """Set up the evaluation of the model as it is compiled now.

        Raises:
            InputError: for data that another weighting has its weights in, or TensorFlow's L-BFGS.
        """
        if deepxde.optimizers.is_external_optimizer(self.model.opt_name):
            raise InputError(
                "callback Weighting",
                received=f"the optimizer {self.model.opt_name!r}, which DeepXDE runs in one call without callbacks",
                expected="an optimizer that makes its steps one by one",
                fix="Leave the callback out of this training.",
            )
        super().on_train_begin()

    adapter: ClassVar[str] = "keras"

    def evaluator(self, model: Any) -> Evaluator:
        """Return what evaluates a compiled model."""
        return _evaluator(model)


def _evaluator(model: Any) -> Evaluator:
    kind = TensorFlowEvaluator if BACKEND == "tensorflow" else JaxEvaluator
    return kind(model, deepxde.data.PDE)
