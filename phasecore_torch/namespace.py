"""The array namespace of torch tensors."""

from __future__ import annotations

import types
from typing import Any

import array_api_compat.torch

from phasecore.arrays import ArrayNamespace
from phasecore_torch import rewritten

_functions: Any = types.SimpleNamespace(**(vars(array_api_compat.torch) | {"tanh": rewritten.tanh}))
namespace: ArrayNamespace = _functions
