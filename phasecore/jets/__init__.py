"""Jets: truncated Taylor arithmetic, for the partial derivatives of networks in any array namespace.

Example:
    >>> import numpy
    >>> from phasecore.partials import parse_partial
    >>> laplacian = parse_partial("u_xx + u_yy", ["u"], ["x", "y"]).operator
    >>> algebra = algebra_of(2, [laplacian])
    >>> points = coordinates(numpy.asarray([[1.0, 2.0]]), algebra, numpy)
    >>> squares = (points * points).map(lambda coefficient: coefficient.sum(axis=1))
    >>> read(squares, laplacian, numpy).item()
    4.0
"""

from phasecore.jets.algebra import Algebra, algebra_of
from phasecore.jets.functions import FUNCTIONS, Function, power
from phasecore.jets.jet import Jet, concat, coordinates, read, stack
from phasecore.jets.normalization import layer_normalized

__all__ = [
    "FUNCTIONS",
    "Algebra",
    "Function",
    "Jet",
    "algebra_of",
    "concat",
    "coordinates",
    "layer_normalized",
    "power",
    "read",
    "stack",
]
