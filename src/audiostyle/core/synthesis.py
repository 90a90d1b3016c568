"""From a stylised spectrogram back to sound, without giving up what the content has.

The spectrogram is mono, 22,050 Hz and 256 bands; the content is what it is. So nothing is
synthesised from the spectrogram alone. It says how loud each band shall be in each frame; what is
played stays the content's: its partials, its phase, its channels, its rate and its length.

Everything works on pieces as they come, in memory that does not depend on the length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio.resampling import resample_stream
from audiostyle.audio.streams import StreamReader
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.segmentation import fade_in

Array = npt.NDArray[Any]

TOP_GAIN_LIMITS_DB = (-30.0, 12.0)  # of what lies above the analysed range
TOP_GAIN_FRAMES = 9  # over which that gain is smoothed
TINY_POWER = 1e-5  # of a frame's top octave; music at the level of the analysis has 1 to 1e5
CONTEXT_FRAMES = 64  # inverted beyond what is used, so that neighbouring pieces find one phase
FADE_FRAMES = 8  # from a piece to the next


@dataclass
class SpectrogramSegment:
    """Frames that follow those of the piece before.

    Attributes
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
        How loud each band shall be.
    D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
        Its magnitude is the fine structure that is kept, its phase the first phase.
    content_power : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
        Of the content itself.
    last : bool
    """

    S: Array
    D: Array
    content_power: Array
    last: bool


class Synthesizer:
    """Turns pieces of a stylised spectrogram into sound.

    Parameters
    ----------
    recording : Recording
        The content.
    config : TransferConfig
    """

    def __init__(self, recording: NormalizedStream, config: TransferConfig) -> None:
        self._recording = recording
        self._config = config
        self._inverter = StreamingInverter(recording.n_work, config)

    @property
    def convergence(self) -> float:
        """Spectral convergence of the inversion so far, in dB; lower is better."""
        return self._inverter.convergence

    def blocks(self, pieces: Iterator[SpectrogramSegment], listener: Any = None) -> Iterator[Array]:
        """Render; a piece is taken when its sound is wanted.

        Parameters
        ----------
        pieces : iterator of Piece
            Which cover the recording.
        listener : callable, optional
            Gets every block at ``config.sr`` and at the level of the analysis.

        Yields
        ------
        np.ndarray [shape=(channels, n), float32]
            At the content's own rate, as long as the content in all. Where nothing changed the
            content comes back sample for sample: what changed is resampled and added. What the
            content has above the analysed range follows the gain of the octave below it; plain
            Griffin-Lim, which starts from nothing, has no such range to keep.
        """
        recording, config = self._recording, self._config
        channels, kept = recording.channels, config.inversion == "content"
        above = kept and recording.sr > config.sr
        changes = resample_stream(
            self._changes(pieces, listener, kept, above),
            config.sr,
            recording.sr,
            2 * channels if above else channels,
        )
        reader = StreamReader(changes, 2 * channels if above else channels)
        first = 0
        for content in recording.blocks():
            n = content.shape[1]
            change = reader.read(first, first + n)
            y = content + change[:channels] if kept else change
            if above:
                gain = self._inverter.top_gain(first / recording.sr, n, recording.sr)
                y = y + (gain - 1) * (content - change[channels:])
            first += n
            yield np.asarray(y, np.float32)

    def _changes(
        self, pieces: Iterator[SpectrogramSegment], listener: Any, kept: bool, above: bool
    ) -> Iterator[Array]:
        """Give what is added to the content, and what of the content was analysed, at its level."""
        recording = self._recording
        reader = StreamReader(recording.levelled(), recording.channels)
        first = 0
        for styled in self._inverter.run(pieces):
            n = styled.shape[1]
            if listener is not None:
                listener(styled)
            gain = recording.gain.at(first, n)
            y = reader.read(first, first + n) if kept else np.float32(0)
            change = (styled - y) / gain
            first += n
            yield np.concatenate([change, y / gain]) if above else change


class StreamingInverter:
    """Griffin-Lim over pieces of a spectrogram, each with some of its neighbours around it.

    Parameters
    ----------
    n_work : int, in samples
        How long the sound is in all.
    config : TransferConfig
    """

    def __init__(self, n_work: int, config: TransferConfig) -> None:
        self._n_work = n_work
        self._config = config
        self._rng = np.random.default_rng(config.seed)
        self._first = 0  # frame of the buffers
        self._emitted = 0  # frames
        self._magnitude: Array | None = None
        self._phase: Array | None = None
        self._tail: Array | None = None
        self._top: Array = np.zeros(0)  # gain of the top octave, dB a frame
        self._error = self._energy = 0.0

    @property
    def convergence(self) -> float:
        """See `Renderer.convergence`."""
        return 10 * float(np.log10(max(self._error, 1e-30) / max(self._energy, 1e-30)))

    def run(self, pieces: Iterator[SpectrogramSegment]) -> Iterator[Array]:
        """Invert.

        Parameters
        ----------
        pieces : iterator of Piece

        Yields
        ------
        np.ndarray [shape=(channels, n)]
            At ``config.sr`` and at the level of the analysis.
        """
        for piece in pieces:
            self._take(piece)
            y = self._emit(piece.last)
            if y.shape[1]:
                yield y

    def top_gain(self, start: float, n: int, sr: int) -> Array:
        """Gain of what lies above the analysed range: that of its top octave, frame by frame.

        Parameters
        ----------
        start : float, in seconds
        n : int, in samples
        sr : int, in Hz

        Returns
        -------
        np.ndarray [shape=(n,), float32]
        """
        frame_rate = self._config.sr / self._config.hop_length
        radius = TOP_GAIN_FRAMES // 2
        low = int(start * frame_rate)
        high = int((start + n / sr) * frame_rate) + 2
        index = np.clip(np.arange(low - radius, high + radius + 1), 0, len(self._top) - 1)
        kernel = np.ones(TOP_GAIN_FRAMES) / TOP_GAIN_FRAMES
        gain = np.clip(np.convolve(self._top[index], kernel, mode="valid"), *TOP_GAIN_LIMITS_DB)
        position = (start + np.arange(n) / sr) * frame_rate - low
        linear = np.interp(position, np.arange(len(gain)), 10.0 ** (gain / 20))
        return np.asarray(linear, np.float32)

    def _take(self, piece: SpectrogramSegment) -> None:
        """Fit the power of the bins to a piece, and append it to what waits to be inverted."""
        config = self._config
        if config.inversion == "content":
            power = spectrogram.channel_power(piece.D)
            fitted = spectrogram.fit_power(piece.S, power, config)
            magnitude = np.abs(piece.D) * np.sqrt(fitted / np.maximum(power, 1e-20))
            phase = spectrogram.unit_phase(piece.D)
        else:
            flat = np.ones_like(piece.content_power) * spectrogram.db_to_power(piece.S).mean()
            fitted = spectrogram.fit_power(piece.S, flat, config, n_iter=200)
            magnitude = np.repeat(np.sqrt(fitted)[None], len(piece.D), axis=0)
            angle = self._rng.uniform(-np.pi, np.pi, flat.shape).astype(np.float32)
            phase = np.repeat(np.exp(1j * angle)[None], len(piece.D), axis=0)
        self._top = np.concatenate([self._top, _top_change(piece.content_power, fitted)])
        if self._magnitude is not None:
            magnitude = np.concatenate([self._magnitude, magnitude], axis=2)
            phase = np.concatenate([self._phase, phase], axis=2)
        self._magnitude, self._phase = magnitude, phase

    def _emit(self, last: bool) -> Array:
        """Invert what waits, and give all but what the next piece will change."""
        config, hop_length = self._config, self._config.hop_length
        assert self._magnitude is not None and self._phase is not None
        end = self._first + self._magnitude.shape[2]
        until = end if last else end - CONTEXT_FRAMES
        if until <= self._emitted:
            return np.asarray(self._magnitude[:, 0, :0])
        base = self._first * hop_length
        length = self._n_work - base if last else (end - self._first - 1) * hop_length
        y = spectrogram.griffin_lim(
            self._magnitude, self._phase, config, length, n_iter=config.inversion_iterations
        )
        self._measure(y, self._emitted - self._first, until - self._first)
        start = self._emitted * hop_length - base
        stop = length if last else until * hop_length - base
        out = y[:, start:stop].copy()
        if self._tail is not None:
            n = min(self._tail.shape[1], out.shape[1])
            weights = fade_in(n)
            out[:, :n] = weights * out[:, :n] + (1 - weights) * self._tail[:, :n]
        self._tail = None if last else y[:, stop : stop + FADE_FRAMES * hop_length].copy()
        kept = max(0, until - CONTEXT_FRAMES) - self._first
        self._magnitude = self._magnitude[:, :, kept:].copy()
        self._phase = self._phase[:, :, kept:].copy()
        self._first, self._emitted = self._first + kept, until
        return np.asarray(out)

    def _measure(self, y: Array, first: int, stop: int) -> None:
        """Add to the error of what was reached, and to the energy of what was wanted."""
        assert self._magnitude is not None
        wanted = self._magnitude[:, :, first:stop]
        reached = np.abs(spectrogram.stft(y, self._config)[:, :, first:stop])
        self._error += float(np.sum(np.square(reached - wanted), dtype=np.float64))
        self._energy += float(np.sum(np.square(wanted), dtype=np.float64))


def _top_change(content_power: Array, fitted: Array) -> Array:
    """How much louder the top octave became [shape=(t,), dB]."""
    low, high = len(fitted) // 2, int(0.95 * len(fitted))
    before, after = (power[low:high].sum(axis=0) for power in (content_power, fitted))
    return np.asarray(10 * np.log10((after + TINY_POWER) / (before + TINY_POWER)))
