"""The trivial outputs that any style transfer has to beat, as [1]_ measured them.

References
----------
.. [1] O. Cífka, A. Ozerov, U. Şimşekli, G. Richard, "Self-supervised VQ-VAE for one-shot music
   style transfer", ICASSP 2021, arXiv:2102.05749: returning the content, or the style, sets the
   ends of the scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# IEC 61260-1, base two: 25 Hz to 20 kHz.
THIRD_OCTAVE_CENTRES_HZ = 1000.0 * 2.0 ** (np.arange(-16, 14) / 3.0)
EQ_LIMIT_DB = 30.0  # more would only raise noise
N_FFT = 2048


def make_baselines(content: Array, style: Array, sr: float) -> dict[str, Array]:
    """Make the trivial outputs of a pair.

    Parameters
    ----------
    content, style : np.ndarray [shape=(n,) or (channels, n)]
        Any lengths; channels are averaged.
    sr : float > 0
        Sampling rate in Hz.

    Returns
    -------
    outputs : dict of str to np.ndarray [shape=(n,), dtype=float32]
        ``"identity"``, the content; ``"style_copy"``, the style repeated or cut to the content's
        length; ``"mix"``, half of each at equal level; ``"eq_match"``, the content with the
        style's long-term third-octave spectrum. All have the content's RMS level.
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
    """Give a clip the long-term spectrum of another, third octave by third octave.

    Parameters
    ----------
    content, style : np.ndarray [shape=(n,)]
    sr : float > 0
        Sampling rate in Hz.

    Returns
    -------
    y : np.ndarray [shape=(n,)]
        The content with one gain a frequency, at most `EQ_LIMIT_DB` either way.
    """
    import librosa

    spectrum = librosa.stft(content, n_fft=N_FFT)
    frequencies = np.maximum(librosa.fft_frequencies(sr=sr, n_fft=N_FFT), 1.0)
    centres = THIRD_OCTAVE_CENTRES_HZ[sr / 2 > THIRD_OCTAVE_CENTRES_HZ]
    octaves = np.abs(np.log2(frequencies[None, :] / centres[:, None]))
    # The low bands are narrower than a bin: such a band takes the bin nearest to it.
    member = (octaves <= 1.0 / 6.0) | (octaves == octaves.min(axis=1, keepdims=True))

    def levels_db(transform: Array) -> Array:
        power = member @ np.mean(np.abs(transform) ** 2, axis=1) / member.sum(axis=1)
        return np.asarray(10.0 * np.log10(power + 1e-9 * power.max() + 1e-20))

    gains = levels_db(librosa.stft(style, n_fft=N_FFT)) - levels_db(spectrum)
    gains = np.clip(gains, -EQ_LIMIT_DB, EQ_LIMIT_DB)
    curve = np.interp(np.log2(frequencies), np.log2(centres), gains)
    equalised = spectrum * 10.0 ** (curve[:, None] / 20.0)
    return np.asarray(librosa.istft(equalised, n_fft=N_FFT, length=content.size))


def to_mono(y: Array) -> Array:
    """Average the channels.

    Parameters
    ----------
    y : np.ndarray [shape=(n,) or (channels, n)]

    Returns
    -------
    y : np.ndarray [shape=(n,), dtype=float32]
    """
    y = np.asarray(y, np.float32)
    return y if y.ndim == 1 else np.asarray(y.mean(axis=0))


def _rms(y: Array) -> float:
    return max(float(np.sqrt(np.mean(np.square(y, dtype=np.float64)))), 1e-12)
