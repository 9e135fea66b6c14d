"""Domains that are no box: shapes, what is made of them, and what other packages draw."""

from phasecore.problems.domains.polygon import Polygon
from phasecore.problems.domains.shapes import Ball, Box, Disk, Shape

__all__ = ["Ball", "Box", "Disk", "Polygon", "Shape"]
