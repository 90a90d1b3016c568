"""Audio streams: sources that yield blocks, their checks, and sequential reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import OFFSET_THRESHOLD, SILENCE_DB, split_blocks
from audiostyle.audio.loudness import LoudnessMeter
from audiostyle.config.transfer_config import MAX_CHANNELS, MIN_SECONDS
from audiostyle.errors import AudioFileError

MAX_PEAK = 1e36  # of full scale: beyond it, filters of float32 overflow
PREDICTION_ORDER = 32  # of the linear prediction that continues a stream beyond its ends
PREDICTION_CONTEXT = 2048  # samples that it is estimated from


class AudioSource(Protocol):
    """Audio that can be read from the beginning as often as needed."""

    sr: int  # Hz
    channels: int
    name: str  # for messages

    def blocks(self) -> Iterator[Array]:
        """Yield consecutive blocks [shape=(channels, n), float32], from the beginning."""


class ArraySource:
    """Audio in memory [shape=(n,) or (channels, n)].

    An `AudioFileError` is raised for another shape, integers, or too many channels.
    """

    def __init__(self, y: Any, sr: int, name: str) -> None:
        y = np.asarray(y)
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
        """Yield views of the array; see `AudioSource.blocks`."""
        return split_blocks(self.y)


def check_channels(channels: int, name: str) -> None:
    """Raise an `AudioFileError` if there are no channels, or too many."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioFileError(
            f"{name}: {channels} channels; from 1 to {MAX_CHANNELS} are supported, as "
            "(channels, samples)"
        )


def check_usable(n: int, sr: int, finite: bool, name: str) -> None:
    """Raise an `AudioFileError` for fewer samples than `MIN_SECONDS`, or samples not finite."""
    if n < MIN_SECONDS * sr:
        raise AudioFileError(
            f"{name}: {n / sr:.3g} s is too short; at least {MIN_SECONDS} s are needed",
            kind="too_short",
        )
    if not finite:
        raise AudioFileError(
            f"{name}: holds NaN or infinite samples; repair or re-export it", kind="not_finite"
        )


@dataclass(frozen=True, eq=False)
class StreamSummary:
    """Measurements of a whole stream; peak and loudness are those without the DC offset."""

    n: int  # samples
    offset: Array  # [shape=(channels,), float32]; zero if none exceeds `OFFSET_THRESHOLD`
    peak: float  # largest absolute sample
    loudness: float  # LUFS


class StreamChecker:
    """Statistics that decide whether a stream can be used."""

    def __init__(self, sr: int, channels: int) -> None:
        self._sr = sr
        self.n = 0
        self._sum = np.zeros(channels)
        self._low = np.zeros(channels, np.float32)
        self._high = np.zeros(channels, np.float32)

    @property
    def finite(self) -> bool:
        """Whether all samples up to now are finite."""
        return bool(np.isfinite(self._low).all() and np.isfinite(self._high).all())

    def add(self, block: Array) -> None:
        """Add the next samples [shape=(channels, n)]."""
        if block.shape[1] == 0:
            return
        low, high = block.min(axis=1), block.max(axis=1)  # NaN if any sample is NaN
        self._low = low if self.n == 0 else np.minimum(self._low, low)
        self._high = high if self.n == 0 else np.maximum(self._high, high)
        self.n += block.shape[1]
        if self.finite:
            self._sum += block.sum(axis=1, dtype=np.float64)

    def check(self, name: str) -> tuple[Array, float]:
        """Return the DC offset [shape=(channels,), float32] and the peak without it.

        Raises an `AudioFileError` if the stream is too short, not finite, or silent.
        """
        if self.n == 0:
            raise AudioFileError(f"{name}: holds no samples", kind="too_short")
        check_usable(self.n, self._sr, self.finite, name)
        # A DC offset is inaudible, but would count as level and headroom, and click at both ends.
        offset = (self._sum / self.n).astype(np.float32)
        if np.abs(offset).max() <= OFFSET_THRESHOLD:
            offset = np.zeros_like(offset)
        peak = float(max((self._high - offset).max(), (offset - self._low).max()))
        if peak > MAX_PEAK:
            raise AudioFileError(
                f"{name}: holds samples up to {peak:.3g} times full scale, which are no sound; "
                "repair or re-export it",
                kind="not_finite",
            )
        if peak < 10 ** (SILENCE_DB / 20):
            raise AudioFileError(
                f"{name}: is silent (peak below {SILENCE_DB:g} dBFS)", kind="silent"
            )
        return offset, peak


def summarize_stream(source: AudioSource) -> StreamSummary:
    """Read a whole stream once, check it as `StreamChecker` does, and measure it."""
    check_channels(source.channels, source.name)
    checker, meter = StreamChecker(source.sr, source.channels), LoudnessMeter(source.sr)
    for block in source.blocks():
        checker.add(block)
        if checker.finite:
            meter.add(block)
    offset, peak = checker.check(source.name)
    return StreamSummary(checker.n, offset, peak, meter.value(offset))


def loudest_excerpt(
    source: AudioSource, seconds: float, offset: Array | None = None
) -> tuple[int, int]:
    """Return first sample and length of the excerpt with the most energy; all of a short source.

    Starts are a tenth of the length apart. A DC offset [shape=(channels,)] does not count.
    """
    n = max(round(seconds * source.sr), 1)
    step = max(1, n // 10)
    total, energy = 0, 0.0
    # Energy before each possible start, and before each possible end.
    starts: list[Array] = []
    ends: list[Array] = []
    for block in source.blocks():
        y = block if offset is None else block - offset[:, None]
        power = np.square(y, dtype=np.float64).sum(axis=0)
        cumulative = np.cumsum(np.concatenate([[energy], power]))
        starts.append(cumulative[-total % step : -1 : step].copy())
        ends.append(cumulative[max(n - total, (n - total) % step) : -1 : step].copy())
        energy = float(cumulative[-1])
        total += block.shape[1]
    if total <= n:
        return 0, total
    if (total - n) % step == 0:
        ends.append(np.array([energy]))
    gained = np.concatenate(ends)
    gained -= np.concatenate(starts)[: len(gained)]
    return step * int(np.argmax(gained)), n


def extend_stream(blocks: Iterable[Array], n: int, n_predicted: int) -> Iterator[Array]:
    """Yield a stream [shape=(channels, n)] with `n` more samples before and after it.

    The `n_predicted` samples next to it continue it by linear prediction and fade out; so a clip
    that begins or ends in the middle of a sound has no edge there. Silence continues as silence.
    """
    n_predicted = min(n, n_predicted)
    held: Array | None = None  # the end of what was yielded, or what is too short to begin with
    begun = False
    for block in blocks:
        held = block if held is None else np.concatenate([held, block], axis=1)
        if not begun and held.shape[1] >= PREDICTION_CONTEXT:
            yield _lead(held, n, n_predicted)
            yield held
            begun = True
        elif begun:
            yield block
        if begun:
            held = held[:, -PREDICTION_CONTEXT:].copy()
    if held is None:
        return
    if not begun:
        yield _lead(held, n, n_predicted)
        yield held
    yield np.pad(_predict(held, n_predicted), ((0, 0), (0, n - n_predicted)))


def _lead(y: Array, n: int, n_predicted: int) -> Array:
    before = _predict(y[:, ::-1], n_predicted)
    return np.pad(before, ((0, 0), (0, n - n_predicted)))[:, ::-1]


def _predict(y: Array, n: int) -> Array:
    """Continue the end of `y` [shape=(channels, m)] by `n` samples that fade out."""
    fade = np.cos(0.5 * np.pi * (np.arange(n) + 1) / (n + 1)) ** 2
    out = np.zeros((len(y), n), np.float32)
    ends = np.array(y[:, -PREDICTION_CONTEXT:], np.float64, order="C")
    for channel, end in zip(out, ends, strict=True):
        a = _burg(end, min(PREDICTION_ORDER, len(end) - 1))
        peak = np.abs(end).max()
        channel[:] = fade * np.clip(_continue(end, a, n), -peak, peak)
    return out


def _continue(y: Array, a: Array, n: int) -> Array:
    """Return the next `n` samples of `y` that a prediction filter `a` gives.

    As `scipy.signal.lfilter` does, which takes a second to import.
    """
    order = len(a) - 1
    past = y[: -len(a) : -1]  # the last `order` samples, the latest first
    state = np.zeros(order + 1)
    for k in range(order):
        state[k] = -np.sum(a[k + 1 :] * past[: order - k])
    predicted = np.empty(n)
    for i in range(n):
        predicted[i] = state[0]
        state[:-1] = state[1:] - a[1:] * state[0]
    return predicted


def _burg(y: Array, order: int) -> Array:
    """Coefficients of a stable prediction filter [shape=(order + 1,)], by Burg's method."""
    a = np.ones(1)
    forward, backward = y[1:], y[:-1]
    for _ in range(order):
        energy = forward @ forward + backward @ backward
        k = -2 * (backward @ forward) / energy if energy > 1e-20 * len(y) else 0.0
        a = np.append(a, 0.0)
        a = a + k * a[::-1]
        forward, backward = (forward + k * backward)[1:], (backward + k * forward)[:-1]
    return a


def crop_stream(blocks: Iterable[Array], first: int, n: int) -> Iterator[Array]:
    """Yield `n` samples of a stream [shape=(channels, n)], from sample `first` on."""
    position = -first
    for block in blocks:
        kept = block[:, max(0, -position) : max(0, n - position)]
        position += block.shape[1]
        if kept.shape[1]:
            yield kept
        if position >= n:
            break


class StreamReader:
    """Reader of sections of a stream, each of which begins no earlier than the one before."""

    def __init__(self, blocks: Iterator[Array], channels: int) -> None:
        self._blocks = blocks
        self._buffer: Array = np.zeros((channels, 0), np.float32)
        self._first = 0

    def read(self, start: int, stop: int) -> Array:
        """Return the samples [shape=(channels, stop - start)]; zero outside the stream."""
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
    """Check an array [shape=(n,) or (channels, n)] as a stream, and remove its DC offset.

    The result has the shape (channels, n); `name` is used in messages.
    """
    source = ArraySource(y, sr, name)
    checker = StreamChecker(sr, source.channels)
    for block in source.blocks():
        checker.add(block)
    offset, _ = checker.check(name)
    return np.asarray(source.y - offset[:, None]) if offset.any() else source.y
