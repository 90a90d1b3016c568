"""Styles of any length and in any number of files: the statistics are those of the sound."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import style
from audiostyle.core.style import AnalyzedStyle, Style, analyze_style, analyze_styles
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.segmentation import split_frames
from audiostyle.files.transfer import find_style_source
from audiostyle.nn.backbones import build_network
from audiostyle.nn.features import FeatureAnalyzer
from tests.conftest import SR, Array, SetWindows, make_noise
from tests.support.long import make_music

HUGE = 100_000


@pytest.fixture
def analyzer(tiny_config: TransferConfig) -> FeatureAnalyzer:
    config = dataclasses.replace(tiny_config, music_weight=0.0)
    return FeatureAnalyzer(build_network(config), config)


def analyze(analyzer: FeatureAnalyzer, *clips: Array) -> AnalyzedStyle:
    return analyze_style(Style([(y, SR) for y in clips]), analyzer, lambda event: None)


def distance(a: AnalyzedStyle, b: AnalyzedStyle) -> float:
    """Relative distance of the layers' statistics, the largest of them."""
    found = []
    for kind in ("grams", "means"):
        first, second = (getattr(analyzed.statistics, kind) for analyzed in (a, b))
        assert first.keys() == second.keys()
        found += [
            np.linalg.norm(second[name] - first[name]) / np.linalg.norm(first[name])
            for name in first
        ]
    return float(max(found))


def mel_distance(a: AnalyzedStyle, b: AnalyzedStyle) -> float:
    return float(np.abs(10 * np.log10(a.statistics.mel_mean / b.statistics.mel_mean)).max())


def test_a_style_in_one_file_or_two_is_the_same_style(
    analyzer: FeatureAnalyzer, write_wav: Callable[..., Path]
) -> None:
    y = make_music(6.0)
    whole = write_wav("whole.wav", y, subtype="FLOAT")
    halves = [write_wav(f"genre/{i}.wav", half) for i, half in enumerate(np.split(y, 2))]
    analyzed = [
        analyze_style(
            find_style_source(path, 1.0, analyzer.config).as_style(analyzer.config), analyzer, print
        )
        for path in (whole, halves[0].parent)
    ]
    other = analyze(analyzer, make_noise(3.0))
    assert distance(*analyzed) < 0.03 < 0.1 * distance(analyzed[0], other)
    assert mel_distance(*analyzed) < 0.1
    assert abs(analyzed[1].statistics.n_frames - analyzed[0].statistics.n_frames) <= 1


def test_statistics_of_a_long_style_are_those_of_its_windows_together(
    analyzer: FeatureAnalyzer, small_windows: SetWindows
) -> None:
    y = make_music(6.0)
    small_windows(HUGE, 0)
    whole = analyze(analyzer, y)
    small_windows(160, 48)
    long = analyze(analyzer, y)
    config = analyzer.config
    recording = NormalizedStream(ArraySource(y, SR, "y"), config)
    D = recording.frame_reader().stft(0, recording.n_frames)
    S = spectrogram.mel_db(spectrogram.channel_power(D), config)
    parts = [S[:, start:stop] for start, stop in split_frames(S.shape[1])]
    assert len(parts) == 4
    pooled = analyzer.style_statistics(parts)
    assert long.statistics.n_frames == whole.statistics.n_frames == S.shape[1]
    for name in pooled.grams:
        np.testing.assert_allclose(
            long.statistics.grams[name], pooled.grams[name], rtol=1e-3, atol=1e-3
        )
    np.testing.assert_allclose(long.statistics.mel_mean, pooled.mel_mean, rtol=1e-4)
    # What the ends of windows cost is little beside what sets styles apart.
    small_windows(HUGE, 0)
    other = analyze(analyzer, make_noise(3.0))
    assert distance(whole, long) < 0.03 < 0.1 * distance(whole, other)
    assert mel_distance(whole, long) < 0.1


def test_the_first_minute_of_a_long_style_is_kept(
    analyzer: FeatureAnalyzer, small_windows: SetWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(160, 48)
    monkeypatch.setattr(style, "EXCERPT_SECONDS", 3.0)
    y = make_music(6.0)
    analyzed = analyze(analyzer, y, make_noise(1.0))
    recording = NormalizedStream(ArraySource(y, SR, "y"), analyzer.config)
    normalized = np.concatenate(list(recording.normalized_blocks()), axis=1)
    np.testing.assert_array_equal(analyzed.y, normalized[:, : 3 * SR])
    D = recording.frame_reader().stft(0, recording.n_frames)
    S = spectrogram.mel_db(spectrogram.channel_power(D), analyzer.config)
    n_frames = 1 + 3 * SR // analyzer.config.hop_length
    assert analyzed.S.shape[1] == n_frames
    np.testing.assert_allclose(analyzed.S, S[:, :n_frames], atol=1e-3)


def test_levels_are_sums_over_windows_clips_and_styles(
    analyzer: FeatureAnalyzer, small_windows: SetWindows
) -> None:
    small_windows(160, 48)
    config = dataclasses.replace(analyzer.config, init="notes")
    with_notes = FeatureAnalyzer(analyzer.network, config)
    clips = [make_music(4.0), make_music(3.0, seed=1)]
    first, second, both = (
        analyze(with_notes, *c).levels for c in ([*clips[:1]], [clips[1]], clips)
    )
    assert first is not None and second is not None and both is not None
    total = first + second
    assert both.n_frames == total.n_frames == analyze(with_notes, *clips).statistics.n_frames
    np.testing.assert_allclose(both.class_levels, total.class_levels, rtol=1e-6)
    np.testing.assert_allclose(both.features, total.features, rtol=1e-6)
    # Silence has no levels; what lies below the floor is known.
    silent = np.zeros(5 * SR, np.float32)
    silent[:SR] = make_noise(1.0)
    levels = analyze(with_notes, silent).levels
    start, stop = split_frames(1 + len(silent) // config.hop_length)[0]
    assert levels is not None and levels.n_frames == stop - start
    assert levels.quiet[1] > 0
    styles = [Style([(clip, SR)], weight=w) for clip, w in zip(clips, (1.0, 3.0), strict=True)]
    blend = analyze_styles(styles, with_notes, lambda event: None).levels
    assert blend is not None
    means = [one.power / one.n_frames for one in (first, second, blend)]
    np.testing.assert_allclose(means[2], 0.25 * means[0] + 0.75 * means[1], rtol=1e-6)
    assert analyze(analyzer, clips[0]).levels is None  # without init="notes"
