"""Initialization of the optimisation and of the inversion, as ``config.init`` names it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import mosaic, spectrogram


@dataclass
class StyleSamples:
    """Samples of a style, of bounded size.

    Attributes
    ----------
    mel_mean : np.ndarray [shape=(n_mels,), non-negative]
        Mean mel power over time.
    frames : np.ndarray [shape=(n_fft // 2 + 1, k), non-negative]
        Power of randomly drawn frames.
    y : np.ndarray [shape=(1, n)]
        The first minute of the first clip, at the analysis level.
    dictionary : np.ndarray [shape=(n_mels, 12 * k)] or None
        `audiostyle.dsp.mosaic.make_dictionary` of the frames, kept once it was needed.
    """

    mel_mean: Array
    frames: Array
    y: Array
    dictionary: Array | None = field(default=None, repr=False, metadata={"derived": True})


class Initializer:
    """Initial STFT and spectrogram of every window, ``config.strength`` of the way to the style.

    Parameters
    ----------
    samples : StyleSamples
    mel_mean : np.ndarray [shape=(n_mels,), non-negative]
        Mean mel power of the whole content, so that all its windows are equalised alike.
    n : int, in samples
        Length of the content at ``config.sr``.
    """

    def __init__(
        self, samples: StyleSamples, mel_mean: Array, n: int, config: TransferConfig
    ) -> None:
        self._samples = samples
        self._n = n
        self._config = config
        envelope = spectrogram.envelope_gain(mel_mean, samples.mel_mean, config.top_db)
        gain = spectrogram.mel_to_bins(config.strength * envelope, config)
        self._gain = (10.0 ** (gain / 20))[:, None].astype(np.float32)

    def stft(self, D: Array, first: int) -> Array:
        """Return the STFT whose fine structure and phase the inversion starts from.

        Parameters
        ----------
        D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
            The content, from frame `first` on.

        Returns
        -------
        np.ndarray [same shape, complex64]
        """
        config = self._config
        if config.init in ("envelope", "mosaic"):
            return np.asarray(D * self._gain)
        if config.init == "style":
            s = config.strength
            return np.asarray((1 - s) * D + s * self._style_stft(first, D.shape[2]))
        return D

    def spectrogram(self, S: Array, D_init: Array, first: int) -> Array:
        """Return the spectrogram that the optimisation starts from.

        Parameters
        ----------
        S : np.ndarray [shape=(n_mels, t), dB]
            The content, from frame `first` on.
        D_init : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
            From `stft`.

        Returns
        -------
        np.ndarray [shape=(n_mels, t), dB]
        """
        config, s = self._config, self._config.strength
        if config.init == "content":
            return S
        if config.init == "noise":
            rng = np.random.default_rng([config.seed, first] if first else config.seed)
            noise = rng.uniform(-config.top_db, 0.0, S.shape)
            return np.asarray((1 - s) * S + s * noise, np.float32)
        mel = spectrogram.mel_filters(config) @ spectrogram.channel_power(D_init)
        S_init = spectrogram.power_to_db(mel, config.top_db)
        share = s * config.mosaic_share
        if config.init == "mosaic" and share > 0:
            # The mosaic enters the spectrogram only: the fine structure stays that of the content.
            S_mosaic = spectrogram.power_to_db(
                mosaic.mosaic(mel, self._dictionary()), config.top_db
            )
            S_init = np.asarray((1 - share) * S_init + share * S_mosaic, np.float32)
        return S_init

    def _dictionary(self) -> Array:
        samples = self._samples
        if samples.dictionary is None:
            filters = spectrogram.mel_filters(self._config)
            samples.dictionary = mosaic.make_dictionary(samples.frames, filters)
        return samples.dictionary

    def _style_stft(self, first: int, n_frames: int) -> Array:
        """Transform the style, repeated or cut to the length of the content."""
        n_fft, hop_length, y = self._config.n_fft, self._config.hop_length, self._samples.y
        begin = first * hop_length - n_fft // 2
        index = np.arange(begin, begin + (n_frames - 1) * hop_length + n_fft)
        inside = (index >= 0) & (index < self._n)
        repeated = np.where(inside, y[:, index % y.shape[-1]], np.float32(0))
        return spectrogram.stft(repeated, n_fft, hop_length, center=False)
