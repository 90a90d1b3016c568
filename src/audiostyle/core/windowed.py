"""A content of any length, window by window: read, styled, and handed on piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import Initialization, Initializer
from audiostyle.core.style import Style, analyze_styles
from audiostyle.core.synthesis import SpectrogramSegment
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import FrameReader, NormalizedStream, check_frames
from audiostyle.dsp.preview import SpectrogramPreview
from audiostyle.dsp.segmentation import Window, fade_in, plan_windows
from audiostyle.events import Callback, Iteration, Stage
from audiostyle.nn import device as nn_device

if TYPE_CHECKING:
    from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer

Array = npt.NDArray[Any]

STACKED = {"CPU": 1, "GPU": 4}  # windows that descend at once
ANNOUNCED_SECONDS = 60.0  # what takes longer is announced
STEP_TO_FORWARD = 2.4  # time of a step relative to the analysis; see bench/speed
SOUND_SHARE = 0.15  # time of start and inversion, relative to that of one channel


@dataclass
class _Heard:
    """A window of the content, and where its descent starts."""

    window: Window
    power: Array
    S: Array
    start: Initialization


class WindowedTransfer:
    """One transfer, on its way through the content.

    Parameters
    ----------
    recording : Recording
    styler : SpectrogramOptimizer
    device : Device
    report : callable
    lap : callable
        Gets the name of a stage when a part of it has ended.

    Attributes
    ----------
    windows : list of Window
    histories : list of list of Iteration
        One a descent.
    stopped : str
        As `TransferResult.stopped`; of several windows ``plateau`` only where all of them are.
    restarts : int
    picture : Picture
        Of the content.
    S_style : np.ndarray [shape=(n_mels, t), dB]
    """

    def __init__(
        self,
        recording: NormalizedStream,
        styler: SpectrogramOptimizer,
        device: nn_device.Device,
        report: Callback,
        lap: Callable[[str], None],
    ) -> None:
        self._recording = recording
        self._styler = styler
        self._device = device
        self._report = report
        self._lap = lap
        self.config = styler.config
        self.windows = plan_windows(recording.n_frames)
        self.histories: list[list[Iteration]] = []
        self.stopped = "plateau"
        self.restarts = 0
        self.S_style: Array = np.zeros((self.config.n_mels, 0), np.float32)

    def listen(self, styles: Sequence[Style]) -> None:
        """Analyse the styles.

        Parameters
        ----------
        styles : sequence of Style

        Raises
        ------
        AudioFileError
            If a clip cannot be used, or the content is too short for the network.
        """
        analyzer = self._styler.analyzer
        check_frames(
            self._recording.n_frames, analyzer.min_frames, self._recording.name, self.config
        )
        with self._on_device():
            heard = analyze_styles(styles, analyzer, self._report)
        self._target, self._sound, self.S_style = heard
        self._lap("style")

    def pieces(self, pictured: int | None) -> Iterator[SpectrogramSegment]:
        """Style the content.

        Parameters
        ----------
        pictured : int, optional
            See `Picture`.

        Yields
        ------
        Piece
        """
        self._report(Stage("features"))
        self.picture = SpectrogramPreview(self.config, self._recording.channels, pictured)
        reader = self._recording.reader()
        waiting: Array | None = None  # what the window before leaves to be faded
        groups = self._groups()
        for i, group in enumerate(groups, 1):
            heard = [self._hear(reader, window) for window in group]
            self._lap("features")
            styled = self._style(heard, i, len(groups))
            for one, S in zip(heard, styled, strict=True):
                waiting, piece = self._join(one, S, waiting)
                yield piece
                self._lap("inversion")

    def _groups(self) -> list[list[Window]]:
        n = STACKED["GPU" if self._device.is_gpu else "CPU"]
        return [self.windows[i : i + n] for i in range(0, len(self.windows), n)]

    def _on_device(self) -> Any:
        return nn_device.load_tensorflow().device(self._device.name)

    def _hear(self, reader: FrameReader, window: Window) -> _Heard:
        config = self.config
        D = reader.stft(window.start, window.stop)
        power = spectrogram.channel_power(D)
        mel = spectrogram.mel_power(power, config)
        S = spectrogram.power_to_db(mel, config)
        if window.start == 0:
            alone = len(self.windows) == 1
            mean = mel.mean(axis=1) if alone else self._recording.mel_mean()
            self._starter = Initializer(self._sound, mean, self._recording.n_work, config)
        with self._on_device():
            return _Heard(window, power, S, self._starter.make(D, S, window.start))

    def _style(self, heard: list[_Heard], group: int, n_groups: int) -> Array:
        """Let a group of windows descend side by side [shape=(windows, n_mels, t)]."""
        S_content = np.stack([one.S for one in heard])
        S_start = np.stack([one.start.S for one in heard])
        if self.stopped == "interrupted":
            return S_start
        first = not self.histories
        with self._on_device():
            problem = self._styler.prepare(S_content, S_start, self._target)
            self._lap("features")
            if first:
                self._announce(problem.seconds * n_groups)
                self._report(Stage("optimization", self._device.reason))
            S, descent = self._styler.descend(problem, self._numbered(group, n_groups))
        self._lap("optimization")
        self.histories.append(descent.history)
        self.restarts = max(self.restarts, descent.restarts)
        if descent.stopped != "plateau":
            self.stopped = descent.stopped
        if group == n_groups or self.stopped == "interrupted":
            self._report(Stage("inversion"))
        return S

    def _numbered(self, group: int, n_groups: int) -> Callback:
        def report(event: Any) -> Any:
            numbered = replace(event, window=group, n_windows=n_groups)
            return self._report(numbered.with_spectrogram(event.spectrogram))

        return report

    def _announce(self, forward: float) -> None:
        """Say how long all of it will take, if that is long; `forward` is of the analysis."""
        steps = STEP_TO_FORWARD * forward * max(1, self.config.iterations)
        length = self._recording.channels * self._recording.n_work / self.config.sr
        seconds = steps + SOUND_SHARE * length
        if seconds > ANNOUNCED_SECONDS:
            self._report(Stage("estimate", f"about {round(seconds / 60)} min"))

    def _join(
        self, one: _Heard, S: Array, waiting: Array | None
    ) -> tuple[Array | None, SpectrogramSegment]:
        """Fade from the window before, and keep back what fades into the next."""
        window = one.window
        first = window.fade_start - window.start
        after = self._next(window)
        last = window.stop - window.start if after is None else after.fade_start - window.start
        if waiting is not None:
            n = window.fade_stop - window.fade_start
            weights = fade_in(n)
            fading = S[:, first : first + n]
            S = S.copy()
            S[:, first : first + n] = weights * fading + (1 - weights) * waiting
        kept = slice(first, last)
        self.picture.add(one.S[:, kept])
        piece = SpectrogramSegment(
            S[:, kept], one.start.D[:, :, kept], one.power[:, kept], after is None
        )
        if after is None:
            return None, piece
        return S[:, last : after.fade_stop - window.start], piece

    def _next(self, window: Window) -> Window | None:
        index = self.windows.index(window) + 1
        return self.windows[index] if index < len(self.windows) else None
