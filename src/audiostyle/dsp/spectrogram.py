"""Sound to dB mel spectrogram and back.

Conventions
-----------
- ``D`` is a complex STFT [shape=(..., n_fft // 2 + 1, t)], ``P`` a power spectrogram, ``S`` a mel
  spectrogram in dB [shape=(n_mels, t)] between ``-top_db`` and some 20 dB above 0.
- 0 dB is `REFERENCE_POWER`, the same for every clip. Clips are brought to one level before
  (`audiostyle.audio.level.active_level`), so content and style share the scale, and the statistics of a
  style depend on nothing but the style.
- Several channels are analysed as one: the mean of their power, which (unlike the mean of their
  samples) cannot cancel.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.transfer_config import TransferConfig

Array = npt.NDArray[Any]

FIT_GAIN_LIMIT = np.float32(1e15)  # of power: digital silence cannot be raised, whatever is asked
REFERENCE_POWER = 100.0  # mel power of 0 dB: the loudest bands of music at -20 dBFS lie near it
ENVELOPE_LIMIT_DB = 30.0  # a band that the content hardly has is not dug out of its noise floor
ENVELOPE_SMOOTHING_BANDS = (
    4.0  # of 256; standard deviation of the Gaussian that smooths the envelope
)


@lru_cache(maxsize=8)
def _mel_filters(sr: int, n_fft: int, n_mels: int, mel_scale: str) -> Array:
    from librosa.filters import mel as make_filters

    filters = make_filters(sr=sr, n_fft=n_fft, n_mels=n_mels, htk=mel_scale == "htk")
    filters.flags.writeable = False
    return np.asarray(filters)


def mel_filters(config: TransferConfig) -> Array:
    """Return librosa's mel filter bank, area-normalised.

    Parameters
    ----------
    config : TransferConfig

    Returns
    -------
    np.ndarray [shape=(n_mels, n_fft // 2 + 1), non-negative]
    """
    return _mel_filters(config.sr, config.n_fft, config.n_mels, config.mel_scale)


def stft(y: Array, config: TransferConfig, *, center: bool = True) -> Array:
    """Short-time Fourier transform, Hann window, centred frames.

    Parameters
    ----------
    y : np.ndarray [shape=(..., n)]
    center : bool
        False begins with the frame that begins with the first sample.

    Returns
    -------
    np.ndarray [shape=(..., n_fft // 2 + 1, t), complex64]
    """
    import librosa

    D = librosa.stft(
        np.asarray(y, np.float32),
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        center=center,
    )
    return np.asarray(D)


def istft(D: Array, config: TransferConfig, length: int) -> Array:
    """Inverse of `stft`, cut or padded to exactly `length` samples.

    Parameters
    ----------
    D : np.ndarray [shape=(..., n_fft // 2 + 1, t), complex64]
    length : int, in samples

    Returns
    -------
    np.ndarray [shape=(..., length), float32]
    """
    import librosa

    y = librosa.istft(D, n_fft=config.n_fft, hop_length=config.hop_length, length=length)
    return np.asarray(y)


def mel_power(P: Array, config: TransferConfig) -> Array:
    """Mel power of a power spectrogram.

    Parameters
    ----------
    P : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]

    Returns
    -------
    np.ndarray [shape=(n_mels, t), non-negative]
    """
    return np.asarray(mel_filters(config) @ P)


def power_to_db(mel: Array, config: TransferConfig) -> Array:
    """Decibels relative to `REFERENCE_POWER`, floored at ``-top_db``.

    Parameters
    ----------
    mel : np.ndarray [shape=(n_mels, t), non-negative]

    Returns
    -------
    np.ndarray [shape=(n_mels, t), dB, at least -top_db]
    """
    floor = REFERENCE_POWER * 10.0 ** (-config.top_db / 10)
    S = 10.0 * np.log10(np.maximum(mel, floor) / REFERENCE_POWER)
    return np.asarray(np.maximum(S, -config.top_db), np.float32)


def db_to_power(S: Array) -> Array:
    """Inverse of `power_to_db` above the floor.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]

    Returns
    -------
    np.ndarray [shape=(n_mels, t), positive]
    """
    return np.asarray(REFERENCE_POWER * 10.0 ** (np.asarray(S) / 10), np.float32)


def channel_power(D: Array) -> Array:
    """Mean power over the channels.

    Parameters
    ----------
    D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex]

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
    """
    return np.asarray(np.mean(D.real**2 + D.imag**2, axis=0))


def mel_spectrogram(y: Array, config: TransferConfig) -> Array:
    """DB mel spectrogram of a clip at ``config.sr``.

    Parameters
    ----------
    y : np.ndarray [shape=(n,) or (channels, n)]

    Returns
    -------
    np.ndarray [shape=(n_mels, t), dB]
    """
    D = stft(np.atleast_2d(y), config)
    return power_to_db(mel_power(channel_power(D), config), config)


def envelope_gain(content: Array, style: Array, config: TransferConfig) -> Array:
    """Gain that gives the content the long-term spectral envelope of the style.

    Parameters
    ----------
    content, style : np.ndarray [shape=(n_mels,), non-negative]
        Mean mel power of each over time.

    Returns
    -------
    np.ndarray [shape=(n_mels,), dB]
        Smoothed along frequency, so that it carries the envelope and not the notes, and within
        +-`ENVELOPE_LIMIT_DB`.
    """
    floor = REFERENCE_POWER * 10.0 ** (-config.top_db / 10)
    log_ratio = 10.0 * np.log10(np.maximum(style, floor) / np.maximum(content, floor))
    sigma = ENVELOPE_SMOOTHING_BANDS * config.n_mels / 256
    radius = min(int(np.ceil(3 * sigma)), config.n_mels - 1)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    padded = np.pad(log_ratio, radius, mode="reflect")
    smooth = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return np.asarray(np.clip(smooth, -ENVELOPE_LIMIT_DB, ENVELOPE_LIMIT_DB))


def mel_to_bins(gain: Array, config: TransferConfig) -> Array:
    """Interpolate a gain per mel band to a gain per STFT bin.

    Parameters
    ----------
    gain : np.ndarray [shape=(n_mels,), dB]

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1,), dB]
    """
    import librosa

    centres = librosa.mel_frequencies(
        config.n_mels + 2, fmin=0.0, fmax=config.sr / 2, htk=config.mel_scale == "htk"
    )[1:-1]
    bins = librosa.fft_frequencies(sr=config.sr, n_fft=config.n_fft)
    return np.asarray(np.interp(bins, centres, gain))


def fit_power(S: Array, P: Array, config: TransferConfig, n_iter: int = 60) -> Array:
    """Find the power spectrogram nearest to `P` whose mel spectrogram is `S`.

    Multiplicative updates (Lee & Seung 2001, for the Kullback-Leibler divergence) from `P`: every
    step multiplies each bin by the weighted mean of what the bands above it lack, so what the mel
    bank cannot see (the partials within a band) stays as `P` has it.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
        What to reach. Bands at ``-top_db`` or below are left alone where `P` is lower still.
    P : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
        Where to start; bins that are 0 stay 0.
    n_iter : int >= 0

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
    """
    M = mel_filters(config)
    target = db_to_power(S)
    floor = np.float32(REFERENCE_POWER * 10.0 ** (-config.top_db / 10))
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
    config: TransferConfig,
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
    length : int, in samples
    n_iter : int >= 0
    momentum : float in [0, 1]
        0 is the plain algorithm of Griffin & Lim 1984.

    Returns
    -------
    np.ndarray [shape=(..., length), float32]
    """
    magnitude, phase = np.asarray(magnitude, np.float32), np.asarray(phase, np.complex64)
    if magnitude.ndim == 2 or len(magnitude) == 1:
        return _griffin_lim(magnitude, phase, config, length, n_iter, momentum)
    with ThreadPoolExecutor(_workers()) as pool:  # NumPy lets go of the lock while it works
        channels = pool.map(
            lambda M, p: _griffin_lim(M, p, config, length, n_iter, momentum), magnitude, phase
        )
        return np.stack(list(channels))


def _workers() -> int:
    """How many threads may work: as many as BLAS may, or there are cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else os.cpu_count() or 1


def _griffin_lim(
    magnitude: Array,
    phase: Array,
    config: TransferConfig,
    length: int,
    n_iter: int,
    momentum: float,
) -> Array:
    """Iteration in place: the arrays are large, and passes over them are what it takes."""
    Z: Array = magnitude * phase
    previous: Array | None = None
    for _ in range(n_iter):
        rebuilt = stft(istft(Z, config, length), config)
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
    return istft(Z, config, length)


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
