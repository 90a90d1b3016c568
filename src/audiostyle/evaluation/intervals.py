"""Bootstrap intervals: how far a mean over pairs would move with other pairs (Efron 1979)."""

from __future__ import annotations

import numpy as np

from audiostyle.arrays import Array

N_RESAMPLES = 10_000
PERCENTILES = (2.5, 97.5)  # of a 95 % interval
_BLOCK = 1_000_000  # indices in memory at a time


def resample_means(values: Array, n_resamples: int = N_RESAMPLES) -> Array:
    """Compute the means of resampled values.

    Parameters
    ----------
    values : np.ndarray [shape=(n,)]
    n_resamples : int

    Returns
    -------
    np.ndarray [shape=(n_resamples,)]
        The same resamples for every call with as many values, so that means can be compared.
    """
    rng, n = np.random.default_rng(0), values.size
    sizes = np.diff([*range(0, n_resamples, max(1, _BLOCK // n)), n_resamples])
    means = [values[rng.integers(n, size=(size, n))].mean(axis=1) for size in sizes]
    return np.concatenate(means)


def bootstrap_interval(values: Array, n_resamples: int = N_RESAMPLES) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the mean of values [shape=(n,)].

    None if there are less than two: a single value says nothing about others.
    """
    if values.size < 2:
        return None
    low, high = np.percentile(resample_means(values, n_resamples), PERCENTILES)
    return float(low), float(high)
