"""Long transfers that take no time: a descent that is one known change of the spectrogram."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from audiostyle.config import TransferConfig
from audiostyle.devices import Device
from audiostyle.events import Iterate, Stage
from audiostyle.hearing import HeardStyle, Style
from audiostyle.pipeline import Stylist, TransferResult
from audiostyle.recording import Recording
from audiostyle.spool import Spool
from audiostyle.starts import StyleSound
from audiostyle.streams import ArraySource, Source
from audiostyle.style_target import StyleTarget
from audiostyle.traverse import LongTransfer
from tests.conftest import CHORDS, REED, SR, Array, make_chords, make_noise
from tests.fakes import iterate

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


class FakeStyler:
    """Stands in for `audiostyle.styler.Styler`: three steps, and a change that is known."""

    def __init__(self, config: TransferConfig, change: Change = lambda S: S) -> None:
        self.config = config
        self.precision = "float32"
        self.analyzer = SimpleNamespace(config=config, min_frames=1, target_shapes=dict)
        self.seconds = 0.0
        self.sizes: list[int] = []
        self._change = change

    def prepare(self, S_content: Array, S_start: Array, target: StyleTarget) -> Any:
        assert S_content.shape == S_start.shape
        return SimpleNamespace(S=S_start, seconds=self.seconds)

    def descend(self, problem: Any, callback: Callable[[Iterate], Any]) -> tuple[Array, Any]:
        self.sizes.append(len(problem.S))
        history: list[Iterate] = []
        stopped = "iterations"
        for step in range(3):
            history.append(iterate(step))
            if callback(history[-1]):
                stopped = "interrupted"
                break
        descent = SimpleNamespace(history=history, stopped=stopped, restarts=0)
        return self._change(problem.S), descent


def make_music(seconds: float, seed: int = 0) -> Array:
    """Chords of half a second, drawn at random, over a little noise."""
    order = np.random.default_rng(seed).integers(0, len(CHORDS), int(2 * seconds) + 1)
    chords = make_chords([CHORDS[i] for i in order], REED, 0.5)[: round(seconds * SR)]
    return (chords + 0.1 * make_noise(seconds, seed=seed)[: len(chords)]).astype(np.float32)


def content_of(n_frames: int, config: TransferConfig = CONFIG) -> Array:
    """Make music of so many frames [shape=(1, n)]."""
    n = (n_frames - 1) * config.hop_length + config.hop_length // 2
    return make_music(n / SR + 1)[None, :n]


def record(source: Array | Source, config: TransferConfig = CONFIG, sr: int = SR) -> Recording:
    if isinstance(source, np.ndarray):
        source = ArraySource(source, sr, "content")
    return Recording(source, config)


def known_style(config: TransferConfig = CONFIG) -> Style:
    """Make a style that nobody has to listen to."""
    mel_mean = np.ones(config.n_mels)
    target = StyleTarget({}, {}, mel_mean, np.zeros(1), np.zeros(config.n_mels), 10)
    frames = np.ones((config.n_fft // 2 + 1, 10), np.float32)
    sound = StyleSound(mel_mean, frames, np.ones((1, SR), np.float32))
    heard = HeardStyle(target, sound, np.zeros((config.n_mels, 10), np.float32))
    return Style([], heard=lambda: heard)


def traverse(
    recording: Recording, styler: Any, report: Callable[[Stage | Iterate], Any] = lambda _: None
) -> LongTransfer:
    """Prepare a transfer whose pieces are taken one by one."""
    run = LongTransfer(recording, styler, CPU, report, lambda name: None)
    run.listen([known_style(styler.config)])
    return run


def fake_stylist(styler: FakeStyler) -> Stylist:
    stylist = Stylist(styler.config)
    stylist._styler, stylist._device = styler, CPU  # type: ignore[assignment]
    return stylist


def style(
    source: Array | Source,
    styler: FakeStyler,
    report: Callable[[Stage | Iterate], Any] | None = None,
    sr: int = SR,
    **options: Any,
) -> TransferResult:
    """Style all of a content with a known change."""
    recording = record(source, styler.config, sr)
    with Spool(recording.channels) as spool:
        styles = [known_style(styler.config)]
        result = fake_stylist(styler).run(recording, styles, spool, report, **options)
        y = np.concatenate(list(result.blocks()), axis=1)
    return replace(result, y=y, matched=None)


class Generated:
    """A content that is nowhere: blocks of noise, made when they are asked for."""

    sr, channels, name = SR, 1, "content"

    def __init__(self, n_blocks: int, block: int) -> None:
        self._n_blocks, self._block = n_blocks, block

    def blocks(self) -> Iterator[Array]:
        for i in range(self._n_blocks):
            noise = np.random.default_rng(i).standard_normal((1, self._block))
            yield (0.1 * noise).astype(np.float32)
