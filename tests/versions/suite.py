"""The reduced suite: a little of everything that calls numpy, scipy, torch, Keras or one of its backends.

It is about names that a release lacks or has changed, and so goes wide and not deep; `make test` goes deep.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from versions.environments import ROOT

KERAS_BACKENDS = ("torch", "jax", "tensorflow")

QUIETLY = {
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false",
}

CORE = (
    "phases/test_offline.py",
    "weighting/test_rba.py",
    "recording/test_recorder.py",
    "problems/test_reference_data.py",
    "reporting/test_report.py::test_the_page_says_what_detection_found",
    "reporting/test_report.py::test_several_runs_share_panels_and_each_keeps_its_colour",
    "reporting/test_report.py::test_snapshots_are_drawn_one_iteration_at_a_time_the_last_first",
)
TORCH = (
    "torch/test_physics_loss.py::test_value_equals_a_loop_by_hand",
    "torch/test_physics_loss.py::test_mini_batches_keep_weights_with_their_points",
    "torch/test_physics_loss.py::test_a_loaded_state_goes_on_bit_for_bit",
    "torch/test_physics_loss.py::test_moving_to_another_dtype",
    "torch/test_physics_loss.py::test_lbfgs_trains_too",
    "torch/test_physics_loss.py::test_a_compiled_model_is_evaluated_as_what_it_compiles",
    "torch/test_capture.py::test_float64_all_the_way",
    "torch/test_capture.py::test_batches_at_once_equal_one_by_one",
    "torch/test_capture.py::test_adam_moments_equal_a_computation_by_hand",
    "torch/test_capture.py::test_a_capture_changes_nothing",
    "torch/test_capture.py::test_a_loss_of_ones_own",
    "torch/test_phase_monitor.py::test_training_with_and_without_a_monitor_is_the_same_bit_for_bit",
    "torch/test_phase_monitor.py::test_a_state_survives_torch_save",
    "torch/test_phase_monitor.py::test_a_run_folder_is_gone_on_with",
)
KERAS = (
    "keras/suite/test_keras_activations.py::test_keras_still_has_what_the_adapter_reads_of_its_private_parts",
    "keras/suite/test_pinn.py::test_fit_lowers_the_loss_and_reports_every_term",
    "keras/suite/test_pinn.py::test_the_loss_is_the_definition",
    "keras/suite/test_pinn.py::test_evaluate_and_predict_leave_everything_as_it_is",
    "keras/suite/test_pinn.py::test_the_network_is_trained_in_place",
    "keras/suite/test_keras_phase_monitor.py::test_the_snr_of_an_ordinary_network_is_that_of_its_batches",
    "keras/suite/test_keras_phase_monitor.py::test_adam_snr_comes_from_the_optimizer",
    "keras/suite/test_keras_phase_monitor.py::test_logs_reach_history_and_csv",
    "keras/suite/test_keras_saving.py::test_the_config_is_complete",
    "keras/suite/test_keras_training.py::test_two_runs_with_one_seed_give_one_history_and_a_resumed_one_the_same",
)
"""Of `tests`: files, or single tests of them."""

RUN = ("burgers", "--points", "200", "--width", "8", "--depth", "2", "--iterations", "60", "--weighting", "rba")


class Step(NamedTuple):
    """A part of the suite, in a process of its own."""

    name: str
    arguments: tuple[str, ...]
    """Of Python."""
    variables: Mapping[str, str] = MappingProxyType({})


def steps(kind: str) -> list[Step]:
    """Return the suite for the lowest or the newest versions, quickest to fail first.

    A warning is an error, as everywhere, but not with the lowest: old releases warn of the new ones that they stand on.
    """
    warnings = () if kind == "newest" else ("-o", "filterwarnings=default")

    def pytest(tests: tuple[str, ...]) -> tuple[str, ...]:
        return ("-m", "pytest", "-q", "-p", "no:cacheprovider", *warnings, *(f"{ROOT}/tests/{test}" for test in tests))

    keras = [
        Step(f"Keras on {backend}", pytest(KERAS), {"PHASECORE_KERAS_SUITE": "1", "KERAS_BACKEND": backend})
        for backend in KERAS_BACKENDS
    ]
    return [
        Step("phasecore run", ("-m", "phasecore", "run", *RUN)),
        Step("core and torch", pytest(CORE + TORCH)),
        *keras,
    ]
