"""The transfer: arrays in, arrays out. `audiostyle.files` puts files around it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiostyle import devices, render, spectral
from audiostyle.config import TransferConfig
from audiostyle.errors import ConfigError
from audiostyle.events import Callback, Iterate, Stage
from audiostyle.hearing import HeardStyle, Style, analyse_styles, check_clip, check_frames, hear

if TYPE_CHECKING:
    from audiostyle.objective import Analyzer
    from audiostyle.optimize import Descent

Array = npt.NDArray[Any]


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
        Gets every `Stage` and `Iterate`; a true value returned for an `Iterate` stops the descent,
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
    return Stylist(config, device, threads).transfer(content, style, sr, callback)


class Stylist:
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
        self._device: devices.Device | None = None
        self._analyzer: Analyzer | None = None

    def hear(self, style: Style, callback: Callback | None = None) -> HeardStyle:
        """Analyse a style once, to use it in several transfers as `Style.heard`.

        Parameters
        ----------
        style : Style
        callback : callable, optional

        Returns
        -------
        HeardStyle

        Raises
        ------
        AudioFileError
        DeviceError
        """
        analyzer, device = self._load()
        with devices.load_tensorflow().device(device.name):
            return hear(style, analyzer, callback or (lambda event: None))

    def transfer(
        self, content: Array, style: Any, sr: int, callback: Callback | None = None
    ) -> TransferResult:
        """Apply the style of one or more clips to another; see `audiostyle.transfer`."""
        config = self.config
        if not (isinstance(sr, (int, np.integer)) and sr > 0):
            raise ConfigError(f"sr={sr!r} must be a positive whole number of Hz")
        y = check_clip(content, sr, "content")
        styles = _as_styles(style, sr)
        report: Callback = callback or (lambda event: None)
        clock = _Clock()
        analyzer, device = self._load()
        clock.lap("start-up")
        styled = _descend(y, sr, styles, analyzer, report, device, clock)
        report(Stage("inversion"))
        rendered = render.render(y, sr, styled.clip, styled.start, styled.S, config)
        at_level = render.resample(rendered.y, sr, config.sr) * np.float32(styled.clip.gain)
        S_result = spectral.mel_spectrogram(at_level, config)
        clock.lap("inversion")
        y = rendered.y.reshape(np.shape(content))
        return _make_result(y, sr, config, styled, rendered, S_result, clock.timings)

    def _load(self) -> tuple[Analyzer, devices.Device]:
        """Find the device and build the network, if this was not done yet."""
        if self._analyzer is None or self._device is None:
            self._device = devices.choose_device(*self._wanted)
            tf = devices.load_tensorflow()
            from audiostyle import networks, objective

            with tf.device(self._device.name):
                network = networks.build_network(self.config)
                self._analyzer = objective.Analyzer(network, self.config)
        return self._analyzer, self._device


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
    analyzer: Analyzer,
    report: Callback,
    device: devices.Device,
    clock: _Clock,
) -> _Styled:
    """Analyse, and optimise the spectrogram: all that needs TensorFlow."""
    tf = devices.load_tensorflow()
    from audiostyle import networks, objective, optimize

    config = analyzer.config
    with tf.device(device.name):
        target, sound, S_style = analyse_styles(styles, analyzer, report)
        clock.lap("style")
        report(Stage("features"))
        clip = render.analyse(y, sr, config)
        check_frames(clip.S.shape[1], analyzer.min_frames, "content", config)
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
