"""The transfer: arrays in, arrays out. `audiostyle.files` puts files around it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiostyle import devices, levels, mosaic, render, spectral
from audiostyle.config import MAX_CHANNELS, MIN_SECONDS, TransferConfig
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.events import Callback, Iterate, Stage

if TYPE_CHECKING:
    from audiostyle.objective import Analyzer, StyleTarget
    from audiostyle.optimize import Descent

Array = npt.NDArray[Any]

EXAMPLE_SECONDS = 60.0  # of a style that are kept for the picture and for init="style"


@dataclass
class TransferResult:
    """A transfer, and everything that is known about it.

    Attributes
    ----------
    y : np.ndarray [shape=(n,) or (channels, n), float32]
        The result, of the shape and at the rate of the content.
    sr : int, in Hz
    config : TransferConfig
    S_content, S_style, S_result : np.ndarray [shape=(n_mels, t), dB]
        Mel spectrograms of the content, of the first minute of the first style, and of `y` itself.
    history : list of Iterate
        Losses at the start and after every step.
    stopped : str
        ``iterations``, ``plateau`` or ``interrupted``.
    restarts : int
        1 if a loss was not finite once, and the descent began again with smaller steps.
    device : str
    precision : str
    convergence : float, in dB
        Spectral convergence of the inversion; lower is better.
    gain : float, in dB
        Applied to match the content's loudness.
    reduction : float, in dB
        Largest reduction by the limiter; 0 where no peak was too high.
    timings : dict of str to float
        Seconds of each stage.
    """

    y: Array
    sr: int
    config: TransferConfig
    S_content: Array
    S_style: Array
    S_result: Array
    history: list[Iterate]
    stopped: str
    restarts: int
    device: str
    precision: str
    convergence: float
    gain: float
    reduction: float
    timings: dict[str, float] = field(default_factory=dict)


@dataclass
class Style:
    """One style: a clip, or several that together are one (a genre).

    Attributes
    ----------
    clips : iterable of (np.ndarray [shape=(n,) or (channels, n)], int)
        Each with its rate in Hz. May be a generator: one clip is held at a time.
    weight : float >= 0
        Share of this style among several.
    name : str
        For messages.
    """

    clips: Iterable[tuple[Array, int]]
    weight: float = 1.0
    name: str = "style"


def check_clip(y: Any, sr: int, name: str) -> Array:
    """Return a clip as channels by samples without DC offset, or say what is wrong with it.

    Parameters
    ----------
    y : array_like [shape=(n,) or (channels, n)]
    sr : int > 0, in Hz
    name : str
        For messages: the file, or the parameter.

    Returns
    -------
    np.ndarray [shape=(channels, n), float32]

    Raises
    ------
    AudioFileError
        If it is of another shape, too short, not finite, or silent.
    """
    y = np.asarray(y)  # what it is, is checked next
    if y.ndim not in (1, 2) or y.dtype.kind not in "fiu":
        raise AudioFileError(f"{name}: samples of shape {y.shape} and type {y.dtype} are not audio")
    if y.dtype.kind in "iu":
        raise AudioFileError(
            f"{name}: samples are integers; divide by full scale to get floats from -1 to 1"
        )
    y = np.asarray(np.atleast_2d(y), np.float32)
    if not 1 <= y.shape[0] <= MAX_CHANNELS:
        raise AudioFileError(
            f"{name}: {y.shape[0]} channels; from 1 to {MAX_CHANNELS} are supported, as "
            "(channels, samples)"
        )
    if y.shape[-1] == 0:
        raise AudioFileError(f"{name}: holds no samples")
    if y.shape[-1] < MIN_SECONDS * sr:
        raise AudioFileError(
            f"{name}: {y.shape[-1] / sr:.3g} s is too short; at least {MIN_SECONDS} s are needed"
        )
    if not np.isfinite(y).all():
        raise AudioFileError(f"{name}: holds NaN or infinite samples; repair or re-export it")
    # An offset is no sound, but it would count as level and as headroom, and click at the ends.
    offset = y.mean(axis=-1, keepdims=True, dtype=np.float64).astype(np.float32)
    if np.abs(offset).max() > levels.OFFSET:
        y = y - offset
    peak = float(np.abs(y).max())
    if peak < 10 ** (levels.SILENCE_DB / 20):
        raise AudioFileError(f"{name}: is silent (peak below {levels.SILENCE_DB:g} dBFS)")
    return np.asarray(y)


def transfer(
    content: Array,
    style: Array | Sequence[Array] | Sequence[Style],
    sr: int,
    config: TransferConfig | None = None,
    callback: Callback | None = None,
    *,
    device: str = "auto",
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
        Gets every `Stage` and `Iterate`; a true value returned for an `Iterate` stops the descent,
        and the best point so far is the result.
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.

    Returns
    -------
    TransferResult

    Raises
    ------
    AudioFileError
        If a clip cannot be used.
    ConfigError
        If the parameters do not fit the clips.
    DeviceError
        If an explicit GPU is absent.
    OptimizationError
        If the losses are not finite.
    """
    config = config or TransferConfig()
    if not (isinstance(sr, (int, np.integer)) and sr > 0):
        raise ConfigError(f"sr={sr!r} must be a positive whole number of Hz")
    y = check_clip(content, sr, "content")
    styles = _as_styles(style, sr)
    report: Callback = callback or (lambda event: None)
    clock = _Clock()
    styled = _descend(y, sr, styles, config, report, devices.choose_device(device), clock)
    report(Stage("inversion"))
    rendered = render.render(y, sr, styled.clip, styled.start, styled.S, config)
    at_level = render.resample(rendered.y, sr, config.sr) * np.float32(styled.clip.gain)
    S_result = spectral.mel_spectrogram(at_level, config)
    clock.lap("inversion")
    y = rendered.y.reshape(np.shape(content))
    return _make_result(y, sr, config, styled, rendered, S_result, clock.timings)


@dataclass
class _Styled:
    """What a descent leaves to be turned into sound."""

    clip: render.Clip
    start: render.Start
    S: Array
    S_style: Array
    descent: Descent
    device: str
    precision: str


def _descend(
    y: Array,
    sr: int,
    styles: Sequence[Style],
    config: TransferConfig,
    report: Callback,
    device: devices.Device,
    clock: _Clock,
) -> _Styled:
    """Analyse, and optimise the spectrogram: all that needs TensorFlow."""
    tf = devices.load_tensorflow()
    from audiostyle import networks, objective, optimize

    with tf.device(device.name):
        analyzer = objective.Analyzer(networks.build_network(config), config)
        clock.lap("start-up")
        target, sound, S_style = _analyse_styles(styles, analyzer, report)
        clock.lap("style")
        report(Stage("features"))
        clip = render.analyse(y, sr, config)
        _check_frames(clip.S.shape[1], analyzer.min_frames, "content", config)
        start = render.make_start(clip, sound, config)
        own = analyzer.style_target([clip.S]) if config.strength < 1 else None
        function = objective.build_objective(analyzer, clip.S, start.S, own, target)
        clock.lap("features")
        report(Stage("descent", device.reason))
        descent = optimize.minimize(
            function,
            objective.to_variable(start.S, config),
            optimizer=config.optimizer,
            n_steps=config.iterations,
            learning_rate=config.learning_rate,
            tolerance=config.tolerance,
            callback=report,
        )
        S = objective.from_variable(descent.x, config)
        precision = networks.resolve_precision(config.precision)
        clock.lap("descent")
    return _Styled(clip, start, S, S_style, descent, device.name, precision)


def _make_result(
    y: Array,
    sr: int,
    config: TransferConfig,
    styled: _Styled,
    rendered: render.Rendered,
    S_result: Array,
    timings: dict[str, float],
) -> TransferResult:
    return TransferResult(
        y=y,
        sr=sr,
        config=config,
        S_content=styled.clip.S,
        S_style=styled.S_style,
        S_result=S_result,
        history=styled.descent.history,
        stopped=styled.descent.stopped,
        restarts=styled.descent.restarts,
        device=styled.device,
        precision=styled.precision,
        convergence=rendered.convergence,
        gain=rendered.gain,
        reduction=rendered.reduction,
        timings=timings,
    )


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.timings[name] = now - self._last
        self._last = now


def _as_styles(style: Any, sr: int) -> list[Style]:
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


def _check_frames(n_frames: int, needed: int, name: str, config: TransferConfig) -> None:
    if n_frames < needed:
        raise AudioFileError(
            f"{name}: {n_frames} frames are too few for {config.network}, which needs {needed}; "
            f"use a longer clip, a smaller hop_length than {config.hop_length}, or shallower layers"
        )


def _analyse_styles(
    styles: Sequence[Style], analyzer: Analyzer, report: Callback
) -> tuple[StyleTarget, render.StyleSound, Array]:
    """Return statistics of all styles, what a start needs of them, and the first spectrogram."""
    from audiostyle import objective

    config = analyzer.config
    examples: list[render.Clip] = []

    def spectrograms(style: Style, pool: mosaic.FramePool) -> Iterable[Array]:
        for i, (y, sr) in enumerate(style.clips, 1):
            report(Stage("style", style.name if i == 1 else f"{style.name}, clip {i}"))
            clip = render.analyse(check_clip(y, sr, style.name), sr, config)
            _check_frames(clip.S.shape[1], analyzer.min_frames, style.name, config)
            pool.add(spectral.channel_power(clip.D))
            if not examples:
                examples.append(clip)
            yield clip.S

    used = [style for style in styles if style.weight > 0]
    pools = [mosaic.FramePool(config.seed) for _ in used]
    targets = [
        analyzer.style_target(spectrograms(style, pool))
        for style, pool in zip(used, pools, strict=True)
    ]
    total = sum(style.weight for style in used)
    shares = [style.weight / total for style in used]
    target = objective.blend(targets, shares)
    frames = np.concatenate([p.take(share) for p, share in zip(pools, shares, strict=True)], axis=1)
    n = int(EXAMPLE_SECONDS * config.sr)
    example = examples[0].y[:, :n].mean(axis=0, keepdims=True)
    S_style = examples[0].S[:, : 1 + n // config.hop_length]
    return target, render.StyleSound(target.mel_mean, frames, example), S_style
