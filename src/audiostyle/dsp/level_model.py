"""Levels that a style would have at the notes and onsets of a content.

Two models are learned on the style alone and applied to the content. One predicts the level of a
band from the notes (`notes.note_features`), by ridge regression; the other is the mean level in
classes of time since the last onset, for valleys, middles and peaks of the spectrum. Both are sums
over frames, so a style of any length, or several styles, have one model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp.notes import NoteRoll, note_features
from audiostyle.dsp.onsets import detect_onsets
from audiostyle.dsp.spectrogram import REFERENCE_POWER, db_to_power

ONSET_CLASSES = (0.0, 0.035, 0.07, 0.128, 0.22, 0.37, 0.6, 0.93, 1.4, 2.1)  # centres, in s
ONSET_WIDTH = 0.45  # deviation, in octaves of 1 + time / ONSET_UNIT
ONSET_UNIT = 0.0232  # s
PROMINENCE_CLASSES, PROMINENCE_WIDTH = (-8.0, 0.0, 8.0), 5.0  # dB above the smoothed spectrum
PROMINENCE_BANDS = 10 / 256  # deviation of the Gaussian that smooths it, of the mel bands
SMOOTH_BANDS = 10 / 256  # deviation of the Gaussian that smooths the models over bands
RIDGE = 20.0  # frames' worth of the slopes over all bands, in those of a band
POOLED_RIDGE = 3.0  # frames' worth of features without effect, in the slopes over all bands
PRIOR = 3.0  # frames' worth of the mean over time, in classes with few frames
GAIN_LIMIT_DB = 45.0
ENVELOPE_BANDS, ENVELOPE_LIMIT_DB = 4 / 256, 30.0  # of the gain that needs no notes
NOTE_SHARE = 0.7  # of the levels predicted from notes, where these explain both clips
SCALE_FLOOR = 0.3  # of the deviation of a feature
EXPLAINED = (0.25, 0.55)  # shares of the variance from which they count, and count fully
CONTRAST, CONTRAST_BANDS = 0.1, 2 / 256  # share that is added, of what rises above a Gaussian
CONTRAST_FRAMES = 0.75  # deviation of the Gaussian over time
DOUBT = 0.3  # of the variance that notes leave unexplained counts against a change


@dataclass
class LevelStatistics:
    """Sums over the frames of a style, from which its levels are predicted.

    Attributes
    ----------
    features : np.ndarray [shape=(n_mels, k, k)]
        Products of the note features.
    levels : np.ndarray [shape=(n_mels, k), dB]
        Products of note features and levels.
    squares : np.ndarray [shape=(n_mels,), dB^2]
    power : np.ndarray [shape=(n_mels,), non-negative]
        Mel power.
    class_weights, class_levels : np.ndarray [shape=(prominences, onsets, n_mels)]
        Weights of the classes, and weighted levels.
    quiet : np.ndarray [shape=(2,), non-negative]
        Mel power of bands below the floor of the analysis, and their number.
    """

    features: Array
    levels: Array
    squares: Array
    power: Array
    class_weights: Array
    class_levels: Array
    quiet: Array

    def __add__(self, other: LevelStatistics) -> LevelStatistics:
        """Add the sums of other frames."""
        names = [field.name for field in fields(self)]
        return LevelStatistics(*(getattr(self, name) + getattr(other, name) for name in names))

    def __rmul__(self, factor: float) -> LevelStatistics:
        """Return the sums over `factor` times as many frames."""
        names = [field.name for field in fields(self)]
        return LevelStatistics(*(factor * getattr(self, name) for name in names))

    @property
    def n_frames(self) -> float:
        """Number of frames."""
        return float(self.features[0, 0, 0])


def blend_levels(styles: Sequence[LevelStatistics], weights: Sequence[float]) -> LevelStatistics:
    """Return sums over as many frames as those of all styles, in proportion to the weights."""
    n = sum(style.n_frames for style in styles) / sum(weights)
    first, *others = (
        weight * n / style.n_frames * style for weight, style in zip(weights, styles, strict=True)
    )
    return sum(others, first)


@dataclass(frozen=True)
class LevelAnalysis:
    """What the models need of a clip."""

    S: Array  # [shape=(n_mels, t), dB]
    features: Array  # [shape=(k, n_mels, t)], from `notes.note_features`
    by_onset: Array  # [shape=(onsets, t)], weights of the classes
    by_prominence: Array  # [shape=(prominences, n_mels, t)]


def analyze_levels(S: Array, roll: NoteRoll, config: TransferConfig) -> LevelAnalysis:
    """Describe every band and frame of a clip for the models."""
    return LevelAnalysis(
        S,
        note_features(roll, config),
        onset_weights(S, config.hop_length / config.sr),
        prominence_weights(S),
    )


def measure_levels(clip: LevelAnalysis, quiet: Array | None = None) -> LevelStatistics:
    """Sum a clip for the models; `quiet` is that of `quiet_power`."""
    S = clip.S.astype(np.float32)
    X = np.ascontiguousarray(clip.features.transpose(1, 2, 0))  # (n_mels, t, k)
    weights = clip.by_prominence
    on = clip.by_onset.T
    return LevelStatistics(
        np.asarray(X.transpose(0, 2, 1) @ X, np.float64),
        np.asarray((X.transpose(0, 2, 1) @ S[:, :, None])[..., 0], np.float64),
        np.sum(np.square(S, dtype=np.float64), axis=1),
        db_to_power(S).sum(axis=1, dtype=np.float64),
        np.asarray((weights @ on).transpose(0, 2, 1), np.float64),
        np.asarray(((weights * S) @ on).transpose(0, 2, 1), np.float64),
        np.zeros(2) if quiet is None else quiet,
    )


def quiet_power(mel: Array, top_db: float) -> Array:
    """Power of the bands below the floor of the analysis, and their number [shape=(2,)].

    Parameters
    ----------
    mel : np.ndarray [shape=(n_mels, t), non-negative]
    top_db : float > 0, in dB
    """
    below = mel[mel < REFERENCE_POWER * 10.0 ** (-top_db / 10)]
    return np.array([below.sum(dtype=np.float64), below.size])


def quiet_level(quiet: Array, top_db: float) -> float:
    """Mean level of the bands of `quiet_power`, in dB; the floor if there are none."""
    power, n = quiet
    floor = REFERENCE_POWER * 10.0 ** (-top_db / 10)
    mean = np.clip(power / n, REFERENCE_POWER * 1e-16, floor) if n > 0 else floor
    return float(10 * np.log10(mean / REFERENCE_POWER))


def predict_levels(clip: LevelAnalysis, style: LevelStatistics) -> tuple[Array, float]:
    """Predict the levels that a style would have at the notes and onsets of a content.

    Returns
    -------
    S : np.ndarray [shape=(n_mels, t), dB]
    confidence : float in [0, 1]
        How far notes explain the levels of both clips.
    """
    own = measure_levels(clip)
    coefficients, explained, error = fit_notes(style)
    low, high = EXPLAINED
    trust = np.clip((np.array([explained, fit_notes(own)[1]]) - low) / (high - low), 0.0, 1.0)
    confidence = float(trust.prod())
    S = clip.S + envelope_gain(own, style)[:, None]
    if confidence > 0:
        X = clip.features.transpose(1, 2, 0)
        by_note = (X @ coefficients[:, :, None].astype(np.float32))[..., 0]
        by_class = clip.S + conditional_gain(clip, own, style)
        informed = NOTE_SHARE * by_note + (1 - NOTE_SHARE) * by_class
        change = shrink_change(clip.S, restore_contrast(informed), error)
        S = (1 - confidence) * S + confidence * change
    return np.asarray(S, np.float32), confidence


def fit_notes(statistics: LevelStatistics) -> tuple[Array, float, Array]:
    """Regress levels on note features, band by band, with slopes near those over all bands.

    Returns
    -------
    coefficients : np.ndarray [shape=(n_mels, k)]
    explained : float in [0, 1]
        Share of the variance over time that they explain.
    error : np.ndarray [shape=(n_mels,), dB^2]
        Mean squared error of each band.
    """
    n = statistics.n_frames
    A, b = (_smooth(x, SMOOTH_BANDS) for x in (statistics.features, statistics.levels))
    mean, target = A[:, 0] / n, b[:, 0] / n
    # Centred, and each feature at unit variance, so that the ridge means the same for all.
    C = A[:, 1:, 1:] - n * mean[:, 1:, None] * mean[:, None, 1:]
    c = b[:, 1:] - n * mean[:, 1:] * target[:, None]
    scale = np.sqrt(np.mean(np.einsum("bkk->bk", C), axis=0) / n + SCALE_FLOOR**2)
    C, c = C / (scale[:, None] * scale), c / scale
    eye = np.eye(len(scale))
    # Bands where the style never plays a partial, or only some, follow the other bands.
    pooled = np.linalg.solve(C.mean(axis=0) + POOLED_RIDGE * eye, c.mean(axis=0))
    slopes = np.linalg.solve(C + RIDGE * eye, (c + RIDGE * pooled)[..., None])[..., 0] / scale
    # The level of a band is its own; the slopes are shared with its neighbours.
    centre = statistics.features[:, 0] / n
    bias = statistics.levels[:, 0] / n - np.sum(slopes * centre[:, 1:], axis=1)
    coefficients = np.concatenate([bias[:, None], slopes], axis=1)
    variance = statistics.squares.sum() - np.sum(statistics.levels[:, 0] ** 2) / n
    error = (
        statistics.squares
        - 2 * np.sum(coefficients * statistics.levels, axis=1)
        + np.einsum("bk,bkl,bl->b", coefficients, statistics.features, coefficients)
    )
    explained = float(np.clip(1 - error.sum() / max(variance, 1e-9), 0.0, 1.0))
    return coefficients, explained, np.maximum(error, 0.0) / n


def envelope_gain(own: LevelStatistics, style: LevelStatistics) -> Array:
    """Gain [shape=(n_mels,), dB] from the long-term spectral envelope to that of the style."""
    means = [np.maximum(one.power / one.n_frames, 1e-6) for one in (own, style)]
    gain = _smooth(10 * np.log10(means[1] / means[0]), ENVELOPE_BANDS)
    return np.asarray(np.clip(gain, -ENVELOPE_LIMIT_DB, ENVELOPE_LIMIT_DB))


def conditional_gain(clip: LevelAnalysis, own: LevelStatistics, style: LevelStatistics) -> Array:
    """Gain [shape=(n_mels, t), dB] from the mean levels of the classes to those of the style."""
    difference = _class_means(style) - _class_means(own)
    gain = np.zeros(clip.S.shape, np.float32)
    for weights, of_class in zip(clip.by_prominence, difference, strict=True):
        gain += weights * (of_class.T.astype(np.float32) @ clip.by_onset)
    return np.clip(gain, -GAIN_LIMIT_DB, GAIN_LIMIT_DB)


def restore_contrast(S: Array) -> Array:
    """Sharpen predicted levels over bands, and smooth them over time.

    A mean over what might play is flatter over bands than what plays, and the time of a note is
    known to a frame only.
    """
    S = S + CONTRAST * (S - _smooth(S, CONTRAST_BANDS))
    return _smooth(S, CONTRAST_FRAMES / S.shape[1], axis=1)


def shrink_change(S: Array, S_style: Array, error: Array) -> Array:
    """Shrink the change of each band that is hardly larger than the error of its model.

    The factor ``1 - DOUBT * error / mean(change^2)``, at least 0, is that of James & Stein (1961),
    smooth over bands: two clips of nearly the same timbre would otherwise differ by errors alone.

    Parameters
    ----------
    S, S_style : np.ndarray [shape=(n_mels, t), dB]
        The content, and the levels predicted for it.
    error : np.ndarray [shape=(n_mels,), dB^2]
    """
    change = S_style - S
    energy = _smooth(np.mean(np.square(change), axis=1), SMOOTH_BANDS)
    doubt = DOUBT * _smooth(error, SMOOTH_BANDS) / np.maximum(energy, 1e-9)
    return np.asarray(S + np.maximum(1 - doubt, 0.0)[:, None] * change)


def onset_weights(S: Array, frame_seconds: float) -> Array:
    """Soft membership of frames in the classes of time since the last onset [shape=(onsets, t)]."""
    frames = np.arange(S.shape[1])
    onsets = np.r_[-(10**6), detect_onsets(S)]
    since = frames - onsets[np.searchsorted(onsets, frames, side="right") - 1]
    position = np.log2(1 + np.minimum(since * frame_seconds, 3.0) / ONSET_UNIT)
    centres = np.log2(1 + np.array(ONSET_CLASSES) / ONSET_UNIT)
    weights = np.exp(-0.5 * ((position[None] - centres[:, None]) / ONSET_WIDTH) ** 2)
    return np.asarray(weights / weights.sum(axis=0), np.float32)


def prominence_weights(S: Array) -> Array:
    """Soft membership of bins in valley, middle and peak [shape=(prominences, n_mels, t)]."""
    above = S - _smooth(S, PROMINENCE_BANDS)
    centres = np.array(PROMINENCE_CLASSES, np.float32)[:, None, None]
    weights = np.exp(-0.5 * ((above[None] - centres) / PROMINENCE_WIDTH) ** 2)
    return np.asarray(weights / weights.sum(axis=0), np.float32)


def _class_means(statistics: LevelStatistics) -> Array:
    """Mean level of each class [shape=(prominences, onsets, n_mels), dB], smooth over bands."""
    weights, levels = (
        _smooth(x, SMOOTH_BANDS, axis=2)
        for x in (statistics.class_weights, statistics.class_levels)
    )
    always = levels.sum(axis=1, keepdims=True) / (weights.sum(axis=1, keepdims=True) + 1e-3)
    return np.asarray((levels + PRIOR * always) / (weights + PRIOR))


def _smooth(x: Array, deviation: float, axis: int = 0) -> Array:
    """Smooth over the mel bands by a Gaussian, whose deviation is a share of their number."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(x, deviation * x.shape[axis], axis=axis, mode="nearest"))
