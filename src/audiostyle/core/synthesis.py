"""Synthesis: from an optimised spectrogram back to audio, keeping what the content has.

The spectrogram is mono, at ``config.sr`` and in mel bands, so audio is not made from it alone. It
says how loud each band is in each frame; partials, phase, channels, sampling rate and length stay
those of the content. Everything works on segments in order, in memory that does not depend on the
length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.loudness import (
    LoudnessMatchedStream,
    LoudnessMeter,
    match_loudness_stream,
)
from audiostyle.audio.resampling import resample_stream
from audiostyle.audio.streams import StreamReader
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import inversion, spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.preview import SpectrogramPreview
from audiostyle.dsp.quiet import ChannelBalance, balance, sound_masks
from audiostyle.dsp.segmentation import fade_in

Listener = Callable[[Array], None]

TOP_GAIN_LIMITS_DB = (-30.0, 12.0)  # of the range above the analysis
TOP_GAIN_FRAMES = 9  # over which that gain is smoothed
TINY_POWER = 1e-5  # of the top octave of a frame; music at the analysis level has 1 to 1e5
CONTEXT_FRAMES = 64  # inverted beyond a segment, so that neighbouring segments agree on the phase
FADE_FRAMES = 8  # from a segment to the next
FLAT_FIT_ITERATIONS = 200  # of `fit_power` from a flat spectrum, for plain Griffin-Lim


@dataclass
class SpectrogramSegment:
    """Consecutive frames of the optimised spectrogram, and of the STFT to start from.

    The frames are those of the padded content, from the first of its padding on.

    Attributes
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
        The level of each band.
    D : np.ndarray [shape=(channels, n_fft // 2 + 1, t), complex64]
        Its magnitude is the fine structure that is kept; its phase is where Griffin-Lim starts.
    content_power : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
        Of the content itself.
    last : bool
    """

    S: Array
    D: Array
    content_power: Array
    last: bool


def synthesize(
    content: NormalizedStream,
    segments: Iterator[SpectrogramSegment],
    buffer: AudioBuffer,
    preview: SpectrogramPreview,
    config: TransferConfig,
    *,
    float_output: bool = True,
) -> tuple[LoudnessMatchedStream, float]:
    """Synthesise segments into a buffer, at the loudness of the content.

    `preview` gets the audio before its loudness is matched. A `float_output` may exceed full scale
    if the content does.

    Returns
    -------
    matched : LoudnessMatchedStream
        Reads from the buffer.
    convergence : float, in dB
        Spectral convergence of the inversion; lower is better.
    """
    synthesizer = Synthesizer(content, config)
    meter = _Meter(content.sr)
    for block in synthesizer.blocks(segments, preview.add_audio):
        meter.add(block)
        buffer.append(block)
    preview.end()
    blocks, curves = buffer.blocks, synthesizer.balance.curves()
    if curves is not None:
        blocks, meter = (lambda: balance(buffer.blocks(), curves)), _Meter(content.sr)
        for block in blocks():
            meter.add(block)
    ceiling = np.inf if float_output and content.peak > 1 else 1.0
    matched = match_loudness_stream(
        blocks, content.sr, meter.value(), meter.peak, content.loudness, ceiling
    )
    return matched, synthesizer.convergence


class _Meter(LoudnessMeter):
    """Measures the peak, too."""

    peak = 0.0

    def add(self, block: Array) -> None:
        super().add(block)
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))


class Synthesizer:
    """Turns segments of an optimised spectrogram into audio."""

    def __init__(self, content: NormalizedStream, config: TransferConfig) -> None:
        self._content = content
        self._config = config
        self.balance = ChannelBalance(content.sr)
        self._inverter = StreamingInverter(content.n_resampled + 2 * content.pad, config)

    @property
    def convergence(self) -> float:
        """Spectral convergence of the inversion, in dB; lower is better."""
        return self._inverter.convergence

    def blocks(
        self, segments: Iterator[SpectrogramSegment], listener: Listener | None = None
    ) -> Iterator[Array]:
        """Yield audio at the rate of the content and, in all, of its length.

        Where nothing changed, the content comes back sample for sample: only the change is
        resampled and added. What the content has above the analysed range follows the gain of the
        octave below it. Plain Griffin-Lim starts from nothing, so it has no such range to keep.
        Digital silence of the content stays silence.
        `listener` is called with the inverted audio at ``config.sr`` and at the analysis level.

        Yields
        ------
        np.ndarray [shape=(channels, n), float32]
        """
        content, config = self._content, self._config
        channels, kept = content.channels, config.inversion == "content"
        above = kept and content.sr > config.sr
        n_streams = 2 * channels if above else channels
        changes = resample_stream(
            self._changes(segments, listener, kept, above), config.sr, content.sr, n_streams
        )
        reader = StreamReader(changes, n_streams)
        lead = content.lead * content.sr // config.sr
        pad_seconds = content.pad / config.sr
        first = 0
        for block, mask in sound_masks(content.blocks(), content.sr):
            n = block.shape[1]
            change = reader.read(lead + first, lead + first + n)
            if above:
                gain = self._inverter.top_gain(pad_seconds + first / content.sr, n, content.sr)
                change = change[:channels] + (gain - 1) * (block - change[channels:])
            y = np.asarray((block if kept else 0) + mask * change, np.float32)
            self.balance.add(block, y)
            first += n
            yield y

    def _changes(
        self,
        segments: Iterator[SpectrogramSegment],
        listener: Listener | None,
        kept: bool,
        above: bool,
    ) -> Iterator[Array]:
        """Yield the difference to the content and, if needed, the analysed part of the content.

        They begin ``content.lead`` samples before the content, and reach beyond its end.
        """
        content = self._content
        n_streams = (2 if above else 1) * content.channels
        yield np.zeros((n_streams, content.lead - content.pad), np.float32)
        reader = StreamReader(content.padded_blocks(), content.channels)
        first = -content.pad
        for inverted in self._inverter.run(segments):
            n = inverted.shape[1]
            if listener is not None:
                listener(inverted[:, max(0, -first) : max(0, content.n_resampled - first)])
            gain = content.gain.at(first, n)
            y = reader.read(first + content.pad, first + content.pad + n) if kept else np.float32(0)
            change = (inverted - y) / gain
            first += n
            yield np.concatenate([change, y / gain]) if above else change


class StreamingInverter:
    """Griffin-Lim over segments of a spectrogram, each with some of its neighbours as context."""

    def __init__(self, n: int, config: TransferConfig) -> None:
        """Prepare for `n` samples at ``config.sr`` in all."""
        self._n = n
        self._config = config
        self._rng = np.random.default_rng(config.seed)
        self._first = 0  # frame of the buffers
        self._emitted = 0  # frames
        self._magnitude: Array | None = None
        self._phase: Array | None = None
        self._tail: Array | None = None
        self._top: Array = np.zeros(0)  # gain of the top octave, in dB per frame
        self._error = self._energy = 0.0

    @property
    def convergence(self) -> float:
        """See `Synthesizer.convergence`."""
        return 10 * float(np.log10(max(self._error, 1e-30) / max(self._energy, 1e-30)))

    def run(self, segments: Iterator[SpectrogramSegment]) -> Iterator[Array]:
        """Yield audio [shape=(channels, n)] at ``config.sr`` and at the analysis level."""
        for segment in segments:
            self._append(segment)
            y = self._emit(segment.last)
            if y.shape[1]:
                yield y

    def top_gain(self, start: float, n: int, sr: int) -> Array:
        """Gain of the range above the analysis, which is that of the octave below it.

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

    def _append(self, segment: SpectrogramSegment) -> None:
        """Fit the power of the bins to a segment, and append it to what waits for inversion."""
        config = self._config
        filters = spectrogram.mel_filters(config)
        if config.inversion == "content":
            power = spectrogram.channel_power(segment.D)
            fitted = inversion.fit_power(segment.S, power, filters, config.top_db)
            magnitude = np.abs(segment.D) * np.sqrt(fitted / np.maximum(power, 1e-20))
            phase = inversion.unit_phase(segment.D)
        else:
            level = spectrogram.db_to_power(segment.S).mean()
            flat = np.ones_like(segment.content_power) * level
            fitted = inversion.fit_power(
                segment.S, flat, filters, config.top_db, FLAT_FIT_ITERATIONS
            )
            magnitude = np.repeat(np.sqrt(fitted)[None], len(segment.D), axis=0)
            angle = self._rng.uniform(-np.pi, np.pi, flat.shape).astype(np.float32)
            phase = np.repeat(np.exp(1j * angle)[None], len(segment.D), axis=0)
        self._top = np.concatenate([self._top, _top_change(segment.content_power, fitted)])
        if self._magnitude is not None:
            magnitude = np.concatenate([self._magnitude, magnitude], axis=2)
            phase = np.concatenate([self._phase, phase], axis=2)
        self._magnitude, self._phase = magnitude, phase

    def _emit(self, last: bool) -> Array:
        """Invert what waits, and return all but what the next segment will change."""
        config, hop_length = self._config, self._config.hop_length
        assert self._magnitude is not None and self._phase is not None
        end = self._first + self._magnitude.shape[2]
        until = end if last else end - CONTEXT_FRAMES
        if until <= self._emitted:
            return np.asarray(self._magnitude[:, 0, :0])
        base = self._first * hop_length
        length = self._n - base if last else (end - self._first - 1) * hop_length
        y = inversion.griffin_lim(
            self._magnitude,
            self._phase,
            config.n_fft,
            hop_length,
            length,
            n_iter=config.inversion_iterations,
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
        """Add to the energies of the target and of the error, over some frames."""
        assert self._magnitude is not None
        D = spectrogram.stft(y, self._config.n_fft, self._config.hop_length)
        target, reached = self._magnitude[:, :, first:stop], np.abs(D[:, :, first:stop])
        self._error += float(np.sum(np.square(reached - target), dtype=np.float64))
        self._energy += float(np.sum(np.square(target), dtype=np.float64))


def _top_change(content_power: Array, fitted: Array) -> Array:
    """Gain of the top octave [shape=(t,), dB]."""
    low, high = len(fitted) // 2, int(0.95 * len(fitted))
    before, after = (power[low:high].sum(axis=0) for power in (content_power, fitted))
    return np.asarray(10 * np.log10((after + TINY_POWER) / (before + TINY_POWER)))
