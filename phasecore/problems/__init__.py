"""Problems: partial differential equations with conditions, sampling, reference solutions and presets.

A problem is made by its class here, `phasecore.problems.Helmholtz(a1=1, a2=4)`, which editors and type checkers know,
or by its name, "helmholtz:a1=1,a2=4".
"""

from phasecore.problems.allen_cahn import AllenCahn
from phasecore.problems.base import CollocationPoints, Preset, Problem, relative_l2_error
from phasecore.problems.burgers import Burgers
from phasecore.problems.burgers_inverse import BurgersInverse
from phasecore.problems.coefficients import Trained, trained, true_value
from phasecore.problems.conditions import Condition, Data, Periodic, Prescribed
from phasecore.problems.convection import Convection
from phasecore.problems.diffusion_reaction import DiffusionReaction
from phasecore.problems.domains import Ball, Box, Disk, Polygon, Shape
from phasecore.problems.general import Integral, ResidualCondition
from phasecore.problems.helmholtz import Helmholtz
from phasecore.problems.korteweg_de_vries import KortewegDeVries
from phasecore.problems.lid_driven_cavity import LidDrivenCavity
from phasecore.problems.lorenz import Lorenz
from phasecore.problems.partition import part_of
from phasecore.problems.poisson_l_shape import PoissonLShape
from phasecore.problems.reference_data import ReferenceData
from phasecore.problems.wave import Wave

__all__ = [
    "AllenCahn",
    "Ball",
    "Box",
    "Burgers",
    "BurgersInverse",
    "CollocationPoints",
    "Condition",
    "Convection",
    "Data",
    "DiffusionReaction",
    "Disk",
    "Helmholtz",
    "Integral",
    "KortewegDeVries",
    "LidDrivenCavity",
    "Lorenz",
    "Periodic",
    "PoissonLShape",
    "Polygon",
    "Prescribed",
    "Preset",
    "Problem",
    "ReferenceData",
    "ResidualCondition",
    "Shape",
    "Trained",
    "Wave",
    "part_of",
    "relative_l2_error",
    "trained",
    "true_value",
]
