"""Style metrics: descriptions of how a clip sounds, and distances between them.

All functions take mono audio that `prepare` has brought to one rate and level, and return NumPy
arrays. `audiostyle.evaluation.scores` turns distances into scores. librosa is imported lazily.

References
----------
.. [1] J. McDermott, E. Simoncelli, "Sound texture perception via statistics of the auditory
   periphery", Neuron 71(5), 2011: envelope variation, correlations and modulation power.
.. [2] R. Bhatia, T. Jain, Y. Lim, "On the Bures-Wasserstein distance between positive definite
   matrices", Expositiones Mathematicae 37(2), 2019.
.. [3] B. Glasberg, B. Moore, "Derivation of auditory filter shapes from notched-noise data",
   Hearing Research 47, 1990: the ERB-rate scale.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import to_mono
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.utils.lazy_imports import load_librosa

SAMPLE_RATE = 22_050  # Hz, of every analysis but the MFCC and the network
TIMBRE_RATE = 16_000  # Hz, of the MFCC and the network
HOP_LENGTH = 512
ACTIVE_DB = -50.0  # frames more than this below the loudest one are silence
RMS_LEVEL = 0.1  # of every analysed clip, 20 dB below full scale

N_BANDS = 32
BAND_LIMITS_HZ = (80.0, 8_000.0)
COMPRESSION = 0.3  # of amplitude, the cochlea's [1]_
BAND_FLOOR = 1e-7  # of the mean power: an empty band is silence, not amplified rounding error
MODULATION_EDGES_HZ = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
TEXTURE_FFT, TEXTURE_HOP = 1024, 128
DRIFT_S = 0.5
# Median distance between recordings of different kinds: with it, each group weighs the same.
TEXTURE_SCALES = {"variation": 0.61, "modulation": 0.23, "correlation": 0.55}


def prepare(y: Array, sr: float, name: str = "audio") -> Array:
    """Average the channels [shape=(n,) or (channels, n)], remove DC, resample, set the level.

    Returns mono audio [shape=(m,), float32] at `SAMPLE_RATE` of root mean square `RMS_LEVEL`. An
    `AudioFileError` names the clip if it is silent, shorter than half a second or not finite.
    """
    librosa = load_librosa()
    y = np.asarray(y, np.float32)
    if not sr > 0:
        raise ConfigError(f"sr is {sr}, must be positive; pass the sampling rate in Hz")
    if y.ndim not in (1, 2):
        raise AudioFileError(
            f"{name} has {y.ndim} dimensions, must have 1 or 2; pass (channels, n)"
        )
    mono = to_mono(y)
    if mono.size < 0.5 * sr:
        raise AudioFileError(f"{name} lasts {mono.size / sr:.2f} s, at least 0.5 s are needed")
    if not np.isfinite(mono).all():
        raise AudioFileError(f"{name} has NaN or infinite samples; remove them first")
    mono = librosa.resample(mono - mono.mean(), orig_sr=sr, target_sr=SAMPLE_RATE)
    rms = float(np.sqrt(np.mean(np.square(mono, dtype=np.float64))))
    if rms < 1e-6:
        raise AudioFileError(
            f"{name} is silent (RMS {rms:.1e}, must be at least 1e-6); check the file"
        )
    return np.asarray(mono * (RMS_LEVEL / rms), np.float32)


def to_timbre_rate(y: Array) -> Array:
    """Resample prepared audio [shape=(n,)] to `TIMBRE_RATE`."""
    librosa = load_librosa()
    return np.asarray(librosa.resample(y, orig_sr=SAMPLE_RATE, target_sr=TIMBRE_RATE))


def log_envelope(y: Array) -> Array:
    """Compute the level of each frame [shape=(t,), dB], 0 for the loudest, at least `ACTIVE_DB`."""
    librosa = load_librosa()
    rms = librosa.feature.rms(y=y, frame_length=4 * HOP_LENGTH, hop_length=HOP_LENGTH)[0]
    return np.asarray(librosa.amplitude_to_db(rms, ref=np.max, top_db=-ACTIVE_DB))


def moving_average(x: Array, length: int) -> Array:
    """Average over a centred window along the last axis, with the ends held.

    A window of even length reaches one sample further back than forward.
    """
    ends = [(0, 0)] * (x.ndim - 1) + [(length // 2 + 1, (length - 1) // 2)]
    total = np.cumsum(np.pad(x.astype(np.float64), ends, mode="edge"), axis=-1)
    return np.asarray((total[..., length:] - total[..., :-length]) / length)


def mfcc_gaussian(y: Array) -> tuple[Array, Array]:
    """Fit a Gaussian to MFCC 2 to 13 of the frames that are not silent, at `TIMBRE_RATE`.

    Returns the mean [shape=(12,)] and the covariance [shape=(12, 12)].
    """
    librosa = load_librosa()
    frames = librosa.feature.mfcc(y=y, sr=TIMBRE_RATE, n_mfcc=13, n_fft=2048, hop_length=HOP_LENGTH)
    active = log_envelope(y) > ACTIVE_DB
    frames = np.asarray(frames[1:, active], np.float64)  # the first is the level
    return frames.mean(axis=1), np.cov(frames, bias=True)


def bures_distance(mean_a: Array, covariance_a: Array, mean_b: Array, covariance_b: Array) -> float:
    r"""Compute the 2-Wasserstein distance between two Gaussians [2]_, in the unit of the data.

    .. math:: W_2^2 = |m_a - m_b|^2 + \mathrm{tr}(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})

    Means have the shape (d,), covariances (d, d).
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariance_b @ root)
    overlap = float(np.sqrt(np.maximum(cross, 0.0)).sum())
    shift = float(np.sum(np.square(mean_a - mean_b)))
    spread = float(np.trace(covariance_a) + np.trace(covariance_b)) - 2.0 * overlap
    return float(np.sqrt(max(0.0, shift + spread)))


def cosine_distance(a: Array, b: Array) -> float:
    """Compute one minus the cosine of the angle between two vectors [shape=(d,)], in [0, 2]."""
    return float(1.0 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@lru_cache(maxsize=1)
def erb_filters() -> Array:
    """Make triangular filters that are equally spaced on the ERB-rate scale [3]_.

    They weight the power of each bin of an STFT [shape=(N_BANDS, 1 + TEXTURE_FFT // 2)].
    """
    low, high = (21.4 * np.log10(1.0 + 0.00437 * f) for f in BAND_LIMITS_HZ)
    edges = (10.0 ** (np.linspace(low, high, N_BANDS + 2) / 21.4) - 1.0) / 0.00437
    frequencies = np.fft.rfftfreq(TEXTURE_FFT, 1.0 / SAMPLE_RATE)
    # The lowest bands are narrower than a bin: widen them so that each holds some.
    width = np.maximum(np.diff(edges), SAMPLE_RATE / TEXTURE_FFT)[:, None]
    centres = edges[1:-1, None]
    rising = 1.0 - (centres - frequencies) / width[:-1]
    falling = 1.0 - (frequencies - centres) / width[1:]
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def texture_statistics(y: Array) -> dict[str, Array]:
    """Compute texture statistics that no gain, overall or per band, can change.

    They describe the compressed envelopes of `N_BANDS` bands [1]_ above about 1 Hz, smoothed over
    neighbouring bands: ``"variation"`` [shape=(N_BANDS,)], deviation over mean; ``"modulation"``
    [shape=(6 * N_BANDS,)], as from `modulation_shares`; ``"correlation"``
    [shape=(N_BANDS * (N_BANDS - 1) / 2,)], between the envelopes of two bands. The third and fourth
    moments of [1]_ are left out: they differ too much between two halves of a clip.
    """
    librosa = load_librosa()
    power = np.abs(librosa.stft(y, n_fft=TEXTURE_FFT, hop_length=TEXTURE_HOP)) ** 2
    bands = erb_filters() @ power.astype(np.float64)
    envelopes = (bands + BAND_FLOOR * bands.mean()) ** (COMPRESSION / 2.0)
    # Slower changes are form, not texture, and a short clip holds too few of them to average.
    fast = envelopes - moving_average(envelopes, round(DRIFT_S * SAMPLE_RATE / TEXTURE_HOP))
    fast -= fast.mean(axis=1, keepdims=True)
    mean = envelopes.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(fast**2, axis=1, keepdims=True)) + 1e-9 * mean
    standard = fast / deviation
    correlation = _smooth_bands(_smooth_bands(standard @ standard.T / standard.shape[1]).T)
    return {
        "variation": _smooth_bands(deviation / mean).ravel(),
        "modulation": _smooth_bands(modulation_shares(standard)).ravel(),
        "correlation": correlation[np.triu_indices(N_BANDS, k=1)],
    }


def _smooth_bands(values: Array) -> Array:
    """Average over neighbouring bands (axis 0): they overlap, and single ones are noisy."""
    return np.asarray(moving_average(moving_average(values.T, 3), 3).T)


def modulation_shares(envelopes: Array) -> Array:
    """Split the variance of zero-mean envelopes [shape=(bands, t)] by modulation frequency.

    Returns log10 of the share of the variance [shape=(bands, 6)] in each octave of
    `MODULATION_EDGES_HZ`, floored at -2.5. There is one frame per `TEXTURE_HOP` samples.
    """
    frames = envelopes.shape[1]
    spectrum = np.abs(np.fft.rfft(envelopes * np.hanning(frames), axis=1)) ** 2
    octaves = np.digitize(np.fft.rfftfreq(frames, TEXTURE_HOP / SAMPLE_RATE), MODULATION_EDGES_HZ)
    powers = np.stack([spectrum[:, octaves == i].sum(axis=1) for i in range(1, 7)], axis=1)
    total = powers.sum(axis=1, keepdims=True) + 1e-30
    return np.asarray(np.log10(powers / total + 10**-2.5))


def texture_distance(a: dict[str, Array], b: dict[str, Array]) -> float:
    """Compare texture statistics; about 1 between unrelated recordings.

    Root mean square, over the groups of statistics, of the Euclidean distance as a share of the
    clips' norm, in units of `TEXTURE_SCALES`.
    """
    squares = [
        np.sum((a[name] - b[name]) ** 2) / (0.5 * np.sum(a[name] ** 2 + b[name] ** 2)) / scale**2
        for name, scale in TEXTURE_SCALES.items()
    ]
    return float(np.sqrt(np.mean(squares)))
