"""STFT, mel power and dB mel spectrograms, and long-term spectral envelopes.

- ``D`` is a complex STFT [shape=(..., n_fft // 2 + 1, t)], ``P`` a power spectrogram, ``S`` a mel
  spectrogram in dB [shape=(n_mels, t)] between ``-top_db`` and about 20 dB.
- 0 dB is `REFERENCE_POWER` for every clip. Clips are brought to one level first
  (`audiostyle.audio.level.active_level`), so content and style share the scale, and the statistics
  of a style depend only on the style.
- Several channels are analysed as one: by the mean of their power, which (unlike the mean of their
  samples) cannot cancel.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.utils.lazy_imports import load_librosa

REFERENCE_POWER = 100.0  # mel power of 0 dB: the loudest bands of music at -20 dBFS lie near it


@lru_cache(maxsize=8)
def _mel_filters(sr: int, n_fft: int, n_mels: int, mel_scale: str) -> Array:
    filters = load_librosa().filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, htk=mel_scale == "htk")
    filters.flags.writeable = False
    return np.asarray(filters)


def mel_filters(config: TransferConfig) -> Array:
    """Return librosa's area-normalised mel filter bank.

    Returns
    -------
    np.ndarray [shape=(n_mels, n_fft // 2 + 1), non-negative, read-only]
    """
    return _mel_filters(config.sr, config.n_fft, config.n_mels, config.mel_scale)


def stft(y: Array, n_fft: int, hop_length: int, *, center: bool = True) -> Array:
    """Short-time Fourier transform with a Hann window.

    Parameters
    ----------
    y : np.ndarray [shape=(..., n)]
    n_fft, hop_length : int, in samples
    center : bool
        If False, frame 0 begins at the first sample instead of being centred on it.

    Returns
    -------
    np.ndarray [shape=(..., n_fft // 2 + 1, t), complex64]
    """
    librosa = load_librosa()
    y = np.asarray(y, np.float32)
    return np.asarray(librosa.stft(y, n_fft=n_fft, hop_length=hop_length, center=center))


def istft(D: Array, n_fft: int, hop_length: int, length: int) -> Array:
    """Inverse of `stft`, cut or padded to exactly `length` samples.

    Parameters
    ----------
    D : np.ndarray [shape=(..., n_fft // 2 + 1, t), complex64]
    n_fft, hop_length, length : int, in samples

    Returns
    -------
    np.ndarray [shape=(..., length), float32]
    """
    librosa = load_librosa()
    return np.asarray(librosa.istft(D, n_fft=n_fft, hop_length=hop_length, length=length))


def power_to_db(mel: Array, top_db: float) -> Array:
    """Decibels relative to `REFERENCE_POWER`, floored at ``-top_db``.

    Parameters
    ----------
    mel : np.ndarray [shape=(n_mels, t), non-negative]
    top_db : float > 0, in dB

    Returns
    -------
    np.ndarray [shape=(n_mels, t), float32, dB, at least -top_db]
    """
    floor = REFERENCE_POWER * 10.0 ** (-top_db / 10)
    S = 10.0 * np.log10(np.maximum(mel, floor) / REFERENCE_POWER)
    return np.asarray(np.maximum(S, -top_db), np.float32)


def db_to_power(S: Array) -> Array:
    """Inverse of `power_to_db` above its floor.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]

    Returns
    -------
    np.ndarray [shape=(n_mels, t), float32, positive]
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


def mel_db(P: Array, config: TransferConfig) -> Array:
    """Mel spectrogram of a power spectrogram.

    Parameters
    ----------
    P : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]

    Returns
    -------
    np.ndarray [shape=(n_mels, t), float32, dB]
    """
    return power_to_db(mel_filters(config) @ P, config.top_db)


def mel_spectrogram(y: Array, config: TransferConfig) -> Array:
    """Mel spectrogram of a clip at ``config.sr``.

    Parameters
    ----------
    y : np.ndarray [shape=(n,) or (channels, n)]

    Returns
    -------
    np.ndarray [shape=(n_mels, t), float32, dB]
    """
    D = stft(np.atleast_2d(y), config.n_fft, config.hop_length)
    return mel_db(channel_power(D), config)


def mel_to_bins(gain: Array, config: TransferConfig) -> Array:
    """Interpolate a gain per mel band to a gain per STFT bin.

    Parameters
    ----------
    gain : np.ndarray [shape=(n_mels,), dB]

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1,), dB]
    """
    bins = load_librosa().fft_frequencies(sr=config.sr, n_fft=config.n_fft)
    return np.asarray(np.interp(bins, band_centres(config), gain))


def band_centres(config: TransferConfig) -> Array:
    """Return the centre frequencies of the mel bands [shape=(n_mels,), Hz]."""
    frequencies = load_librosa().mel_frequencies(
        config.n_mels + 2, fmin=0.0, fmax=config.sr / 2, htk=config.mel_scale == "htk"
    )
    return np.asarray(frequencies[1:-1])
