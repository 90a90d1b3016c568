from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from audiostyle import losses, networks, objective, spectral
from audiostyle.config import TransferConfig
from audiostyle.events import TERMS
from tests.conftest import make_noise, make_tones

# The root in the Wasserstein distance is iterated only so far: its zero is not quite zero.
ZERO = {"gram": 1e-6, "moments": 1e-6, "wasserstein": 2e-3}


@pytest.fixture(params=list(ZERO))
def analyzer(tiny_config: TransferConfig, request: pytest.FixtureRequest) -> objective.Analyzer:
    config = dataclasses.replace(
        tiny_config, precision="float32", style_statistic=request.param, style_norm="target"
    )
    return objective.Analyzer(networks.build_network(config), config)


def spectrograms(config: TransferConfig) -> tuple[np.ndarray, np.ndarray]:
    content = spectral.mel_spectrogram(make_tones(), config)
    style = spectral.mel_spectrogram(make_noise(), config)
    return content, style


def test_style_target_of_one_short_clip_is_its_gram_matrix(analyzer: objective.Analyzer) -> None:
    _, S = spectrograms(analyzer.config)
    target = analyzer.style_target([S])
    activations = analyzer.activations(tf.constant(S))
    bands = {name: s.bands for s in analyzer.sources for name, _ in s.layers}
    assert set(target.grams) == set(bands)
    for name, gram in target.grams.items():
        expected = losses.gram_matrix(activations[name], bands[name])
        np.testing.assert_allclose(gram, expected, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(target.mel_mean, spectral.db_to_power(S).mean(axis=1), rtol=1e-5)


def test_a_style_twice_as_long_is_the_same_style(analyzer: objective.Analyzer) -> None:
    _, S = spectrograms(analyzer.config)
    once, twice = analyzer.style_target([S]), analyzer.style_target([S, S])
    assert twice.n_frames == 2 * once.n_frames
    for name in once.grams:
        np.testing.assert_allclose(twice.grams[name], once.grams[name], rtol=1e-5)


def test_clips_weigh_by_their_length_and_styles_by_their_weight(
    analyzer: objective.Analyzer,
) -> None:
    A, B = spectrograms(analyzer.config)
    a, b = analyzer.style_target([A]), analyzer.style_target([B])
    pooled = analyzer.style_target([A, B, B])
    blended = objective.blend([a, b], [2.0, 4.0])
    assert A.shape == B.shape
    for name in a.grams:
        expected = (a.grams[name] + 2 * b.grams[name]) / 3
        np.testing.assert_allclose(pooled.grams[name], expected, rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(blended.grams[name], expected, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(blended.mel_mean, (a.mel_mean + 2 * b.mel_mean) / 3, rtol=1e-5)


def test_windows_cover_a_long_clip_exactly(analyzer: objective.Analyzer) -> None:
    S = np.arange(2 * 2500).reshape(2, 2500)
    windows = analyzer._windows(S)
    np.testing.assert_array_equal(np.concatenate(windows, axis=1), S)
    assert max(w.shape[1] for w in windows) <= objective.WINDOW_FRAMES
    assert min(w.shape[1] for w in windows) > objective.WINDOW_FRAMES // 2


def test_content_loss_is_zero_at_the_content_and_style_loss_at_the_style(
    analyzer: objective.Analyzer,
) -> None:
    A, B = spectrograms(analyzer.config)
    own, style = analyzer.style_target([A]), analyzer.style_target([B])
    at_content = objective.build_objective(analyzer, A, A, None, style)
    _, _, terms = at_content.evaluate(objective.to_variable(A, analyzer.config))
    assert float(terms[0]) == pytest.approx(0, abs=1e-9)
    assert float(terms[1]) > 0.05
    at_style = objective.build_objective(analyzer, A, A, None, own)
    _, _, terms = at_style.evaluate(objective.to_variable(A, analyzer.config))
    assert float(terms[1]) == pytest.approx(0, abs=ZERO[analyzer.config.style_statistic])


def test_at_strength_0_the_content_is_the_minimum(analyzer: objective.Analyzer) -> None:
    A, B = spectrograms(analyzer.config)
    config = dataclasses.replace(analyzer.config, strength=0.0)
    at_zero = objective.Analyzer(analyzer.network, config)
    function = objective.build_objective(
        at_zero, A, A, at_zero.style_target([A]), at_zero.style_target([B])
    )
    total, gradient, _ = function.evaluate(objective.to_variable(A, config))
    zero = ZERO[config.style_statistic]
    assert float(total) == pytest.approx(0, abs=config.style_weight * zero)
    assert float(tf.reduce_max(tf.abs(gradient))) < 10 * zero


def test_the_gradient_is_that_of_finite_differences(analyzer: objective.Analyzer) -> None:
    A, B = spectrograms(analyzer.config)
    config = dataclasses.replace(analyzer.config, envelope_weight=1.0)
    weighted = objective.Analyzer(analyzer.network, config)
    function = objective.build_objective(weighted, A, A, None, weighted.style_target([B]))
    rng = np.random.default_rng(0)
    # Silence is a tie in every maximum of the pooling, where there is no derivative to compare.
    x = objective.to_variable(A, config) + tf.constant(rng.uniform(0, 0.2, A.shape), tf.float32)
    _, gradient, _ = function.evaluate(x)
    direction = gradient / tf.reduce_max(tf.abs(gradient))
    step = 1e-3
    above, below = (function.evaluate(x + s * direction)[0] for s in (step, -step))
    slope = float(above - below) / (2 * step)
    assert float(tf.reduce_sum(gradient * direction)) == pytest.approx(slope, rel=0.02)


def test_the_total_is_the_weighted_sum_of_its_terms(analyzer: objective.Analyzer) -> None:
    A, B = spectrograms(analyzer.config)
    config = dataclasses.replace(
        analyzer.config,
        content_weight=3.0,
        style_weight=5.0,
        texture_weight=2.0,
        music_weight=13.0,
        pitch_weight=17.0,
        onset_weight=19.0,
        rhythm_weight=11.0,
        envelope_weight=7.0,
        style_layers=(("block1_conv1", 1.0), ("block2_conv1", 3.0)),
    )
    weighted = objective.Analyzer(analyzer.network, config)
    function = objective.build_objective(weighted, A, A, None, weighted.style_target([B]))
    total, _, terms = function.evaluate(objective.to_variable(A, config) * 0.9)
    named = dict(zip(TERMS, (float(t) for t in terms), strict=False))
    first, second = (float(t) for t in terms[len(TERMS) :])
    assert named["style"] == pytest.approx((first + 3 * second) / 4, rel=1e-5)
    assert all(value > 0 for value in named.values())
    expected = sum(getattr(config, f"{name}_weight") * value for name, value in named.items())
    assert float(total) == pytest.approx(expected, rel=1e-5)


def test_the_style_loss_of_a_pair_is_1_at_the_content_and_scales_nothing_else(
    analyzer: objective.Analyzer,
) -> None:
    A, B = spectrograms(analyzer.config)
    x = objective.to_variable(A, analyzer.config)
    terms = {}
    for norm in ("pair", "target"):
        config = dataclasses.replace(analyzer.config, style_norm=norm)
        scaled = objective.Analyzer(analyzer.network, config)
        function = objective.build_objective(scaled, A, A, None, scaled.style_target([B]))
        if norm == "pair":
            np.testing.assert_allclose(function.evaluate(x)[2][1:4], 1, rtol=1e-4)
        terms[norm] = function.evaluate(0.9 * x)[2].numpy()
    assert TERMS[1:4] == ("style", "texture", "music")
    ratio = terms["target"][1] / terms["pair"][1]
    others = [0, *range(4, len(TERMS))]
    np.testing.assert_allclose(terms["pair"][others], terms["target"][others], rtol=1e-5)
    layers = slice(len(TERMS), None)
    np.testing.assert_allclose(terms["pair"][layers] * ratio, terms["target"][layers], rtol=1e-4)


def test_the_variable_maps_the_range_to_0_and_1_and_back(tiny_config: TransferConfig) -> None:
    S = np.array([[-80.0, -40.0, 0.0, 5.0]], np.float32)
    x = objective.to_variable(S, tiny_config)
    np.testing.assert_allclose(x, [[0, 0.5, 1, 1.0625]])
    np.testing.assert_allclose(objective.from_variable(x, tiny_config), S, atol=1e-5)


def test_no_band_may_get_louder_than_it_ever_is_in_start_or_style(
    analyzer: objective.Analyzer,
) -> None:
    A, B = spectrograms(analyzer.config)
    function = objective.build_objective(analyzer, A, A + 1, None, analyzer.style_target([B]))
    loudest = objective.from_variable(function.upper, analyzer.config)[:, 0]
    np.testing.assert_allclose(loudest, np.maximum((A + 1).max(axis=1), B.max(axis=1)), atol=1e-3)
