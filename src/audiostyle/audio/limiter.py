"""Look-ahead peak limiter for audio streams."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from audiostyle.arrays import Array


class Limiter:
    """Reduces peaks of a stream smoothly, so that no sample exceeds the ceiling.

    The gain falls during `lookahead` seconds before a peak, and recovers in the same time after it.
    """

    def __init__(self, sr: int, ceiling: float = 1.0, lookahead: float = 0.005) -> None:
        self._ceiling = ceiling
        self._radius = max(1, int(lookahead * sr))
        kernel = np.hanning(2 * self._radius + 3)[1:-1]
        self._kernel = kernel / kernel.sum()
        self._needed = np.full(self._radius, np.inf)  # nothing is limited before the beginning
        self._held: Array | None = None
        self._waiting: Array | None = None
        self._lowest = 1.0

    @property
    def reduction(self) -> float:
        """Largest reduction up to now, in dB."""
        return float(20 * np.log10(1 / self._lowest))

    def run(self, blocks: Iterator[Array]) -> Iterator[Array]:
        """Limit a whole stream of blocks [shape=(channels, n)], delayed by twice the lookahead."""
        for block in blocks:
            waiting = block[:, :0] if self._waiting is None else self._waiting
            self._waiting = np.concatenate([waiting, block], axis=1)
            peak = np.abs(block).max(axis=0, initial=0.0)
            held = self._hold(np.minimum(1.0, self._ceiling / np.maximum(peak, 1e-12)))
            if (limited := self._emit(held)).size:
                yield limited
        if self._waiting is not None:
            held = self._hold(np.full(self._radius, np.inf))
            last = held[-1:] if len(held) or self._held is None else self._held[-1:]
            yield self._emit(np.concatenate([held, np.repeat(last, self._radius)]))

    def _hold(self, needed: Array) -> Array:
        """Return the lowest gain that is needed within the lookahead, where it is known."""
        radius = self._radius
        x = np.concatenate([self._needed, needed])
        self._needed = x[-2 * radius :]
        if len(x) <= 2 * radius:
            return np.zeros(0)
        if x.min() >= 1.0:
            return np.ones(len(x) - 2 * radius)
        # Imported only if audio exceeds the ceiling, which is rare.
        from scipy.ndimage import minimum_filter1d

        return np.asarray(minimum_filter1d(x, 2 * radius + 1))[radius:-radius]

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
        # The minimum over 2r+1 samples, averaged over as many, never exceeds the gain needed.
        gain = np.convolve(x, self._kernel, mode="valid")
        self._lowest = min(self._lowest, float(gain.min()))
        limited = np.clip(ready * gain, -self._ceiling, self._ceiling)  # rounding only
        return np.asarray(limited.astype(ready.dtype))
