"""The array namespace of torch tensors."""

from __future__ import annotations

from typing import Any

import array_api_compat.torch

from phasecore.arrays import ArrayNamespace

_module: Any = array_api_compat.torch
namespace: ArrayNamespace = _module
