"""Recordings as streams of blocks: checked, measured and resampled, in fixed memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from audiostyle.audio.level import OFFSET, SILENCE_DB, pieces
from audiostyle.audio.loudness import LoudnessMeter
from audiostyle.config.transfer_config import MAX_CHANNELS, MIN_SECONDS
from audiostyle.errors import AudioFileError

Array = npt.NDArray[Any]


class AudioSource(Protocol):
    """Something that is read from the beginning, as often as it is needed.

    Attributes
    ----------
    sr : int, in Hz
    channels : int
    name : str
        For messages.
    """

    sr: int
    channels: int
    name: str

    def blocks(self) -> Iterator[Array]:
        """Give consecutive blocks [shape=(channels, n), float32], anew on each call.

        Returns
        -------
        iterator of np.ndarray
        """


class ArraySource:
    """A clip in memory.

    Parameters
    ----------
    y : array_like [shape=(n,) or (channels, n)]
    sr : int > 0, in Hz
    name : str

    Attributes
    ----------
    y : np.ndarray [shape=(channels, n), float32]

    Raises
    ------
    AudioFileError
        If the samples are of another shape or type, or have too many channels.
    """

    def __init__(self, y: Any, sr: int, name: str) -> None:
        y = np.asarray(y)  # what it is, is checked next
        if y.ndim not in (1, 2) or y.dtype.kind not in "fiu":
            raise AudioFileError(
                f"{name}: samples of shape {y.shape} and type {y.dtype} are not audio"
            )
        if y.dtype.kind in "iu":
            raise AudioFileError(
                f"{name}: samples are integers; divide by full scale to get floats from -1 to 1"
            )
        self.y = np.asarray(np.atleast_2d(y), np.float32)
        self.sr, self.channels, self.name = sr, len(self.y), name
        check_channels(self.channels, name)

    def blocks(self) -> Iterator[Array]:
        """Give views of the clip; see `Source.blocks`."""
        return pieces(self.y)


def check_channels(channels: int, name: str) -> None:
    """Raise an `AudioFileError` if there are none or too many.

    Parameters
    ----------
    channels : int
    name : str

    Raises
    ------
    AudioFileError
        If there are none or too many.
    """
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioFileError(
            f"{name}: {channels} channels; from 1 to {MAX_CHANNELS} are supported, as "
            "(channels, samples)"
        )


@dataclass(frozen=True, eq=False)
class StreamSummary:
    """What a transfer has to know of a recording before it begins.

    Attributes
    ----------
    n : int, in samples
    offset : np.ndarray [shape=(channels,), float32]
        Mean of each channel; zero for all of them where none exceeds `audiostyle.audio.level.OFFSET`.
    peak : float
        Largest absolute sample, without the offset.
    loudness : float, in LUFS
        Without the offset.
    """

    n: int
    offset: Array
    peak: float
    loudness: float


class StreamChecker:
    """Counts what of a stream decides whether it can be used.

    Parameters
    ----------
    sr : int, in Hz
    channels : int
    """

    def __init__(self, sr: int, channels: int) -> None:
        self._sr = sr
        self.n = 0
        self._sum = np.zeros(channels)
        self._low = np.zeros(channels, np.float32)
        self._high = np.zeros(channels, np.float32)

    @property
    def finite(self) -> bool:
        """Whether every sample so far is a number."""
        return bool(np.isfinite(self._low).all() and np.isfinite(self._high).all())

    def add(self, block: Array) -> None:
        """Take in the next samples [shape=(channels, n)].

        Parameters
        ----------
        block : np.ndarray [shape=(channels, n)]
        """
        if block.shape[1] == 0:
            return
        low, high = block.min(axis=1), block.max(axis=1)  # NaN where any sample is
        self._low = low if self.n == 0 else np.minimum(self._low, low)
        self._high = high if self.n == 0 else np.maximum(self._high, high)
        self.n += block.shape[1]
        if self.finite:
            self._sum += block.sum(axis=1, dtype=np.float64)

    def check(self, name: str) -> tuple[Array, float]:
        """Give the offset [shape=(channels,), float32] and the peak of the stream without it.

        Parameters
        ----------
        name : str
            For messages.

        Returns
        -------
        (np.ndarray, float)

        Raises
        ------
        AudioFileError
            If the stream is too short, not finite, or silent.
        """
        if self.n == 0:
            raise AudioFileError(f"{name}: holds no samples", kind="too_short")
        if self.n < MIN_SECONDS * self._sr:
            raise AudioFileError(
                f"{name}: {self.n / self._sr:.3g} s is too short; at least {MIN_SECONDS} s are "
                "needed",
                kind="too_short",
            )
        if not self.finite:
            raise AudioFileError(
                f"{name}: holds NaN or infinite samples; repair or re-export it", kind="not_finite"
            )
        # An offset is no sound, but it would count as level and as headroom, and click at the ends.
        offset = (self._sum / self.n).astype(np.float32)
        if np.abs(offset).max() <= OFFSET:
            offset = np.zeros_like(offset)
        peak = float(max((self._high - offset).max(), (offset - self._low).max()))
        if peak < 10 ** (SILENCE_DB / 20):
            raise AudioFileError(
                f"{name}: is silent (peak below {SILENCE_DB:g} dBFS)", kind="silent"
            )
        return offset, peak


def summarize_stream(source: AudioSource) -> StreamSummary:
    """Read a recording once, and say what a transfer has to know of it.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Survey

    Raises
    ------
    AudioFileError
        If it has too many channels, or is too short, not finite, or silent.
    """
    check_channels(source.channels, source.name)
    tally, meter = StreamChecker(source.sr, source.channels), LoudnessMeter(source.sr)
    for block in source.blocks():
        tally.add(block)
        if tally.finite:
            meter.add(block)
    offset, peak = tally.check(source.name)
    return StreamSummary(tally.n, offset, peak, meter.value(offset))


def resample_stream(
    blocks: Iterator[Array], orig_sr: int, target_sr: int, channels: int
) -> Iterator[Array]:
    """Resample a stream with soxr's high quality.

    Parameters
    ----------
    blocks : iterator of np.ndarray [shape=(channels, n)]
    orig_sr, target_sr : int, in Hz
    channels : int

    Yields
    ------
    np.ndarray [shape=(channels, m), float32]
        Together ``ceil(n * target_sr / orig_sr)`` samples; the blocks themselves where the rates
        are equal.
    """
    if orig_sr == target_sr:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(orig_sr, target_sr, channels, dtype="float32", quality="HQ")
    n_in = n_out = 0
    for whole in blocks:
        for block in pieces(whole):
            n_in += block.shape[1]
            chunk = stream.resample_chunk(np.ascontiguousarray(block.T, np.float32))
            n_out += len(chunk)
            if len(chunk):
                yield chunk.T
    missing = -(-n_in * target_sr // orig_sr) - n_out
    if n_in == 0 or missing <= 0:
        return
    rest = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)[:missing]
    yield np.pad(rest, ((0, missing - len(rest)), (0, 0))).T


def resample(y: Array, orig_sr: int, target_sr: int) -> Array:
    """Resample a whole clip; see `resample_stream`.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    orig_sr, target_sr : int, in Hz

    Returns
    -------
    np.ndarray [shape=(channels, ceil(n * target_sr / orig_sr)), float32]
    """
    y = np.asarray(y, np.float32)
    if orig_sr == target_sr or not y.size:
        return y
    return np.concatenate(list(resample_stream(iter([y]), orig_sr, target_sr, len(y))), axis=1)


class StreamReader:
    """Any stretch of a stream, as long as each begins no earlier than the one before.

    Parameters
    ----------
    blocks : iterator of np.ndarray [shape=(channels, n)]
    channels : int
    """

    def __init__(self, blocks: Iterator[Array], channels: int) -> None:
        self._blocks = blocks
        self._buffer: Array = np.zeros((channels, 0), np.float32)
        self._first = 0

    def read(self, start: int, stop: int) -> Array:
        """Give samples; what lies outside the stream is silence.

        Parameters
        ----------
        start, stop : int, in samples

        Returns
        -------
        np.ndarray [shape=(channels, stop - start)]
        """
        waiting, held, base = [self._buffer], self._buffer.shape[1], self._first
        while base + held < stop:
            block = next(self._blocks, None)
            if block is None:
                break
            waiting.append(block)
            held += block.shape[1]
        buffer = np.concatenate(waiting, axis=1) if len(waiting) > 1 else self._buffer
        dropped = min(max(0, start - base), held)
        self._buffer, self._first = buffer[:, dropped:].copy(), base + dropped
        wanted = buffer[:, dropped : max(dropped, stop - base)]
        before = min(max(0, base - start), stop - start)
        after = stop - start - before - wanted.shape[1]
        return np.pad(wanted, ((0, 0), (before, after))) if before or after else wanted


def check_clip(y: Any, sr: int, name: str) -> Array:
    """Return a clip as channels by samples without DC offset, or say what is wrong with it.

    Parameters
    ----------
    y : array_like [shape=(n,) or (channels, n)]
    sr : int > 0, in Hz
    name : str
        For messages: the file, or the parameter.

    Returns
    -------
    np.ndarray [shape=(channels, n), float32]

    Raises
    ------
    AudioFileError
        If it is of another shape, too short, not finite, or silent.
    """
    source = ArraySource(y, sr, name)
    tally = StreamChecker(sr, source.channels)
    for block in source.blocks():
        tally.add(block)
    offset, _ = tally.check(name)
    return np.asarray(source.y - offset[:, None]) if offset.any() else source.y
