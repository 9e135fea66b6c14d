"""When captures are due, and which probes are measured then."""

import math

import pytest

import phasecore
from phasecore import InputError, PluginError
from phasecore.probes import Probe
from phasecore.probes.checks import check_declaration
from phasecore.recording.configuration import configuration_of
from phasecore.recording.schedule import PER_DECADE, Schedule, is_due
from phasecore.testing.backends import BackendSubject


class Costly(Probe):
    name = "costly"
    requires = frozenset()
    every = 40

    def measure(self, signals):
        return {"cost": 1.0}


def probe_without_a_pace():
    return phasecore.probe("gradient_snr")


@pytest.mark.parametrize("every", [1, 7, 100])
def test_captures_are_dense_at_the_start_and_regular_then(every):
    due = [iteration for iteration in range(1, 30 * every + 1) if is_due(iteration, every)]
    assert due[0] == 1
    assert [iteration for iteration in due if iteration > 10 * every] == list(range(11 * every, 30 * every + 1, every))
    for decade in range(int(math.log10(10 * every))):
        within = [iteration for iteration in due if 10**decade <= iteration < 10 ** (decade + 1)]
        assert len(within) >= min(9 * 10**decade, PER_DECADE) - 1
    assert set(range(every, 30 * every + 1, every)) <= set(due)


def test_each_probe_has_the_training_s_schedule_or_its_own():
    usual, rare, frequent = probe_without_a_pace(), Costly(), phasecore.probe("term_losses", every=1)
    schedule = Schedule(10, [usual, rare, frequent])
    for iteration in range(1, 1000):
        wanted = [probe for probe, every in ((usual, 10), (rare, 40), (frequent, 1)) if is_due(iteration, every)]
        assert schedule.due(iteration) == wanted


def test_nothing_is_due_between_captures_and_at_the_beginning():
    schedule = Schedule(10, [Costly()])
    assert schedule.due(0) is None
    assert schedule.due(205) is None
    assert schedule.due(410) == []
    assert Schedule(10, []).due(410) == []


@pytest.mark.parametrize(("since", "iteration", "due"), [(201, 209, False), (201, 210, True), (195, 305, True)])
def test_several_steps_at_once_are_captured_once(since, iteration, due):
    schedule = Schedule(10, [probe_without_a_pace()])
    assert (schedule.due(iteration, since) is not None) == due


def test_a_probe_takes_its_pace_from_specification_method_or_class():
    assert phasecore.probe("saturation", every=500, bins=8).every == 500
    assert phasecore.registry.as_probe("saturation:every=500,bins=8") == phasecore.probe("saturation", bins=8)
    assert phasecore.registry.as_probe("saturation:every=500").every == 500
    probe = probe_without_a_pace()
    assert probe.paced(3).every == 3
    assert probe.every is None
    assert Costly().every == 40


@pytest.mark.parametrize("every", [0, -1, 2.5, "often", True])
def test_a_pace_is_a_positive_integer(every):
    with pytest.raises(InputError, match=r"option 'every' of probe 'gradient_snr': received .*; expected a positive"):
        phasecore.probe("gradient_snr", every=every)


def test_a_class_with_a_wrong_pace_is_refused():
    class Wrong(Costly):
        every = 0

    with pytest.raises(PluginError, match="probe of class Wrong, 'every': received 0; expected a positive integer"):
        check_declaration(Wrong())


def test_a_run_records_the_pace_that_a_probe_was_given(synthetic_backend):
    import dataclasses

    training = BackendSubject(phasecore.registry.backend("synthetic")).training()
    probes = [phasecore.probe("saturation", every=500), Costly(), Costly().paced(7), probe_without_a_pace()]
    configuration = configuration_of(dataclasses.replace(training, probes=probes))
    assert configuration["probes"] == ["saturation:every=500", "costly", "costly:every=7", "gradient_snr"]
