"""What plugin authors test with: one line checks a weighting scheme, a problem or a probe against its contract.

>>> import phasecore
>>> from phasecore.testing import check_probe
>>> check_probe(phasecore.probe("adam_snr")).skipped
{}
"""

from phasecore.testing.laws import Report
from phasecore.testing.libraries import ArrayLibrary
from phasecore.testing.made_signals import Layout, SignalMaker
from phasecore.testing.parametrize import Check, checks_of, parametrize_with_checks
from phasecore.testing.probes import PROBE_LAWS, ProbeSubject, check_probe
from phasecore.testing.problem_subject import ProblemSubject
from phasecore.testing.problems import PROBLEM_LAWS, check_problem
from phasecore.testing.weighting import WEIGHTING_LAWS, check_weighting
from phasecore.testing.weighting_subject import WeightingSubject

__all__ = [
    "PROBE_LAWS",
    "PROBLEM_LAWS",
    "WEIGHTING_LAWS",
    "ArrayLibrary",
    "Check",
    "Layout",
    "ProbeSubject",
    "ProblemSubject",
    "Report",
    "SignalMaker",
    "WeightingSubject",
    "check_probe",
    "check_problem",
    "check_weighting",
    "checks_of",
    "parametrize_with_checks",
]
