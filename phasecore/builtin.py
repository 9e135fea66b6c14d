"""What phasecore itself offers, registered through the same hook as anyone's."""

from __future__ import annotations

from collections.abc import Iterable

from phasecore.hookspecs import Entry, hookimpl


@hookimpl
def phasecore_entries() -> Iterable[Entry]:
    """Return what phasecore itself offers; the adapters are plugins of their own."""
    return [
        Entry("problem", "allen_cahn", "phasecore.problems.allen_cahn:AllenCahn"),
        Entry("problem", "burgers", "phasecore.problems.burgers:Burgers"),
        Entry("problem", "burgers_inverse", "phasecore.problems.burgers_inverse:BurgersInverse"),
        Entry("problem", "convection", "phasecore.problems.convection:Convection"),
        Entry("problem", "diffusion_reaction", "phasecore.problems.diffusion_reaction:DiffusionReaction"),
        Entry("problem", "helmholtz", "phasecore.problems.helmholtz:Helmholtz"),
        Entry("problem", "kdv", "phasecore.problems.korteweg_de_vries:KortewegDeVries"),
        Entry("problem", "lid_driven_cavity", "phasecore.problems.lid_driven_cavity:LidDrivenCavity"),
        Entry("problem", "lorenz", "phasecore.problems.lorenz:Lorenz"),
        Entry("problem", "poisson_l_shape", "phasecore.problems.poisson_l_shape:PoissonLShape"),
        Entry("problem", "wave", "phasecore.problems.wave:Wave"),
        Entry("weighting", "uniform", "phasecore.weighting.uniform:uniform"),
        Entry("weighting", "fixed", "phasecore.weighting.fixed:fixed"),
        Entry("weighting", "rba", "phasecore.weighting.rba:rba"),
        Entry("weighting", "self_adaptive", "phasecore.weighting.self_adaptive:self_adaptive"),
        Entry("weighting", "brdr", "phasecore.weighting.brdr:brdr"),
        Entry("weighting", "vrba", "phasecore.weighting.vrba:vrba"),
        Entry("weighting", "causal", "phasecore.weighting.causal:causal"),
        Entry("weighting", "soft_adapt", "phasecore.weighting.soft_adapt:soft_adapt"),
        Entry("weighting", "relobralo", "phasecore.weighting.relobralo:relobralo"),
        Entry(
            "weighting",
            "learning_rate_annealing",
            "phasecore.weighting.learning_rate_annealing:learning_rate_annealing",
        ),
        Entry("weighting", "grad_norm", "phasecore.weighting.grad_norm:grad_norm"),
        Entry("weighting", "ntk", "phasecore.weighting.ntk:ntk"),
        *(
            Entry("sampling", name, f"phasecore.sampling.{name}:{name}")
            for name in ("latin_hypercube", "halton", "sobol", "grid", "uniform", "rad", "rar_d", "r3")
        ),
        Entry("probe", "gradient_snr", "phasecore.probes.gradient_snr:GradientSNR"),
        Entry("probe", "adam_snr", "phasecore.probes.adam_snr:AdamSNR"),
        Entry("probe", "adam_learning_rates", "phasecore.probes.adam_learning_rates:AdamLearningRates"),
        Entry("probe", "residual_order", "phasecore.probes.residual_order:ResidualOrder"),
        Entry("probe", "term_losses", "phasecore.probes.term_losses:TermLosses"),
        Entry("probe", "relative_l2_error", "phasecore.probes.relative_l2:RelativeL2Error"),
        Entry("probe", "gradient_noise_scale", "phasecore.probes.gradient_noise_scale:GradientNoiseScale"),
        Entry("probe", "norm_test", "phasecore.probes.norm_test:NormTest"),
        Entry("probe", "gradient_alignment", "phasecore.probes.gradient_alignment:GradientAlignment"),
        Entry("probe", "saturation", "phasecore.probes.saturation:Saturation"),
        Entry("probe", "layer_entropy", "phasecore.probes.layer_entropy:LayerEntropy"),
        Entry("probe", "target_information", "phasecore.probes.target_information:TargetInformation"),
        Entry("probe", "activation_histograms", "phasecore.probes.activation_histograms:ActivationHistograms"),
        Entry("policy", "at_phase", "phasecore.policies.at_phase:at_phase"),
        Entry("policy", "quasi_newton", "phasecore.policies.quasi_newton:quasi_newton"),
        Entry("policy", "stop_when_done", "phasecore.policies.stop_when_done:stop_when_done"),
        Entry("policy", "learning_rate_by_phase", "phasecore.policies.learning_rate_by_phase:learning_rate_by_phase"),
        Entry("policy", "optimizer_by_phase", "phasecore.policies.optimizer_by_phase:optimizer_by_phase"),
        Entry("logger", "csv", "phasecore.loggers.csv_file:CSVLogger"),
        Entry(
            "logger", "tensorboard", "phasecore.loggers.tensorboard:TensorBoardLogger", ("tensorboard",), "tensorboard"
        ),
        Entry("logger", "mlflow", "phasecore.loggers.mlflow:MLflowLogger", ("mlflow",), "mlflow"),
        Entry("logger", "wandb", "phasecore.loggers.wandb:WandbLogger", ("wandb",), "wandb"),
    ]
