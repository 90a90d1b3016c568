"""Levels of signals: the level of what sounds, loudness, and peaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ANALYSIS_LEVEL_DB = -20.0  # dBFS; every clip is brought to this level before it is analysed
GATE_DB = -20.0  # blocks so far below the mean are pauses, and do not count
LOUDNESS_PASSES = 4
LOUDNESS_TOLERANCE_DB = 0.01
MAX_GAIN_DB = 60.0
SILENCE_DB = -90.0  # dBFS; a clip whose peak lies below is silent (one step of 16 bits)
OFFSET = 0.01  # of full scale (-40 dB): a mean above it is a fault of the recording, not sound


def active_level(y: Array, sr: int) -> float:
    """RMS level of what sounds: blocks 20 dB below the mean are left out.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    sr : int, in Hz

    Returns
    -------
    float, in dBFS
        The mean is over power, in blocks of 50 ms, and over channels.
    """
    block = max(1, sr // 20)
    n_blocks = max(1, y.shape[-1] // block)
    power = np.mean(np.square(y, dtype=np.float64), axis=0)
    blocks = np.array([part.mean() for part in np.array_split(power, n_blocks)])
    active = blocks[blocks >= blocks.mean() * 10.0 ** (GATE_DB / 10)]
    return float(10 * np.log10(max(active.mean(), 1e-20)))


def k_weighting(frequencies: Array) -> Array:
    """Power response of the K-weighting filter of ITU-R BS.1770-4.

    Parameters
    ----------
    frequencies : np.ndarray [shape=(n,), Hz]

    Returns
    -------
    np.ndarray [shape=(n,), non-negative]
        Of the two filters that the standard gives for 48 kHz, held constant above 24 kHz.
    """
    z = np.exp(-2j * np.pi * np.minimum(frequencies, 24_000.0) / 48_000.0)
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    high_pass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    return np.asarray(np.abs(shelf * high_pass) ** 2)


def loudness(y: Array, sr: int) -> float:
    """Ungated K-weighted loudness (ITU-R BS.1770-4 without its gates and channel weights).

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    sr : int, in Hz

    Returns
    -------
    float, in LUFS
        Computed over the spectrum of the whole clip, by Parseval's theorem. The gates are left
        out because content and result, which are compared, have their pauses in the same places.
    """
    n = y.shape[-1]
    weights = k_weighting(np.fft.rfftfreq(n, 1 / sr))
    weights[1 : (n + 1) // 2] *= 2  # a bin and its conjugate
    power = 0.0
    for channel in y:
        spectrum = np.fft.rfft(channel.astype(np.float64))
        power += float(weights @ (spectrum.real**2 + spectrum.imag**2)) / n**2
    return float(-0.691 + 10 * np.log10(max(power, 1e-20)))


def match_loudness(y: Array, sr: int, target: float) -> tuple[Array, float, float]:
    """Bring a clip to a loudness, with its peaks limited to full scale.

    Limiting takes loudness away, so what it took is added once more, a few times over; a clip with
    extreme peaks ends a little below the target.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    sr : int, in Hz
    target : float, in LUFS

    Returns
    -------
    y : np.ndarray [shape=(channels, n), float32]
    gain : float, in dB
    reduction : float, in dB
        Largest reduction by the limiter.
    """
    gain = 0.0
    limited, reduction = y, 0.0
    for _ in range(LOUDNESS_PASSES):
        missing = target - loudness(limited, sr)
        if abs(missing) < LOUDNESS_TOLERANCE_DB:
            break
        gain = float(np.clip(gain + missing, -MAX_GAIN_DB, MAX_GAIN_DB))
        limited, reduction = limit_peaks(y * np.float32(10.0 ** (gain / 20)), sr)
    if gain == 0.0:
        limited, reduction = limit_peaks(y, sr)
    return limited, gain, reduction


def limit_peaks(
    y: Array, sr: int, ceiling: float = 1.0, lookahead: float = 0.005
) -> tuple[Array, float]:
    """Turn peaks down smoothly so that no sample exceeds the ceiling.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    sr : int, in Hz
    ceiling : float > 0
        Largest absolute sample.
    lookahead : float > 0, in seconds
        The gain falls this long before a peak and recovers as long after it.

    Returns
    -------
    y : np.ndarray [shape=(channels, n)]
        The input itself where nothing exceeds the ceiling.
    reduction : float, in dB
        Largest reduction.
    """
    peak = np.abs(y).max(axis=0)
    if peak.max() <= ceiling:
        return y, 0.0
    needed = np.minimum(1.0, ceiling / np.maximum(peak, 1e-12))
    radius = max(1, int(lookahead * sr))
    # The minimum over 2r+1 samples, then a mean over r+1 of those, never exceeds what is needed.
    held = _sliding_minimum(needed, 2 * radius + 1)
    kernel = np.hanning(2 * radius + 3)[1:-1]
    gain = np.convolve(np.pad(held, radius, mode="edge"), kernel / kernel.sum(), mode="valid")
    limited = np.clip(y * gain, -ceiling, ceiling)  # rounding only
    return limited.astype(y.dtype), float(-20 * np.log10(gain.min()))


def _sliding_minimum(x: Array, size: int) -> Array:
    """Centred minimum over an odd number of samples, in linear time (van Herk 1992)."""
    radius = size // 2
    n = len(x)
    padded = np.full(-(-(n + 2 * radius) // size) * size, np.inf)
    padded[radius : radius + n] = x
    blocks = padded.reshape(-1, size)
    prefix = np.minimum.accumulate(blocks, axis=1).ravel()
    suffix = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.asarray(np.minimum(suffix[:n], prefix[2 * radius : 2 * radius + n]))
