from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter1d

from audiostyle.nn import spectrogram_losses, style_losses


def random_db(shape: tuple[int, int] = (8, 36), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-30, 10, shape).astype(np.float32)


def test_texture_features_are_the_levels_now_and_later() -> None:
    S = random_db((40, 50))
    features = spectrogram_losses.texture_features(tf.constant(S[None]), 80.0).numpy()
    assert features.shape == (1, 1, 50, 40 * len(spectrogram_losses.TEXTURE_LAGS))
    # As many bands as mel bands: nothing is averaged.
    blocks = features[0, 0].reshape(50, -1, 40)
    for i, lag in enumerate(spectrogram_losses.TEXTURE_LAGS):
        future = 0.5 + S[:, np.minimum(np.arange(50) + lag, 49)].T / 80
        np.testing.assert_allclose(blocks[:, i], future, rtol=1e-5)


def test_a_texture_band_is_a_weighted_mean_of_mel_bands() -> None:
    flat = np.full((256, 3), -20.0, np.float32)
    ramp = np.repeat(np.arange(256, dtype=np.float32)[:, None], 3, axis=1)
    np.testing.assert_allclose(
        spectrogram_losses.texture_features(flat[None], 80.0), 0.25, rtol=1e-5
    )
    features = spectrogram_losses.texture_features(ramp[None], 1.0).numpy()
    first = features[0, 0, 0, : spectrogram_losses.TEXTURE_BANDS] - 0.5
    centres = np.linspace(0, 255, spectrogram_losses.TEXTURE_BANDS)
    np.testing.assert_allclose(first[1:-1], centres[1:-1], atol=0.6)


def test_texture_covariance_ignores_when_but_not_how_fast() -> None:
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.normal(-30, 10, (8, 32)), 16, axis=1).astype(np.float32)
    fast = slow.reshape(8, 32, 16).transpose(0, 2, 1).reshape(8, -1)

    def covariance(S: np.ndarray) -> np.ndarray:
        A = spectrogram_losses.texture_features(tf.constant(np.ascontiguousarray(S[None])), 80.0)
        return style_losses.covariance(*style_losses.band_statistics(A)).numpy()[0, 0]

    of_slow, of_fast = covariance(slow), covariance(fast)
    later = covariance(np.roll(slow, 160, axis=1))
    np.testing.assert_allclose(later, of_slow, atol=0.15 * of_slow.max())
    np.testing.assert_allclose(of_fast[:8, :8], of_slow[:8, :8], rtol=1e-3, atol=1e-4)
    lag_1 = np.trace(of_slow[:8, 8:16]), np.trace(of_fast[:8, 8:16])
    assert lag_1[0] > 0.8 * np.trace(of_slow[:8, :8])
    assert abs(lag_1[1]) < 0.5 * lag_1[0]


def test_fine_structure_is_what_rises_above_a_gaussian_mean() -> None:
    S = random_db((256, 3))
    smooth = gaussian_filter1d(S, 8.0, axis=0, mode="reflect", truncate=8)
    fine = spectrogram_losses.fine_structure(tf.constant(S)).numpy()
    inner = slice(64, 192)  # at the edges the mean covers fewer bands
    np.testing.assert_allclose(fine[inner], np.maximum(S - smooth, 0)[inner], atol=0.05)


def test_pitch_loss_sees_notes_and_no_equaliser() -> None:
    S = np.full((256, 4), -60.0, np.float32)
    S[20::24] = -20.0
    target = spectrogram_losses.partials(tf.constant(S))
    tilt = np.linspace(0, -20, 256, dtype=np.float32)[:, None]
    other = np.roll(S, 12, axis=0)
    silence = np.full_like(S, -60.0)
    assert float(spectrogram_losses.pitch_loss(tf.constant(S), target)) == 0.0
    assert float(spectrogram_losses.pitch_loss(tf.constant(S + tilt), target)) < 0.01
    assert float(spectrogram_losses.pitch_loss(tf.constant(silence), target)) == pytest.approx(
        0.5, rel=1e-3
    )
    # Missing notes cost a half by their weight, ((80 - 20) / 80)^2; new ones have weight 1.
    assert float(spectrogram_losses.pitch_loss(tf.constant(other), target)) == pytest.approx(
        0.5 + 0.5 * (80 / (80 - 20)) ** 2, rel=3e-3
    )


def test_a_lost_partial_costs_the_square_of_its_level() -> None:
    S = np.full((256, 2), -80.0, np.float32)
    S[64, 0], S[192, 1] = -20.0, -50.0
    target = spectrogram_losses.partials(tf.constant(S))
    fine = target[0].numpy()
    np.testing.assert_allclose(target[1].numpy()[[64, 192], [0, 1]], [0.75**2, 0.375**2])
    assert np.count_nonzero(target[1].numpy()) == 2  # silence has weight 0
    kept = (0.75 * fine[64, 0]) ** 2, (0.375 * fine[192, 1]) ** 2
    for frame, band in ((0, 64), (1, 192)):
        without = S.copy()
        without[band, frame] = -80.0
        assert float(spectrogram_losses.pitch_loss(tf.constant(without), target)) == pytest.approx(
            0.5 * kept[frame] / sum(kept), rel=1e-5
        )


def test_onset_strength_is_the_mean_rise() -> None:
    S = random_db()
    rise = np.maximum(S[:, 1:] - S[:, :-1], 0).mean(axis=0)
    np.testing.assert_allclose(spectrogram_losses.onset_strength(tf.constant(S)), rise, rtol=1e-5)


@pytest.mark.parametrize(
    ("curve", "loss"),
    [
        (spectrogram_losses.onset_strength, spectrogram_losses.onset_loss),
        (spectrogram_losses.frame_levels, spectrogram_losses.rhythm_loss),
    ],
)
def test_onset_and_rhythm_losses_are_one_minus_the_correlation(curve, loss) -> None:  # type: ignore[no-untyped-def]
    ours, theirs = tf.constant(random_db()), tf.constant(random_db(seed=1))
    r = np.corrcoef(curve(ours).numpy(), curve(theirs).numpy())[0, 1]
    assert float(loss(ours, curve(theirs))) == pytest.approx(1 - r, abs=0.02)
    assert float(loss(ours, curve(ours))) == pytest.approx(0, abs=1e-6)
    flat = tf.fill((8, 36), -30.0)
    assert float(loss(flat, curve(flat))) == pytest.approx(0, abs=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(flat)
        value = loss(flat, curve(theirs))
    assert 0.9 < float(value) <= 1.0  # nothing in common with a content that has onsets
    assert bool(tf.reduce_all(tf.math.is_finite(tape.gradient(value, flat))))


def test_rhythm_loss_sees_the_course_of_the_level_and_nothing_else() -> None:
    S = random_db()
    levels = spectrogram_losses.frame_levels(tf.constant(S))
    energy = 10 * np.log10((10 ** (S / 10)).mean(axis=0))
    np.testing.assert_allclose(levels, energy, atol=1e-3)
    for same in (S + 7, S[::-1]):
        assert float(spectrogram_losses.rhythm_loss(same.copy(), levels)) == pytest.approx(
            0, abs=1e-5
        )
    pulse = S + np.where(np.arange(36) % 2, 20, -20).astype(np.float32)
    assert float(spectrogram_losses.rhythm_loss(pulse, levels)) > 0.5


def test_spectral_envelope_is_the_mean_power() -> None:
    S = np.array([[0.0, 10.0], [-20.0, -20.0]], np.float32)
    expected = [10 * math.log10((1 + 10) / 2), -20.0]
    np.testing.assert_allclose(spectrogram_losses.spectral_envelope(S), expected, rtol=1e-5)


def test_temporal_envelope_is_the_quantile_function_of_the_frames() -> None:
    S = np.random.default_rng(0).normal(-30, 10, (8, 37)).astype(np.float32)
    energy = 10 * np.log10((10 ** (S / 10)).mean(axis=0))
    expected = np.quantile(energy, np.linspace(0, 1, spectrogram_losses.ENVELOPE_QUANTILES))
    np.testing.assert_allclose(spectrogram_losses.temporal_envelope(S), expected, rtol=1e-4)


def test_envelope_loss_of_a_gain_is_its_square_twice() -> None:
    S = np.random.default_rng(0).normal(-30, 10, (8, 37)).astype(np.float32)
    spectral, temporal = (
        spectrogram_losses.spectral_envelope(S),
        spectrogram_losses.temporal_envelope(S),
    )
    assert float(spectrogram_losses.envelope_loss(S, spectral, temporal, 80.0)) == pytest.approx(
        0, abs=1e-9
    )
    assert float(
        spectrogram_losses.envelope_loss(S + 8, spectral, temporal, 80.0)
    ) == pytest.approx(2 * (8 / 80) ** 2, rel=1e-4)


def test_items_of_a_batch_do_not_affect_each_other() -> None:
    S = tf.constant(np.stack([random_db((40, 36), seed) for seed in range(3)]))
    T = tf.constant(np.stack([random_db((40, 36), seed) for seed in range(3, 6)]))
    curves = (
        spectrogram_losses.partials,
        spectrogram_losses.onset_strength,
        spectrogram_losses.frame_levels,
        spectrogram_losses.spectral_envelope,
        spectrogram_losses.temporal_envelope,
    )
    for curve in curves:
        np.testing.assert_allclose(curve(S), tf.stack([curve(s) for s in S]), rtol=1e-5)
    texture = spectrogram_losses.texture_features(S, 80.0)
    alone = [spectrogram_losses.texture_features(s[None], 80.0)[0] for s in S]
    np.testing.assert_allclose(texture, tf.stack(alone), rtol=1e-5)

    def envelope_loss(S: tf.Tensor, spectral: tf.Tensor, temporal: tf.Tensor) -> tf.Tensor:
        return spectrogram_losses.envelope_loss(S, spectral, temporal, 80.0)

    pitch, onset, rhythm, *envelopes = (curve(T) for curve in curves)
    for loss, targets in (
        (spectrogram_losses.pitch_loss, [pitch]),
        (spectrogram_losses.onset_loss, [onset]),
        (spectrogram_losses.rhythm_loss, [rhythm]),
        (envelope_loss, envelopes),
    ):
        values = loss(S, *targets)
        alone = [loss(S[i], *(target[i] for target in targets)) for i in range(3)]
        assert values.shape == (3,)
        np.testing.assert_allclose(values, tf.stack(alone), rtol=1e-5)
