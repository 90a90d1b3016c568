"""STFT, mel power and dB mel spectrograms, and long-term spectral envelopes.

- ``D`` is a complex STFT [shape=(..., n_fft // 2 + 1, t)], ``P`` a power spectrogram, ``S`` a mel
  spectrogram in dB [shape=(n_mels, t)] between ``-top_db`` and about 20 dB.
- 0 dB is `REFERENCE_POWER` for every clip. Clips are brought to one level first
  (`audiostyle.audio.level.active_level`), so content and style share the scale, and the statistics
  of a style depend only on the style.
- Several channels are analysed as one: by the mean of their power, which (unlike the mean of their
  samples) cannot cancel.

STFT and mel filters are librosa's to the last bit. It is not imported for them: with numba and
`scipy.signal`, it takes several times as long to load as a minute of sound to analyse.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig

REFERENCE_POWER = 100.0  # mel power of 0 dB: the loudest bands of music at -20 dBFS lie near it
BLOCK_FRAMES = 32  # transformed at a time, which fits into the cache of a core
SLANEY_STEP = 200.0 / 3  # Hz per mel, below
SLANEY_CORNER = 1000.0  # Hz, above which mels are logarithmic
SLANEY_LOG_STEP = np.log(6.4) / 27.0  # of the natural logarithm, per mel


@lru_cache(maxsize=8)
def _mel_filters(sr: int, n_fft: int, n_mels: int, mel_scale: str) -> Array:
    edges = mel_frequencies(n_mels + 2, sr / 2, mel_scale)
    ramps = np.subtract.outer(edges, fft_frequencies(sr, n_fft))
    widths = np.diff(edges)[:, None]
    rising, falling = -ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]
    filters = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    filters.flags.writeable = False
    return np.asarray(filters)


def mel_frequencies(n: int, fmax: float, mel_scale: str) -> Array:
    """Return `n` frequencies from 0 to `fmax` at equal distances in mels [shape=(n,), Hz].

    `mel_scale` is ``slaney``, linear below 1 kHz and logarithmic above it, or ``htk``.
    """
    if mel_scale == "htk":
        mels = np.linspace(0.0, 2595.0 * np.log10(1.0 + fmax / 700.0), n)
        return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))
    corner, top = SLANEY_CORNER / SLANEY_STEP, fmax / SLANEY_STEP
    if fmax >= SLANEY_CORNER:
        top = corner + np.log(fmax / SLANEY_CORNER) / SLANEY_LOG_STEP
    mels = np.linspace(0.0, top, n)
    above = SLANEY_CORNER * np.exp(SLANEY_LOG_STEP * (mels - corner))
    return np.where(mels >= corner, above, SLANEY_STEP * mels)


def fft_frequencies(sr: int, n_fft: int) -> Array:
    """Return the frequencies of the bins of an STFT [shape=(n_fft // 2 + 1,), Hz]."""
    return np.fft.rfftfreq(n_fft, 1.0 / sr)


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
    y = np.asarray(y, np.float32)
    if center:
        y = np.pad(y, [*[(0, 0)] * (y.ndim - 1), (n_fft // 2, n_fft // 2)])
    frames = np.lib.stride_tricks.sliding_window_view(y, n_fft, axis=-1)
    frames = frames[..., ::hop_length, :].swapaxes(-1, -2)
    n_frames = frames.shape[-1]
    D = np.empty((*y.shape[:-1], n_fft // 2 + 1, n_frames), np.complex64, order="F")
    window = hann(n_fft)[:, None]
    for first in range(0, n_frames, BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        D[..., block] = np.fft.rfft(window * frames[..., block], axis=-2)
    return D


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
    n_frames = min(D.shape[-1], -(-(length + 2 * (n_fft // 2)) // hop_length))
    window = hann(n_fft)[:, None]
    y = _OverlapAdd(D.shape[:-2], n_fft, hop_length, max(n_frames, 1 + length // hop_length))
    for first in range(0, n_frames, BLOCK_FRAMES):
        block = D[..., first : min(first + BLOCK_FRAMES, n_frames)]
        y.add(window * np.fft.irfft(block, n=n_fft, axis=-2), first)
    cut = slice(n_fft // 2, n_fft // 2 + length)
    power = _window_power(n_fft, hop_length, n_frames)
    result = y.samples()[..., cut]
    power = np.pad(power, (0, max(0, cut.stop - len(power))))[cut]
    covered = power > np.finfo(np.float32).tiny
    return np.asarray(np.divide(result, power, out=result, where=covered))


def hann(n: int) -> Array:
    """Return a periodic Hann window [shape=(n,)]."""
    return np.asarray(0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, n + 1))[:-1])


class _OverlapAdd:
    """Sum of frames, one every `hop_length` samples, added in the order of time."""

    def __init__(self, shape: tuple[int, ...], n_fft: int, hop_length: int, n_frames: int) -> None:
        self._n_parts = -(-n_fft // hop_length)  # of a frame, each in a row of its own
        self._hop_length = hop_length
        self._rows = np.zeros((*shape, n_frames + self._n_parts, hop_length), np.float32)

    def add(self, frames: Array, first: int) -> None:
        """Add frames [shape=(..., n_fft, t)], from frame `first` on."""
        n, hop_length = frames.shape[-1], self._hop_length
        for part in reversed(range(self._n_parts)):  # a row gets the last part of the oldest frame
            values = frames[..., part * hop_length : (part + 1) * hop_length, :].swapaxes(-1, -2)
            rows = self._rows[..., first + part : first + part + n, : values.shape[-1]]
            rows += values

    def samples(self) -> Array:
        """Return the sum [shape=(..., n)]."""
        return self._rows.reshape(*self._rows.shape[:-2], -1)


@lru_cache(maxsize=8)
def _window_power(n_fft: int, hop_length: int, n_frames: int) -> Array:
    """Sum of the squared windows of all frames."""
    power = _OverlapAdd((), n_fft, hop_length, n_frames)
    power.add(np.broadcast_to(hann(n_fft)[:, None] ** 2, (n_fft, n_frames)), 0)
    return power.samples()


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
    bins = fft_frequencies(config.sr, config.n_fft)
    return np.asarray(np.interp(bins, band_centres(config), gain))


def band_centres(config: TransferConfig) -> Array:
    """Return the centre frequencies of the mel bands [shape=(n_mels,), Hz]."""
    return mel_frequencies(config.n_mels + 2, config.sr / 2, config.mel_scale)[1:-1]
