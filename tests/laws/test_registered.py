"""Every law on everything that is registered: what is added later is held to it without a change here."""

import functools

import pytest

import phasecore
from phasecore.registry import as_sampling
from phasecore.specifications import parse_specification
from phasecore.testing import (
    PROBE_LAWS,
    PROBLEM_LAWS,
    SAMPLING_LAWS,
    WEIGHTING_LAWS,
    ProbeSubject,
    ProblemSubject,
    WeightingSubject,
    check_probe,
    check_problem,
    check_sampling,
    check_weighting,
)
from phasecore.testing.laws import NotApplicableError
from phasecore.testing.samplings import sampling_subject

SCHEMES = [name for name in phasecore.names("weighting") if name != "fixed"]
VARIANTS = [
    "rba:start=residuals",
    "rba:normalization=minmax",
    "rba:shared=True,offset=0.1,normalization=minmax",
    "rba:eta=0.1,bound=2.0,bound_growth=0.1,largest_bound=2.3",
    "rba:gamma=0.9,eta=0.5,start=residuals,normalization=minmax",
    "self_adaptive:start=0.5,start_conditions=100",
    "self_adaptive:mask=linear,adapts=equations",
    "self_adaptive:mask=sigmoid,adapts=conditions,initial=inlet",
    "vrba:potential=quadratic",
    "vrba:potential=cosh,smoothing=0.8,start=0",
    "vrba:potential=superexponential,c_log=0.5",
    "vrba:potential=logarithmic,temperature=0.2",
    "vrba:potential=power,power=3",
    "causal:slabs=5,epsilon=1.0,growth=1",
    "causal:slabs=3,equations=minimum",
    "soft_adapt:normalized=True",
    "soft_adapt:loss_weighted=True",
    "relobralo:lookback=expected",
    "relobralo:rho=0.5,alpha=0.9",
    "learning_rate_annealing:alpha=1.0",
    "learning_rate_annealing:of=unweighted",
    "grad_norm:numerator=sum",
    "ntk:kernel=sum,alpha=0.5",
]


def scheme_of(specification):
    name, options = parse_specification(specification, "--weighting")
    return phasecore.weighting_scheme(name, **options)


def problems_of_all_presets():
    """Each problem with the parameters of each preset; presets of the same parameters have the same problem."""
    cases = []
    for name in phasecore.names("problem"):
        try:
            presets = type(phasecore.problem(name)).presets
            different = {repr(dict(preset.parameters)): preset_name for preset_name, preset in presets.items()}
        except phasecore.PhasecoreError:
            different = {"": "quick"}
        cases += [pytest.param(name, preset, id=f"{name}-{preset}") for preset in different.values()]
    return cases


@functools.cache
def problem_subject(name, preset):
    parameters = type(phasecore.problem(name)).presets[preset].parameters
    return ProblemSubject(phasecore.problem(name, **parameters))


def apply(law, subject):
    try:
        law(subject)
    except NotApplicableError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("law", WEIGHTING_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("specification", [*SCHEMES, *VARIANTS])
def test_weighting_scheme(specification, law):
    apply(law, WeightingSubject(scheme_of(specification)))


def test_a_causal_scheme_that_waits_for_one_condition_keeps_every_other_law():
    reason = "it names a condition, which is not in every problem"
    scheme = phasecore.weighting_scheme("causal", initial_factor=10.0, initial="inlet")
    check_weighting(scheme, known_failures={"takes_any_number_of_terms": reason})


def test_weights_chosen_by_hand_keep_every_law_but_name_a_term():
    reason = "it names a term, which is not in every problem"
    check_weighting(
        phasecore.weighting_scheme("fixed", energy=3.0), known_failures={"takes_any_number_of_terms": reason}
    )


@pytest.mark.parametrize("law", SAMPLING_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize(
    "specification",
    [*phasecore.names("sampling"), "sobol+uniform", "grid+r3", "halton+rad:k=3,c=0,candidates=999", "rar_d:added=1"],
)
def test_sampling(specification, law):
    apply(law, sampling_subject(as_sampling(specification)[1]))


@pytest.mark.parametrize("law", PROBE_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", phasecore.names("probe"))
def test_probe(name, law):
    apply(law, ProbeSubject(phasecore.probe(name)))


@pytest.mark.parametrize("law", PROBLEM_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize(("name", "preset"), problems_of_all_presets())
def test_problem(name, preset, law):
    apply(law, problem_subject(name, preset))


def test_the_checks_run_every_law_and_report_what_they_skipped():
    for report, laws in (
        (check_weighting(phasecore.weighting_scheme("rba")), WEIGHTING_LAWS),
        (check_probe(phasecore.probe("gradient_snr")), PROBE_LAWS),
        (check_problem(phasecore.problem("helmholtz"), ["numpy"]), PROBLEM_LAWS),
        (check_sampling(phasecore.sampling.r3), SAMPLING_LAWS),
    ):
        assert sorted([*report.passed, *report.skipped]) == sorted(law.__name__ for law in laws)


@pytest.mark.parametrize("kind", ["problem", "probe"])
def test_things_are_registered_under_their_own_name(kind):
    for name in phasecore.names(kind):
        assert getattr(phasecore, kind)(name).name == name


@pytest.mark.parametrize(
    "law", [*WEIGHTING_LAWS, *SAMPLING_LAWS, *PROBE_LAWS, *PROBLEM_LAWS], ids=lambda law: law.__name__
)
def test_every_law_states_itself(law):
    assert law.__doc__
    assert law.__doc__.splitlines()[0].rstrip().endswith((".", ":"))
