"""Levels of signals: the level of what sounds, and the gain that brings it to the analysis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ANALYSIS_LEVEL_DB = -20.0  # dBFS; every clip is brought to this level before it is analysed
BLOCK_SAMPLES = 1 << 18  # that are worked on at a time
GATE_DB = -20.0  # blocks so far below the mean are pauses, and do not count
OFFSET = 0.003  # of full scale (-50 dB): a mean above it is a fault of the recording, not sound
QUIET_PART_DB = 30.0  # more than the whole no part of a recording is raised: noise stays noise
SILENCE_DB = -90.0  # dBFS; a clip whose peak lies below is silent (one step of 16 bits)


def pieces(y: Array) -> Iterator[Array]:
    """Cut a clip into views, one after the other.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]

    Yields
    ------
    np.ndarray [shape=(channels, at most BLOCK_SAMPLES)]
    """
    for first in range(0, y.shape[-1], BLOCK_SAMPLES):
        yield y[:, first : first + BLOCK_SAMPLES]


def active_level(y: Array, sr: int) -> float:
    """RMS level of what sounds: blocks 20 dB below the mean are left out.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    sr : int, in Hz

    Returns
    -------
    float, in dBFS
        The mean is over power, in blocks of 50 ms, and over channels.
    """
    level = ActiveLevelMeter(sr)
    level.add(y)
    return level.value()


def decibels(power: float) -> float:
    """Of a power, or of the power that counts as silence.

    Parameters
    ----------
    power : float >= 0

    Returns
    -------
    float
    """
    return float(10 * np.log10(max(power, 1e-20)))


@dataclass(frozen=True, eq=False)
class GainCurve:
    """A gain over time: linear in dB between the centres of parts, constant outside them.

    Attributes
    ----------
    centres : np.ndarray [shape=(parts,), in samples]
    gains : np.ndarray [shape=(parts,), in dB]
    """

    centres: Array
    gains: Array

    @property
    def constant(self) -> float | None:
        """The gain (a factor) where it is the same throughout."""
        return float(10.0 ** (self.gains[0] / 20)) if len(self.gains) == 1 else None

    @property
    def mean_db(self) -> float:
        """Mean over time, in dB; the parts are equally long, so that it is that of their gains."""
        return float(self.gains.mean())

    def at(self, start: int, n: int) -> Array:
        """Gain of some samples.

        Parameters
        ----------
        start, n : int, in samples

        Returns
        -------
        np.ndarray [shape=(n,), float32]
            What to multiply them by.
        """
        if self.constant is not None:
            return np.full(n, self.constant, np.float32)
        gain = np.interp(np.arange(start, start + n), self.centres, self.gains)
        return np.asarray(10.0 ** (gain / 20), np.float32)


class ActiveLevelMeter:
    """The level of what sounds in a stream, and the gain that brings it to the analysis.

    An offset may be known only when the stream has ended, so that of every block the sum is kept
    beside the sum of squares.

    Parameters
    ----------
    sr : int, in Hz

    Examples
    --------
    >>> level = ActiveLevelMeter(22_050)
    >>> for block in source.blocks():
    ...     level.add(block)
    >>> gain = level.gain_curve(survey(source).offset, 30.0).at(0, 1024)
    """

    def __init__(self, sr: int) -> None:
        self._sr = sr
        self._size = max(1, sr // 20)  # 50 ms
        self._n = 0
        self._rest: Array | None = None  # of the stream, too short for a block
        self._moments: list[Array] = []  # [shape=(2, channels, k)]: sums, and sums of squares

    def add(self, block: Array) -> None:
        """Take in the next samples [shape=(channels, n)].

        Parameters
        ----------
        block : np.ndarray [shape=(channels, n)]
        """
        for piece in pieces(block):
            self._n += piece.shape[1]
            x = piece if self._rest is None else np.concatenate([self._rest, piece], axis=1)
            whole = x.shape[1] - x.shape[1] % self._size
            if whole:
                self._moments.append(_moments(x[:, :whole], self._size))
            self._rest = x[:, whole:].copy()

    def value(self, offset: Array | None = None) -> float:
        """Level so far, in dBFS, without an offset [shape=(channels,)].

        Parameters
        ----------
        offset : np.ndarray, optional

        Returns
        -------
        float
        """
        return _gated(*self._energies(offset))

    def gain_curve(self, offset: Array | None, window_seconds: float) -> GainCurve:
        """Gain that brings the stream to `ANALYSIS_LEVEL_DB`, part by part.

        Parameters
        ----------
        offset : np.ndarray [shape=(channels,)] or None
            That will be taken out of the stream.
        window_seconds : float > 0
            A clip no longer is one part, with one gain. A longer one is divided into the fewest
            equal parts that are no longer. A part that is hardly more than noise gets at most 30
            dB more than the whole would.

        Returns
        -------
        GainCurve
        """
        energy, sizes = self._energies(offset)
        whole = ANALYSIS_LEVEL_DB - _gated(energy, sizes)
        parts = min(math.ceil(self._n / (window_seconds * self._sr)), len(energy))
        if parts <= 1:
            return GainCurve(np.array([self._n / 2]), np.array([whole]))
        edges = np.round(np.arange(parts + 1) * len(energy) / parts).astype(int)
        gains = [
            min(ANALYSIS_LEVEL_DB - _gated(energy[a:b], sizes[a:b]), whole + QUIET_PART_DB)
            for a, b in itertools.pairwise(edges)
        ]
        return GainCurve((np.arange(parts) + 0.5) * self._n / parts, np.array(gains))

    def _energies(self, offset: Array | None) -> tuple[Array, Array]:
        """Energy of every block [shape=(k,)], a mean over channels, and its number of samples."""
        if self._rest is None:
            return np.zeros(0), np.zeros(0)
        moments = np.concatenate([np.zeros((2, len(self._rest), 0)), *self._moments], axis=2)
        sizes = np.full(moments.shape[2], float(self._size))
        rest = self._rest.shape[1]
        if rest:
            ends = _moments(self._rest, rest)
            if len(sizes):  # a rest is no block of its own: its level would be one of few samples
                moments[:, :, -1:] += ends
                sizes[-1] += rest
            else:
                moments, sizes = ends, np.array([float(rest)])
        sums, squares = moments
        shift = np.zeros(len(sums)) if offset is None else np.asarray(offset, np.float64)
        energy = squares - 2 * shift[:, None] * sums + shift[:, None] ** 2 * sizes
        return np.maximum(energy, 0.0).mean(axis=0), sizes


def _moments(x: Array, size: int) -> Array:
    blocks = x.reshape(len(x), -1, size)
    squares = np.square(blocks, dtype=np.float64).sum(axis=-1)
    return np.stack([blocks.sum(axis=-1, dtype=np.float64), squares])


def _gated(energy: Array, sizes: Array) -> float:
    if not len(energy):
        return decibels(0.0)
    power = energy / sizes
    active = power >= energy.sum() / sizes.sum() * 10.0 ** (GATE_DB / 10)
    return decibels(float(energy[active].sum() / sizes[active].sum()))
