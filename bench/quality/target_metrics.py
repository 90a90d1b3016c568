"""Distances to a known target, the best static equaliser towards it, and the 2f model.

References
----------
.. [1] O. Cífka, A. Ozerov, U. Şimşekli, G. Richard, "Self-supervised VQ-VAE for one-shot music
   style transfer", ICASSP 2021, arXiv:2102.05749: the log-spectral distance.
.. [2] T. Kastner, J. Herre, "An efficient model for estimating subjective quality of separated
   audio source signals", WASPAA 2019: the 2f model.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from audiostyle.evaluation import content_metrics, style_metrics
from bench.quality.runs import Array

TOP_DB = 80.0  # floor below each clip's own maximum, as in [1]_
FRAME_FLOOR_DB = -60.0  # relative to the target's maximum
EQ_GAINS_DB = np.arange(-40.0, 40.5, 0.5)
N_FFT = 2048
PEAQ_RATE = 48_000
PEAQ_FULL_SCALE = 32_768.0


class TargetEvaluator:
    """Measures outputs of one pair against their target."""

    def __init__(self, target: Array, sr: int) -> None:
        self._sr = sr
        self._target = mel_power(target, sr)
        self._notes = _notes(target, sr)

    def evaluate(self, output: Array) -> dict[str, float]:
        """Measure one output, as long as the target and at any level.

        Returns ``lsd``, ``lsd_frames`` (dB) and ``notes``: the F-measure of its notes and the
        target's, over frames.
        """
        power = mel_power(output, self._sr)
        return {
            "lsd": lsd(power, self._target),
            "lsd_frames": lsd_frames(power, self._target),
            "notes": content_metrics.note_f_measure(self._notes, _notes(output, self._sr)),
        }


def _notes(y: Array, sr: int) -> Array:
    return content_metrics.note_frames(content_metrics.constant_q(style_metrics.prepare(y, sr)))


def mel_power(y: Array, sr: float) -> Array:
    """Compute the mel spectrogram [shape=(128, t), power] of [1]_, of a clip at a fixed RMS."""
    import librosa

    y = style_metrics.to_timbre_rate(style_metrics.prepare(y, sr))
    y = y * (style_metrics.RMS_LEVEL / np.sqrt(np.mean(np.square(y, dtype=np.float64))))
    return np.asarray(librosa.feature.melspectrogram(y=y, sr=style_metrics.TIMBRE_RATE))


def lsd(power: Array, target: Array) -> float:
    """Compute the log-spectral distance of [1]_ in dB: RMS over time, mean over bands.

    Each mel spectrogram [shape=(bands, t)] is floored at `TOP_DB` below its own maximum.
    """
    import librosa

    a, b = (librosa.power_to_db(x, top_db=TOP_DB) for x in (power, target))
    return float(np.mean(np.sqrt(np.mean(np.square(a - b, dtype=np.float64), axis=1))))


def lsd_frames(power: Array, target: Array) -> float:
    """Compute a frame-wise log-spectral distance in dB: RMS over bands, mean over frames.

    Both mel spectrograms [shape=(bands, t)] are floored at `FRAME_FLOOR_DB` relative to the
    target's maximum, so that silences of different depth do not count.
    """
    floor = target.max() * 10.0 ** (FRAME_FLOOR_DB / 10)
    a, b = (10 * np.log10(np.maximum(x, floor)) for x in (power, target))
    return float(np.mean(np.sqrt(np.mean(np.square(a - b, dtype=np.float64), axis=0))))


def best_static_eq(content: Array, target: Array, sr: int) -> Array:
    """Equalise the content [shape=(n,)] with the constant gains that bring it closest to a target.

    The gain of each mel band minimises the squared difference in dB over time, of levels floored as
    in `lsd_frames`, and is one of `EQ_GAINS_DB`.
    """
    import librosa

    levels, bounds = [mel_power(y, sr) for y in (content, target)], EQ_GAINS_DB
    floor = levels[1].max() * 10.0 ** (FRAME_FLOOR_DB / 10)
    own, wanted = (10 * np.log10(np.maximum(power, 1e-6 * floor)) for power in levels)
    floor_db = 10 * np.log10(floor)
    wanted = np.maximum(wanted, floor_db)
    errors = [np.sum((np.maximum(own + g, floor_db) - wanted) ** 2, axis=1) for g in bounds]
    gains = bounds[np.argmin(errors, axis=0)]
    centres = librosa.mel_frequencies(len(gains) + 2, fmin=0, fmax=style_metrics.TIMBRE_RATE / 2)
    D = librosa.stft(content, n_fft=N_FFT)
    curve = np.interp(librosa.fft_frequencies(sr=sr, n_fft=N_FFT), centres[1:-1], gains)
    return np.asarray(librosa.istft(D * 10 ** (curve[:, None] / 20), length=content.size))


def has_2f() -> bool:
    """Return whether the package of the 2f model is installed."""
    return importlib.util.find_spec("seabass") is not None


def quality_2f(y: Array, target: Array, sr: int) -> dict[str, float]:
    """Estimate the MUSHRA score, 0 to 100, of a clip [shape=(n,)] against its target, by [2]_.

    The clip is brought to the level of the target. Returns ``2f``, with both clips at the level
    that the model assumes, and ``2f_loud``, with both `PEAQ_FULL_SCALE` times louder: so loud that
    nothing is below the threshold of hearing.
    """
    import soxr
    from seabass.core.models.mms import estimated_mean_mushra_score

    y = y * np.sqrt(np.mean(np.square(target)) / max(float(np.mean(np.square(y))), 1e-12))
    clips = [soxr.resample(clip.astype(np.float64), sr, PEAQ_RATE)[None] for clip in (y, target)]
    scores = {}
    for name, scale in (("2f", PEAQ_FULL_SCALE), ("2f_loud", PEAQ_FULL_SCALE**2)):
        tested, reference = (scale * clip for clip in clips)
        # "int16" means that the samples are not to be scaled any more.
        score = estimated_mean_mushra_score(tested, reference, clip=False, signal_dtype="int16")
        scores[name] = float(np.clip(score, 0.0, 100.0))
    return scores
