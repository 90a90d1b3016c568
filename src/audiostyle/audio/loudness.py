"""Loudness: measured, and matched, in streams of blocks; `audiostyle.audio.limiter` holds the peaks.

Each law is written once, for a stream; the functions of whole clips run their clip through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio.level import decibels, pieces
from audiostyle.audio.limiter import Limiter

Array = npt.NDArray[Any]

BLOCK_SECONDS = 1 / 3  # about: the blocks of the meter are a power of two
LOUDNESS_PASSES = 4
LOUDNESS_TOLERANCE_DB = 0.01
MAX_GAIN_DB = 60.0


def k_weighting(frequencies: Array) -> Array:
    """Power response of the K-weighting filter of ITU-R BS.1770-4.

    Parameters
    ----------
    frequencies : np.ndarray [shape=(n,), Hz]

    Returns
    -------
    np.ndarray [shape=(n,), non-negative]
        Of the two filters that the standard gives for 48 kHz, held constant above 24 kHz.
    """
    z = np.exp(-2j * np.pi * np.minimum(frequencies, 24_000.0) / 48_000.0)
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    high_pass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    return np.asarray(np.abs(shelf * high_pass) ** 2)


def _parseval(n: int, sr: int) -> Array:
    """Weights of the bins of a real spectrum of `n` samples that sum it up to K-weighted energy."""
    weights = k_weighting(np.fft.rfftfreq(n, 1 / sr)) / n
    weights[1 : (n + 1) // 2] *= 2  # a bin and its conjugate
    return weights


def _product(a: Array, b: Array, weights: Array) -> Array:
    """Sum over the bins of two spectra [shape=(channels, bins)] by Parseval's theorem."""
    return np.asarray((a.real * b.real + a.imag * b.imag) @ weights)


class LoudnessMeter:
    """Ungated K-weighted loudness (ITU-R BS.1770-4 without gates and channel weights) of a stream.

    Blocks of about a third of a second overlap by half under sine windows, whose squares sum to
    one, so that each sample's energy counts once; the filter is applied to their power spectra. A
    clip shorter than a block is one spectrum. The gates are left out because content and result,
    which are compared, have their pauses in the same places.

    Parameters
    ----------
    sr : int, in Hz
    """

    def __init__(self, sr: int) -> None:
        self._sr = sr
        self._size = 1 << max(6, round(np.log2(sr * BLOCK_SECONDS)))
        self._window = np.sin(np.pi * (np.arange(self._size) + 0.5) / self._size)
        self._weights = _parseval(self._size, sr)
        self._ones = np.fft.rfft(self._window)[None]  # what an offset of 1 adds to a block
        self._n = 0
        self._blocks = 0
        self._energy: Array | float = 0.0  # [shape=(channels,)]
        self._cross: Array | float = 0.0  # the same of the blocks times `_ones`
        self._head: Array | None = None  # first half block, which only one block holds so far
        self._tail: Array | None = None  # samples that not all their blocks hold

    def add(self, block: Array) -> None:
        """Take in the next samples [shape=(channels, n)].

        Parameters
        ----------
        block : np.ndarray [shape=(channels, n)]
        """
        hop = self._size // 2
        for piece in pieces(block):
            self._n += piece.shape[1]
            x = piece if self._tail is None else np.concatenate([self._tail, piece], axis=1)
            first = 0
            while first + self._size <= x.shape[1]:
                if self._head is None:
                    self._head = x[:, :hop].copy()
                spectrum = self._spectrum(x[:, first : first + self._size])
                self._energy += _product(spectrum, spectrum, self._weights)
                self._cross += _product(spectrum, self._ones, self._weights)
                self._blocks += 1
                first += hop
            self._tail = x[:, first:].copy()

    def value(self, offset: Array | None = None) -> float:
        """Loudness so far.

        Parameters
        ----------
        offset : np.ndarray [shape=(channels,)], optional
            The loudness is that of the stream without it.

        Returns
        -------
        float, in LUFS
        """
        energy = 0.0 if self._tail is None else float(self._total(self._tail, offset).sum())
        return -0.691 + decibels(energy / max(self._n, 1))

    def _spectrum(self, x: Array) -> Array:
        return np.asarray(np.fft.rfft(x * self._window))

    def _total(self, tail: Array, offset: Array | None) -> Array:
        """Energy [shape=(channels,)] of all samples, those at both ends included."""
        shift = np.zeros(len(tail)) if offset is None else np.asarray(offset, np.float64)
        tail = tail - shift[:, None]
        if self._head is None:
            spectrum = np.fft.rfft(tail)
            return _product(spectrum, spectrum, _parseval(max(self._n, 1), self._sr))
        hop = self._size // 2
        ends = np.pad(tail, ((0, 0), (0, self._size + hop - tail.shape[1])))
        total = (
            self._energy
            - 2 * shift * self._cross
            + shift**2 * self._blocks * _product(self._ones, self._ones, self._weights)
        )
        for block in (
            np.pad(self._head - shift[:, None], ((0, 0), (hop, 0))),
            ends[:, : self._size],
            ends[:, hop:],
        ):
            spectrum = self._spectrum(block)
            total = total + _product(spectrum, spectrum, self._weights)
        return np.asarray(total)


def loudness(y: Array, sr: int) -> float:
    """Loudness of a whole clip, as `LoudnessMeter` measures it.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    sr : int, in Hz

    Returns
    -------
    float, in LUFS
    """
    meter = LoudnessMeter(sr)
    meter.add(y)
    return meter.value()


@dataclass(frozen=True)
class LoudnessMatchedStream:
    """A stream at its new loudness.

    Attributes
    ----------
    source : callable
        Gives the stream as it was, from the beginning.
    sr : int, in Hz
    gain : float, in dB
    reduction : float, in dB
        Largest reduction by the limiter; 0 where no peak is too high.
    """

    source: Callable[[], Iterator[Array]]
    sr: int
    gain: float
    reduction: float

    def blocks(self) -> Iterator[Array]:
        """Give the finished stream [shape=(channels, n)], from the beginning on each call.

        Returns
        -------
        iterator of np.ndarray
        """
        louder = _amplified(self.source(), self.gain)
        return Limiter(self.sr).run(louder) if self.reduction > 0 else louder


def match_loudness_stream(
    blocks: Callable[[], Iterator[Array]], sr: int, loudness: float, peak: float, target: float
) -> LoudnessMatchedStream:
    """Bring a stream to a loudness, with its peaks limited to full scale.

    Limiting takes loudness away, so what it took is added once more, a few times over; a stream
    with extreme peaks ends a little below the target. Where nothing is limited, nothing is read.

    Parameters
    ----------
    blocks : callable
        Gives the stream [shape=(channels, n)] from the beginning, on each call.
    sr : int, in Hz
    loudness : float, in LUFS
        Of the stream.
    peak : float
        Its largest absolute sample.
    target : float, in LUFS

    Returns
    -------
    Matched
    """
    missing = target - loudness
    gain = 0.0 if abs(missing) < LOUDNESS_TOLERANCE_DB else _clipped(missing)
    reduction = 0.0
    for i in range(LOUDNESS_PASSES):
        if peak * float(_factor(gain)) <= 1.0:
            reduction = 0.0
            break
        meter, limiter = LoudnessMeter(sr), Limiter(sr)
        for block in limiter.run(_amplified(blocks(), gain)):
            meter.add(block)
        reduction = limiter.reduction
        missing = target - meter.value()
        # What was loud enough is limited, and no more.
        if gain == 0.0 or abs(missing) < LOUDNESS_TOLERANCE_DB or i == LOUDNESS_PASSES - 1:
            break
        gain = _clipped(gain + missing)
    return LoudnessMatchedStream(blocks, sr, gain, reduction)


def _clipped(gain: float) -> float:
    return min(max(gain, -MAX_GAIN_DB), MAX_GAIN_DB)


def _factor(gain: float) -> Any:
    return np.float32(10.0 ** (gain / 20))


def _amplified(blocks: Iterator[Array], gain: float) -> Iterator[Array]:
    return blocks if gain == 0.0 else (block * _factor(gain) for block in blocks)


def match_loudness(y: Array, sr: int, target: float) -> tuple[Array, float, float]:
    """Bring a whole clip to a loudness; see `match_loudness_stream`.

    Parameters
    ----------
    y : np.ndarray [shape=(channels, n)]
    sr : int, in Hz
    target : float, in LUFS

    Returns
    -------
    y : np.ndarray [shape=(channels, n)]
        The input itself where nothing is changed.
    gain : float, in dB
    reduction : float, in dB
        Largest reduction by the limiter.
    """
    matched = match_loudness_stream(
        lambda: pieces(y), sr, loudness(y, sr), float(np.abs(y).max()), target
    )
    if matched.gain == 0.0 and matched.reduction == 0.0:
        return y, 0.0, 0.0
    return np.concatenate(list(matched.blocks()), axis=1), matched.gain, matched.reduction
