"""Peaks held to full scale, in streams of blocks, by a limiter that looks ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Limiter:
    """Turns peaks of a stream down smoothly so that no sample exceeds the ceiling.

    Parameters
    ----------
    sr : int, in Hz
    ceiling : float > 0
        Largest absolute sample.
    lookahead : float > 0, in seconds
        The gain falls this long before a peak and recovers as long after it.
    """

    def __init__(self, sr: int, ceiling: float = 1.0, lookahead: float = 0.005) -> None:
        self._ceiling = ceiling
        self._radius = max(1, int(lookahead * sr))
        kernel = np.hanning(2 * self._radius + 3)[1:-1]
        self._kernel = kernel / kernel.sum()
        # Before the beginning nothing is needed; what is held there is what is held first.
        self._needed = np.full(self._radius, np.inf)
        self._held: Array | None = None
        self._waiting: Array | None = None
        self._lowest = 1.0

    @property
    def reduction(self) -> float:
        """Largest reduction so far, in dB."""
        return float(20 * np.log10(1 / self._lowest))

    def process(self, block: Array) -> Array:
        """Take in the next samples, and give those whose gain is known by now.

        Parameters
        ----------
        block : np.ndarray [shape=(channels, n)]

        Returns
        -------
        np.ndarray [shape=(channels, m)]
            Twice the lookahead late; `m` may be 0.
        """
        if self._waiting is None:
            self._waiting = block
        else:
            self._waiting = np.concatenate([self._waiting, block], axis=1)
        peak = np.abs(block).max(axis=0, initial=0.0)
        return self._emit(self._hold(np.minimum(1.0, self._ceiling / np.maximum(peak, 1e-12))))

    def flush(self) -> Array:
        """Give the samples that are left [shape=(channels, m)]; the stream has ended.

        Returns
        -------
        np.ndarray
        """
        if self._waiting is None:
            return np.zeros((0, 0), np.float32)
        held = self._hold(np.full(self._radius, np.inf))
        last = held[-1:] if len(held) or self._held is None else self._held[-1:]
        return self._emit(np.concatenate([held, np.repeat(last, self._radius)]))

    def run(self, blocks: Iterator[Array]) -> Iterator[Array]:
        """Limit all of a stream.

        Parameters
        ----------
        blocks : iterator of np.ndarray

        Yields
        ------
        np.ndarray
        """
        for block in blocks:
            if (limited := self.process(block)).size:
                yield limited
        if (limited := self.flush()).size:
            yield limited

    def _hold(self, needed: Array) -> Array:
        """Lowest gain that is needed within the lookahead, as far as it is known."""
        radius = self._radius
        x = np.concatenate([self._needed, needed])
        self._needed = x[-2 * radius :]
        if len(x) <= 2 * radius:
            return np.zeros(0)
        if x.min() >= 1.0:
            return np.ones(len(x) - 2 * radius)
        return _sliding_minimum(x, 2 * radius + 1)[radius:-radius]

    def _emit(self, held: Array) -> Array:
        """Smooth the gain, and apply it to the samples for which it is known."""
        radius = self._radius
        assert self._waiting is not None
        if self._held is None:
            self._held = np.repeat(held[:1], radius)
        x = np.concatenate([self._held, held])
        n = max(len(x) - 2 * radius, 0)
        ready, self._waiting = self._waiting[:, :n], self._waiting[:, n:].copy()
        self._held = x[-2 * radius :] if len(x) else None
        if n == 0 or x.min() >= 1.0:
            return ready
        # The minimum over 2r+1 samples, then a mean over as many, never exceeds what is needed.
        gain = np.convolve(x, self._kernel, mode="valid")
        self._lowest = min(self._lowest, float(gain.min()))
        limited = np.clip(ready * gain, -self._ceiling, self._ceiling)  # rounding only
        return np.asarray(limited.astype(ready.dtype))


def _sliding_minimum(x: Array, size: int) -> Array:
    """Centred minimum over an odd number of samples, in linear time (van Herk 1992)."""
    radius = size // 2
    n = len(x)
    padded = np.full(-(-(n + 2 * radius) // size) * size, np.inf)
    padded[radius : radius + n] = x
    blocks = padded.reshape(-1, size)
    prefix = np.minimum.accumulate(blocks, axis=1).ravel()
    suffix = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.asarray(np.minimum(suffix[:n], prefix[2 * radius : 2 * radius + n]))
