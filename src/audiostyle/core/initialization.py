"""Where the descent starts, window by window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import mosaic, spectrogram

Array = npt.NDArray[Any]


@dataclass
class StyleSamples:
    """What a start needs of the style, whatever its length.

    Attributes
    ----------
    mel_mean : np.ndarray [shape=(n_mels,), non-negative]
        Mean mel power over time.
    frames : np.ndarray [shape=(n_fft // 2 + 1, k), non-negative]
        Power of some of its frames.
    y : np.ndarray [shape=(1, n)]
        The beginning of its first clip, levelled.
    dictionary : np.ndarray [shape=(n_mels, 12 * k)] or None
        `audiostyle.dsp.mosaic.make_dictionary` of the frames, kept once it was needed.
    """

    mel_mean: Array
    frames: Array
    y: Array
    dictionary: Array | None = field(default=None, repr=False, metadata={"derived": True})


@dataclass
class Initialization:
    """Where the descent and the inversion of a window start.

    Attributes
    ----------
    D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
        Its magnitude is the fine structure that the inversion keeps, its phase the first phase.
    S : np.ndarray [shape=(n_mels, t), dB]
    """

    D: Array
    S: Array


class Initializer:
    """Makes the starting points that ``config.init`` names, ``config.strength`` of the way to them.

    Parameters
    ----------
    sound : StyleSamples
    mel_mean : np.ndarray [shape=(n_mels,), non-negative]
        Mean mel power of the whole content, so that its windows are equalised alike.
    n_work : int, in samples
        Length of the content at ``config.sr``.
    config : TransferConfig
    """

    def __init__(
        self, sound: StyleSamples, mel_mean: Array, n_work: int, config: TransferConfig
    ) -> None:
        self._sound = sound
        self._n_work = n_work
        self._config = config
        gain = config.strength * spectrogram.envelope_gain(mel_mean, sound.mel_mean, config)
        self._gain = 10.0 ** (spectrogram.mel_to_bins(gain, config) / 20)

    def make(self, D: Array, S: Array, first: int) -> Initialization:
        """Make the start of a window.

        Parameters
        ----------
        D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
        S : np.ndarray [shape=(n_mels, t), dB]
            The window of the content.
        first : int
            Its first frame in the content.

        Returns
        -------
        Start
        """
        config, s = self._config, self._config.strength
        if config.init in ("envelope", "mosaic"):
            return self._equalised(D)
        if config.init == "style":
            D = (1 - s) * D + s * self._style_stft(first, D.shape[2])
            return Initialization(D, self._to_db(spectrogram.channel_power(D)))
        if config.init == "noise":
            rng = np.random.default_rng([config.seed, first] if first else config.seed)
            noise = rng.uniform(-config.top_db, 0.0, S.shape)
            return Initialization(D, np.asarray((1 - s) * S + s * noise, np.float32))
        return Initialization(D, S)

    def _to_db(self, power: Array) -> Array:
        return spectrogram.power_to_db(spectrogram.mel_power(power, self._config), self._config)

    def _equalised(self, D: Array) -> Initialization:
        """Give the content the style's envelope, and for ``init="mosaic"`` a part of mosaic.

        The mosaic enters the spectrogram only: the fine structure stays that of the content.
        """
        config = self._config
        D = D * self._gain[:, None].astype(np.float32)
        mel = spectrogram.mel_power(spectrogram.channel_power(D), config)
        S = spectrogram.power_to_db(mel, config)
        share = config.strength * config.mosaic_share
        if config.init == "mosaic" and share > 0:
            sound = self._sound
            if sound.dictionary is None:
                sound.dictionary = mosaic.make_dictionary(sound.frames, config)
            tiles = spectrogram.power_to_db(mosaic.mosaic(mel, sound.dictionary), config)
            S = np.asarray((1 - share) * S + share * tiles, np.float32)
        return Initialization(D, S)

    def _style_stft(self, first: int, n_frames: int) -> Array:
        """Transform the style, repeated or cut to the length of the content."""
        config, y = self._config, self._sound.y
        begin = first * config.hop_length - config.n_fft // 2
        index = np.arange(begin, begin + (n_frames - 1) * config.hop_length + config.n_fft)
        inside = (index >= 0) & (index < self._n_work)
        repeated = np.where(inside, y[:, index % y.shape[-1]], np.float32(0))
        return spectrogram.stft(repeated, config, center=False)
