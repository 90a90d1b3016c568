"""Styles as a transfer takes them, and what it hears in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio.streams import ArraySource, StreamChecker, StreamReader
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import StyleSamples
from audiostyle.dsp import mosaic, spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream, check_frames
from audiostyle.dsp.segmentation import split_frames
from audiostyle.errors import AudioFileError
from audiostyle.events import Callback, Stage
from audiostyle.nn.style_statistics import (
    StyleStatistics,
    StyleStatisticsAccumulator,
    blend_statistics,
)

if TYPE_CHECKING:
    from audiostyle.nn.features import FeatureAnalyzer

Array = npt.NDArray[Any]

STATISTICS = ("grams", "means")  # of a `StyleStatistics`, layer by layer
EXAMPLE_SECONDS = 60.0  # of a style that are kept for the picture and for init="style"


@dataclass
class Style:
    """One style: a clip, or several that together are one (a genre).

    Attributes
    ----------
    clips : iterable of (np.ndarray [shape=(n,) or (channels, n)], int) or of Recording
        Arrays with their rates in Hz, or recordings. May be a generator: one is held at a time.
    weight : float >= 0
        Share of this style among several.
    name : str
        For messages.
    analyzed : callable, optional
        Gives the style as it was analysed before; `clips` are not read then.
    """

    clips: Iterable[tuple[Array, int] | NormalizedStream]
    weight: float = 1.0
    name: str = "style"
    analyzed: Callable[[], AnalyzedStyle] | None = None


@dataclass
class AnalyzedStyle:
    """What a transfer needs of a style, whatever the style's length.

    Attributes
    ----------
    statistics : StyleStatistics
    samples : StyleSamples
    S : np.ndarray [shape=(n_mels, t), dB]
        Spectrogram of the first minute of its first clip.
    """

    statistics: StyleStatistics
    samples: StyleSamples
    S: Array


def analyze_style(style: Style, analyzer: FeatureAnalyzer, report: Callback) -> AnalyzedStyle:
    """Take the statistics of one style, and what a start needs of it.

    Parameters
    ----------
    style : Style
    analyzer : Analyzer
    report : callable

    Returns
    -------
    AnalyzedStyle

    Raises
    ------
    AudioFileError
        If a clip of it cannot be used, or what was heard before is no work of these networks.
    """
    if style.analyzed is not None:
        return _fitting(style.analyzed(), analyzer, style.name)
    config = analyzer.config
    statistics, pool = StyleStatisticsAccumulator(), mosaic.FrameReservoir(config.seed)
    example: _Example | None = None
    for i, clip in enumerate(style.clips, 1):
        report(Stage("style", style.name if i == 1 else f"{style.name}, clip {i}"))
        recording = (
            clip if isinstance(clip, NormalizedStream) else _record(*clip, style.name, config)
        )
        check_frames(recording.n_frames, analyzer.min_frames, recording.name, config)
        reader = recording.reader()
        if example is None:
            example = _Example(recording, config)
        for start, stop in split_frames(recording.n_frames):
            power = spectrogram.channel_power(reader.stft(start, stop))
            pool.add(power)
            S = spectrogram.power_to_db(spectrogram.mel_power(power, config), config)
            statistics.add(analyzer.window_statistics(S))
            example.add(S)
    if example is None:
        raise AudioFileError(f"{style.name}: holds no clip that can be used")
    target = statistics.total()
    sound = StyleSamples(target.mel_mean, pool.take(1.0), example.y())
    return AnalyzedStyle(target, sound, example.S())


def _fitting(heard: AnalyzedStyle, analyzer: FeatureAnalyzer, name: str) -> AnalyzedStyle:
    """Return what was heard elsewhere, if it has the shapes that these networks give."""
    for field, wanted in analyzer.statistics_shapes().items():
        kind, _, layer = field.partition("/")
        found = getattr(heard.statistics, kind)
        shape = (found[layer] if layer else found).shape
        if shape != wanted:
            raise AudioFileError(
                f"{name}: statistics/{field} has the shape {shape}, the networks give {wanted}; "
                "make it anew"
            )
    return heard


def _record(y: Array, sr: int, name: str, config: TransferConfig) -> NormalizedStream:
    return NormalizedStream(ArraySource(y, sr, name), config)


class _Example:
    """The beginning of a recording, to look at and to start from."""

    def __init__(self, recording: NormalizedStream, config: TransferConfig) -> None:
        self._recording = recording
        self._n = int(EXAMPLE_SECONDS * config.sr)
        self._n_frames = 1 + self._n // config.hop_length
        self._S: list[Array] = []

    def add(self, S: Array) -> None:
        missing = self._n_frames - sum(part.shape[1] for part in self._S)
        if missing > 0:
            self._S.append(S[:, :missing].copy())  # a view would keep the whole

    def y(self) -> Array:
        n = min(self._n, self._recording.n_work)
        y = StreamReader(self._recording.levelled(), self._recording.channels).read(0, n)
        return np.asarray(y.mean(axis=0, keepdims=True))

    def S(self) -> Array:
        return np.concatenate(self._S, axis=1)


def analyze_styles(
    styles: Sequence[Style], analyzer: FeatureAnalyzer, report: Callback
) -> tuple[StyleStatistics, StyleSamples, Array]:
    """Blend styles into one.

    Parameters
    ----------
    styles : sequence of Style
    analyzer : Analyzer
    report : callable

    Returns
    -------
    statistics : StyleStatistics
    samples : StyleSamples
    S : np.ndarray [shape=(n_mels, t), dB]
        Spectrogram of the first minute of the first style.
    """
    used = [style for style in styles if style.weight > 0]
    heard = [analyze_style(style, analyzer, report) for style in used]
    if len(heard) == 1:  # itself, with what is kept of it
        return heard[0].statistics, heard[0].samples, heard[0].S
    total = sum(style.weight for style in used)
    shares = [style.weight / total for style in used]
    target = blend_statistics([h.statistics for h in heard], shares)
    # Of each style its share of a full pool of frames, the first of which are drawn best.
    counts = [max(1, round(share * mosaic.MAX_FRAMES)) for share in shares]
    frames = np.concatenate(
        [h.samples.frames[:, :n] for h, n in zip(heard, counts, strict=True)], axis=1
    )
    sound = StyleSamples(target.mel_mean, frames, heard[0].samples.y)
    return target, sound, heard[0].S
