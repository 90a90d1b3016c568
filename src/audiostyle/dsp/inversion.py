"""Inversion of a mel spectrogram: power per STFT bin, and phase by Griffin-Lim."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from audiostyle.arrays import Array
from audiostyle.dsp.spectrogram import REFERENCE_POWER, db_to_power, istft, stft

FIT_GAIN_LIMIT = np.float32(1e15)  # of power: digital silence cannot be raised


def fit_power(S: Array, P: Array, mel_filters: Array, top_db: float, n_iter: int = 60) -> Array:
    """Find the power spectrogram nearest to `P` whose mel spectrogram is `S`.

    Multiplicative updates (Lee & Seung 2001, for the Kullback-Leibler divergence) from `P`: each
    iteration multiplies every bin by the weighted mean of what the bands above it lack, so what the
    mel filters cannot see (the partials within a band) stays as it is in `P`.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
        Target. Bands at ``-top_db`` or below are left alone where `P` is lower still.
    P : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
        Start; bins that are 0 stay 0.
    mel_filters : np.ndarray [shape=(n_mels, n_fft // 2 + 1), non-negative]
    top_db : float > 0, in dB
    n_iter : int >= 0

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
    """
    M = mel_filters
    target = db_to_power(S)
    floor = np.float32(REFERENCE_POWER * 10.0 ** (-top_db / 10))
    weight = M.sum(axis=0)
    seen = weight > 1e-3 * weight.max()  # the outermost bins lie under no filter
    MT = (M / np.maximum(weight, 1e-12)).T[seen]
    gain = np.ones(P.shape, np.float32)
    for _ in range(n_iter):
        ratio = target / np.maximum(M @ (P * gain), floor)
        gain[seen] = np.minimum(gain[seen] * (MT @ ratio), FIT_GAIN_LIMIT)
    unseen = np.flatnonzero(~seen)
    if len(unseen):
        inner = np.flatnonzero(seen)
        gain[unseen] = gain[inner[np.abs(inner[None] - unseen[:, None]).argmin(axis=1)]]
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
) -> Array:
    """Fast Griffin-Lim (Perraudin, Balazs & Sondergaard 2013) from a given phase.

    Parameters
    ----------
    magnitude : np.ndarray [shape=(..., n_fft // 2 + 1, t), non-negative]
    phase : np.ndarray [shape=(..., n_fft // 2 + 1, t), complex, modulus 1]
    n_fft, hop_length, length : int, in samples
    n_iter : int >= 0
    momentum : float in [0, 1]
        0 is the plain algorithm of Griffin & Lim 1984.

    Returns
    -------
    np.ndarray [shape=(..., length), float32]
    """
    magnitude, phase = np.asarray(magnitude, np.float32), np.asarray(phase, np.complex64)
    if magnitude.ndim == 2 or len(magnitude) == 1:
        return _griffin_lim(magnitude, phase, n_fft, hop_length, length, n_iter, momentum)
    with ThreadPoolExecutor(_count_threads()) as pool:  # NumPy releases the lock while it works
        channels = pool.map(
            lambda M, p: _griffin_lim(M, p, n_fft, hop_length, length, n_iter, momentum),
            magnitude,
            phase,
        )
        return np.stack(list(channels))


def _count_threads() -> int:
    """Return the number of threads that BLAS may use, or of cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else os.cpu_count() or 1


def _griffin_lim(
    magnitude: Array,
    phase: Array,
    n_fft: int,
    hop_length: int,
    length: int,
    n_iter: int,
    momentum: float,
) -> Array:
    """Iterate in place: the arrays are large, and passes over them take most of the time."""
    Z: Array = magnitude * phase
    previous: Array | None = None
    for _ in range(n_iter):
        rebuilt = stft(istft(Z, n_fft, hop_length, length), n_fft, hop_length)
        if previous is None:
            Z = rebuilt.copy()
        else:
            Z = previous
            Z *= np.float32(-momentum / (1 + momentum))
            Z += rebuilt
        modulus = np.abs(Z)
        empty = modulus < np.finfo(np.float32).tiny
        modulus[empty] = 1
        Z[empty] = 1
        Z *= np.divide(magnitude, modulus, out=modulus)
        previous = rebuilt
    return istft(Z, n_fft, hop_length, length)


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
