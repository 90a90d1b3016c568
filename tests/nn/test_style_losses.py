from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.nn import style_losses
from audiostyle.nn.matrix_sqrt import sqrt_psd


def activations(seed: int, shape: tuple[int, ...] = (1, 6, 5, 4)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def gram_matrix(A: np.ndarray, bands: int = 1) -> np.ndarray:
    """Gram matrices of the only item of a batch."""
    return style_losses.band_statistics(A, bands)[0][0].numpy()


def test_content_loss_closed_form() -> None:
    P = activations(0)
    F = activations(1)
    energy = tf.constant([(P**2).sum()])
    expected = 0.5 * ((F - P) ** 2).sum() / (P**2).sum()
    value, gradient = style_losses.content_loss(F, P, energy)
    assert float(value[0]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, (F - P) / (P**2).sum(), rtol=1e-5)
    assert float(style_losses.content_loss(P, P, energy)[0][0]) == 0.0
    three_times = style_losses.content_loss(3 * P, P, energy)[0]
    assert float(three_times[0]) == pytest.approx(2.0, rel=1e-5)  # 1/2 * 2^2
    silent = style_losses.content_loss(F, 0 * P, tf.constant([0.0]))
    assert (float(silent[0][0]), float(tf.reduce_sum(tf.abs(silent[1])))) == (0.0, 0.0)


def test_gram_matrix_is_the_sum_over_positions_divided_by_their_number() -> None:
    A = activations(0)
    expected = np.zeros((4, 4))
    for f in range(6):
        for t in range(5):
            expected += np.outer(A[0, f, t], A[0, f, t])
    np.testing.assert_allclose(gram_matrix(A)[0], expected / 30, rtol=1e-5)


@pytest.mark.parametrize(
    ("bands", "edges"),
    [(1, [0, 6]), (2, [0, 2, 4, 6]), (3, [0, 2, 3, 4, 6]), (5, [*range(7)]), (9, [*range(7)])],
)
def test_statistics_of_a_band_are_the_mean_over_its_two_parts(bands: int, edges: list[int]) -> None:
    A = activations(0, (2, 6, 5, 4))
    grams, means = style_losses.band_statistics(A, bands)
    assert style_losses.part_edges(6, bands) == edges
    parts = [*pairwise(edges)]
    of_bands = [*pairwise(parts)] or [(parts[0], parts[0])]
    assert grams.shape == (2, len(of_bands), 4, 4)
    assert means.shape == (2, len(of_bands), 4)
    for i, both in enumerate(of_bands):
        for item in range(2):
            of_parts = [style_losses.band_statistics(A[item : item + 1, a:b]) for a, b in both]
            gram, mean = (np.mean([part[k] for part in of_parts], axis=0)[0, 0] for k in (0, 1))
            np.testing.assert_allclose(grams[item, i], gram, rtol=1e-5)
            np.testing.assert_allclose(means[item, i], mean, rtol=1e-5)


def test_bands_of_even_parts_overlap_by_half() -> None:
    A = activations(0, (1, 8, 5, 3))
    grams, means = style_losses.band_statistics(A, 3)
    for i in range(3):  # of four rows each
        gram, mean = style_losses.band_statistics(A[:, 2 * i : 2 * i + 4])
        np.testing.assert_allclose(grams[:, i], gram[:, 0], rtol=1e-5)
        np.testing.assert_allclose(means[:, i], mean[:, 0], rtol=1e-5)


def test_gram_matrix_ignores_the_order_and_the_length_of_time() -> None:
    A = activations(0)
    gram = gram_matrix(A, 3)
    np.testing.assert_allclose(gram_matrix(A[:, :, ::-1], 3), gram, rtol=1e-5)
    np.testing.assert_allclose(gram_matrix(np.tile(A, (1, 1, 4, 1)), 3), gram, rtol=1e-5)


@pytest.mark.parametrize(("rows", "bands"), [(6, 1), (6, 2), (6, 4), (5, 2), (3, 9)])
def test_the_gradient_of_the_statistics_is_that_of_autodiff(rows: int, bands: int) -> None:
    rng = np.random.default_rng(0)
    A = tf.constant(activations(0, (2, rows, 5, 4)))
    with tf.GradientTape() as tape:
        tape.watch(A)
        statistics = style_losses.band_statistics(A, bands)
    slopes = [tf.constant(rng.normal(0, 1, s.shape), tf.float32) for s in statistics]
    expected = tape.gradient(statistics, A, output_gradients=slopes)
    found = style_losses.band_statistics_gradient(A, *slopes, bands)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)

    half = tf.cast(A, tf.bfloat16)
    found = style_losses.band_statistics_gradient(half, *slopes, bands)
    assert found.dtype == tf.bfloat16
    error = np.linalg.norm(tf.cast(found, tf.float32) - expected)
    assert error < 0.01 * np.linalg.norm(expected)


def test_style_loss_closed_form() -> None:
    (G, mean), (H, _) = (style_losses.band_statistics(activations(seed), 2) for seed in (0, 1))
    pairs = zip(G[0].numpy(), H[0].numpy(), strict=True)
    expected = np.mean([((g - h) ** 2).sum() / (h**2).sum() for g, h in pairs])
    assert float(style_losses.style_loss(G, mean, H).value[0]) == pytest.approx(expected, rel=1e-5)
    assert float(style_losses.style_loss(2 * H, mean, H).value[0]) == pytest.approx(1.0, rel=1e-5)
    assert float(style_losses.style_loss(H, mean, H).value[0]) == 0.0


def test_losses_of_a_silent_style_are_0_and_not_nan() -> None:
    gram, mean = tf.zeros((1, 1, 4, 4)), tf.zeros((1, 1, 4))
    for distance in (
        style_losses.style_loss(gram, mean, gram),
        style_losses.moments_loss(gram, mean, gram, mean),
        style_losses.wasserstein_loss(gram, mean, target_of(gram, mean)),
    ):
        for value in distance:
            assert float(tf.reduce_max(tf.abs(value))) == 0.0


def test_total_loss_is_the_weighted_sum() -> None:
    assert style_losses.total_loss([2.0, 3.0, 5.0], [7, 11, 13]) == 14 + 33 + 65


def test_gradient_of_the_gram_style_loss_is_the_analytic_one() -> None:
    A = activations(0)
    target = style_losses.band_statistics(activations(1))[0]
    gram, mean = style_losses.band_statistics(A)
    distance = style_losses.style_loss(gram, mean, target)
    found = style_losses.band_statistics_gradient(
        tf.constant(A), distance.by_gram, distance.by_mean
    )
    flat = A.reshape(-1, 4)
    difference = (gram - target)[0, 0].numpy()
    expected = 4 * flat @ difference / len(flat) / (target.numpy() ** 2).sum()
    np.testing.assert_allclose(found.numpy().reshape(-1, 4), expected, rtol=1e-3, atol=1e-6)


def gaussian(seed: int, positions: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations of one band with correlated channels, and their Gram matrix and mean."""
    rng = np.random.default_rng(seed)
    A = rng.normal(0, 1, (1, 1, positions, 4)) @ rng.normal(0, 1, (4, 4)) + rng.normal(0, 1, 4)
    A = A.astype(np.float32)
    gram, mean = style_losses.band_statistics(A)
    return A, gram.numpy(), mean.numpy()


def test_band_means_and_covariance_are_numpys() -> None:
    A, gram, mean = gaussian(0)
    flat = A.reshape(-1, 4)
    np.testing.assert_allclose(mean[0, 0], flat.mean(axis=0), atol=1e-5)
    expected = np.cov(flat.T, bias=True)
    load = style_losses.DIAGONAL_LOAD * np.trace(expected) / 4
    load += style_losses.ROUNDING_LOAD * np.square(flat).mean(axis=0).sum()
    np.testing.assert_allclose(
        style_losses.covariance(gram, mean)[0, 0], expected + load * np.eye(4), atol=1e-4
    )


def test_sqrt_psd_is_the_root_and_its_inverse() -> None:
    _, gram, mean = gaussian(0)
    S = style_losses.covariance(gram, mean)
    root, inverse = (m[0, 0].numpy() for m in sqrt_psd(S))
    np.testing.assert_allclose(root @ root, S[0, 0], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(root @ inverse, np.eye(4), atol=1e-2)
    values, vectors = np.linalg.eigh(S[0, 0])
    assert np.trace(root) == pytest.approx(np.sqrt(values).sum(), rel=1e-3)
    # Half of it is the gradient of that trace.
    expected = (vectors / np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(inverse, expected, rtol=0.02, atol=0.02)


def target_of(gram: Any, mean: Any) -> style_losses.Gaussian:
    covariance = style_losses.covariance(tf.constant(gram), tf.constant(mean)).numpy()
    return style_losses.Gaussian(tf.constant(mean), *style_losses.principal_axes(covariance))


def wasserstein(a: int, b: int) -> style_losses.StyleDistance:
    (_, gram, mean), (_, target_gram, target_mean) = gaussian(a), gaussian(b)
    return style_losses.wasserstein_loss(gram, mean, target_of(target_gram, target_mean))


def test_wasserstein_loss_closed_form() -> None:
    from scipy.linalg import sqrtm

    (_, gram, mean), (_, target_gram, target_mean) = gaussian(0), gaussian(1)
    S = style_losses.covariance(gram, mean)[0, 0].numpy().astype(float)
    T = style_losses.covariance(target_gram, target_mean)[0, 0].numpy().astype(float)
    root = sqrtm(T)
    bures = np.trace(S + T - 2 * sqrtm(root @ S @ root).real)
    shift = ((mean - target_mean) ** 2).sum()
    energy = np.trace(T) + (target_mean**2).sum()
    expected = (bures + shift) / energy
    assert float(wasserstein(0, 1).value[0]) == pytest.approx(expected, rel=0.01)


def test_wasserstein_loss_and_its_gradient_vanish_at_the_target() -> None:
    there, elsewhere = wasserstein(0, 0), wasserstein(1, 0)
    assert float(there.value[0]) == pytest.approx(0, abs=1e-3)
    for slope, other in zip(there[1:], elsewhere[1:], strict=True):
        assert np.linalg.norm(slope) < 0.01 * np.linalg.norm(other)


def test_of_a_wide_layer_the_rest_of_the_variance_is_compared_as_a_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scipy.linalg import sqrtm

    monkeypatch.setattr(style_losses, "ALL_AXES", 2)
    (_, gram, mean), (_, target_gram, target_mean) = gaussian(0), gaussian(1)
    S = style_losses.covariance(gram, mean)[0, 0].numpy().astype(float)
    T = style_losses.covariance(target_gram, target_mean)[0, 0].numpy().astype(float)
    values, vectors = np.linalg.eigh(T)
    U, variances, rest = vectors[:, 2:], values[2:], values[:2].sum()
    inside = U.T @ S @ U
    root = np.diag(np.sqrt(variances))
    bures = np.trace(inside) + variances.sum() - 2 * np.trace(sqrtm(root @ inside @ root).real)
    bures += (np.sqrt(np.trace(S) - np.trace(inside)) - np.sqrt(rest)) ** 2
    energy = np.trace(T) + (target_mean**2).sum()
    expected = (bures + ((mean - target_mean) ** 2).sum()) / energy
    assert float(wasserstein(0, 1).value[0]) == pytest.approx(expected, rel=0.01)
    there, elsewhere = wasserstein(0, 0), wasserstein(1, 0)
    assert float(there.value[0]) == pytest.approx(0, abs=1e-3)
    for slope, other in zip(there[1:], elsewhere[1:], strict=True):
        assert np.linalg.norm(slope) < 0.01 * np.linalg.norm(other)
    # Along its own gradient the loss changes as the gradient says.
    distance = wasserstein(0, 1)
    step = 1e-3 * distance.by_gram / tf.norm(distance.by_gram)
    target = target_of(target_gram, target_mean)
    above, below = (
        style_losses.wasserstein_loss(gram + s * step, mean, target).value[0] for s in (1, -1)
    )
    slope = tf.reduce_sum(distance.by_gram * step)
    assert float(above - below) / 2 == pytest.approx(float(slope), rel=0.02)


def test_moments_loss_closed_form() -> None:
    (A, gram, mean), (B, target_gram, target_mean) = gaussian(0), gaussian(1)
    a, b = A.reshape(-1, 4), B.reshape(-1, 4)
    error = (a.mean(0) - b.mean(0)) ** 2 + (a.std(0) - b.std(0)) ** 2
    expected = error.sum() / (b**2).mean(axis=0).sum()
    loss = style_losses.moments_loss(gram, mean, target_gram, target_mean)
    assert float(loss.value[0]) == pytest.approx(expected, rel=1e-3)


def naive_root(S: tf.Tensor) -> tf.Tensor:
    values, vectors = tf.linalg.eigh(S)
    return tf.matmul(vectors * tf.sqrt(values)[..., None, :], vectors, transpose_b=True)


def naive_covariance(gram: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    centred = gram - mean[..., :, None] * mean[..., None, :]
    load = style_losses.DIAGONAL_LOAD * tf.linalg.trace(centred) / gram.shape[-1]
    load += style_losses.ROUNDING_LOAD * tf.linalg.trace(gram)
    return centred + load[..., None, None] * tf.eye(gram.shape[-1], dtype=gram.dtype)


@pytest.mark.parametrize("varying", [0.0, 1e-4, 1e-2])
def test_activations_that_hardly_vary_have_a_distance(varying: float) -> None:
    """Their covariance is a difference of nearly equal numbers, and has no root by itself."""
    rng = np.random.default_rng(0)
    constant = rng.normal(0, 1, 240) + varying * rng.normal(0, 1, (1, 1, 90, 240))
    style = rng.normal(0, 1, (1, 1, 90, 240))
    statistics = [
        tf.constant(s)
        for A in (constant, style)
        for s in style_losses.band_statistics(A.astype(np.float32))
    ]
    distance = by_wasserstein(*statistics)
    assert all(np.isfinite(part).all() for part in distance)
    # The mean of the style is not exactly 0, nor are all its axes compared one by one.
    shift = np.square(constant.mean(axis=2) - style.mean(axis=2)).sum()
    assert float(distance.value[0]) * np.square(style).mean(axis=2).sum() == pytest.approx(
        shift + style.var(axis=2).sum(), rel=0.1
    )


def naive_gram(G: tf.Tensor, m: tf.Tensor, H: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    error, energy = (tf.reduce_sum(x**2, axis=(2, 3)) for x in (G - H, H))
    return tf.reduce_mean(error / energy, axis=1)


def naive_moments(G: tf.Tensor, m: tf.Tensor, H: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    ours, theirs = (tf.sqrt(tf.linalg.diag_part(gram) - mean**2) for gram, mean in ((G, m), (H, n)))
    error = tf.reduce_sum((m - n) ** 2 + (ours - theirs) ** 2, axis=2)
    return tf.reduce_mean(error / tf.linalg.trace(H), axis=1)


def naive_wasserstein(G: tf.Tensor, m: tf.Tensor, H: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    S, T = naive_covariance(G, m), naive_covariance(H, n)
    root = naive_root(T)
    bures = tf.linalg.trace(S + T - 2 * naive_root(root @ S @ root))
    energy = tf.linalg.trace(T) + tf.reduce_sum(n**2, axis=2)
    return tf.reduce_mean((tf.reduce_sum((m - n) ** 2, axis=2) + bures) / energy, axis=1)


def by_style(G: tf.Tensor, m: tf.Tensor, H: tf.Tensor, n: tf.Tensor) -> style_losses.StyleDistance:
    return style_losses.style_loss(G, m, H)


def by_wasserstein(
    G: tf.Tensor, m: tf.Tensor, H: tf.Tensor, n: tf.Tensor
) -> style_losses.StyleDistance:
    return style_losses.wasserstein_loss(G, m, target_of(H, n))


@pytest.mark.parametrize(
    ("naive", "ours", "tolerance"),
    [
        (naive_gram, by_style, 1e-5),
        (naive_moments, style_losses.moments_loss, 1e-4),
        (naive_wasserstein, by_wasserstein, 0.01),  # the root is approximate
    ],
)
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("rows", [4, 5])
def test_the_gradients_of_the_losses_are_those_of_autodiff(
    naive: Callable[..., tf.Tensor],
    ours: Callable[..., style_losses.StyleDistance],
    tolerance: float,
    targets: int,
    rows: int,
) -> None:
    """On two items of two bands, even and uneven; the target is one for both, or one each."""
    rng = np.random.default_rng(rows)
    mix = rng.normal(0, 1, (4, 4))
    A = (rng.normal(0, 1, (2, rows, 30, 4)) @ mix + 0.5).astype(np.float32)
    B = (rng.normal(0, 1, (targets, rows, 30, 4)) + rng.normal(0, 1, 4)).astype(np.float32)
    statistics = [*style_losses.band_statistics(A, 2), *style_losses.band_statistics(B, 2)]
    distance = ours(*statistics)
    gram, mean, *target = (tf.cast(s, tf.float64) for s in statistics)
    with tf.GradientTape() as tape:
        tape.watch((gram, mean))
        value = naive(gram, mean, *target)
    by_gram, by_mean = tape.gradient(value, (gram, mean), unconnected_gradients="zero")
    # Gram matrices are symmetric; eigh reads, and differentiates, one triangle only.
    by_gram = (by_gram + tf.linalg.matrix_transpose(by_gram)) / 2
    np.testing.assert_allclose(distance.value, value, rtol=tolerance)
    for found, expected in ((distance.by_gram, by_gram), (distance.by_mean, by_mean)):
        assert found.shape == expected.shape
        error = np.linalg.norm(found - tf.cast(expected, tf.float32))
        assert error <= tolerance * np.linalg.norm(expected)


def test_a_target_for_a_whole_batch_is_the_target_of_each() -> None:
    """With one band and many channels, where broadcasting in oneDNN corrupts memory."""
    rng = np.random.default_rng(0)
    A = rng.normal(0, 1, (3, 1, 400, 64)).astype(np.float32)
    gram, mean = style_losses.band_statistics(A[:2])
    target = style_losses.band_statistics(A[2:])
    for loss in (by_style, style_losses.moments_loss, by_wasserstein):
        together = loss(gram, mean, *target)
        for i in range(2):
            alone = loss(gram[i : i + 1], mean[i : i + 1], *target)
            for ours, theirs in zip(together, alone, strict=True):
                np.testing.assert_allclose(ours[i], theirs[0], rtol=1e-3, atol=1e-6)


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
    return style_losses.band_statistics(A.astype(np.float32), bands)


def test_content_loss_is_computed_per_item() -> None:
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
    found = style_losses.covariance(*style_losses.band_statistics(A.astype(np.float32), 2))
    assert found.shape == (2, 2, 4, 4)
    for item in range(2):
        for band, rows in enumerate((slice(0, 4), slice(2, 6))):
            expected = np.cov(A[item, rows].reshape(-1, 4).T, bias=True)
            energy = np.square(A[item, rows]).mean(axis=(0, 1)).sum()
            expected_load = 1e-4 * np.trace(expected) / 4 + 4e-6 * energy
            loaded = expected + expected_load * np.eye(4)
            np.testing.assert_allclose(found[item, band], loaded, rtol=1e-3, atol=1e-5)
            load = np.diag(found[item, band] - expected)
            np.testing.assert_allclose(load, expected_load, rtol=0.1)


@pytest.mark.parametrize(("n_channels", "n_axes"), [(4, 4), (32, 32), (33, 32), (160, 40)])
def test_principal_axes_are_those_of_largest_variance(n_channels: int, n_axes: int) -> None:
    """A quarter of the channels or 32 where that is more; of the others the variance is summed."""
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


def test_a_variance_that_rounding_made_negative_counts_as_0() -> None:
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


@pytest.mark.parametrize(
    ("load", "rounding"), [(style_losses.DIAGONAL_LOAD, style_losses.ROUNDING_LOAD), (0.5, 0.1)]
)
@pytest.mark.parametrize(("n_channels", "bands"), [(4, 2), (5, 2), (4, 5)])
def test_the_gradients_of_a_wide_layer_are_those_of_autodiff(
    n_channels: int, bands: int, load: float, rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the usual loads of the diagonal, and loads so large that their own gradient shows."""
    monkeypatch.setattr(style_losses, "ALL_AXES", 3)
    monkeypatch.setattr(style_losses, "DIAGONAL_LOAD", load)
    monkeypatch.setattr(style_losses, "ROUNDING_LOAD", rounding)
    shape = (2, 5, 60, n_channels)
    statistics = [*mixed(0, shape, bands), *mixed(1, shape, bands)]
    distance = by_wasserstein(*statistics)
    gram, mean, target_gram, target_mean = (tf.cast(s, tf.float64) for s in statistics)
    T = naive_covariance(target_gram, target_mean)
    energy = tf.linalg.trace(T) + tf.reduce_sum(target_mean**2, axis=2)
    with tf.GradientTape() as tape:
        tape.watch((gram, mean))
        S = naive_covariance(gram, mean)
        expected_distance = naive_wide(S, T, mean - target_mean, 3)
        value = tf.reduce_mean(expected_distance / energy, axis=1)
    by_gram, by_mean = tape.gradient(value, (gram, mean))
    by_gram = (by_gram + tf.linalg.matrix_transpose(by_gram)) / 2
    np.testing.assert_allclose(distance.value, value, rtol=0.01)
    for found, expected in ((distance.by_gram, by_gram), (distance.by_mean, by_mean)):
        assert found.shape == expected.shape
        error = np.linalg.norm(found - tf.cast(expected, tf.float32))
        assert error <= 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("factor", [0.05, 30.0])
@pytest.mark.parametrize("most_axes", [2, 32])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_free_of_units(
    name: str, most_axes: int, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaling all activations leaves the loss unchanged."""
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
def test_silence_is_at_distance_1_from_any_style(
    name: str, most_axes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All losses are relative to the target; the gradient exists as well."""
    monkeypatch.setattr(style_losses, "ALL_AXES", most_axes)
    gram, mean = mixed(1)
    distance = LOSSES[name](0 * gram, 0 * mean, gram, mean)
    np.testing.assert_allclose(distance.value, 1.0, rtol=5e-3)
    assert all(np.isfinite(slope).all() for slope in distance[1:])


def test_a_constant_channel_has_no_gradient_by_its_deviation() -> None:
    """The root of a variance has no derivative at 0; its mean is distance all the same."""
    rng = np.random.default_rng(0)
    A, B = rng.normal(1, 1, (2, 1, 4, 40, 3)).astype(np.float32)
    A[..., 1] = 0.5
    distance = style_losses.moments_loss(
        *style_losses.band_statistics(A), *style_losses.band_statistics(B)
    )
    a, b = A.reshape(-1, 3), B.reshape(-1, 3)
    deviations = np.maximum(a.std(axis=0), 1e-3)
    energy = (b**2).mean(axis=0).sum()
    error = (a.mean(axis=0) - b.mean(axis=0)) ** 2 + (deviations - b.std(axis=0)) ** 2
    assert float(distance.value[0]) == pytest.approx(error.sum() / energy, rel=1e-4)
    by_variance = (1 - b.std(axis=0) / a.std(axis=0).clip(1e-9)) / energy
    by_variance[1] = 0.0
    np.testing.assert_allclose(distance.by_gram[0, 0], np.diag(by_variance), rtol=1e-3, atol=1e-6)
    shift = 2 * (a.mean(axis=0) - b.mean(axis=0)) / energy
    assert float(distance.by_mean[0, 0, 1]) == pytest.approx(shift[1], rel=1e-4)


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
