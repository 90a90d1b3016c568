"""Style transfer of arrays and streams: analyse, optimise, synthesise."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio import writer
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.loudness import LoudnessMatchedStream
from audiostyle.audio.reader import FileSource
from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.config.variants import has_plugins, networks_key
from audiostyle.core.mixing import mix_with_content
from audiostyle.core.notebook import progress_bar
from audiostyle.core.style import AnalyzedStyle, Style, analyze_style, analyze_styles, to_styles
from audiostyle.core.synthesis import synthesize
from audiostyle.core.windowed import WindowedOptimization
from audiostyle.dsp.level_model import quiet_level
from audiostyle.dsp.normalized_stream import NormalizedStream, check_frames
from audiostyle.dsp.preview import PREVIEW_FRAMES, SpectrogramPreview
from audiostyle.errors import ConfigError, OutputError
from audiostyle.events import Callback, Iteration, Stage, merge_histories
from audiostyle.nn.device import (
    Device,
    choose_device,
    count_cores,
    load_tensorflow,
    single_blas_thread,
)
from audiostyle.utils.atomic_files import Staging

if TYPE_CHECKING:
    from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer


logger = logging.getLogger(__name__)

SPECTROGRAM_BLOCK_FRAMES = 4096  # of the optimised spectrogram, which may go to disk


@dataclass
class TransferResult:
    """Result of a transfer; a notebook shows it as a player with spectrograms.

    Attributes
    ----------
    y : np.ndarray [shape=(n,) or (channels, n), float32] or None
        The audio, of the shape and at the rate of the content; None if it was written to a file.
    sr : int, in Hz
    config : TransferConfig
    S_content, S_style, S_result : np.ndarray [shape=(n_mels, t), dB]
        Mel spectrograms of the content, of the first minute of the first style, and of the result
        before its loudness was matched and it was mixed. Frames of a long file are averaged.
    history : list of Iteration
        Losses before the first and after every iteration; over several windows, their mean.
    stopped : str
        ``iterations``, ``plateau`` or ``interrupted``.
    restarts : int
        Number of times that a loss was not finite and the optimisation was restarted with smaller
        steps.
    device : str
    precision : str
    convergence : float, in dB
        Spectral convergence of the inversion; lower is better.
    gain : float, in dB
        Applied to match the loudness of the content.
    lowered : float, in dB
        By which the loudness stays below that of the content, so that peaks fit below full scale.
    reduction : float, in dB
        Largest reduction by the limiter; 0 if no peak was too high.
    n_windows : int
        Number of windows that the content was divided into.
    fold : int
        Frames per column of `S_content` and `S_result`.
    timings : dict of str to float
        Seconds of each stage.
    matched : LoudnessMatchedStream or None
        The audio as a stream, until it is in `y` or in a file.
    path : Path or None
        The file that the audio was written to by `audiostyle.transfer_file`.
    n : int or None, in samples
        Length of that file; with `only`, spectrograms and losses are those of the stretches.
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
    lowered: float = 0.0
    n_windows: int = 1
    fold: int = 1
    timings: dict[str, float] = field(default_factory=dict)
    matched: LoudnessMatchedStream | None = None
    path: Path | None = None
    n: int | None = None

    def blocks(self) -> Iterator[Array]:
        """Return the audio in blocks [shape=(channels, n), float32].

        Raises
        ------
        ValueError
            If the audio is in `y`, or was written to a file.
        """
        if self.matched is None:
            raise ValueError("the result is in y, or was written to its file")
        return self.matched.blocks()

    def save(self, path: str | Path, subtype: str | None = None, *, force: bool = False) -> Path:
        """Write the audio to a file, in the format of its extension.

        Parameters
        ----------
        path : str or Path
        subtype : str, optional
            Sample format, as libsndfile names it; by default the deepest that the format has.
        force : bool
            Replace a file that exists.

        Returns
        -------
        Path

        Raises
        ------
        OutputError, ConfigError
            If the file exists or cannot be written. Nothing is written then.

        Examples
        --------
        >>> transfer(content, style, 22050).save("out.flac")  # doctest: +SKIP
        """
        target, sound = Path(path), self._open()
        if target.exists() and not force:
            raise OutputError(f"{target}: exists already; use force=True to replace it")
        size = round(self.seconds * sound.sr) * sound.channels
        container, subtype = writer.output_format(target, subtype, "FLOAT", size)
        writer.check_writable(target, sound.sr, sound.channels, container, subtype)
        with Staging() as staging:
            part = staging.add(target)
            form = sound.sr, sound.channels, container, subtype
            writer.write_stream(part, sound.blocks(), *form, target)
            staging.publish()
        return target

    def plot(self, title: str = "") -> Any:
        """Draw content, style, result and losses.

        Parameters
        ----------
        title : str

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it; ``figure.savefig("out.png")`` writes it.
        """
        from audiostyle.core import plots

        figure = plots.transfer_figure(self, title)
        figure._repr_png_ = lambda: plots.transfer_png(self, title)  # also without pyplot
        return figure

    @property
    def seconds(self) -> float:
        """Length of the audio; to a frame, if it is in neither `y` nor a file."""
        n = self.n if self.y is None else np.shape(self.y)[-1]
        if n is not None:
            return float(n / self.sr)
        hop = self.config.hop_length * self.fold
        return float(self.S_result.shape[1] * hop / self.config.sr)

    def __repr__(self) -> str:
        """Return length, iterations, losses and file in one line."""
        facts = [f"{self.seconds:.1f} s at {self.sr} Hz"]
        if self.history:
            first, last = self.history[0].total, self.history[-1].total
            facts.append(f"{len(self.history) - 1} iterations ({self.stopped})")
            facts.append(f"loss {first:.4g} to {last:.4g}")
        facts += [] if self.path is None else [str(self.path)]
        return f"<TransferResult: {', '.join(facts)}>"

    def _repr_html_(self) -> str:
        from audiostyle.core.notebook import result_html

        return result_html(self, self._open)

    def _open(self) -> ArraySource | FileSource:
        if self.y is not None:
            return ArraySource(self.y, self.sr, "result")
        if self.path is None:
            raise ValueError("the result is not complete: it has no audio")
        return FileSource(self.path)


def transfer(
    content: Array,
    style: Array | Sequence[Array] | Sequence[Style],
    sr: int,
    config: TransferConfig | None = None,
    callback: Callback | None = None,
    *,
    device: str = "auto",
    threads: int = 0,
    progress: bool = False,
) -> TransferResult:
    """Apply the style of one or more clips to another clip.

    Parameters
    ----------
    content : np.ndarray [shape=(n,) or (channels, n), float]
        At least 0.5 s.
    style : np.ndarray, or a sequence of np.ndarray or of Style
        One clip at the rate `sr`; several clips, blended with equal weights; or `Style` objects,
        which have rates and weights of their own.
    sr : int, in Hz
        Sampling rate of the content and of plain style arrays.
    config : TransferConfig, optional
    callback : callable, optional
        Called with every `Stage` and `Iteration`. If it returns a true value for an `Iteration`,
        the optimisation stops, and the best spectrogram so far is the result.
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    threads : int
        Number of threads, for this and all later transfers of the process; 0 leaves it as it is
        (all cores, unless it was set).
    progress : bool
        Show a progress bar, in a notebook or on the terminal.

    Returns
    -------
    TransferResult

    Raises
    ------
    AudioFileError
        If a clip cannot be used.
    ConfigError
        If the parameters do not fit the clips, or TensorFlow already works with another number of
        threads.
    DeviceError
        If the requested GPU does not exist.
    OptimizationError
        If the losses are not finite.
    """
    with progress_bar(callback, progress) as report:
        return StyleTransfer(config, device, threads).transfer(content, style, sr, report)


class StyleTransfer:
    """Style transfer with networks that stay loaded, for any number of transfers.

    The result of a transfer does not depend on earlier transfers of the same object.

    Parameters
    ----------
    config : TransferConfig, optional
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``. Networks are loaded at the first use.
    threads : int
        As for `audiostyle.transfer`.
    """

    def __init__(
        self, config: TransferConfig | None = None, device: str = "auto", threads: int = 0
    ) -> None:
        self.config = config or TransferConfig()
        self._device_options = device, threads
        self._loaded: tuple[SpectrogramOptimizer, Device] | None = None

    def with_config(self, config: TransferConfig) -> StyleTransfer:
        """Return a transfer with other parameters, which shares the networks if they are the same.

        Parameters
        ----------
        config : TransferConfig

        Returns
        -------
        StyleTransfer
        """
        other = StyleTransfer(config, *self._device_options)
        if networks_key(config) == networks_key(self.config):
            optimizer, device = self._load()
            other._loaded = optimizer.with_config(config), device
        return other

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
        optimizer, device = self._load()
        with single_blas_thread(), load_tensorflow().device(device.name):
            return analyze_style(style, optimizer.analyzer, _logged(callback))

    def transfer(
        self, content: Array, style: Any, sr: int, callback: Callback | None = None
    ) -> TransferResult:
        """Apply the style of one or more clips to another clip; see `audiostyle.transfer`."""
        if not (isinstance(sr, (int, np.integer)) and sr > 0):
            raise ConfigError(f"sr={sr!r} must be a positive whole number of Hz")
        stream = NormalizedStream(ArraySource(content, int(sr), "content"), self.config)
        with AudioBuffer(stream.channels) as buffer:
            result = self.run(stream, to_styles(style, sr), buffer, callback, preview_frames=None)
            y = np.concatenate(list(mix_result(result, stream).blocks()), axis=1)
        return replace(result, y=y.reshape(np.shape(content)), matched=None)

    def run(
        self,
        content: NormalizedStream,
        styles: Sequence[Style],
        buffer: AudioBuffer,
        callback: Callback | None = None,
        *,
        preview_frames: int | None = PREVIEW_FRAMES,
        float_output: bool = True,
    ) -> TransferResult:
        """Transfer in memory that does not depend on the length of the content, without mixing.

        Parameters
        ----------
        content : NormalizedStream
        styles : sequence of Style
        buffer : AudioBuffer
            Gets the audio; `TransferResult.blocks` reads from it. Its folder also holds the
            optimised spectrogram for a while, if that is long.
        callback : callable, optional
        preview_frames : int or None
            About the largest number of columns of `S_content` and `S_result`; None keeps all
            frames.
        float_output : bool
            Whether the result may exceed full scale if the content does, instead of being lowered.

        Returns
        -------
        TransferResult
            Without `y`.
        """
        config, report, timer = self.config, _logged(callback), _Timer()
        if self._loaded is None:
            report(Stage("loading"))
        optimizer, device = self._load()
        timer.lap("start-up")

        check_frames(content.n_frames, optimizer.analyzer.min_frames, content.name, config)
        _trace_ahead(optimizer, device)
        S_content = SpectrogramPreview(config, content.channels, preview_frames)
        S_result = SpectrogramPreview(config, content.channels, preview_frames)
        with (
            single_blas_thread(),
            AudioBuffer(
                config.n_mels, buffer.folder, block_size=SPECTROGRAM_BLOCK_FRAMES
            ) as optimized,
        ):
            with load_tensorflow().device(device.name):
                style = analyze_styles(styles, optimizer.analyzer, report)
            timer.lap("style")

            windows = WindowedOptimization(content, style, optimizer, device, report, timer.lap)
            windows.run(optimized, S_content)

            report(Stage("inversion"))
            levels = style.levels
            quiet = None if levels is None else quiet_level(levels.quiet, config.top_db)
            segments = windows.segments(optimized)
            matched, convergence = synthesize(
                content, segments, buffer, S_result, config, quiet, float_output=float_output
            )
        timer.lap("inversion")

        return TransferResult(
            y=None,
            sr=content.sr,
            config=config,
            S_content=S_content.S(),
            S_style=style.S,
            S_result=S_result.S(),
            fold=S_result.fold,
            history=merge_histories(windows.histories),
            stopped=windows.stopped,
            restarts=windows.restarts,
            device=device.name,
            precision=optimizer.precision,
            convergence=convergence,
            gain=matched.gain,
            reduction=matched.reduction,
            lowered=matched.lowered,
            n_windows=len(windows.windows),
            timings=timer.seconds,
            matched=matched,
        )

    def _load(self) -> tuple[SpectrogramOptimizer, Device]:
        """Choose the device and build the networks, if this was not done yet."""
        if self._loaded is None:
            device = choose_device(*self._device_options)
            tf = load_tensorflow()
            from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer

            with tf.device(device.name):
                self._loaded = SpectrogramOptimizer(self.config, jit=device.is_gpu), device
        return self._loaded


def _trace_ahead(optimizer: SpectrogramOptimizer, device: Device) -> None:
    """Trace the optimisation in a second thread while the pair is analysed.

    Not with a single thread, nor on a GPU, where XLA compiles for the lengths of a pair, nor with
    plugins, which may not expect to run in two threads.
    """
    tf = load_tensorflow()
    threads = tf.config.threading.get_intra_op_parallelism_threads() or count_cores()
    if optimizer.is_traced or device.is_gpu or threads == 1 or has_plugins(optimizer.config):
        return
    with tf.device(device.name):
        optimizer.trace_in_background()


def mix_result(
    result: TransferResult, content: NormalizedStream, *, float_output: bool = True
) -> TransferResult:
    """Mix a result of `StyleTransfer.run` with its content, as ``config.mix`` says."""
    if result.config.mix == 1.0 or result.matched is None:
        return result
    ceiling = np.inf if float_output else 1.0
    matched = mix_with_content(result.matched, content, result.config.mix, ceiling)
    return replace(
        result,
        matched=matched,
        lowered=result.lowered + matched.lowered,
        reduction=max(result.reduction, matched.reduction),
    )


class _Timer:
    """Seconds of each stage, which may consist of several laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def _logged(callback: Callback | None) -> Callback:
    """Log the events that a callback gets."""

    def report(event: Stage | Iteration) -> Any:
        if isinstance(event, Stage):
            logger.info("%s", f"{event.name}: {event.detail}" if event.detail else event.name)
        else:
            logger.debug("iteration %d/%d: total %.4g", event.step, event.n_steps, event.total)
        return callback(event) if callback is not None else None

    return report
