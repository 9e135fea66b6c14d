"""The built-in problems, weighting schemes and probes, registered through the same hook as anyone's."""

from __future__ import annotations

from collections.abc import Iterable

from phasecore.hookspecs import Entry, hookimpl


@hookimpl
def phasecore_entries() -> Iterable[Entry]:
    """Return what phasecore itself offers; the adapters are plugins of their own."""
    return [
        Entry("problem", "allen_cahn", "phasecore.problems.allen_cahn:AllenCahn"),
        Entry("problem", "burgers", "phasecore.problems.burgers:Burgers"),
        Entry("problem", "helmholtz", "phasecore.problems.helmholtz:Helmholtz"),
        Entry("problem", "lid_driven_cavity", "phasecore.problems.lid_driven_cavity:LidDrivenCavity"),
        Entry("weighting", "uniform", "phasecore.weighting.uniform:uniform"),
        Entry("weighting", "rba", "phasecore.weighting.rba:rba"),
        Entry("probe", "gradient_snr", "phasecore.probes.gradient_snr:GradientSNR"),
        Entry("probe", "adam_snr", "phasecore.probes.adam_snr:AdamSNR"),
        Entry("probe", "residual_order", "phasecore.probes.residual_order:ResidualOrder"),
        Entry("probe", "term_losses", "phasecore.probes.term_losses:TermLosses"),
        Entry("probe", "relative_l2_error", "phasecore.probes.relative_l2:RelativeL2Error"),
    ]
