"""Losses of several items, bands and sizes of layers at once, and of what is silent or constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.nn import band_statistics, style_losses
from tests.nn.test_style_losses import (
    activations,
    by_style,
    by_wasserstein,
    naive_covariance,
    naive_root,
    target_of,
)

Loss = Callable[..., style_losses.StyleDistance]
LOSSES: dict[str, Loss] = {
    "gram": by_style,
    "moments": lambda *statistics: style_losses.moments_loss(*statistics),
    "wasserstein": by_wasserstein,
}


def mixed(
    seed: int, shape: tuple[int, ...] = (2, 5, 40, 4), bands: int = 2
) -> tuple[tf.Tensor, tf.Tensor]:
    """Statistics of items in bands; channels are correlated, rows differ in level."""
    rng = np.random.default_rng(seed)
    A = rng.normal(0, 1, shape) @ rng.normal(0, 1, (shape[-1],) * 2) + rng.normal(0, 1, shape[-1])
    A *= np.linspace(0.5, 2.0, shape[1])[:, None, None]
    return band_statistics.statistics(A.astype(np.float32), bands)


def test_content_loss_of_every_item_is_its_own() -> None:
    F, P = activations(0, (3, 6, 5, 4)), activations(1, (3, 6, 5, 4))
    energy = (P**2).sum(axis=(1, 2, 3))
    value, gradient = style_losses.content_loss(tf.constant(F), tf.constant(P), tf.constant(energy))
    squares = ((F - P) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(value, 0.5 * squares / energy, rtol=1e-5)
    np.testing.assert_allclose(gradient, (F - P) / energy[:, None, None, None], rtol=1e-5)


def test_content_loss_of_half_precision_is_summed_in_single() -> None:
    F, P = (tf.cast(activations(seed, (2, 16, 50, 8)), tf.bfloat16) for seed in (0, 1))
    energy = tf.reduce_sum(tf.cast(P, tf.float32) ** 2, axis=(1, 2, 3))
    value, gradient = style_losses.content_loss(F, P, energy)
    error = tf.cast(F - P, tf.float64)
    expected = 0.5 * tf.reduce_sum(error**2, axis=(1, 2, 3)) / tf.cast(energy, tf.float64)
    assert (value.dtype, gradient.dtype) == (tf.float32, tf.bfloat16)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_covariance_is_numpys_in_every_band() -> None:
    A = np.random.default_rng(0).normal(0.3, 1, (2, 6, 40, 4)) * [1.0, 2.0, 0.5, 3.0]
    A[:, 3:] *= 10.0
    found = style_losses.covariance(*band_statistics.statistics(A.astype(np.float32), 2))
    assert found.shape == (2, 2, 4, 4)
    for item in range(2):
        for band, rows in enumerate((slice(0, 4), slice(2, 6))):
            expected = np.cov(A[item, rows].reshape(-1, 4).T, bias=True)
            loaded = expected + 1e-4 * np.trace(expected) / 4 * np.eye(4)
            np.testing.assert_allclose(found[item, band], loaded, rtol=1e-3, atol=1e-5)
            # A ten-thousandth of the mean variance, to a hundredth of itself.
            load = np.diag(found[item, band] - expected)
            np.testing.assert_allclose(load, 1e-4 * np.trace(expected) / 4, rtol=0.1)


@pytest.mark.parametrize(("n_channels", "n_axes"), [(4, 4), (32, 32), (33, 32), (160, 40)])
def test_principal_axes_are_those_of_largest_variance(n_channels: int, n_axes: int) -> None:
    """A quarter of the channels or 32 if they are more; of the others the variance is summed."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(0, 1, (2, 3, n_channels, n_channels)))[0]
    values = np.sort(rng.uniform(0.1, 9.0, (2, 3, n_channels)))
    covariances = (Q * values[..., None, :]) @ np.swapaxes(Q, -1, -2)
    axes, deviations, rest = style_losses.principal_axes(covariances)
    assert {array.dtype for array in (axes, deviations, rest)} == {np.dtype(np.float32)}
    assert axes.shape == (2, 3, n_channels, n_axes)
    np.testing.assert_allclose(deviations, np.sqrt(values[..., -n_axes:]), rtol=1e-5)
    np.testing.assert_allclose(rest, values[..., :-n_axes].sum(axis=-1), rtol=1e-5)
    along = np.abs((axes * Q[..., -n_axes:]).sum(axis=-2))
    np.testing.assert_allclose(along, 1, rtol=1e-4)


def test_a_variance_that_rounding_made_negative_is_none() -> None:
    covariance = np.diag([4.0, 1.0, 0.0, -1e-9])[None, None]
    _, deviations, rest = style_losses.principal_axes(covariance)
    np.testing.assert_array_equal(deviations[0, 0], [0.0, 0.0, 1.0, 2.0])
    assert not rest.any()


def naive_wide(S: tf.Tensor, T: tf.Tensor, shift: tf.Tensor, n_axes: int) -> tf.Tensor:
    """Distance where only some axes of the target are compared one by one, band by band."""
    values, vectors = tf.linalg.eigh(T)
    U, variances = vectors[..., -n_axes:], values[..., -n_axes:]
    rest = tf.reduce_sum(values[..., :-n_axes], axis=-1)
    inside = tf.matmul(U, S @ U, transpose_a=True)
    root = tf.linalg.diag(tf.sqrt(variances))
    bures = tf.linalg.trace(inside) + tf.reduce_sum(variances, axis=-1)
    bures -= 2 * tf.linalg.trace(naive_root(root @ inside @ root))
    outside = tf.linalg.trace(S) - tf.linalg.trace(inside)
    return bures + (tf.sqrt(outside) - tf.sqrt(rest)) ** 2 + tf.reduce_sum(shift**2, axis=-1)


@pytest.mark.parametrize("load", [style_losses.DIAGONAL_LOAD, 0.5])
@pytest.mark.parametrize(("n_channels", "bands"), [(4, 2), (5, 2), (4, 5)])
def test_the_gradients_of_a_wide_layer_are_those_of_autodiff(
    n_channels: int, bands: int, load: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the usual load of the diagonal, and one so large that its own gradient shows."""
    monkeypatch.setattr(style_losses, "ALL_AXES", 3)
    monkeypatch.setattr(style_losses, "DIAGONAL_LOAD", load)
    shape = (2, 5, 60, n_channels)
    statistics = [*mixed(0, shape, bands), *mixed(1, shape, bands)]
    matched = by_wasserstein(*statistics)
    gram, mean, target_gram, target_mean = (tf.cast(s, tf.float64) for s in statistics)
    T = naive_covariance(target_gram, target_mean)
    energy = tf.linalg.trace(T) + tf.reduce_sum(target_mean**2, axis=2)
    with tf.GradientTape() as tape:
        tape.watch((gram, mean))
        S = naive_covariance(gram, mean)
        distance = naive_wide(S, T, mean - target_mean, 3)
        value = tf.reduce_mean(distance / energy, axis=1)
    by_gram, by_mean = tape.gradient(value, (gram, mean))
    by_gram = (by_gram + tf.linalg.matrix_transpose(by_gram)) / 2
    np.testing.assert_allclose(matched.value, value, rtol=0.01)
    for found, expected in ((matched.by_gram, by_gram), (matched.by_mean, by_mean)):
        assert found.shape == expected.shape
        error = np.linalg.norm(found - tf.cast(expected, tf.float32))
        assert error <= 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("factor", [0.05, 30.0])
@pytest.mark.parametrize("most_axes", [2, 32])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_free_of_units(
    name: str, most_axes: int, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If all activations are so many times as large, the loss is the same."""
    monkeypatch.setattr(style_losses, "ALL_AXES", most_axes)
    statistics = [*mixed(0), *mixed(1)]
    scaled = [s * factor**power for s, power in zip(statistics, (2, 1, 2, 1), strict=True)]
    ours, theirs = LOSSES[name](*statistics), LOSSES[name](*scaled)
    np.testing.assert_allclose(theirs.value, ours.value, rtol=1e-3)
    for slope, other, power in ((ours[1], theirs[1], 2), (ours[2], theirs[2], 1)):
        error = np.linalg.norm(other * factor**power - slope)
        assert error <= 2e-3 * np.linalg.norm(slope)


@pytest.mark.parametrize("most_axes", [2, 32])
@pytest.mark.parametrize("name", LOSSES)
def test_silence_is_as_far_from_a_style_as_the_style_is_large(
    name: str, most_axes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All losses are relative to the target, so the loss is 1, and it has a gradient."""
    monkeypatch.setattr(style_losses, "ALL_AXES", most_axes)
    gram, mean = mixed(1)
    matched = LOSSES[name](0 * gram, 0 * mean, gram, mean)
    np.testing.assert_allclose(matched.value, 1.0, rtol=5e-3)
    assert all(np.isfinite(slope).all() for slope in matched[1:])


def test_a_channel_that_does_not_vary_pulls_at_no_deviation() -> None:
    """The root of a variance has no derivative at 0; its mean is matched all the same."""
    rng = np.random.default_rng(0)
    A, B = rng.normal(1, 1, (2, 1, 4, 40, 3)).astype(np.float32)
    A[..., 1] = 0.5
    matched = style_losses.moments_loss(
        *band_statistics.statistics(A), *band_statistics.statistics(B)
    )
    a, b = A.reshape(-1, 3), B.reshape(-1, 3)
    deviations = np.maximum(a.std(axis=0), 1e-3)
    energy = (b**2).mean(axis=0).sum()
    error = (a.mean(axis=0) - b.mean(axis=0)) ** 2 + (deviations - b.std(axis=0)) ** 2
    assert float(matched.value[0]) == pytest.approx(error.sum() / energy, rel=1e-4)
    by_variance = (1 - b.std(axis=0) / a.std(axis=0).clip(1e-9)) / energy
    by_variance[1] = 0.0
    np.testing.assert_allclose(matched.by_gram[0, 0], np.diag(by_variance), rtol=1e-3, atol=1e-6)
    shift = 2 * (a.mean(axis=0) - b.mean(axis=0)) / energy
    assert float(matched.by_mean[0, 0, 1]) == pytest.approx(shift[1], rel=1e-4)


def test_a_target_for_several_items_stands_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_losses, "ALL_AXES", 2)
    gram, mean = mixed(0, (3, 5, 40, 4))
    target: list[Any] = [s[:1] for s in mixed(1)]
    together = style_losses.wasserstein_loss(gram, mean, target_of(*target))
    for i in range(3):
        alone = style_losses.wasserstein_loss(gram[i : i + 1], mean[i : i + 1], target_of(*target))
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[i], theirs[0], rtol=1e-3, atol=1e-6)


def test_every_term_has_its_weight() -> None:
    with pytest.raises(ValueError, match="zip"):
        style_losses.total_loss([tf.constant(1.0), tf.constant(2.0)], [1.0])
