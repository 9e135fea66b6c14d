"""Somebody else's package: a weighting scheme, a problem, a probe and a logger."""

import phasecore


@phasecore.hookimpl
def phasecore_entries():
    return [
        phasecore.Entry("weighting", "tempered", "advection_kit.weighting:tempered"),
        phasecore.Entry("problem", "advection", "advection_kit.problem:Advection"),
        phasecore.Entry("probe", "loss_imbalance", "advection_kit.probe:LossImbalance"),
        phasecore.Entry("logger", "diary", "advection_kit.diary:Diary"),
    ]
