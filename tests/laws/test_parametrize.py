"""`parametrize_with_checks`, used as an author of a plugin uses it."""

from typing import NamedTuple

import pytest

import phasecore
from phasecore.errors import InputError
from phasecore.policies import stop_when_done
from phasecore.registry import as_schemes
from phasecore.testing import WEIGHTING_LAWS, checks_of, parametrize_with_checks
from phasecore.weighting import WeightingScheme
from phasecore.weighting.rba import rba


class NoState(NamedTuple):
    pass


def batch_share():
    """Each point's share of the largest residual of its batch."""

    def update(signals, state):
        xp = signals.namespace
        weights = {}
        for term, residual in signals["residuals"].items():
            high = xp.max(xp.abs(residual))
            weights[term] = xp.abs(residual) / xp.where(high > 0, high, xp.ones_like(high))
        return weights, state

    return WeightingScheme(lambda signals: NoState(), update, frozenset({"residuals"}))


@parametrize_with_checks([rba, phasecore.probe("adam_snr"), phasecore.problem("helmholtz"), stop_when_done])
def test_built_ins_conform(check):
    check()


@parametrize_with_checks([batch_share], {"reductions_go_through_the_signals": "relative to the batch, on purpose"})
def test_a_scheme_with_a_known_failure_conforms_otherwise(check):
    check()


def test_a_check_that_is_broken_fails_with_what_to_change():
    check = next(check for check in checks_of(batch_share) if check.name.endswith("reductions_go_through_the_signals"))
    with pytest.raises(AssertionError, match=r"signals\.maximum"):
        check()
    assert len(checks_of(batch_share)) == len(WEIGHTING_LAWS)


def test_known_failures_are_strict_and_must_be_laws():
    marks = [param.marks for param in parametrize_with_checks([rba], {"is_deterministic": "no"}).args[1]]
    assert [mark[0].kwargs for mark in marks if mark] == [{"reason": "no", "strict": True}]
    with pytest.raises(InputError, match=r"no_such_law.*declares_itself"):
        parametrize_with_checks([rba], {"no_such_law": "no"})
    with pytest.raises(InputError, match="weighting scheme, problem, policy or probe"):
        checks_of(3)


@pytest.mark.parametrize("name", [name for name in phasecore.names("weighting") if name not in ("fixed", "rba")])
def test_every_scheme_composes_with_rba(name):
    schemes = as_schemes(f"rba:gamma=0.99+{name}")
    assert list(schemes) == ["rba", name]
    assert all(isinstance(scheme, WeightingScheme) for scheme in schemes.values())
