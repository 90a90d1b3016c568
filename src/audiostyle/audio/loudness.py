"""Loudness after ITU-R BS.1770: measurement, and matching to a target, of streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import power_to_db, split_blocks
from audiostyle.audio.limiter import Limiter

BLOCK_SECONDS = 1 / 3  # approximately: the blocks of the meter are a power of two
LOUDNESS_TOLERANCE_DB = 0.01
MAX_GAIN_DB = 60.0
MAX_REDUCTION_DB = 3.0  # by the limiter; what exceeds full scale by more lowers the whole stream


def k_weighting(frequencies: Array) -> Array:
    """Compute the power response of the K-weighting filter of ITU-R BS.1770-4.

    The response is that of the two filters that the standard defines for 48 kHz, at `frequencies`
    [shape=(n,), Hz], and constant above 24 kHz.
    """
    z = np.exp(-2j * np.pi * np.minimum(frequencies, 24_000.0) / 48_000.0)
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    high_pass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    return np.asarray(np.abs(shelf * high_pass) ** 2)


def _bin_weights(n: int, sr: int) -> Array:
    """Weights of the power of `rfft` bins of `n` samples that sum to the K-weighted energy."""
    weights = k_weighting(np.fft.rfftfreq(n, 1 / sr)) / n
    weights[1 : (n + 1) // 2] *= 2  # a bin and its conjugate
    return weights


def _inner_product(a: Array, b: Array, weights: Array) -> Array:
    """Weighted inner product of two spectra [shape=(channels, bins)] of real signals."""
    return np.asarray((a.real * b.real + a.imag * b.imag) @ weights)


class LoudnessMeter:
    """Ungated K-weighted loudness of a stream (ITU-R BS.1770-4 without gates or channel weights).

    Blocks of about a third of a second overlap by half under sine windows, whose squares sum to
    one, so that the energy of each sample counts once; the filter is applied to their power
    spectra. Audio shorter than a block is one spectrum. There are no gates because the content and
    the result, which are compared, have their pauses in the same places.
    """

    def __init__(self, sr: int) -> None:
        self._sr = sr
        self._size = 1 << max(6, round(np.log2(sr * BLOCK_SECONDS)))
        self._window = np.sin(np.pi * (np.arange(self._size) + 0.5) / self._size)
        self._weights = _bin_weights(self._size, sr)
        self._ones = np.fft.rfft(self._window)[None]  # spectrum of a block of an offset of 1
        self._n = 0
        self._blocks = 0
        self._energy: Array | float = 0.0  # [shape=(channels,)]
        self._cross: Array | float = 0.0  # the same of the blocks times `_ones`
        self._head: Array | None = None  # first half block, which is in one block only
        self._tail: Array | None = None  # samples that are not in all their blocks yet

    def add(self, block: Array) -> None:
        """Add the next samples [shape=(channels, n)]."""
        hop = self._size // 2
        for part in split_blocks(block):
            self._n += part.shape[1]
            x = part if self._tail is None else np.concatenate([self._tail, part], axis=1)
            first = 0
            while first + self._size <= x.shape[1]:
                if self._head is None:
                    self._head = x[:, :hop].copy()
                spectrum = np.fft.rfft(x[:, first : first + self._size] * self._window)
                self._energy += _inner_product(spectrum, spectrum, self._weights)
                self._cross += _inner_product(spectrum, self._ones, self._weights)
                self._blocks += 1
                first += hop
            self._tail = x[:, first:].copy()

    def value(self, offset: Array | None = None) -> float:
        """Return the loudness in LUFS, without a DC offset [shape=(channels,)]."""
        energy = 0.0 if self._tail is None else float(self._total(self._tail, offset).sum())
        return -0.691 + power_to_db(energy / max(self._n, 1))

    def _total(self, tail: Array, offset: Array | None) -> Array:
        """Return the energy [shape=(channels,)] of all samples, including those at both ends."""
        shift = np.zeros(len(tail)) if offset is None else np.asarray(offset, np.float64)
        tail = tail - shift[:, None]
        if self._head is None:
            spectrum = np.fft.rfft(tail)
            return _inner_product(spectrum, spectrum, _bin_weights(max(self._n, 1), self._sr))
        hop = self._size // 2
        ends = np.pad(tail, ((0, 0), (0, self._size + hop - tail.shape[1])))
        total = (
            self._energy
            - 2 * shift * self._cross
            + shift**2 * self._blocks * _inner_product(self._ones, self._ones, self._weights)
        )
        for block in (
            np.pad(self._head - shift[:, None], ((0, 0), (hop, 0))),
            ends[:, : self._size],
            ends[:, hop:],
        ):
            spectrum = np.fft.rfft(block * self._window)
            total = total + _inner_product(spectrum, spectrum, self._weights)
        return np.asarray(total)


def loudness(y: Array, sr: int) -> float:
    """Compute the loudness of `y` [shape=(channels, n)] in LUFS; see `LoudnessMeter`."""
    meter = LoudnessMeter(sr)
    meter.add(y)
    return meter.value()


@dataclass(frozen=True)
class LoudnessMatchedStream:
    """A stream with its gain and limiter."""

    source: Callable[[], Iterator[Array]]  # yields the original stream from the beginning
    sr: int  # Hz
    gain: float  # dB, after it was lowered
    lowered: float  # dB below the target loudness, so that the limiter has little to do
    reduction: float  # largest reduction by the limiter in dB; 0 if nothing is limited

    def blocks(self) -> Iterator[Array]:
        """Yield the stream at its new loudness [shape=(channels, n)], from the beginning."""
        amplified = _amplify(self.source(), self.gain)
        return Limiter(self.sr).run(amplified) if self.reduction > 0 else amplified


def match_loudness_stream(
    blocks: Callable[[], Iterator[Array]],
    sr: int,
    loudness: float,
    peak: float,
    target: float,
    ceiling: float = 1.0,
) -> LoudnessMatchedStream:
    """Bring a stream to a target loudness, with peaks at most at a ceiling.

    A limiter takes at most `MAX_REDUCTION_DB` off the peaks; where that is too little, the whole
    stream stays below the target. What the limiter takes is not made up for.

    Each call of `blocks` yields the stream [shape=(channels, n)] from the beginning; `loudness` and
    `target` are in LUFS, and `peak` is the largest absolute sample of the stream.
    """
    missing = target - loudness
    gain = float(np.clip(missing, -MAX_GAIN_DB, MAX_GAIN_DB))
    if abs(missing) < LOUDNESS_TOLERANCE_DB:
        gain = 0.0
    highest = peak * float(_gain_factor(gain))
    over = 20 * np.log10(highest / ceiling) if highest > ceiling else 0.0
    reduction = min(over, MAX_REDUCTION_DB)
    lowered = over - reduction
    return LoudnessMatchedStream(blocks, sr, gain - lowered, lowered, reduction)


def _gain_factor(gain: float) -> Any:
    return np.float32(10.0 ** (gain / 20))


def _amplify(blocks: Iterator[Array], gain: float) -> Iterator[Array]:
    return blocks if gain == 0.0 else (block * _gain_factor(gain) for block in blocks)
