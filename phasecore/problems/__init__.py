"""Problems: partial differential equations with conditions, sampling, reference solutions and presets.

A problem is made by its class here, `phasecore.problems.Helmholtz(a1=1, a2=4)`, which editors and type checkers know,
or by its name, "helmholtz:a1=1,a2=4".
"""

from phasecore.problems.allen_cahn import AllenCahn
from phasecore.problems.base import CollocationPoints, Preset, Problem, relative_l2_error
from phasecore.problems.burgers import Burgers
from phasecore.problems.coefficients import Trained, trained, true_value
from phasecore.problems.conditions import Condition, Data, Periodic, Prescribed
from phasecore.problems.domains import Ball, Box, Disk, Polygon, Shape
from phasecore.problems.general import Integral, ResidualCondition
from phasecore.problems.helmholtz import Helmholtz
from phasecore.problems.lid_driven_cavity import LidDrivenCavity
from phasecore.problems.reference_data import ReferenceData

__all__ = [
    "AllenCahn",
    "Ball",
    "Box",
    "Burgers",
    "CollocationPoints",
    "Condition",
    "Data",
    "Disk",
    "Helmholtz",
    "Integral",
    "LidDrivenCavity",
    "Periodic",
    "Polygon",
    "Prescribed",
    "Preset",
    "Problem",
    "ReferenceData",
    "ResidualCondition",
    "Shape",
    "Trained",
    "relative_l2_error",
    "trained",
    "true_value",
]
