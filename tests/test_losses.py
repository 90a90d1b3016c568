from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from audiostyle import losses


def activations(seed: int, shape: tuple[int, ...] = (1, 6, 5, 4)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_content_loss_closed_form() -> None:
    P = activations(0)
    F = activations(1)
    expected = 0.5 * ((F - P) ** 2).sum() / (P**2).sum()
    assert float(losses.content_loss(F, P)) == pytest.approx(expected, rel=1e-5)
    assert float(losses.content_loss(P, P)) == 0.0
    assert float(losses.content_loss(3 * P, P)) == pytest.approx(2.0, rel=1e-5)  # 1/2 * 2^2


def test_gram_matrix_is_the_sum_over_positions_divided_by_their_number() -> None:
    A = activations(0)
    expected = np.zeros((4, 4))
    for f in range(6):
        for t in range(5):
            expected += np.outer(A[0, f, t], A[0, f, t])
    np.testing.assert_allclose(losses.gram_matrix(A)[0], expected / 30, rtol=1e-5)


@pytest.mark.parametrize(
    ("bands", "edges"), [(2, [0, 3, 6]), (4, [0, 2, 3, 4, 6]), (9, [*range(7)])]
)
def test_gram_matrix_per_band_is_that_of_the_band_alone(bands: int, edges: list[int]) -> None:
    A = activations(0)
    grams = losses.gram_matrix(A, bands)
    assert losses.band_edges(6, bands) == edges
    assert len(grams) == len(edges) - 1
    for gram, low, high in zip(grams, edges[:-1], edges[1:], strict=True):
        np.testing.assert_allclose(gram, losses.gram_matrix(A[:, low:high])[0], rtol=1e-5)


def test_gram_matrix_forgets_the_order_and_the_length_of_time() -> None:
    A = activations(0)
    gram = losses.gram_matrix(A, 3)
    np.testing.assert_allclose(losses.gram_matrix(A[:, :, ::-1], 3), gram, rtol=1e-5)
    np.testing.assert_allclose(losses.gram_matrix(np.tile(A, (1, 1, 4, 1)), 3), gram, rtol=1e-5)


def test_style_loss_closed_form() -> None:
    G = losses.gram_matrix(activations(0), 2).numpy()
    H = losses.gram_matrix(activations(1), 2).numpy()
    expected = np.mean([((g - h) ** 2).sum() / (h**2).sum() for g, h in zip(G, H, strict=True)])
    assert float(losses.style_loss(G, H)) == pytest.approx(expected, rel=1e-5)
    assert float(losses.style_loss(2 * H, H)) == pytest.approx(1.0, rel=1e-5)
    assert float(losses.style_loss(H, H)) == 0.0


def test_style_loss_of_a_silent_style_is_zero_and_not_nan() -> None:
    zero = np.zeros((1, 4, 4), np.float32)
    assert float(losses.style_loss(zero, zero)) == 0.0


def test_total_loss_is_the_weighted_sum() -> None:
    assert losses.total_loss([2.0, 3.0, 5.0], [7, 11, 13]) == 14 + 33 + 65


def test_gradient_of_the_gram_style_loss_is_the_analytic_one() -> None:
    A = tf.constant(activations(0))
    target = losses.gram_matrix(activations(1))
    with tf.GradientTape() as tape:
        tape.watch(A)
        loss = losses.style_loss(losses.gram_matrix(A), target)
    flat = A.numpy().reshape(-1, 4)
    difference = losses.gram_matrix(A)[0].numpy() - target[0].numpy()
    expected = 4 * flat @ difference / len(flat) / (target.numpy() ** 2).sum()
    np.testing.assert_allclose(
        tape.gradient(loss, A).numpy().reshape(-1, 4), expected, rtol=1e-3, atol=1e-6
    )


def gaussian(seed: int, positions: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations of one band with correlated channels, and their Gram matrix and mean."""
    rng = np.random.default_rng(seed)
    A = rng.normal(0, 1, (1, 1, positions, 4)) @ rng.normal(0, 1, (4, 4)) + rng.normal(0, 1, 4)
    A = A.astype(np.float32)
    return A, losses.gram_matrix(A).numpy(), losses.band_means(A).numpy()


def test_band_means_and_covariance_are_numpys() -> None:
    A, gram, mean = gaussian(0)
    flat = A.reshape(-1, 4)
    np.testing.assert_allclose(mean[0], flat.mean(axis=0), atol=1e-5)
    expected = np.cov(flat.T, bias=True)
    load = losses.DIAGONAL_LOAD * np.trace(expected) / 4
    np.testing.assert_allclose(
        losses.covariance(gram, mean)[0], expected + load * np.eye(4), atol=1e-4
    )


def test_sqrt_psd_is_the_root_and_its_inverse() -> None:
    _, gram, mean = gaussian(0)
    S = losses.covariance(gram, mean)
    root, inverse = losses.sqrt_psd(S)
    np.testing.assert_allclose(root[0] @ root[0], S[0], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(root[0] @ inverse[0], np.eye(4), atol=1e-2)


def wasserstein(a: int, b: int) -> float:
    from scipy.linalg import sqrtm

    (_, gram, mean), (_, target_gram, target_mean) = gaussian(a), gaussian(b)
    target = losses.covariance(target_gram, target_mean)
    root = sqrtm(target[0].numpy()).real[None].astype(np.float32)
    return float(losses.wasserstein_loss(gram, mean, target_mean, target, root))


def test_wasserstein_loss_closed_form() -> None:
    from scipy.linalg import sqrtm

    (_, gram, mean), (_, target_gram, target_mean) = gaussian(0), gaussian(1)
    S = losses.covariance(gram, mean)[0].numpy().astype(float)
    T = losses.covariance(target_gram, target_mean)[0].numpy().astype(float)
    root = sqrtm(T)
    bures = np.trace(S + T - 2 * sqrtm(root @ S @ root).real)
    shift = ((mean - target_mean) ** 2).sum()
    energy = np.trace(T) + (target_mean**2).sum()
    assert wasserstein(0, 1) == pytest.approx((bures + shift) / energy, rel=0.01)


def test_wasserstein_loss_and_its_gradient_vanish_at_the_target() -> None:
    assert wasserstein(0, 0) == pytest.approx(0, abs=1e-3)


def test_gradient_of_trace_sqrt_is_half_the_inverse_root() -> None:
    _, gram, mean = gaussian(0)
    S = losses.covariance(gram, mean)
    with tf.GradientTape() as tape:
        tape.watch(S)
        trace = losses.trace_sqrt(S)
    values, vectors = np.linalg.eigh(S[0].numpy())
    assert float(trace[0]) == pytest.approx(np.sqrt(values).sum(), rel=1e-3)
    expected = 0.5 * (vectors / np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(tape.gradient(trace, S)[0], expected, rtol=0.02, atol=0.01)


def test_moments_loss_closed_form() -> None:
    (A, gram, mean), (B, target_gram, target_mean) = gaussian(0), gaussian(1)
    a, b = A.reshape(-1, 4), B.reshape(-1, 4)
    error = (a.mean(0) - b.mean(0)) ** 2 + (a.std(0) - b.std(0)) ** 2
    expected = error.sum() / (b**2).mean(axis=0).sum()
    loss = losses.moments_loss(gram, mean, target_gram, target_mean)
    assert float(loss) == pytest.approx(expected, rel=1e-3)
