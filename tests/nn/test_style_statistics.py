from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.segmentation import WINDOW_FRAMES, split_frames
from audiostyle.nn import backbones, spectrogram_losses, style_losses
from audiostyle.nn.features import FeatureAnalyzer
from audiostyle.nn.style_statistics import (
    StyleStatistics,
    StyleStatisticsAccumulator,
    blend_statistics,
    style_terms,
)
from tests.support.networks import noise_spectrogram, tiny, tone_spectrogram


@pytest.fixture(scope="module")
def analyzer() -> FeatureAnalyzer:
    config = tiny()
    return FeatureAnalyzer(backbones.build_network(config), config)


def spectrograms(config: TransferConfig) -> tuple[np.ndarray, np.ndarray]:
    return tone_spectrogram(config), noise_spectrogram(config)


def random_style(seed: int, n_frames: int = 10) -> StyleStatistics:
    rng = np.random.default_rng(seed)
    A = rng.random((2, 30, 3), np.float32)
    return StyleStatistics(
        grams={"layer": np.swapaxes(A, 1, 2) @ A / 30},
        means={"layer": A.mean(axis=1)},
        mel_mean=rng.random(8),
        temporal=np.sort(rng.normal(-30, 10, 64)),
        peak=rng.normal(-10, 5, 8).astype(np.float32),
        n_frames=n_frames,
    )


def assert_alike(a: StyleStatistics, b: StyleStatistics, rtol: float = 1e-6) -> None:
    assert a.n_frames == b.n_frames
    for kind in ("grams", "means"):
        ours, theirs = getattr(a, kind), getattr(b, kind)
        assert set(ours) == set(theirs)
        for layer, values in ours.items():
            assert values.dtype == np.float32
            np.testing.assert_allclose(values, theirs[layer], rtol=rtol)
    for kind in ("mel_mean", "temporal", "peak"):
        np.testing.assert_allclose(getattr(a, kind), getattr(b, kind), rtol=rtol)


def test_style_statistics_of_a_short_clip_are_those_of_its_layers(
    analyzer: FeatureAnalyzer,
) -> None:
    _, S = spectrograms(analyzer.config)
    style = analyzer.style_statistics([S])
    activations = analyzer.activations(tf.constant(S[None]))
    bands = {name: s.bands for s in style_terms(analyzer.config) for name, _ in s.layers}
    assert set(style.grams) == set(style.means) == set(bands)
    for name in bands:
        gram, mean = style_losses.band_statistics(activations[name], bands[name])
        np.testing.assert_allclose(style.grams[name], gram[0], rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(style.means[name], mean[0], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(style.mel_mean, spectrogram.db_to_power(S).mean(axis=1), rtol=1e-5)
    envelope = spectrogram_losses.temporal_envelope(tf.constant(S))
    np.testing.assert_allclose(style.temporal, envelope, rtol=1e-5)
    np.testing.assert_array_equal(style.peak, S.max(axis=1))
    assert style.n_frames == S.shape[1]


def test_a_style_twice_as_long_is_the_same_style(analyzer: FeatureAnalyzer) -> None:
    _, S = spectrograms(analyzer.config)
    once, twice = analyzer.style_statistics([S]), analyzer.style_statistics([S, S])
    assert_alike(twice, dataclasses.replace(once, n_frames=2 * once.n_frames), rtol=1e-5)


def test_clips_weigh_by_their_length_and_styles_by_their_weight(analyzer: FeatureAnalyzer) -> None:
    A, B = spectrograms(analyzer.config)
    a, b = analyzer.style_statistics([A]), analyzer.style_statistics([B])
    pooled = analyzer.style_statistics([A, B, B])
    blended = blend_statistics([a, b], [2.0, 4.0])
    assert A.shape == B.shape
    for name in a.grams:
        expected = (a.grams[name] + 2 * b.grams[name]) / 3
        np.testing.assert_allclose(pooled.grams[name], expected, rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(blended.grams[name], expected, rtol=1e-3, atol=1e-2)
    for target in (pooled, blended):
        np.testing.assert_allclose(target.mel_mean, (a.mel_mean + 2 * b.mel_mean) / 3, rtol=1e-5)
        np.testing.assert_allclose(target.temporal, (a.temporal + 2 * b.temporal) / 3, rtol=1e-5)
        np.testing.assert_array_equal(target.peak, np.maximum(a.peak, b.peak))


def test_a_long_clip_is_accumulated_from_its_parts(analyzer: FeatureAnalyzer) -> None:
    _, S = spectrograms(analyzer.config)
    long = np.tile(S, (1, -(-2 * WINDOW_FRAMES // S.shape[1])))
    parts = split_frames(long.shape[1])
    accumulator = StyleStatisticsAccumulator()
    for first, last in parts:
        accumulator.add(analyzer.window_statistics(long[:, first:last]))
    assert len(parts) == 3
    assert_alike(analyzer.style_statistics([long]), accumulator.total())
    power = spectrogram.db_to_power(long)
    np.testing.assert_allclose(accumulator.total().mel_mean, power.mean(axis=1), rtol=1e-5)


def test_one_window_accumulates_to_itself() -> None:
    accumulator = StyleStatisticsAccumulator()
    accumulator.add(random_style(0))
    assert_alike(accumulator.total(), random_style(0))


def test_the_order_of_windows_does_not_matter() -> None:
    targets = [random_style(i, n_frames=10 + 7 * i) for i in range(5)]
    forward, backward = StyleStatisticsAccumulator(), StyleStatisticsAccumulator()
    for ours, theirs in zip(targets, reversed(targets), strict=True):
        forward.add(ours)
        backward.add(theirs)
    assert_alike(forward.total(), backward.total())


def test_windows_are_weighted_by_their_length() -> None:
    a, b = random_style(0, n_frames=10), random_style(1, n_frames=30)
    accumulator = StyleStatisticsAccumulator()
    accumulator.add(a)
    accumulator.add(b)
    assert_alike(accumulator.total(), blend_statistics([a, b], [1, 3]))


def test_no_windows_are_an_error() -> None:
    with pytest.raises(ValueError, match="no window"):
        StyleStatisticsAccumulator().total()


def test_a_blend_of_one_style_is_that_style() -> None:
    a = random_style(0)
    assert blend_statistics([a], [0.3]) is a


def test_a_blend_of_a_style_with_itself_is_that_style() -> None:
    a = random_style(0)
    assert_alike(
        blend_statistics([a, a], [0.3, 5.0]), dataclasses.replace(a, n_frames=2 * a.n_frames)
    )


def test_only_the_ratio_of_the_weights_matters() -> None:
    a, b = random_style(0), random_style(1)
    assert_alike(blend_statistics([a, b], [1, 3]), blend_statistics([a, b], [0.1, 0.3]))
    assert_alike(blend_statistics([a, b], [1, 3]), blend_statistics([b, a], [3, 1]))


def test_a_style_of_weight_0_contributes_only_its_peaks() -> None:
    a, b = random_style(0), random_style(1)
    expected = dataclasses.replace(a, peak=np.maximum(a.peak, b.peak), n_frames=20)
    assert_alike(blend_statistics([a, b], [1, 0]), expected)


def test_style_terms_are_those_of_weight_above_0(tiny_config: TransferConfig) -> None:
    def names(**weights: float) -> list[str]:
        return [s.name for s in style_terms(dataclasses.replace(tiny_config, **weights))]

    assert names(music_weight=1.0, texture_weight=1.0) == ["style", "music", "texture"]
    assert names(music_weight=0.0, texture_weight=1.0) == ["style", "texture"]
    assert names(music_weight=0.0, texture_weight=0.0) == ["style"]
