"""The transfer: arrays in, arrays out. `audiostyle.files.transfer` puts files around it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.loudness import LoudnessMatchedStream, LoudnessMeter, match_loudness_stream
from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.style import AnalyzedStyle, Style, analyze_style
from audiostyle.core.synthesis import Synthesizer
from audiostyle.core.windowed import WindowedTransfer
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.preview import PREVIEW_FRAMES, SpectrogramPreview
from audiostyle.errors import ConfigError
from audiostyle.events import Callback, Iteration, merge_histories
from audiostyle.nn import device as nn_device

if TYPE_CHECKING:
    from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer

Array = npt.NDArray[Any]


@dataclass
class TransferResult:
    """A transfer, and everything that is known about it.

    Attributes
    ----------
    y : np.ndarray [shape=(n,) or (channels, n), float32] or None
        The result, of the shape and at the rate of the content; None where it went to a file.
    sr : int, in Hz
    config : TransferConfig
    S_content, S_style, S_result : np.ndarray [shape=(n_mels, t), dB]
        Mel spectrograms of the content, of the first minute of the first style, and of the result
        before its loudness was matched. For a long file frames are averaged.
    history : list of Iteration
        Losses at the start and after every step; of several windows their mean.
    stopped : str
        ``iterations``, ``plateau`` or ``interrupted``.
    restarts : int
        How often a loss was not finite, and a descent began again with smaller steps.
    device : str
    precision : str
    convergence : float, in dB
        Spectral convergence of the inversion; lower is better.
    gain : float, in dB
        Applied to match the content's loudness.
    reduction : float, in dB
        Largest reduction by the limiter; 0 where no peak was too high.
    n_windows : int
        In how many windows the content was processed.
    fold : int
        Frames that make one column of `S_content` and `S_result`.
    timings : dict of str to float
        Seconds of each stage.
    matched : Matched or None
        The result as a stream, until it is in `y` or in a file.
    """

    y: Array | None
    sr: int
    config: TransferConfig
    S_content: Array
    S_style: Array
    S_result: Array
    history: list[Iteration]
    stopped: str
    restarts: int
    device: str
    precision: str
    convergence: float
    gain: float
    reduction: float
    n_windows: int = 1
    fold: int = 1
    timings: dict[str, float] = field(default_factory=dict)
    matched: LoudnessMatchedStream | None = field(default=None, repr=False)

    def blocks(self) -> Iterator[Array]:
        """Give the result in blocks [shape=(channels, n), float32].

        Returns
        -------
        iterator of np.ndarray

        Raises
        ------
        ValueError
            If the result went to a file, and is gone from memory.
        """
        if self.matched is None:
            raise ValueError("the result is in y, or was written to its file")
        return self.matched.blocks()


def transfer(
    content: Array,
    style: Array | Sequence[Array] | Sequence[Style],
    sr: int,
    config: TransferConfig | None = None,
    callback: Callback | None = None,
    *,
    device: str = "auto",
    threads: int = 0,
) -> TransferResult:
    """Apply the style of one or more clips to another.

    Parameters
    ----------
    content : np.ndarray [shape=(n,) or (channels, n), float]
        At least 0.5 s.
    style : np.ndarray, or a sequence of np.ndarray or of Style
        A clip at the rate `sr`; or several, blended with equal weights; or `Style` objects, which
        carry rates and weights of their own.
    sr : int, in Hz
        Rate of the content and of plain style arrays.
    config : TransferConfig, optional
    callback : callable, optional
        Gets every `Stage` and `Iteration`; a true value returned for an `Iteration` stops the descent,
        and the best point so far is the result.
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    threads : int
        How many may compute, here and in all that the process does later; 0 leaves that as it is:
        all cores, if nothing else was set.

    Returns
    -------
    TransferResult

    Raises
    ------
    AudioFileError
        If a clip cannot be used.
    ConfigError
        If the parameters do not fit the clips, or TensorFlow has begun to work with another number
        of threads.
    DeviceError
        If an explicit GPU is absent.
    OptimizationError
        If the losses are not finite.
    """
    return StyleTransfer(config, device, threads).transfer(content, style, sr, callback)


class StyleTransfer:
    """A network that stays loaded, for one transfer or for any number of them.

    What a transfer gives does not depend on what the same stylist did before.

    Parameters
    ----------
    config : TransferConfig, optional
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``. Nothing is loaded before it is needed.
    threads : int
        As for `audiostyle.transfer`.
    """

    def __init__(
        self, config: TransferConfig | None = None, device: str = "auto", threads: int = 0
    ) -> None:
        self.config = config or TransferConfig()
        self._wanted = device, threads
        self._device: nn_device.Device | None = None
        self._styler: SpectrogramOptimizer | None = None

    def analyze_style(self, style: Style, callback: Callback | None = None) -> AnalyzedStyle:
        """Analyse a style once, to use it in several transfers as `Style.analyzed`.

        Parameters
        ----------
        style : Style
        callback : callable, optional

        Returns
        -------
        AnalyzedStyle

        Raises
        ------
        AudioFileError
        DeviceError
        """
        styler, device = self._load()
        with nn_device.load_tensorflow().device(device.name):
            return analyze_style(style, styler.analyzer, callback or (lambda event: None))

    def transfer(
        self, content: Array, style: Any, sr: int, callback: Callback | None = None
    ) -> TransferResult:
        """Apply the style of one or more clips to another; see `audiostyle.transfer`."""
        if not (isinstance(sr, (int, np.integer)) and sr > 0):
            raise ConfigError(f"sr={sr!r} must be a positive whole number of Hz")
        recording = NormalizedStream(ArraySource(content, int(sr), "content"), self.config)
        with AudioBuffer(recording.channels) as spool:
            result = self.run(recording, to_styles(style, sr), spool, callback, pictured=None)
            y = np.concatenate(list(result.blocks()), axis=1)
        return replace(result, y=y.reshape(np.shape(content)), matched=None)

    def run(
        self,
        recording: NormalizedStream,
        styles: Sequence[Style],
        spool: AudioBuffer,
        callback: Callback | None = None,
        *,
        pictured: int | None = PREVIEW_FRAMES,
    ) -> TransferResult:
        """Transfer in memory that does not depend on the length of the recording.

        Parameters
        ----------
        recording : Recording
            The content.
        styles : sequence of Style
        spool : Spool
            Holds the result until its loudness is known; `TransferResult.blocks` reads from it.
        callback : callable, optional
        pictured : int, optional
            About how many frames the spectrograms of the result have at most; all if not given.

        Returns
        -------
        TransferResult
            Without `y`.
        """
        clock = _Clock()
        styler, device = self._load()
        clock.lap("start-up")
        run = WindowedTransfer(
            recording, styler, device, callback or (lambda event: None), clock.lap
        )
        run.listen(styles)
        result = SpectrogramPreview(self.config, recording.channels, pictured)
        renderer = Synthesizer(recording, self.config)
        sound = renderer.blocks(run.pieces(pictured), result.add_audio)
        matched = _put_aside(sound, spool, recording)
        result.end()
        clock.lap("inversion")
        return TransferResult(
            y=None,
            sr=recording.sr,
            config=self.config,
            S_content=run.picture.S(),
            S_style=run.S_style,
            S_result=result.S(),
            fold=result.fold,
            history=merge_histories(run.histories),
            stopped=run.stopped,
            restarts=run.restarts,
            device=device.name,
            precision=styler.precision,
            convergence=renderer.convergence,
            gain=matched.gain,
            reduction=matched.reduction,
            n_windows=len(run.windows),
            timings=clock.timings,
            matched=matched,
        )

    def _load(self) -> tuple[SpectrogramOptimizer, nn_device.Device]:
        """Find the device and build the network, if this was not done yet."""
        if self._styler is None or self._device is None:
            self._device = nn_device.choose_device(*self._wanted)
            tf = nn_device.load_tensorflow()
            from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer

            with tf.device(self._device.name):
                self._styler = SpectrogramOptimizer(self.config, jit=self._device.is_gpu)
        return self._styler, self._device


class _Clock:
    """Seconds of each stage, of which there may be several laps."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.timings[name] = self.timings.get(name, 0.0) + now - self._last
        self._last = now


def _put_aside(
    sound: Iterator[Array], spool: AudioBuffer, recording: NormalizedStream
) -> LoudnessMatchedStream:
    """Measure a stream as it goes into the spool, and bring it to the loudness of the content."""
    meter, peak = LoudnessMeter(recording.sr), 0.0
    for block in sound:
        meter.add(block)
        peak = max(peak, float(np.abs(block).max()))
        spool.append(block)
    return match_loudness_stream(
        spool.blocks, recording.sr, meter.value(), peak, recording.loudness
    )


def to_styles(style: Any, sr: int) -> list[Style]:
    """Make a list of `Style` of what `audiostyle.transfer` takes, and check their weights.

    Parameters
    ----------
    style : object
    sr : int

    Returns
    -------
    list of Style

    Raises
    ------
    ConfigError
        If there is none, or a weight is negative, not finite, or all are 0.
    """
    if isinstance(style, np.ndarray):
        style = [style]
    styles = [
        s if isinstance(s, Style) else Style([(s, sr)], name=f"style {i}")
        for i, s in enumerate(style, 1)
    ]
    if not styles:
        raise ConfigError("no style given: at least one clip is needed")
    for s in styles:
        if not (np.isfinite(s.weight) and s.weight >= 0):
            raise ConfigError(f"weight {s.weight} of {s.name} must be finite and at least 0")
    if sum(s.weight for s in styles) == 0:
        raise ConfigError("the weights of the styles are all 0: at least one must be positive")
    return styles
