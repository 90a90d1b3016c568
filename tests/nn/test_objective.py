from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.events import TERMS
from audiostyle.nn import backbones, objective
from audiostyle.nn.backbones import FeatureExtractor
from audiostyle.nn.features import FeatureAnalyzer
from audiostyle.nn.objective import StyleObjective
from audiostyle.nn.style_statistics import StyleStatistics
from tests.conftest import make_tones
from tests.support.networks import ALL_TERMS, noise_spectrogram, tiny, tone_spectrogram

# The root in the Wasserstein distance is approximate, and so is its zero.
ZERO = {"gram": 1e-6, "moments": 1e-6, "wasserstein": 2e-3}


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Trace nothing, which takes longer than these tests; `tests.core` traces the objective."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def network() -> FeatureExtractor:
    return backbones.build_network(tiny())


@pytest.fixture(params=list(ZERO))
def analyzer(network: FeatureExtractor, request: pytest.FixtureRequest) -> FeatureAnalyzer:
    return FeatureAnalyzer(network, tiny(style_statistic=request.param, style_norm="target"))


def with_config(analyzer: FeatureAnalyzer, **changes: Any) -> FeatureAnalyzer:
    """Return an analyzer with the same network and a changed configuration."""
    return FeatureAnalyzer(analyzer.network, dataclasses.replace(analyzer.config, **changes))


def with_all_terms(analyzer: FeatureAnalyzer, **changes: Any) -> FeatureAnalyzer:
    """Return an analyzer with all terms, whose weights differ."""
    weights = {f"{name}_weight": 0.5 + i for i, name in enumerate(ALL_TERMS)}
    return with_config(analyzer, **{**weights, **changes})


def spectrograms(config: TransferConfig) -> tuple[np.ndarray, np.ndarray]:
    return tone_spectrogram(config), noise_spectrogram(config)


class Pair:
    """The objective of one content or a stack of contents, and a style."""

    def __init__(
        self,
        analyzer: FeatureAnalyzer,
        S_content: np.ndarray,
        style: StyleStatistics,
        S_start: np.ndarray | None = None,
        confidence: float = 0.0,
    ) -> None:
        S = S_content.reshape(-1, *S_content.shape[-2:])
        start = S if S_start is None else S_start.reshape(S.shape)
        # So far towards the start, which the content losses compare with then.
        target = S + np.float32(confidence) * (start - S)
        features = analyzer.analyze(S)
        features = dataclasses.replace(features, features=analyzer.analyze(target).features)
        self.objective = StyleObjective(analyzer)
        self.data, self.upper = self.objective.prepare(
            S, start, target, np.full(len(S), confidence, np.float32), style, features
        )

    def evaluate(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Evaluate a stack, or a single item without a batch axis."""
        if len(x.shape) == 3:
            return self.objective.evaluate(x, self.data)
        total, gradient, terms = self.objective.evaluate(x[None], self.data)
        return total[0], gradient[0], terms[0]


def test_content_loss_is_zero_at_the_content_and_style_loss_at_the_style(
    analyzer: FeatureAnalyzer,
) -> None:
    A, B = spectrograms(analyzer.config)
    own, style = analyzer.style_statistics([A]), analyzer.style_statistics([B])
    at_content = Pair(analyzer, A, style)
    _, _, terms = at_content.evaluate(objective.to_variable(A, analyzer.config.top_db))
    assert float(terms[0]) == pytest.approx(0, abs=1e-9)
    assert float(terms[1]) > 0.05
    at_style = Pair(analyzer, A, own)
    _, _, terms = at_style.evaluate(objective.to_variable(A, analyzer.config.top_db))
    assert float(terms[1]) == pytest.approx(0, abs=ZERO[analyzer.config.style_statistic])


def test_at_strength_0_the_content_is_the_minimum(analyzer: FeatureAnalyzer) -> None:
    A, B = spectrograms(analyzer.config)
    at_zero = with_config(analyzer, strength=0.0)
    config = at_zero.config
    pair = Pair(at_zero, A, at_zero.style_statistics([B]))
    total, gradient, _ = pair.evaluate(objective.to_variable(A, config.top_db))
    zero = ZERO[config.style_statistic]
    assert float(total) == pytest.approx(0, abs=config.style_weight * zero)
    assert float(tf.reduce_max(tf.abs(gradient))) < 10 * zero


def test_the_gradient_is_that_of_finite_differences(analyzer: FeatureAnalyzer) -> None:
    A, B = spectrograms(analyzer.config)
    weighted = with_config(analyzer, envelope_weight=1.0)
    config = weighted.config
    pair = Pair(weighted, A, weighted.style_statistics([B]))
    rng = np.random.default_rng(0)
    # In silence every maximum of the pooling is a tie, without a derivative.
    x = objective.to_variable(A, config.top_db) + tf.constant(
        rng.uniform(0, 0.2, A.shape), tf.float32
    )
    _, gradient, _ = pair.evaluate(x)
    direction = gradient / tf.reduce_max(tf.abs(gradient))
    step = 1e-3
    above, below = (pair.evaluate(x + s * direction)[0] for s in (step, -step))
    slope = float(above - below) / (2 * step)
    assert float(tf.reduce_sum(gradient * direction)) == pytest.approx(slope, rel=0.02)


def test_the_total_is_the_weighted_sum_of_its_terms(analyzer: FeatureAnalyzer) -> None:
    A, B = spectrograms(analyzer.config)
    weighted = with_config(
        analyzer,
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
    config = weighted.config
    pair = Pair(weighted, A, weighted.style_statistics([B]))
    total, _, terms = pair.evaluate(objective.to_variable(A, config.top_db) * 0.9)
    named = dict(zip(TERMS, (float(t) for t in terms), strict=False))
    first, second = (float(t) for t in terms[len(TERMS) :])
    assert named["style"] == pytest.approx((first + 3 * second) / 4, rel=1e-5)
    assert all(value > 0 for value in named.values())
    expected = sum(getattr(config, f"{name}_weight") * value for name, value in named.items())
    assert float(total) == pytest.approx(expected, rel=1e-5)


def test_the_style_loss_of_a_pair_is_1_at_the_content_and_scales_nothing_else(
    analyzer: FeatureAnalyzer,
) -> None:
    A, B = spectrograms(analyzer.config)
    x = objective.to_variable(A, analyzer.config.top_db)
    terms = {}
    for norm in ("pair", "target"):
        scaled = with_config(analyzer, style_norm=norm)
        pair = Pair(scaled, A, scaled.style_statistics([B]))
        if norm == "pair":
            np.testing.assert_allclose(pair.evaluate(x)[2][1:4], 1, rtol=1e-4)
        terms[norm] = pair.evaluate(0.9 * x)[2].numpy()
    assert TERMS[1:4] == ("style", "texture", "music")
    ratio = terms["target"][1] / terms["pair"][1]
    others = [0, *range(4, len(TERMS))]
    np.testing.assert_allclose(terms["pair"][others], terms["target"][others], rtol=1e-5)
    layers = slice(len(TERMS), None)
    np.testing.assert_allclose(terms["pair"][layers] * ratio, terms["target"][layers], rtol=1e-4)


def test_at_full_confidence_the_start_keeps_its_content(analyzer: FeatureAnalyzer) -> None:
    """The content losses compare with the levels predicted from notes, where the start is."""
    A, B = spectrograms(analyzer.config)
    analyzer = with_all_terms(analyzer)
    style, start = analyzer.style_statistics([B]), np.minimum(A[:, ::-1] + 3, 0)
    x = objective.to_variable(start, analyzer.config.top_db)
    kept = [TERMS.index(name) for name in ("content", "pitch", "onset", "rhythm")]
    sure, unsure = (Pair(analyzer, A, style, start, c).evaluate(x)[2].numpy() for c in (1.0, 0.0))
    np.testing.assert_allclose(sure[kept], 0, atol=1e-5)
    assert np.all(unsure[kept] > 1e-3)


@pytest.mark.parametrize("norm", ["pair", "target"])
def test_style_terms_yield_in_proportion_to_the_confidence(
    analyzer: FeatureAnalyzer, norm: str
) -> None:
    A, B = spectrograms(analyzer.config)
    analyzer = with_all_terms(analyzer, style_norm=norm)
    x = 0.9 * objective.to_variable(A, analyzer.config.top_db)
    style = analyzer.style_statistics([B])
    full, half = (Pair(analyzer, A, style, confidence=c).evaluate(x)[2].numpy() for c in (0.0, 0.5))
    expected = np.ones_like(full)
    for name, share in objective.YIELD.items():
        expected[TERMS.index(name)] = 1 - 0.5 * share
    if norm == "target":
        expected[len(TERMS) :] = half[len(TERMS) :] / full[len(TERMS) :]
    np.testing.assert_allclose(half, expected * full, rtol=1e-4)


def test_each_item_of_a_batch_has_its_own_confidence(analyzer: FeatureAnalyzer) -> None:
    A, B = spectrograms(analyzer.config)
    S, style = np.stack([A, A]), analyzer.style_statistics([B])
    data, _ = StyleObjective(analyzer).prepare(
        *(S, S, S, np.array([0.0, 1.0], np.float32)), style, analyzer.analyze(S)
    )
    style_scale = data["scale"].numpy()[:, TERMS.index("style")]
    np.testing.assert_allclose(style_scale, [1.0, 1 - objective.YIELD["style"]], rtol=1e-6)


def test_the_example_has_the_signature_of_every_pair(analyzer: FeatureAnalyzer) -> None:
    analyzer = with_all_terms(analyzer)
    S_content, S_style = spectrograms(analyzer.config)
    pair = Pair(analyzer, S_content, analyzer.style_statistics([S_style]))
    x, data = pair.objective.example()
    assert pair.objective.signature(data) == pair.objective.signature(pair.data)
    assert x.shape == (1, analyzer.config.n_mels, analyzer.min_frames)


def test_the_variable_maps_the_range_to_0_and_1_and_back(tiny_config: TransferConfig) -> None:
    S = np.array([[-80.0, -40.0, 0.0, 5.0]], np.float32)
    x = objective.to_variable(S, tiny_config.top_db)
    np.testing.assert_allclose(x, [[0, 0.5, 1, 1.0625]])
    np.testing.assert_allclose(objective.from_variable(x, tiny_config.top_db), S, atol=1e-5)


def test_no_band_gets_louder_than_its_peak_in_start_or_style(
    analyzer: FeatureAnalyzer,
) -> None:
    A, B = spectrograms(analyzer.config)
    pair = Pair(analyzer, A, analyzer.style_statistics([B]), S_start=A + 1)
    peak = objective.from_variable(pair.upper, analyzer.config.top_db)[0, :, 0]
    np.testing.assert_allclose(peak, np.maximum((A + 1).max(axis=1), B.max(axis=1)), atol=1e-3)


@pytest.mark.parametrize(("strength", "norm"), [(1.0, "target"), (0.4, "pair")])
def test_items_of_a_batch_do_not_affect_each_other(
    analyzer: FeatureAnalyzer, strength: float, norm: str
) -> None:
    analyzer = with_all_terms(analyzer, strength=strength, style_norm=norm)
    config = analyzer.config
    A, style = spectrograms(config)
    B = spectrogram.mel_spectrogram(make_tones(0.5, base=330.0)[::-1].copy(), config)
    target = analyzer.style_statistics([style])
    x = np.random.default_rng(0).uniform(0, 1, (2, *A.shape)).astype(np.float32)
    both = Pair(analyzer, np.stack([A, B]), target)
    together = both.evaluate(tf.constant(x))
    for i, S in enumerate((A, B)):
        pair = Pair(analyzer, S, target)
        np.testing.assert_allclose(both.upper[i], pair.upper[0], rtol=1e-6)
        total, gradient, terms = pair.evaluate(tf.constant(x[i]))
        assert float(together[0][i]) == pytest.approx(float(total), rel=1e-4)
        np.testing.assert_allclose(together[2][i], terms, rtol=1e-4)
        largest = float(tf.reduce_max(tf.abs(gradient)))
        np.testing.assert_allclose(together[1][i], gradient, atol=2e-3 * largest)


def test_every_term_enters_the_gradient_with_its_weight(analyzer: FeatureAnalyzer) -> None:
    """Compare with automatic differentiation of the statistics, the losses and the sum."""
    analyzer = with_all_terms(analyzer, style_norm="pair")
    config = analyzer.config
    A, B = spectrograms(config)
    pair = Pair(analyzer, A, analyzer.style_statistics([B]))
    x = tf.constant(np.random.default_rng(0).uniform(0, 1, (1, *A.shape)), tf.float32)
    weights = [getattr(config, f"{name}_weight") for name in TERMS]
    with tf.GradientTape() as tape:
        tape.watch(x)
        _, _, terms = pair.evaluate(x)
        total = tf.reduce_sum(terms[0, : len(TERMS)] * weights)
    expected = tape.gradient(total, x)
    value, gradient, _ = pair.evaluate(x)
    assert float(value[0]) == pytest.approx(float(total), rel=1e-5)
    error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
    assert error < (0.01 if config.style_statistic == "wasserstein" else 1e-3)


def test_the_losses_in_bfloat16_are_nearly_those_in_float32(analyzer: FeatureAnalyzer) -> None:
    A, B = spectrograms(analyzer.config)
    x = tf.constant(np.random.default_rng(0).uniform(0, 1, A.shape), tf.float32)
    found = {}
    for precision in ("float32", "bfloat16"):
        config = dataclasses.replace(analyzer.config, precision=precision)
        rounded = FeatureAnalyzer(backbones.build_network(config), config)
        found[precision] = Pair(rounded, A, rounded.style_statistics([B])).evaluate(x)
    total, gradient, _ = found["float32"]
    assert float(found["bfloat16"][0]) == pytest.approx(float(total), rel=0.02)
    cosine = np.vdot(found["bfloat16"][1], gradient) / (
        np.linalg.norm(found["bfloat16"][1]) * np.linalg.norm(gradient)
    )
    assert cosine > 0.98
