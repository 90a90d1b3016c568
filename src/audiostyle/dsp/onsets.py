"""Onsets of a mel spectrogram, as librosa detects them by default, without its import."""

from __future__ import annotations

import numpy as np

from audiostyle.arrays import Array

DELAY = 2  # frames from a rise to its peak in librosa's envelope, for windows of four hops
MEAN_BEFORE, MEAN_AFTER = 4, 5  # frames that a peak is compared with
THRESHOLD = 0.07  # of a peak above their mean, relative to the range of the envelope
WAIT = 1  # frames after a peak in which there is no other


def detect_onsets(S: Array) -> Array:
    """Return the frames where onsets begin.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]

    Returns
    -------
    np.ndarray [shape=(n_onsets,), int]
        The minimum of the onset strength before each of its peaks. Frames may be repeated.
    """
    envelope = onset_strength(S)
    envelope -= envelope.min()
    if not envelope.any():
        return np.zeros(0, int)
    envelope /= envelope.max() + np.finfo(np.float32).tiny
    middle = envelope[1:-1]
    minima = 1 + np.flatnonzero((middle <= envelope[:-2]) & (middle < envelope[2:]))
    minima = np.r_[0, minima]
    return np.asarray(minima[np.searchsorted(minima, _pick_peaks(envelope), side="right") - 1])


def onset_strength(S: Array) -> Array:
    """Mean over the bands of how much each of them rises [shape=(t,), dB]."""
    rise = np.maximum(0.0, S[:, 1:] - S[:, :-1]).mean(axis=0)
    return np.asarray(np.pad(rise, (1 + DELAY, 0))[: S.shape[1]], np.float32)


def _pick_peaks(envelope: Array) -> Array:
    peaks: list[int] = []
    for n in np.flatnonzero(envelope >= np.r_[envelope[0], envelope[:-1]]).tolist():
        if not peaks or n - peaks[-1] > WAIT:
            around = envelope[max(0, n - MEAN_BEFORE) : n + MEAN_AFTER]
            if envelope[n] >= around.mean() + THRESHOLD:
                peaks.append(n)
    return np.array(peaks, int)
