"""Levels of audio signals: active level, and the gain that normalises it for analysis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from audiostyle.arrays import Array

ANALYSIS_LEVEL_DB = -20.0  # dBFS; all audio is brought to this level before analysis
BLOCK_SAMPLES = 1 << 18  # processed at a time
GATE_DB = -20.0  # blocks further below the mean are pauses, and are left out
OFFSET_THRESHOLD = 0.003  # of full scale (-50 dB): a larger mean is a DC offset, not sound
QUIET_PART_DB = 30.0  # maximum gain of a part above that of the whole: noise stays noise
CANCELLATION_DB = 10.0  # channels whose mean is further below their own power cancel
SILENCE_DB = -90.0  # dBFS; audio with a lower peak is silent (one step of 16 bits)


def split_blocks(y: Array) -> Iterator[Array]:
    """Split audio [shape=(channels, n)] into views of at most `BLOCK_SAMPLES` samples."""
    for first in range(0, y.shape[-1], BLOCK_SAMPLES):
        yield y[:, first : first + BLOCK_SAMPLES]


def to_mono(y: Array) -> Array:
    """Reduce a clip [shape=(n,) or (channels, n)] to one channel [shape=(n,), float32].

    That is the mean of the channels, unless they cancel (as ``L = -R`` does): then it is the one
    with the most power.
    """
    y = np.asarray(y, np.float32)
    if y.ndim == 1 or len(y) == 1:
        return np.asarray(y.reshape(-1))
    mono = np.asarray(y.mean(axis=0))
    power = np.var(y, axis=1, dtype=np.float64)
    if np.var(mono, dtype=np.float64) < power.mean() * 10 ** (-CANCELLATION_DB / 10):
        return np.asarray(y[np.argmax(power)])
    return mono


def active_level(y: Array, sr: int) -> float:
    """Compute the RMS level of `y` [shape=(channels, n)] in dBFS; see `ActiveLevelMeter`."""
    meter = ActiveLevelMeter(sr)
    meter.add(y)
    return meter.value()


def power_to_db(power: float) -> float:
    """Convert a power to dB; silence is -200 dB."""
    return float(10 * np.log10(max(power, 1e-20)))


@dataclass(frozen=True, eq=False)
class GainCurve:
    """A gain over time: linear in dB between the centres of equal parts, constant outside them."""

    centres: Array  # [shape=(parts,), in samples]
    gains: Array  # [shape=(parts,), in dB]

    def at(self, start: int, n: int) -> Array:
        """Return the factors [shape=(n,), float32] for `n` samples from `start`."""
        if len(self.gains) == 1:
            return np.full(n, 10.0 ** (self.gains[0] / 20), np.float32)
        gain = np.interp(np.arange(start, start + n), self.centres, self.gains)
        return np.asarray(10.0 ** (gain / 20), np.float32)


class ActiveLevelMeter:
    """RMS level of a stream without pauses, over blocks of 50 ms.

    Blocks 20 dB below the mean power are left out. Channels are averaged. A DC offset may be known
    only at the end of the stream, so the sums of the blocks are kept next to their sums of squares.

    Examples
    --------
    >>> meter = ActiveLevelMeter(22_050)
    >>> for block in source.blocks():
    ...     meter.add(block)
    >>> gain = meter.gain_curve(summarize_stream(source).offset, 30.0).at(0, 1024)
    """

    def __init__(self, sr: int) -> None:
        self._sr = sr
        self._size = max(1, sr // 20)  # 50 ms
        self._n = 0
        self._rest: Array | None = None  # samples that do not fill a block yet
        self._moments: list[Array] = []  # [shape=(2, channels, k)]: sums, and sums of squares

    def add(self, block: Array) -> None:
        """Add the next samples [shape=(channels, n)]."""
        for part in split_blocks(block):
            self._n += part.shape[1]
            x = part if self._rest is None else np.concatenate([self._rest, part], axis=1)
            whole = x.shape[1] - x.shape[1] % self._size
            if whole:
                self._moments.append(_moments(x[:, :whole], self._size))
            self._rest = x[:, whole:].copy()

    def value(self, offset: Array | None = None) -> float:
        """Return the level in dBFS, without a DC offset [shape=(channels,)]."""
        return _gated_level(*self._energies(offset))

    def gain_curve(self, offset: Array | None, window_seconds: float) -> GainCurve:
        """Compute the gain that brings the stream to `ANALYSIS_LEVEL_DB`, part by part.

        The stream is divided into the fewest equal parts of at most `window_seconds`. A part of
        little more than noise gets at most `QUIET_PART_DB` more gain than the whole would. `offset`
        [shape=(channels,)] is the DC offset that will be removed from the stream.
        """
        energy, sizes = self._energies(offset)
        whole = ANALYSIS_LEVEL_DB - _gated_level(energy, sizes)
        parts = min(math.ceil(self._n / (window_seconds * self._sr)), len(energy))
        if parts <= 1:
            return GainCurve(np.array([self._n / 2]), np.array([whole]))
        edges = np.round(np.arange(parts + 1) * len(energy) / parts).astype(int)
        gains = [
            min(ANALYSIS_LEVEL_DB - _gated_level(energy[a:b], sizes[a:b]), whole + QUIET_PART_DB)
            for a, b in itertools.pairwise(edges)
        ]
        return GainCurve((np.arange(parts) + 0.5) * self._n / parts, np.array(gains))

    def _energies(self, offset: Array | None) -> tuple[Array, Array]:
        """Return energies [shape=(k,)], averaged over channels, and sizes of all blocks."""
        if self._rest is None:
            return np.zeros(0), np.zeros(0)
        moments = np.concatenate([np.zeros((2, len(self._rest), 0)), *self._moments], axis=2)
        sizes = np.full(moments.shape[2], float(self._size))
        rest = self._rest.shape[1]
        if rest:
            ends = _moments(self._rest, rest)
            if len(sizes):  # too few samples for a separate level: they join the last block
                moments[:, :, -1:] += ends
                sizes[-1] += rest
            else:
                moments, sizes = ends, np.array([float(rest)])
        sums, squares = moments
        shift = np.zeros(len(sums)) if offset is None else np.asarray(offset, np.float64)
        energy = squares - 2 * shift[:, None] * sums + shift[:, None] ** 2 * sizes
        return np.maximum(energy, 0.0).mean(axis=0), sizes


def _moments(x: Array, size: int) -> Array:
    """Compute sums and sums of squares [shape=(2, channels, k)] of blocks of `size` samples."""
    blocks = x.reshape(len(x), -1, size)
    squares = np.square(blocks, dtype=np.float64).sum(axis=-1)
    return np.stack([blocks.sum(axis=-1, dtype=np.float64), squares])


def _gated_level(energy: Array, sizes: Array) -> float:
    if not len(energy):
        return power_to_db(0.0)
    power = energy / sizes
    active = power >= energy.sum() / sizes.sum() * 10.0 ** (GATE_DB / 10)
    return power_to_db(float(energy[active].sum() / sizes[active].sum()))
