"""Spectrogram for display: frames of a long recording are averaged as they arrive."""

from __future__ import annotations

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram

PREVIEW_FRAMES = 4096  # of a spectrogram that is only displayed


class SpectrogramPreview:
    """Gathers a spectrogram, and averages neighbouring frames once there are too many to display.

    Parameters
    ----------
    channels : int
        Of the audio given to `add_audio`.
    n_frames : int or None
        With more than twice as many columns, neighbours are averaged; never if None.

    Attributes
    ----------
    fold : int
        Frames per column.
    """

    def __init__(self, config: TransferConfig, channels: int, n_frames: int | None) -> None:
        self._config = config
        self._n_frames = n_frames
        self._pending: Array = np.zeros((channels, config.n_fft // 2), np.float32)
        self._columns: Array = np.zeros((config.n_mels, 0), np.float32)
        self._rest: Array = self._columns  # frames that do not fill a column yet
        self.fold = 1

    def add(self, S: Array) -> None:
        """Append frames [shape=(n_mels, t), dB]."""
        S = np.concatenate([self._rest, S], axis=1)
        n = S.shape[1] // self.fold
        self._rest = S[:, n * self.fold :].copy()
        columns = _average_columns(S[:, : n * self.fold], self.fold)
        self._columns = np.concatenate([self._columns, columns], axis=1)
        while self._n_frames is not None and self._columns.shape[1] > 2 * self._n_frames:
            even = self._columns.shape[1] // 2 * 2
            odd = np.repeat(self._columns[:, even:], self.fold, axis=1)
            self._rest = np.concatenate([odd, self._rest], axis=1)
            self._columns = _average_columns(self._columns[:, :even], 2)
            self.fold *= 2

    def add_audio(self, y: Array) -> None:
        """Append the frames of audio [shape=(channels, n)] at ``config.sr``."""
        n_fft, hop_length = self._config.n_fft, self._config.hop_length
        y = np.concatenate([self._pending, y], axis=1)
        n = max(0, (y.shape[1] - n_fft) // hop_length + 1)
        if n:
            y_whole = y[:, : (n - 1) * hop_length + n_fft]
            D = spectrogram.stft(y_whole, n_fft, hop_length, center=False)
            self.add(spectrogram.mel_db(spectrogram.channel_power(D), self._config))
        self._pending = y[:, n * hop_length :].copy()

    def end(self) -> None:
        """Append the last frames, which reach beyond the end of the audio."""
        self.add_audio(np.zeros((len(self._pending), self._config.n_fft // 2), np.float32))

    def S(self) -> Array:
        """Return the columns [shape=(n_mels, t), dB]."""
        return self._columns


def _average_columns(S: Array, n: int) -> Array:
    return np.asarray(S.reshape(len(S), -1, n).mean(axis=2), np.float32)
