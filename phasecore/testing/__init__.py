"""What plugin authors test with: one line checks a scheme, problem, sampling, probe, policy, logger or backend.

>>> import phasecore
>>> from phasecore.testing import check_probe
>>> check_probe(phasecore.probe("adam_snr")).skipped
{}
"""

from phasecore.testing.backends import BACKEND_LAWS, BackendSubject, check_backend
from phasecore.testing.laws import Report
from phasecore.testing.libraries import ArrayLibrary
from phasecore.testing.loggers import LOGGER_LAWS, LoggerSubject, check_logger
from phasecore.testing.made_signals import Layout, SignalMaker
from phasecore.testing.parametrize import Check, checks_of, parametrize_with_checks
from phasecore.testing.policies import POLICY_LAWS, PolicySubject, check_policy
from phasecore.testing.probes import PROBE_LAWS, ProbeSubject, check_probe
from phasecore.testing.problem_subject import ProblemSubject
from phasecore.testing.problems import PROBLEM_LAWS, check_problem
from phasecore.testing.samplings import SAMPLING_LAWS, SamplingSubject, check_sampling
from phasecore.testing.weighting import WEIGHTING_LAWS, check_weighting
from phasecore.testing.weighting_subject import WeightingSubject

__all__ = [
    "BACKEND_LAWS",
    "LOGGER_LAWS",
    "POLICY_LAWS",
    "PROBE_LAWS",
    "PROBLEM_LAWS",
    "SAMPLING_LAWS",
    "WEIGHTING_LAWS",
    "ArrayLibrary",
    "BackendSubject",
    "Check",
    "Layout",
    "LoggerSubject",
    "PolicySubject",
    "ProbeSubject",
    "ProblemSubject",
    "Report",
    "SamplingSubject",
    "SignalMaker",
    "WeightingSubject",
    "check_backend",
    "check_logger",
    "check_policy",
    "check_probe",
    "check_problem",
    "check_sampling",
    "check_weighting",
    "checks_of",
    "parametrize_with_checks",
]
