"""What is silent or quiet in the content stays so: mutes, and channels with little but noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import GainCurve

SILENCE_SECONDS = 0.02  # a shorter run of zeros is part of a sound
RAMP_SECONDS = 0.001  # at either end of a silence, within the sound
BALANCE_SECONDS = 0.5  # between the gains of a channel, each of which is measured over three times
MAX_CHANNEL_GAIN_DB = 3.0  # of a channel above that of all channels together
TINY_POWER = 1e-11  # -110 dBFS


def with_context(blocks: Iterable[Array], radius: int) -> Iterator[tuple[Array, int, int]]:
    """Yield ``(y, first, stop)``: ``y[:, first:stop]`` are the parts of a stream, in order.

    Around them, `y` holds at least `radius` samples of the stream, fewer only at its ends.
    """
    held: Array | None = None
    first = 0
    for block in blocks:
        held = block if held is None else np.concatenate([held, block], axis=1)
        stop = held.shape[1] - radius
        if stop > first:
            yield held, first, stop
            dropped = max(0, stop - radius)
            held, first = held[:, dropped:].copy(), stop - dropped
    if held is not None:
        yield held, first, held.shape[1]


def sound_masks(blocks: Iterable[Array], sr: int) -> Iterator[tuple[Array, Array]]:
    """Yield a stream and its mask [shape=(channels, n)]: 0 in digital silence, 1 in sound."""
    half, ramp = max(1, int(SILENCE_SECONDS * sr / 2)), max(1, int(RAMP_SECONDS * sr))
    for y, first, stop in with_context(blocks, 2 * (half + ramp)):
        yield y[:, first:stop], _sound_mask(y, half, ramp)[:, first:stop]


def _sound_mask(y: Array, half: int, ramp: int) -> Array:
    silent = np.asarray(y == 0, np.uint8)
    if not silent.any():
        return np.ones(y.shape, np.float32)
    from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

    centres = minimum_filter1d(silent, 2 * half + 1, mode="nearest")
    near = maximum_filter1d(centres, 2 * (half + ramp) + 1, mode="nearest")
    mask = uniform_filter1d(1 - near.astype(np.float32), 2 * ramp + 1, mode="nearest")
    # Running sums leave rounding errors, and silence is exactly that.
    mask[maximum_filter1d(centres, 2 * half + 1, mode="nearest") > 0] = 0
    return np.asarray(mask)


class ChannelBalance:
    """Measures the gain of each channel over time, and finds where one is raised above all."""

    def __init__(self, sr: int) -> None:
        self._hop = max(1, round(BALANCE_SECONDS * sr))
        self._n = 0
        self._energies: list[Array] = []  # [shape=(2, channels)] of each hop, before and after

    def add(self, before: Array, after: Array) -> None:
        """Add the next samples [shape=(channels, n)]."""
        n = before.shape[1]
        if not n:
            return
        missing = -self._n % self._hop
        starts = np.r_[0, np.arange(missing or self._hop, n, self._hop)]
        squares = np.square(np.stack([before, after]), dtype=np.float64)
        energies = list(np.moveaxis(np.add.reduceat(squares, starts, axis=2), 2, 0))
        if missing:
            self._energies[-1] = self._energies[-1] + energies.pop(0)
        self._energies += energies
        self._n += n

    def curves(self) -> list[GainCurve] | None:
        """Return for each channel the gain that restores the balance; None if none is needed."""
        if not self._energies:
            return None
        from scipy.ndimage import uniform_filter1d

        energies = uniform_filter1d(np.stack(self._energies, axis=-1), 3, mode="nearest")
        energies = np.maximum(energies, 0.0) + TINY_POWER * self._hop
        before, after = 10 * np.log10(energies)
        all_before, all_after = 10 * np.log10(energies.sum(axis=1))
        excess = (after - before) - (all_after - all_before) - MAX_CHANNEL_GAIN_DB
        if excess.max() <= 0:
            return None
        centres = (np.arange(len(self._energies)) + 0.5) * self._hop
        return [GainCurve(centres, -np.maximum(channel, 0.0)) for channel in excess]


def balance(blocks: Iterable[Array], curves: list[GainCurve]) -> Iterator[Array]:
    """Yield a stream [shape=(channels, n)] with the gain of each channel."""
    first = 0
    for block in blocks:
        n = block.shape[1]
        yield block * np.stack([curve.at(first, n) for curve in curves])
        first += n
