from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from audiostyle.dsp import filters


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("deviation", "axis"), [(10.0, 0), (2.3, 1), (20.0, 2), (0.1, 0)])
def test_a_gaussian_is_that_of_scipy(deviation: float, axis: int, dtype: Any) -> None:
    x = np.random.default_rng(0).normal(size=(40, 7, 50)).astype(dtype)
    expected = ndimage.gaussian_filter1d(x, deviation, axis=axis, mode="nearest")
    found = filters.smooth(x, deviation, axis)
    assert found.dtype == dtype
    # On other processors SciPy's loop may round once for a product and its sum.
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n", [1, 3, 100])
def test_a_running_maximum_is_that_of_scipy(n: int) -> None:
    x = np.random.default_rng(1).normal(size=(5, n)).astype(np.float32)
    centred = ndimage.maximum_filter1d(x, 5, axis=1, mode="nearest")
    np.testing.assert_array_equal(filters.running_max(x, 2, 2), centred)
    ahead = ndimage.maximum_filter1d(x, 4, axis=1, origin=-2, mode="nearest")
    np.testing.assert_array_equal(filters.running_max(x, 0, 3), ahead)
