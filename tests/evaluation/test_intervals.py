"""Bootstrap intervals, against a bootstrap that is computed here and against the normal law."""

from __future__ import annotations

import numpy as np
import pytest

from audiostyle.evaluation import intervals
from audiostyle.evaluation.intervals import bootstrap_interval, resample_means


def test_the_interval_is_the_percentiles_of_resampled_means(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(3).gamma(2.0, size=37)
    index = np.random.default_rng(0).integers(37, size=(intervals.N_RESAMPLES, 37))
    expected = np.percentile(values[index].mean(axis=1), (2.5, 97.5))
    np.testing.assert_allclose(bootstrap_interval(values), expected, rtol=1e-12)
    monkeypatch.setattr(intervals, "_BLOCK", 1000)  # in many blocks: the same
    np.testing.assert_allclose(bootstrap_interval(values), expected, rtol=1e-12)


def test_the_interval_of_many_values_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(1).standard_normal(2000)
    half = 1.959964 * values.std() / np.sqrt(values.size)
    expected = values.mean() - half, values.mean() + half
    np.testing.assert_allclose(bootstrap_interval(values), expected, atol=0.05 * half)


def test_few_values() -> None:
    assert bootstrap_interval(np.array([0.5])) is None
    assert bootstrap_interval(np.array([0.5, 0.5])) == (0.5, 0.5)
    assert set(resample_means(np.array([0.0, 1.0]))) == {0.0, 0.5, 1.0}
