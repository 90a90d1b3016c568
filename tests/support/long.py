"""Long transfers that take no time: the optimisation is one known change of the spectrogram."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.streams import ArraySource, AudioSource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.style import AnalyzedStyle, Style
from audiostyle.core.synthesis import SpectrogramSegment
from audiostyle.core.transfer import StyleTransfer, TransferResult
from audiostyle.core.windowed import WindowedOptimization
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.preview import SpectrogramPreview
from audiostyle.events import Iteration, Stage
from audiostyle.nn.device import Device
from audiostyle.nn.style_statistics import StyleStatistics
from tests.conftest import CHORDS, REED, SR, Array, make_chords, make_noise
from tests.support.fakes import iterate

CONFIG = TransferConfig(
    precision="float32",
    n_fft=1024,
    hop_length=256,
    n_mels=64,
    bands=4,
    init="content",
    inversion_iterations=4,
)
CPU = Device("/CPU:0", "no device")
Change = Callable[[Array], Array]


class FakeOptimizer:
    """Replaces `SpectrogramOptimizer`: three steps, and a change that is known."""

    def __init__(self, config: TransferConfig, change: Change = lambda S: S) -> None:
        self.config = config
        self.precision = "float32"
        self.is_traced = True
        self.analyzer = SimpleNamespace(
            config=config, min_frames=1, statistics_shapes=dict, notes=None
        )
        self.seconds = 0.0
        self.sizes: list[int] = []
        self._change = change

    def prepare(self, S_content: Array, initial: Any, style: StyleStatistics) -> Any:
        S = np.stack([start.S for start in initial])
        assert S_content.shape == S.shape
        return SimpleNamespace(S=S, seconds=self.seconds)

    def optimize(
        self, batch: Any, callback: Callable[[Iteration], Any], window: tuple[int, int]
    ) -> tuple[Array, Any]:
        self.sizes.append(len(batch.S))
        history: list[Iteration] = []
        stopped = "iterations"
        for step in range(3):
            history.append(replace(iterate(step), window=window[0], n_windows=window[1]))
            if callback(history[-1]):
                stopped = "interrupted"
                break
        result = SimpleNamespace(history=history, stopped=stopped, restarts=0)
        return self._change(batch.S), result


def make_music(seconds: float, seed: int = 0) -> Array:
    """Chords of half a second, drawn at random, over a little noise."""
    order = np.random.default_rng(seed).integers(0, len(CHORDS), int(2 * seconds) + 1)
    chords = make_chords([CHORDS[i] for i in order], REED, 0.5)[: round(seconds * SR)]
    return (chords + 0.1 * make_noise(seconds, seed=seed)[: len(chords)]).astype(np.float32)


def content_of(n_frames: int, config: TransferConfig = CONFIG) -> Array:
    """Make music of a number of frames [shape=(1, n)]."""
    n = (n_frames - 1) * config.hop_length + config.hop_length // 2
    return make_music(n / SR + 1)[None, :n]


def record(
    source: Array | AudioSource, config: TransferConfig = CONFIG, sr: int = SR
) -> NormalizedStream:
    if isinstance(source, np.ndarray):
        source = ArraySource(source, sr, "content")
    return NormalizedStream(source, config)


def known_style(config: TransferConfig = CONFIG) -> Style:
    """Make a style that is analysed already."""
    mel_mean = np.ones(config.n_mels)
    statistics = StyleStatistics({}, {}, mel_mean, np.zeros(1), np.zeros(config.n_mels), 10)
    y, S = np.ones((1, SR), np.float32), np.zeros((config.n_mels, 10), np.float32)
    style = AnalyzedStyle(statistics, None, y, S)
    return Style([], analyzed=lambda: style)


def optimize(
    content: NormalizedStream,
    optimizer: Any,
    report: Callable[[Stage | Iteration], Any] = lambda _: None,
) -> tuple[WindowedOptimization, list[SpectrogramSegment], Array]:
    """Optimise all windows of a content; also return its segments and its own spectrogram."""
    config = optimizer.config
    style = known_style(config).analyzed()  # type: ignore[misc]
    windows = WindowedOptimization(content, style, optimizer, CPU, report, lambda name: None)
    preview = SpectrogramPreview(config, content.channels, None)
    with AudioBuffer(config.n_mels) as result:
        windows.run(result, preview)
        return windows, list(windows.segments(result)), preview.S()


def fake_style_transfer(optimizer: FakeOptimizer) -> StyleTransfer:
    style_transfer = StyleTransfer(optimizer.config)
    style_transfer._loaded = optimizer, CPU  # type: ignore[assignment]
    return style_transfer


def style(
    source: Array | AudioSource,
    optimizer: FakeOptimizer,
    report: Callable[[Stage | Iteration], Any] | None = None,
    sr: int = SR,
    **options: Any,
) -> TransferResult:
    """Style all of a content with a known change."""
    content = record(source, optimizer.config, sr)
    with AudioBuffer(content.channels) as buffer:
        styles = [known_style(optimizer.config)]
        result = fake_style_transfer(optimizer).run(content, styles, buffer, report, **options)
        y = np.concatenate(list(result.blocks()), axis=1)
    return replace(result, y=y, matched=None)


class Generated:
    """A content made block by block, of noise."""

    sr, channels, name = SR, 1, "content"

    def __init__(self, n_blocks: int, block: int) -> None:
        self._n_blocks, self._block = n_blocks, block

    def blocks(self) -> Iterator[Array]:
        for i in range(self._n_blocks):
            noise = np.random.default_rng(i).standard_normal((1, self._block))
            yield (0.1 * noise).astype(np.float32)
