"""Initialization of the optimisation and of the inversion, as ``config.init`` names it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.level_model import LevelAnalysis, LevelStatistics, predict_levels


@dataclass(frozen=True)
class InitialSpectrogram:
    """Where the optimisation of a window starts, and what its content losses compare with.

    Attributes
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
    S_target : np.ndarray [shape=(n_mels, t), dB]
        The content itself, or so far towards `S` as the levels predicted from notes can be trusted.
    confidence : float in [0, 1]
        How far that is.
    """

    S: Array
    S_target: Array
    confidence: float = 0.0


class Initializer:
    """Initial spectrogram and STFT of every window, ``config.strength`` of the way to the style.

    Parameters
    ----------
    levels : LevelStatistics or None
        Of the style; needed with ``init="notes"``.
    y : np.ndarray [shape=(1, n)]
        The first minute of the style, at the analysis level.
    n : int, in samples
        Length of the content at ``config.sr``.
    """

    def __init__(
        self, levels: LevelStatistics | None, y: Array, n: int, config: TransferConfig
    ) -> None:
        self._levels = levels
        self._y = y
        self._n = n
        self._config = config

    def stft(self, D: Array, first: int) -> Array:
        """Return the STFT that the inversion starts from.

        Parameters
        ----------
        D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
            The content, from frame `first` on.

        Returns
        -------
        np.ndarray [same shape, complex64]
        """
        if self._config.init != "style":
            return D
        s = self._config.strength
        return np.asarray((1 - s) * D + s * self._style_stft(first, D.shape[2]))

    def spectrogram(
        self, S: Array, D: Array, first: int, clip: LevelAnalysis | None = None
    ) -> InitialSpectrogram:
        """Return the spectrogram that the optimisation starts from.

        Parameters
        ----------
        S : np.ndarray [shape=(n_mels, t), dB]
            The content, from frame `first` on.
        D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
            The content.
        clip : LevelAnalysis, optional
            The content; needed with ``init="notes"``.
        """
        config, s = self._config, self._config.strength
        if config.init == "notes":
            assert clip is not None and self._levels is not None
            levels, confidence = predict_levels(clip, self._levels)
            start = self._between(S, np.maximum(levels, -config.top_db))
            return InitialSpectrogram(start, S + np.float32(confidence) * (start - S), confidence)
        if config.init == "noise":
            rng = np.random.default_rng([config.seed, first] if first else config.seed)
            return InitialSpectrogram(
                self._between(S, rng.uniform(-config.top_db, 0.0, S.shape)), S
            )
        if config.init == "style" and s > 0:
            mel = spectrogram.channel_power(self.stft(D, first))
            return InitialSpectrogram(spectrogram.mel_db(mel, config), S)
        return InitialSpectrogram(S, S)

    def _between(self, S: Array, S_style: Array) -> Array:
        s = self._config.strength
        return np.asarray((1 - s) * S + s * S_style, np.float32)

    def _style_stft(self, first: int, n_frames: int) -> Array:
        """Transform the style, repeated or cut to the length of the content."""
        n_fft, hop_length = self._config.n_fft, self._config.hop_length
        begin = first * hop_length - n_fft // 2
        index = np.arange(begin, begin + (n_frames - 1) * hop_length + n_fft)
        inside = (index >= 0) & (index < self._n)
        repeated = np.where(inside, self._y[:, index % self._y.shape[-1]], np.float32(0))
        return spectrogram.stft(repeated, n_fft, hop_length, center=False)
