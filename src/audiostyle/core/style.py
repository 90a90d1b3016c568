"""Analysis of styles: statistics of any number of clips, and samples for the initialization."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import to_mono
from audiostyle.audio.streams import ArraySource, StreamReader
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import StyleSamples
from audiostyle.dsp import mosaic, spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream, check_frames
from audiostyle.dsp.segmentation import split_frames
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.events import Callback, Stage
from audiostyle.nn.style_statistics import (
    StyleStatistics,
    StyleStatisticsAccumulator,
    blend_statistics,
)

if TYPE_CHECKING:
    from audiostyle.nn.features import FeatureAnalyzer


STATISTICS = ("grams", "means")  # of a `StyleStatistics`, layer by layer
EXCERPT_SECONDS = 60.0  # of a style that are kept for the plot and for init="style"


@dataclass
class Style:
    """One style: a clip, or several clips that form one style together (a genre).

    Attributes
    ----------
    clips : iterable of (np.ndarray [shape=(n,) or (channels, n)], int) or of NormalizedStream
        Arrays with their sampling rates in Hz, or streams. May be a generator: one clip is held at
        a time.
    weight : float >= 0
        Relative to the weights of the other styles.
    name : str
        For messages.
    analyzed : callable, optional
        Returns the `AnalyzedStyle` of an earlier analysis; `clips` are not read then.
    """

    clips: Iterable[tuple[Array, int] | NormalizedStream]
    weight: float = 1.0
    name: str = "style"
    analyzed: Callable[[], AnalyzedStyle] | None = None


@dataclass
class AnalyzedStyle:
    """All that a transfer needs of a style, whatever its length.

    `S` is the mel spectrogram [shape=(n_mels, t), dB] of the first minute of its first clip.
    """

    statistics: StyleStatistics
    samples: StyleSamples
    S: Array


def to_styles(style: Any, sr: int) -> list[Style]:
    """Return the styles that `audiostyle.transfer` was given as a list of `Style`, and check them.

    Raises
    ------
    ConfigError
        If there is no style, a weight is negative or not finite, or all weights are 0.
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


def analyze_style(style: Style, analyzer: FeatureAnalyzer, report: Callback) -> AnalyzedStyle:
    """Compute the statistics of one style, clip by clip and window by window.

    Raises
    ------
    AudioFileError
        If a clip cannot be used, or an earlier analysis does not fit the networks.
    """
    if style.analyzed is not None:
        return _check_shapes(style.analyzed(), analyzer, style.name)
    config = analyzer.config
    statistics, frames = StyleStatisticsAccumulator(), mosaic.FrameReservoir(config.seed)
    excerpt: _Excerpt | None = None
    for i, clip in enumerate(style.clips, 1):
        report(Stage("style", style.name if i == 1 else f"{style.name}, clip {i}"))
        stream = clip if isinstance(clip, NormalizedStream) else _open(*clip, style.name, config)
        check_frames(stream.n_frames, analyzer.min_frames, stream.name, config)
        if excerpt is None:
            excerpt = _Excerpt(stream, config)
        reader = stream.frame_reader()
        for start, stop in split_frames(stream.n_frames):
            power = spectrogram.channel_power(reader.stft(start, stop))
            S = spectrogram.mel_db(power, config)
            excerpt.add(S)
            if S.max() > -config.top_db:  # silence has no style
                frames.add(power)
                statistics.add(analyzer.window_statistics(S))
    if excerpt is None:
        raise AudioFileError(f"{style.name}: contains no clip that can be used")
    total = statistics.total()
    samples = StyleSamples(total.mel_mean, frames.take(1.0), excerpt.y())
    return AnalyzedStyle(total, samples, excerpt.S())


def analyze_styles(
    styles: Sequence[Style], analyzer: FeatureAnalyzer, report: Callback
) -> AnalyzedStyle:
    """Analyse several styles and blend them by their weights; `S` is that of the first."""
    used = [style for style in styles if style.weight > 0]
    parts = [analyze_style(style, analyzer, report) for style in used]
    if len(parts) == 1:  # the same object, so that what it caches is kept
        return parts[0]
    total = sum(style.weight for style in used)
    shares = [style.weight / total for style in used]
    statistics = blend_statistics([part.statistics for part in parts], shares)
    # Frames in proportion to the weights; the first frames of a reservoir are a random sample.
    counts = [max(1, round(share * mosaic.MAX_FRAMES)) for share in shares]
    frames = np.concatenate(
        [part.samples.frames[:, :n] for part, n in zip(parts, counts, strict=True)], axis=1
    )
    samples = StyleSamples(statistics.mel_mean, frames, parts[0].samples.y)
    return AnalyzedStyle(statistics, samples, parts[0].S)


def _check_shapes(style: AnalyzedStyle, analyzer: FeatureAnalyzer, name: str) -> AnalyzedStyle:
    """Return an analysis made earlier if its arrays have the shapes that these networks give."""
    for field, expected in analyzer.statistics_shapes().items():
        kind, _, layer = field.partition("/")
        value = getattr(style.statistics, kind)
        shape = (value[layer] if layer else value).shape
        if shape != expected:
            raise AudioFileError(
                f"{name}: statistics/{field} has the shape {shape}, the networks give {expected}; "
                "make it again"
            )
    return style


def _open(y: Array, sr: int, name: str, config: TransferConfig) -> NormalizedStream:
    return NormalizedStream(ArraySource(y, sr, name), config)


class _Excerpt:
    """The first minute of a stream, as audio and as spectrogram."""

    def __init__(self, stream: NormalizedStream, config: TransferConfig) -> None:
        self._stream = stream
        self._n = int(EXCERPT_SECONDS * config.sr)
        self._n_frames = 1 + self._n // config.hop_length
        self._S: list[Array] = []

    def add(self, S: Array) -> None:
        missing = self._n_frames - sum(part.shape[1] for part in self._S)
        if missing > 0:
            self._S.append(S[:, :missing].copy())  # a view would keep the whole

    def y(self) -> Array:
        n = min(self._n, self._stream.n_resampled)
        y = StreamReader(self._stream.normalized_blocks(), self._stream.channels).read(0, n)
        return to_mono(y)[None]

    def S(self) -> Array:
        return np.concatenate(self._S, axis=1)
