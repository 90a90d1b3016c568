"""A spectrogram to look at: frames of a long recording are averaged as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram

Array = npt.NDArray[Any]

PREVIEW_FRAMES = 4096  # of a spectrogram that is only looked at


class SpectrogramPreview:
    """A spectrogram as it comes, with frames averaged when there are too many to look at.

    Parameters
    ----------
    config : TransferConfig
    channels : int
        Of the sound that is heard.
    n_frames : int, optional
        Above twice as many, neighbours are averaged; never if it is not given.

    Attributes
    ----------
    fold : int
        Frames that make one column.
    """

    def __init__(self, config: TransferConfig, channels: int, n_frames: int | None) -> None:
        self._config = config
        self._enough = n_frames
        self._unheard: Array = np.zeros((channels, config.n_fft // 2), np.float32)
        self._columns: Array = np.zeros((config.n_mels, 0), np.float32)
        self._rest: Array = self._columns  # frames that do not make a column yet
        self.fold = 1

    def add(self, S: Array) -> None:
        """Append frames [shape=(n_mels, t), dB].

        Parameters
        ----------
        S : np.ndarray [shape=(n_mels, t), dB]
        """
        S = np.concatenate([self._rest, S], axis=1)
        n = S.shape[1] // self.fold
        self._rest = S[:, n * self.fold :].copy()
        columns = _folded(S[:, : n * self.fold], self.fold)
        self._columns = np.concatenate([self._columns, columns], axis=1)
        while self._enough is not None and self._columns.shape[1] > 2 * self._enough:
            even = self._columns.shape[1] // 2 * 2
            odd = np.repeat(self._columns[:, even:], self.fold, axis=1)
            self._rest = np.concatenate([odd, self._rest], axis=1)
            self._columns = _folded(self._columns[:, :even], 2)
            self.fold *= 2

    def add_audio(self, y: Array) -> None:
        """Append the frames of a sound [shape=(channels, n)] at the rate of the analysis.

        Parameters
        ----------
        y : np.ndarray [shape=(channels, n)]
        """
        n_fft, hop_length = self._config.n_fft, self._config.hop_length
        y = np.concatenate([self._unheard, y], axis=1)
        n = max(0, (y.shape[1] - n_fft) // hop_length + 1)
        if n:
            D = spectrogram.stft(y[:, : (n - 1) * hop_length + n_fft], self._config, center=False)
            mel = spectrogram.mel_power(spectrogram.channel_power(D), self._config)
            self.add(spectrogram.power_to_db(mel, self._config))
        self._unheard = y[:, n * hop_length :].copy()

    def end(self) -> None:
        """Append the last frames of a sound, which reach beyond its end."""
        self.add_audio(np.zeros((len(self._unheard), self._config.n_fft // 2), np.float32))

    def S(self) -> Array:
        """Return all of it [shape=(n_mels, t), dB].

        Returns
        -------
        np.ndarray
        """
        return self._columns


def _folded(S: Array, n: int) -> Array:
    return np.asarray(S.reshape(len(S), -1, n).mean(axis=2), np.float32)
