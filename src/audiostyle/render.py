"""From a stylised spectrogram back to sound, without giving up what the content has.

The spectrogram is mono, 22,050 Hz and 256 bands; the content is what it is. So nothing is
synthesised from the spectrogram alone. It says how loud each band shall be in each frame; what is
played stays the content's: its partials, its phase, its channels, its rate and its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle import levels, loudness, mosaic, spectral
from audiostyle.config import TransferConfig

Array = npt.NDArray[Any]

TOP_GAIN_LIMITS_DB = (-30.0, 12.0)  # of what lies above the analysed range
TOP_GAIN_FRAMES = 9  # over which that gain is smoothed


@dataclass
class Clip:
    """A clip as the analysis sees it.

    Attributes
    ----------
    y : np.ndarray [shape=(channels, n)]
        At ``config.sr``, brought to `audiostyle.levels.ANALYSIS_LEVEL_DB`.
    gain : float
        What it was multiplied by.
    D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
    mel : np.ndarray [shape=(n_mels, t), non-negative]
        Mel power.
    S : np.ndarray [shape=(n_mels, t), dB]
    """

    y: Array
    gain: float
    D: Array
    mel: Array
    S: Array


@dataclass
class StyleSound:
    """What a start needs of the style, whatever its length.

    Attributes
    ----------
    mel_mean : np.ndarray [shape=(n_mels,), non-negative]
        Mean mel power over time.
    frames : np.ndarray [shape=(n_fft // 2 + 1, k), non-negative]
        Power of some of its frames.
    y : np.ndarray [shape=(1, n)]
        The beginning of its first clip, levelled.
    """

    mel_mean: Array
    frames: Array
    y: Array


@dataclass
class Start:
    """Where the descent and the inversion start.

    Attributes
    ----------
    D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
        Its magnitude is the fine structure that the inversion keeps, its phase the first phase.
    S : np.ndarray [shape=(n_mels, t), dB]
    """

    D: Array
    S: Array


@dataclass
class Rendered:
    """A result, and what was done to it.

    Attributes
    ----------
    y : np.ndarray [shape=(channels, n)]
        At the content's own rate.
    convergence : float, in dB
        `audiostyle.spectral.spectral_convergence` of the inversion; lower is better.
    gain : float, in dB
        Applied to match the content's loudness.
    reduction : float, in dB
        Largest reduction by the limiter; 0 where no peak was too high.
    """

    y: Array
    convergence: float
    gain: float
    reduction: float


def resample(y: Array, orig_sr: int, target_sr: int) -> Array:
    """Resample with soxr's high quality.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    orig_sr, target_sr : int, in Hz

    Returns
    -------
    np.ndarray [shape=(channels, ceil(n * target_sr / orig_sr)), float32]
    """
    if orig_sr == target_sr:
        return np.asarray(y, np.float32)
    import librosa

    resampled = librosa.resample(
        np.asarray(y, np.float32), orig_sr=orig_sr, target_sr=target_sr, res_type="soxr_hq"
    )
    return np.asarray(resampled)


def _fit_length(y: Array, length: int) -> Array:
    missing = length - y.shape[-1]
    return np.pad(y, ((0, 0), (0, missing))) if missing > 0 else y[:, :length]


def analyse(y: Array, sr: int, config: TransferConfig) -> Clip:
    """Bring a clip to the rate and level of the analysis, and take its spectrogram.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    sr : int, in Hz

    Returns
    -------
    Clip
    """
    at_rate = resample(y, sr, config.sr)
    level = levels.active_level(at_rate, config.sr)
    gain = 10.0 ** ((levels.ANALYSIS_LEVEL_DB - level) / 20)
    at_rate = at_rate * np.float32(gain)
    D = spectral.stft(at_rate, config)
    mel = spectral.mel_power(spectral.channel_power(D), config)
    return Clip(at_rate, gain, D, mel, spectral.power_to_db(mel, config))


def make_start(content: Clip, style: StyleSound, config: TransferConfig) -> Start:
    """Make the starting point that ``config.init`` names, ``config.strength`` of the way to it.

    Parameters
    ----------
    content : Clip
    style : StyleSound

    Returns
    -------
    Start
    """
    s = config.strength
    if config.init in ("envelope", "mosaic"):
        return _envelope_start(content, style, config)
    if config.init == "style":
        n = content.y.shape[-1]
        tiled = np.tile(style.y, -(-n // style.y.shape[-1]))[:, :n]
        D = (1 - s) * content.D + s * spectral.stft(tiled, config)
        mel = spectral.mel_power(spectral.channel_power(D), config)
        return Start(D, spectral.power_to_db(mel, config))
    if config.init == "noise":
        rng = np.random.default_rng(config.seed)
        noise = rng.uniform(-config.top_db, 0.0, content.S.shape)
        S = (1 - s) * content.S + s * noise
        return Start(content.D, np.asarray(S, np.float32))
    return Start(content.D, content.S)


def _envelope_start(content: Clip, style: StyleSound, config: TransferConfig) -> Start:
    """Give the content the style's spectral envelope, and for ``init="mosaic"`` a part of mosaic.

    The mosaic enters the spectrogram only: the fine structure stays that of the content.
    """
    gain = config.strength * spectral.envelope_gain(
        content.mel.mean(axis=1), style.mel_mean, config
    )
    linear = 10.0 ** (spectral.mel_to_bins(gain, config) / 20)
    D = content.D * linear[:, None].astype(np.float32)
    mel = spectral.mel_power(spectral.channel_power(D), config)
    S = spectral.power_to_db(mel, config)
    share = config.strength * config.mosaic_share
    if config.init == "mosaic" and share > 0:
        tiles = spectral.power_to_db(mosaic.mosaic(mel, style.frames, config), config)
        S = np.asarray((1 - share) * S + share * tiles, np.float32)
    return Start(D, S)


def render(
    content: Array, sr: int, clip: Clip, start: Start, S: Array, config: TransferConfig
) -> Rendered:
    """Turn a stylised spectrogram into sound.

    Parameters
    ----------
    content : np.ndarray [shape=(channels, n)]
        As it was given, at `sr`.
    sr : int, in Hz
    clip : Clip
        The content as it was analysed.
    start : Start
    S : np.ndarray [shape=(n_mels, t), dB]

    Returns
    -------
    Rendered
    """
    power = spectral.channel_power(start.D)
    n_work = clip.y.shape[-1]
    if config.inversion == "content":
        fitted = spectral.fit_power(S, power, config)
        magnitude = np.abs(start.D) * np.sqrt(fitted / np.maximum(power, 1e-20))
        phase = spectral.unit_phase(start.D)
    else:
        flat = np.ones_like(power)
        fitted = spectral.fit_power(S, flat * spectral.db_to_power(S).mean(), config, n_iter=200)
        magnitude = np.repeat(np.sqrt(fitted)[None], len(content), axis=0)
        rng = np.random.default_rng(config.seed)
        angle = rng.uniform(-np.pi, np.pi, power.shape).astype(np.float32)
        phase = np.repeat(np.exp(1j * angle)[None], len(content), axis=0)
    styled = spectral.griffin_lim(
        magnitude, phase, config, n_work, n_iter=config.inversion_iterations
    )
    convergence = spectral.spectral_convergence(styled, magnitude, config)
    y = _restore(content, sr, clip, styled, fitted, config)
    y, gain, reduction = loudness.match_loudness(y, sr, loudness.loudness(content, sr))
    return Rendered(np.asarray(y, np.float32), convergence, gain, reduction)


def _restore(
    content: Array, sr: int, clip: Clip, styled: Array, fitted: Array, config: TransferConfig
) -> Array:
    """Put the stylised range back into the content, at the content's own rate.

    What changed is resampled and added, so that where nothing changed the content comes back
    sample for sample. What the content has above the analysed range follows the gain of the octave
    below it; plain Griffin-Lim, which starts from nothing, has no such range to keep.
    """
    n = content.shape[-1]
    if config.inversion == "griffinlim":
        return _fit_length(resample(styled / np.float32(clip.gain), config.sr, sr), n)
    change = (styled - clip.y) / np.float32(clip.gain)
    y = content + _fit_length(resample(change, config.sr, sr), n)
    if sr > config.sr:
        low = _fit_length(resample(clip.y / np.float32(clip.gain), config.sr, sr), n)
        y = y + (_top_gain(clip, fitted, sr, n, config) - 1) * (content - low)
    return np.asarray(y)


def _top_gain(clip: Clip, fitted: Array, sr: int, n: int, config: TransferConfig) -> Array:
    """Gain of what lies above the analysed range: that of its top octave, frame by frame."""
    low, high = len(fitted) // 2, int(0.95 * len(fitted))
    before = spectral.channel_power(clip.D)[low:high].sum(axis=0)
    after = fitted[low:high].sum(axis=0)
    tiny = 1e-10 * (before.max() + after.max()) + 1e-20
    gain = 10 * np.log10((after + tiny) / (before + tiny))
    kernel = np.ones(TOP_GAIN_FRAMES) / TOP_GAIN_FRAMES
    gain = np.convolve(np.pad(gain, TOP_GAIN_FRAMES // 2, mode="edge"), kernel, mode="valid")
    gain = np.clip(gain, *TOP_GAIN_LIMITS_DB)
    frame_times = np.arange(len(gain)) * config.hop_length / config.sr
    linear = np.interp(np.arange(n) / sr, frame_times, 10.0 ** (gain / 20))
    return np.asarray(linear, np.float32)
