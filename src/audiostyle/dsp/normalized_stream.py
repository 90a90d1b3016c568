"""A recording at the sampling rate and level of the analysis, and its frames.

Nothing here holds a long recording in memory. A file is therefore decoded several times in a
transfer: once to check and measure it, once to analyse it window by window, and once more to
synthesise the result. Decoding takes a fraction of a percent of a transfer; keeping an hour of
stereo in memory would take more than a gigabyte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from audiostyle.arrays import Array
from audiostyle.audio.level import ActiveLevelMeter
from audiostyle.audio.loudness import LoudnessMeter
from audiostyle.audio.resampling import resample_stream
from audiostyle.audio.streams import (
    AudioSource,
    StreamChecker,
    StreamReader,
    check_channels,
    crop_stream,
    extend_stream,
)
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.segmentation import WINDOW_FRAMES
from audiostyle.errors import AudioFileError


class NormalizedStream:
    """An audio source that was checked and measured, at the rate and level of the analysis.

    Attributes
    ----------
    sr, channels, name
        Of the source.
    n : int, in samples
        Length of the source.
    peak : float
        Largest absolute sample, without the DC offset.
    offset : np.ndarray [shape=(channels,), float32]
        DC offset that is removed; 0 if there is none.
    loudness : float, in LUFS
    n_resampled : int, in samples
        Length at ``config.sr``.
    n_frames : int
    pad_frames : int
        Frames of the padding at either end, where the sound is continued beyond the clip and fades
        out. Frame k of the clip is frame ``k + pad_frames`` of the padded clip.
    pad : int, in samples
        Of the padding at ``config.sr``.
    gain : GainCurve
        Factor that the samples at ``config.sr`` are multiplied by. A recording longer than a window
        gets a gain that varies with time, so that a quiet movement is not treated as silence.

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
        checker, meter = StreamChecker(self.sr, self.channels), LoudnessMeter(self.sr)
        level = ActiveLevelMeter(config.sr)
        self.n_resampled = 0
        blocks = self._measured_blocks(checker, meter)
        for block in resample_stream(blocks, self.sr, config.sr, self.channels):
            level.add(block)
            self.n_resampled += block.shape[1]
        self.offset, self.peak = checker.check(self.name)
        self.n = checker.n
        self.loudness = meter.value(self.offset)
        self.n_frames = 1 + self.n_resampled // config.hop_length
        self.gain = level.gain_curve(self.offset, window / config.sr)
        self.pad_frames = -(-config.n_fft // config.hop_length)
        self.pad = self.pad_frames * config.hop_length
        # The source is extended before it is resampled, by whole samples at both rates.
        step = config.sr // math.gcd(config.sr, self.sr)
        self.lead = -(-self.pad // step) * step
        self._short = self.n_resampled < window
        self._extended: list[Array] | None = None  # a short recording is resampled only once

    def _measured_blocks(self, checker: StreamChecker, meter: LoudnessMeter) -> Iterator[Array]:
        for block in self._source.blocks():
            checker.add(block)
            if checker.finite:
                meter.add(block)
                yield block

    def blocks(self) -> Iterator[Array]:
        """Yield the source [shape=(channels, n)] at its own rate and level, without DC offset."""
        if not self.offset.any():
            yield from self._source.blocks()
            return
        for block in self._source.blocks():
            yield block - self.offset[:, None]

    def normalized_blocks(self) -> Iterator[Array]:
        """Yield the recording [shape=(channels, n)] at ``config.sr`` and at the analysis level."""
        return crop_stream(self._normalized_extended(), self.lead, self.n_resampled)

    def padded_blocks(self) -> Iterator[Array]:
        """Yield the same with `pad` more samples at either end."""
        n = self.n_resampled + 2 * self.pad
        return crop_stream(self._normalized_extended(), self.lead - self.pad, n)

    def _normalized_extended(self) -> Iterator[Array]:
        first = -self.lead
        for block in self._resampled_extended():
            yield block * self.gain.at(first, block.shape[1])
            first += block.shape[1]

    def _resampled_extended(self) -> Iterator[Array]:
        if self._extended is not None:
            return iter(self._extended)
        lead = self.lead * self.sr // self._config.sr
        n_predicted = self.pad * self.sr // self._config.sr
        extended = extend_stream(self.blocks(), lead, n_predicted)
        resampled = resample_stream(extended, self.sr, self._config.sr, self.channels)
        if self._short:
            self._extended = list(resampled)
            return iter(self._extended)
        return resampled

    def frame_reader(self, *, padded: bool = False) -> FrameReader:
        """Return a reader of the frames, from the first on, or from the first of the padding on."""
        config, origin = self._config, self.lead - (self.pad if padded else 0)
        blocks = self._normalized_extended()
        return FrameReader(blocks, self.channels, config.n_fft, config.hop_length, origin)


class FrameReader:
    """Reads frames of the STFT of a stream, in order; frame 0 is centred on sample `origin`."""

    def __init__(
        self,
        blocks: Iterator[Array],
        channels: int,
        n_fft: int,
        hop_length: int,
        origin: int = 0,
    ) -> None:
        self._reader = StreamReader(blocks, channels)
        self._n_fft, self._hop_length, self._origin = n_fft, hop_length, origin

    def stft(self, start: int, stop: int) -> Array:
        """Transform frames `start` to `stop`; `start` must not lie before that of the last call.

        Returns
        -------
        np.ndarray [shape=(channels, n_fft // 2 + 1, stop - start), complex64]
            The same frames as in `audiostyle.dsp.spectrogram.stft` of the whole stream from
            `origin` on, except for those that reach beyond that.
        """
        return self.read(start, stop)[1]

    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """Return the samples from the centre of frame `start` to that of the last, and the frames.

        Returns
        -------
        y : np.ndarray [shape=(channels, (stop - start - 1) * hop_length + 1)]
        D : np.ndarray [shape=(channels, n_fft // 2 + 1, stop - start), complex64]
            From `stft`.
        """
        n_fft, hop_length = self._n_fft, self._hop_length
        n = (stop - start - 1) * hop_length
        first = self._origin + start * hop_length - n_fft // 2
        y = self._reader.read(first, first + n + n_fft)
        D = spectrogram.stft(y, n_fft, hop_length, center=False)
        return y[:, n_fft // 2 : n_fft // 2 + n + 1], D


def check_frames(n_frames: int, min_frames: int, name: str, config: TransferConfig) -> None:
    """Raise an `AudioFileError` if a clip has fewer frames than the network needs."""
    if n_frames < min_frames:
        raise AudioFileError(
            f"{name}: {n_frames} frames are too few for {config.network}, which needs "
            f"{min_frames}; use a longer clip, a hop_length below {config.hop_length}, or "
            "shallower layers",
            kind="too_short",
        )
