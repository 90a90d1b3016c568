"""Types of arrays and tensors in annotations; their shapes are in the docstrings."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types
