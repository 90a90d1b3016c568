"""Optimisation of a content of any length: window by window, with crossfades between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.streams import StreamReader
from audiostyle.core.initialization import Initializer, InitialSpectrogram
from audiostyle.core.style import AnalyzedStyle
from audiostyle.core.synthesis import SpectrogramSegment
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import FrameReader, NormalizedStream
from audiostyle.dsp.preview import SpectrogramPreview
from audiostyle.dsp.segmentation import Window, fade_in, plan_windows, segment_bounds
from audiostyle.events import Callback, Iteration, Stage
from audiostyle.nn.device import Device, load_tensorflow

if TYPE_CHECKING:
    from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer
    from audiostyle.nn.optimizer import OptimizationResult


BATCH_WINDOWS = {"CPU": 1, "GPU": 4}  # windows that are optimised side by side
ANNOUNCED_SECONDS = 60.0  # a transfer that takes longer is announced
ITERATION_TO_ANALYSIS = 2.4  # time of an iteration relative to the analysis; see bench/speed
SOUND_SHARE = 0.15  # time of initialization and inversion, relative to the length of one channel


@dataclass
class _ContentWindow:
    window: Window
    S: Array
    initial: InitialSpectrogram | None  # None for digital silence, which is not optimised


class WindowedOptimization:
    """Optimises the windows of one content; `spectrogram` holds the result afterwards.

    Attributes
    ----------
    windows : list of Window
    histories : list of list of Iteration
        One per batch of windows.
    stopped : str
        As `audiostyle.TransferResult.stopped`; ``plateau`` only if every window reached one.
    restarts : int
    """

    def __init__(
        self,
        content: NormalizedStream,
        style: AnalyzedStyle,
        optimizer: SpectrogramOptimizer,
        device: Device,
        callback: Callback,
        lap: Callable[[str], None],
    ) -> None:
        """Plan the windows; `lap` is called with the name of a stage when a part of it ended."""
        self._content = content
        self._style = style
        self._optimizer = optimizer
        self._device = device
        self._callback = callback
        self._lap = lap
        self._config = optimizer.config
        self.windows = plan_windows(content.n_frames)
        self._segments = segment_bounds(self.windows)
        self._initializer = Initializer(style.levels, style.y, content.n_resampled, self._config)
        self.histories: list[list[Iteration]] = []
        self.stopped = "plateau"
        self.restarts = 0

    def run(self, result: AudioBuffer, preview: SpectrogramPreview) -> None:
        """Append the optimised spectrogram to `result`, and that of the content to `preview`.

        `result` also gets the frames of the padding. They are not optimised: a sound that fades
        out would count as the style's, and the rest would have to make up for it.
        """
        self._callback(Stage("features"))
        reader, pad = self._content.frame_reader(padded=True), self._content.pad_frames
        padding = self._spectrogram(reader.stft(0, pad))
        size = BATCH_WINDOWS["GPU" if self._device.is_gpu else "CPU"]
        batches = [self.windows[i : i + size] for i in range(0, len(self.windows), size)]
        tail: Array | None = None  # of the window before, to be crossfaded with the next
        for i, batch in enumerate(batches, 1):
            contents = [self._read(reader, window) for window in batch]
            self._lap("features")
            sounding = [content for content in contents if content.initial is not None]
            optimized = iter(self._optimize(sounding, i, len(batches)) if sounding else ())
            for content in contents:
                S = content.S if content.initial is None else next(optimized)
                first, last = self._segments[self.windows.index(content.window)]
                start = content.window.start
                preview.add(content.S[:, first - start : last - start])
                if start == 0:
                    result.append(self._continue(padding, content.S[:, :1], S[:, :1]))
                edges = content.S[:, -1:], S[:, -1:]
                S, tail = self._crossfade(content.window, S, tail, last)
                result.append(S)
        n = self._content.n_frames + pad
        result.append(self._continue(self._spectrogram(reader.stft(n, n + pad)), *edges))

    def segments(self, result: AudioBuffer) -> Iterator[SpectrogramSegment]:
        """Yield the optimised spectrogram with the STFT of the content, for the synthesis."""
        reader = self._content.frame_reader(padded=True)
        optimized = StreamReader(result.blocks(), self._config.n_mels)
        pad, n_frames = self._content.pad_frames, self._content.n_frames
        for first, last in self._segments:
            low = first + pad if first > 0 else 0
            high = last + pad if last < n_frames else n_frames + 2 * pad
            D = reader.stft(low, high)
            yield SpectrogramSegment(
                S=optimized.read(low, high),
                D=self._initializer.stft(D, low - pad),
                content_power=spectrogram.channel_power(D),
                last=last == n_frames,
            )

    def _spectrogram(self, D: Array) -> Array:
        return spectrogram.mel_db(spectrogram.channel_power(D), self._config)

    def _continue(self, padding: Array, S_content: Array, S: Array) -> Array:
        """Give the padding the change of the frame next to it."""
        return np.asarray(np.maximum(padding + (S - S_content), -self._config.top_db))

    def _on_device(self) -> Any:
        return load_tensorflow().device(self._device.name)

    def _read(self, reader: FrameReader, window: Window) -> _ContentWindow:
        pad = self._content.pad_frames
        y, D = reader.read(window.start + pad, window.stop + pad)
        S = self._spectrogram(D)
        if S.max() <= -self._config.top_db:
            return _ContentWindow(window, S, None)
        notes = self._optimizer.analyzer.notes
        with self._on_device():
            clip = notes.analyze(y, S) if notes is not None else None
        initial = self._initializer.spectrogram(S, D, window.start, clip)
        return _ContentWindow(window, S, initial)

    def _optimize(self, contents: list[_ContentWindow], number: int, n_batches: int) -> Array:
        """Optimise a batch of windows, and return their spectrograms [shape=(batch, n_mels, t)]."""
        S_content = np.stack([content.S for content in contents])
        initial = [content.initial for content in contents if content.initial is not None]
        if self.stopped == "interrupted":
            return np.stack([start.S for start in initial])

        with self._on_device():
            batch = self._optimizer.prepare(S_content, initial, self._style.statistics)
            self._lap("features")
            if not self.histories:
                self._announce(batch.seconds * n_batches)
                self._callback(Stage("optimization", self._device.reason))
            S, optimization = self._optimizer.optimize(batch, self._callback, (number, n_batches))
        self._lap("optimization")
        self._record(optimization)
        return S

    def _record(self, optimization: OptimizationResult) -> None:
        self.histories.append(optimization.history)
        self.restarts = max(self.restarts, optimization.restarts)
        if optimization.stopped != "plateau":
            self.stopped = optimization.stopped

    def _announce(self, analysis_seconds: float) -> None:
        """Report how long the transfer will take, if that is long."""
        config, content = self._config, self._content
        optimization = ITERATION_TO_ANALYSIS * analysis_seconds * max(1, config.iterations)
        sound = SOUND_SHARE * content.channels * content.n_resampled / config.sr
        if optimization + sound > ANNOUNCED_SECONDS:
            minutes = round((optimization + sound) / 60)
            self._callback(Stage("estimate", f"about {minutes} min"))

    def _crossfade(
        self, window: Window, S: Array, tail: Array | None, last: int
    ) -> tuple[Array, Array | None]:
        """Return the frames of a window up to `last`, and those that fade into the next one."""
        first = window.fade_start - window.start
        if tail is not None:
            n = window.fade_stop - window.fade_start
            weights = fade_in(n)
            S = S.copy()
            S[:, first : first + n] = weights * S[:, first : first + n] + (1 - weights) * tail
        index = self.windows.index(window) + 1
        following = self.windows[index] if index < len(self.windows) else None
        kept = S[:, first : last - window.start]
        if following is None:
            return kept, None
        return kept, S[:, last - window.start : following.fade_stop - window.start]
