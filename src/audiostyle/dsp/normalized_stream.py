"""A recording as the analysis sees it: measured in one pass, then read in windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio.level import ActiveLevelMeter
from audiostyle.audio.loudness import LoudnessMeter
from audiostyle.audio.resampling import resample_stream
from audiostyle.audio.streams import AudioSource, StreamChecker, StreamReader, check_channels
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.segmentation import WINDOW_FRAMES, split_frames
from audiostyle.errors import AudioFileError

Array = npt.NDArray[Any]


class NormalizedStream:
    """A source that was found fit for use, brought to the rate and level of the analysis.

    Parameters
    ----------
    source : Source
    config : TransferConfig

    Attributes
    ----------
    sr, channels, name
        Of the source.
    n : int, in samples
        Of the source.
    loudness : float, in LUFS
    n_work : int, in samples
        At ``config.sr``.
    n_frames : int
    gain : GainCurve
        What the samples at ``config.sr`` are multiplied by. A recording longer than a window is
        brought to the analysis level part by part: each of its windows is a transfer of its own,
        and a quiet movement is not to be made loud.

    Raises
    ------
    AudioFileError
        If the source cannot be read, or is too short, not finite, or silent.
    """

    def __init__(self, source: AudioSource, config: TransferConfig) -> None:
        check_channels(source.channels, source.name)
        self._source = source
        self._config = config
        self.sr, self.channels, self.name = source.sr, source.channels, source.name
        window = WINDOW_FRAMES * config.hop_length
        tally, meter = StreamChecker(self.sr, self.channels), LoudnessMeter(self.sr)
        level = ActiveLevelMeter(config.sr)
        self.n_work, kept = 0, []
        for block in resample_stream(self._listen(tally, meter), self.sr, config.sr, self.channels):
            level.add(block)
            self.n_work += block.shape[1]
            if self.n_work < window:
                kept.append(block)
        self._offset, _ = tally.check(self.name)
        self.n = tally.n
        self.loudness = meter.value(self._offset)
        self.n_frames = 1 + self.n_work // config.hop_length
        self.gain = level.gain_curve(self._offset, window / config.sr)
        self._work: Array | None = None  # a short recording is resampled only once
        if self.n_work < window and not self._offset.any():
            self._work = np.concatenate(kept, axis=1)

    def _listen(self, tally: StreamChecker, meter: LoudnessMeter) -> Iterator[Array]:
        for block in self._source.blocks():
            tally.add(block)
            if tally.finite:
                meter.add(block)
                yield block

    def blocks(self) -> Iterator[Array]:
        """Give the recording as it is, but for an offset [shape=(channels, n)].

        Yields
        ------
        np.ndarray
        """
        if not self._offset.any():
            yield from self._source.blocks()
            return
        for block in self._source.blocks():
            yield block - self._offset[:, None]

    def levelled(self) -> Iterator[Array]:
        """Give it at ``config.sr`` and at the level of the analysis [shape=(channels, n)].

        Yields
        ------
        np.ndarray
        """
        work = (
            iter([self._work])
            if self._work is not None
            else resample_stream(self.blocks(), self.sr, self._config.sr, self.channels)
        )
        first = 0
        for block in work:
            yield block * self.gain.at(first, block.shape[1])
            first += block.shape[1]

    def reader(self) -> FrameReader:
        """Begin to read its frames.

        Returns
        -------
        FrameReader
        """
        return FrameReader(self.levelled(), self.channels, self._config)

    def mel_mean(self) -> Array:
        """Mean mel power over time [shape=(n_mels,)], in a pass of its own.

        Returns
        -------
        np.ndarray
        """
        total: Array = np.zeros(self._config.n_mels)
        reader = self.reader()
        for start, stop in split_frames(self.n_frames):
            power = spectrogram.channel_power(reader.stft(start, stop))
            total += spectrogram.mel_power(power, self._config).sum(axis=1, dtype=np.float64)
        return total / self.n_frames


class FrameReader:
    """Frames of the short-time Fourier transform of a stream.

    Parameters
    ----------
    blocks : iterator of np.ndarray [shape=(channels, n)]
    channels : int
    config : TransferConfig
    """

    def __init__(self, blocks: Iterator[Array], channels: int, config: TransferConfig) -> None:
        self._reader = StreamReader(blocks, channels)
        self._config = config

    def stft(self, start: int, stop: int) -> Array:
        """Transform a stretch of frames; it begins no earlier than the one before.

        Parameters
        ----------
        start, stop : int, in frames

        Returns
        -------
        np.ndarray [shape=(channels, n_fft // 2 + 1, stop - start), complex64]
            As `audiostyle.dsp.spectrogram.stft` of the whole stream has them.
        """
        n_fft, hop_length = self._config.n_fft, self._config.hop_length
        first = start * hop_length - n_fft // 2
        y = self._reader.read(first, first + (stop - start - 1) * hop_length + n_fft)
        return spectrogram.stft(y, self._config, center=False)


def check_frames(n_frames: int, needed: int, name: str, config: TransferConfig) -> None:
    """Raise an `AudioFileError` if a clip has fewer frames than the network needs.

    Parameters
    ----------
    n_frames, needed : int
    name : str
    config : TransferConfig

    Raises
    ------
    AudioFileError
        If `n_frames` is below `needed`.
    """
    if n_frames < needed:
        raise AudioFileError(
            f"{name}: {n_frames} frames are too few for {config.network}, which needs {needed}; "
            f"use a longer clip, a smaller hop_length than {config.hop_length}, or shallower "
            "layers",
            kind="too_short",
        )
