"""Inversion of a mel spectrogram: power per STFT bin, and phase by Griffin-Lim."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from audiostyle.arrays import Array
from audiostyle.dsp.spectrogram import REFERENCE_POWER, db_to_power, istft, stft

FIT_GAIN_LIMIT = np.float32(1e15)  # of power: digital silence cannot be raised
STEP_LIMIT = np.float32(10.0)  # of the gain of an iteration that holds mel levels
MEL_MOMENTUM = 0.9
QUIETEST_DB = -160.0


class _MelBins:
    """Sparse mel filters, and their transpose with weights that sum to 1 in every bin."""

    def __init__(self, mel_filters: Array) -> None:
        from scipy.sparse import csr_array

        weight = mel_filters.sum(axis=0)
        seen = weight > 1e-3 * weight.max()  # the outermost bins lie under no filter
        inner = np.flatnonzero(seen)
        nearest = inner[np.abs(inner[None] - np.arange(len(seen))[:, None]).argmin(axis=1)]
        self._filters = csr_array(mel_filters)
        self._transpose = csr_array((mel_filters / np.maximum(weight, 1e-12)).T[nearest])

    def to_mel(self, P: Array) -> Array:
        return np.asarray(self._filters @ P)

    def to_bins(self, gain: Array) -> Array:
        """Return the weighted mean of the gains of the bands above each bin."""
        return np.asarray(self._transpose @ gain)


def fill_quiet(
    S: Array, P: Array, mel_filters: Array, top_db: float, level: float, strength: float = 1.0
) -> Array:
    """Fill in levels that the analysis does not tell, those at ``-top_db``.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
    P : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
        The start of the inversion.
    mel_filters : np.ndarray [shape=(n_mels, n_fft // 2 + 1), non-negative]
    top_db : float > 0, in dB
    level : float <= -top_db, in dB
        Mean level of a style below the floor.
    strength : float in [0, 1]
        How far to go from the level of `P`, or from ``-top_db`` where that is higher.

    Returns
    -------
    np.ndarray [shape=(n_mels, t), float32, dB]
    """
    quietest = REFERENCE_POWER * 10.0 ** (QUIETEST_DB / 10)
    own = 10 * np.log10(np.maximum(_MelBins(mel_filters).to_mel(P), quietest) / REFERENCE_POWER)
    filled = (1 - strength) * np.minimum(own, -top_db) + strength * level
    return np.asarray(np.where(S > -top_db, S, filled), np.float32)


def fit_power(S: Array, P: Array, mel_filters: Array, top_db: float, n_iter: int = 60) -> Array:
    """Find the power spectrogram nearest to `P` whose mel spectrogram is `S`.

    Multiplicative updates (Lee & Seung 2001, for the Kullback-Leibler divergence) from `P`: each
    iteration multiplies every bin by the weighted mean of what the bands above it lack, so what the
    mel filters cannot see (the partials within a band) stays as it is in `P`.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
        Target. Bands at ``-top_db`` are left alone where `P` is lower still.
    P : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
        Start; bins that are 0 stay 0.
    mel_filters : np.ndarray [shape=(n_mels, n_fft // 2 + 1), non-negative]
    top_db : float > 0, in dB
    n_iter : int >= 0

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
    """
    bins, target = _MelBins(mel_filters), db_to_power(S)
    floor = np.minimum(target, np.float32(REFERENCE_POWER * 10.0 ** (-top_db / 10)))
    gain = np.ones(P.shape, np.float32)
    for _ in range(n_iter):
        ratio = target / np.maximum(bins.to_mel(P * gain), floor)
        gain = np.minimum(gain * bins.to_bins(ratio), FIT_GAIN_LIMIT)
    return np.asarray(P * gain)


def griffin_lim(
    magnitude: Array,
    phase: Array,
    n_fft: int,
    hop_length: int,
    length: int,
    *,
    n_iter: int,
    momentum: float = 0.99,
    mel_filters: Array | None = None,
) -> Array:
    """Fast Griffin-Lim (Perraudin, Balazs & Sondergaard 2013) from a given phase.

    With `mel_filters`, only the mel levels of `magnitude` are held: what lies within a band may
    change until the STFT is consistent.

    Parameters
    ----------
    magnitude : np.ndarray [shape=(..., n_fft // 2 + 1, t), non-negative]
    phase : np.ndarray [shape=(..., n_fft // 2 + 1, t), complex, modulus 1]
    n_fft, hop_length, length : int, in samples
    n_iter : int >= 0
    momentum : float in [0, 1]
        0 is the plain algorithm of Griffin & Lim 1984.
    mel_filters : np.ndarray [shape=(n_mels, n_fft // 2 + 1), non-negative], optional

    Returns
    -------
    np.ndarray [shape=(..., length), float32]
    """
    magnitude, phase = np.asarray(magnitude, np.float32), np.asarray(phase, np.complex64)
    bins = None if mel_filters is None else _MelBins(mel_filters)

    def invert(M: Array, p: Array) -> Array:
        project = _magnitude_projection(M) if bins is None else _mel_projection(M, bins)
        return _griffin_lim(M * p, project, n_fft, hop_length, length, n_iter, momentum)

    if magnitude.ndim == 2:
        return invert(magnitude, phase)
    if len(magnitude) == 1:
        return invert(magnitude[0], phase[0])[None]
    with ThreadPoolExecutor(_count_threads()) as pool:  # NumPy releases the lock while it works
        return np.stack(list(pool.map(invert, magnitude, phase)))


def _count_threads() -> int:
    """Return the number of threads that BLAS may use, or of cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else os.cpu_count() or 1


def _griffin_lim(
    Z: Array,
    project: Callable[[Array], None],
    n_fft: int,
    hop_length: int,
    length: int,
    n_iter: int,
    momentum: float,
) -> Array:
    """Iterate in place: the arrays are large, and passes over them take most of the time."""
    previous: Array | None = None
    for _ in range(n_iter):
        rebuilt = stft(istft(Z, n_fft, hop_length, length), n_fft, hop_length)
        if previous is None:
            Z = rebuilt.copy()
        else:
            Z = previous
            Z -= rebuilt
            Z *= np.float32(-momentum)
            Z += rebuilt
        project(Z)
        previous = rebuilt
    return istft(Z, n_fft, hop_length, length)


def _magnitude_projection(magnitude: Array) -> Callable[[Array], None]:
    def project(Z: Array) -> None:
        modulus = np.abs(Z)
        empty = modulus < np.finfo(np.float32).tiny
        modulus[empty] = 1
        Z[empty] = 1
        Z *= np.divide(magnitude, modulus, out=modulus)

    return project


def _mel_projection(magnitude: Array, bins: _MelBins) -> Callable[[Array], None]:
    tiny = np.float32(1e-20)
    target = bins.to_mel(np.square(magnitude)) + tiny

    def project(Z: Array) -> None:
        ratio = np.sqrt(target / (bins.to_mel(Z.real**2 + Z.imag**2) + tiny))
        Z *= bins.to_bins(np.clip(ratio, 1 / STEP_LIMIT, STEP_LIMIT))

    return project


def unit_phase(D: Array) -> Array:
    """Phase of a spectrogram as complex numbers of modulus 1; 1 where `D` is 0.

    Parameters
    ----------
    D : np.ndarray [shape=(..., n_fft // 2 + 1, t), complex]

    Returns
    -------
    np.ndarray [same shape, complex64]
    """
    modulus = np.abs(D)
    empty = modulus < np.finfo(np.float32).tiny
    return np.where(empty, np.complex64(1), D / np.where(empty, 1, modulus)).astype(np.complex64)
