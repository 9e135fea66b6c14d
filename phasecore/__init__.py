"""phasecore: the learning phases of physics-informed networks."""

__version__ = "0.1.0"
