"""Baselines: simple outputs that a style transfer has to beat, as in [1]_.

References
----------
.. [1] O. Cífka, A. Ozerov, U. Şimşekli, G. Richard, "Self-supervised VQ-VAE for one-shot music
   style transfer", ICASSP 2021, arXiv:2102.05749: the content or the style as the output mark the
   ends of the scale.
"""

from __future__ import annotations

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import to_mono
from audiostyle.utils.lazy_imports import load_librosa

# IEC 61260-1, base two: 25 Hz to 20 kHz.
THIRD_OCTAVE_CENTRES_HZ = 1000.0 * 2.0 ** (np.arange(-16, 14) / 3.0)
EQ_LIMIT_DB = 30.0  # more would only raise noise
N_FFT = 2048


def make_baselines(content: Array, style: Array, sr: float) -> dict[str, Array]:
    """Make the baselines of a pair: mono outputs at the content's length and RMS level.

    Of clips [shape=(n,) or (channels, n)]: ``"identity"``, the content; ``"style_copy"``, the
    style, repeated or cut; ``"mix"``, half of each; ``"eq_match"``, the content with the style's
    long-term third-octave spectrum. Outputs have the shape (n,) and are float32.
    """
    source = to_mono(content)
    level = _rms(source)
    copy = np.resize(to_mono(style), source.shape)
    copy = copy * (level / _rms(copy))
    outputs = {
        "identity": source,
        "style_copy": copy,
        "mix": source + copy,
        "eq_match": match_third_octaves(source, copy, sr),
    }
    return {name: np.asarray(y * (level / _rms(y)), np.float32) for name, y in outputs.items()}


def match_third_octaves(content: Array, style: Array, sr: float) -> Array:
    """Equalise the content [shape=(n,)] to the style's long-term third-octave spectrum.

    The result [shape=(n,)] has one gain per frequency, at most `EQ_LIMIT_DB` up or down.
    """
    librosa = load_librosa()
    spectrum = librosa.stft(content, n_fft=N_FFT)
    frequencies = np.maximum(librosa.fft_frequencies(sr=sr, n_fft=N_FFT), 1.0)
    centres = THIRD_OCTAVE_CENTRES_HZ[sr / 2 > THIRD_OCTAVE_CENTRES_HZ]
    octaves = np.abs(np.log2(frequencies[None, :] / centres[:, None]))
    # Low bands are narrower than a bin: such a band takes the nearest bin.
    member = (octaves <= 1.0 / 6.0) | (octaves == octaves.min(axis=1, keepdims=True))

    def levels_db(transform: Array) -> Array:
        power = member @ np.mean(np.abs(transform) ** 2, axis=1) / member.sum(axis=1)
        return np.asarray(10.0 * np.log10(power + 1e-9 * power.max() + 1e-20))

    gains = levels_db(librosa.stft(style, n_fft=N_FFT)) - levels_db(spectrum)
    gains = np.clip(gains, -EQ_LIMIT_DB, EQ_LIMIT_DB)
    curve = np.interp(np.log2(frequencies), np.log2(centres), gains)
    equalized = spectrum * 10.0 ** (curve[:, None] / 20.0)
    return np.asarray(librosa.istft(equalized, n_fft=N_FFT, length=content.size))


def _rms(y: Array) -> float:
    return max(float(np.sqrt(np.mean(np.square(y, dtype=np.float64)))), 1e-12)
