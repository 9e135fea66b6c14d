"""Samplings: where collocation points are drawn, and how they move while training goes on.

A sampling is made by its function here, `phasecore.sampling.rad(every=500)`, which editors and type checkers know, or
by its name, "rad:every=500". One that draws and one that moves go together, "sobol+rad:every=500".
"""

from phasecore.sampling.base import Region, Sampling, Situation
from phasecore.sampling.grid import grid
from phasecore.sampling.halton import halton
from phasecore.sampling.latin_hypercube import latin_hypercube
from phasecore.sampling.moving import Resampler, sample
from phasecore.sampling.r3 import r3
from phasecore.sampling.rad import rad
from phasecore.sampling.rar_d import rar_d
from phasecore.sampling.sobol import sobol
from phasecore.sampling.uniform import uniform

__all__ = [
    "Region",
    "Resampler",
    "Sampling",
    "Situation",
    "grid",
    "halton",
    "latin_hypercube",
    "r3",
    "rad",
    "rar_d",
    "sample",
    "sobol",
    "uniform",
]
