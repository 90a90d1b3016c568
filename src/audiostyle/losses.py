"""The losses of neural style transfer, as pure functions of activations.

Activations ``A`` have shape (1, F, T, C): frequency rows, time frames, channels. With
``M = F * T`` positions the equations are those of Gatys, Ecker & Bethge 2016:

    L_content = 1/2 * sum_ij (F_ij - P_ij)^2
    G_ij      = sum_k A_ik A_jk
    L_style^l = 1/M_l * sum_ij (G_ij(s) - G_ij(g))^2
    L_total   = alpha * L_content + beta * sum_l w_l L_style^l

Departures, each for a reason:

- ``G`` is divided by the number of positions, so that the length of a clip changes nothing.
- ``M_l`` is the sum of the squared style Gram matrix itself, and L_content is divided by the sum of
  the squared content features (over the same positions): both losses are free of units, and a
  weight means the same for every layer, network, pair and length. Gatys' constants are absorbed.
- ``G`` can be taken per frequency band: a spectrogram, unlike a photograph, is not invariant to
  translation along its frequency axis. One band is the classic definition.
- In place of the Gram matrix, the distribution of the activations can be matched as a Gaussian, by
  its Wasserstein-2 distance; or the mean and deviation of each channel alone.

What is compared in the spectrogram itself is in `audiostyle.mel_losses`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import tensorflow as tf

Tensor = Any  # TensorFlow ships no types

DIAGONAL_LOAD = 1e-4  # of the mean variance: keeps covariances of few positions invertible
MIN_VARIANCE = 1e-6  # the root has no derivative at 0
NEWTON_SCHULZ_STEPS = 10
NEWTON_SCHULZ_RANGE = 1e-3  # smallest singular value of interest, relative to the largest


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Half the squared error of the features, relative to the energy of the target.

    Parameters
    ----------
    features, target : tf.Tensor [shape=(1, F, T, C)]

    Returns
    -------
    tf.Tensor [scalar, float32]
    """
    target = tf.cast(target, tf.float32)
    error = tf.reduce_sum(tf.square(tf.cast(features, tf.float32) - target))
    return 0.5 * tf.math.divide_no_nan(error, tf.reduce_sum(tf.square(target)))


def band_edges(n_rows: int, bands: int) -> list[int]:
    """Split rows into bands of nearly equal width.

    Parameters
    ----------
    n_rows : int > 0
    bands : int > 0
        More bands than rows are cut to one band a row.

    Returns
    -------
    list of int
        ``min(bands, n_rows) + 1`` rising edges from 0 to `n_rows`.
    """
    bands = min(bands, n_rows)
    return [round(i * n_rows / bands) for i in range(bands + 1)]


def gram_matrix(activations: Tensor, bands: int = 1) -> Tensor:
    """Gram matrix of each frequency band, divided by its number of positions.

    Parameters
    ----------
    activations : tf.Tensor [shape=(1, F, T, C)]
    bands : int > 0

    Returns
    -------
    tf.Tensor [shape=(min(bands, F), C, C), float32]
    """
    A = tf.cast(activations, tf.float32)[0]  # (F, T, C)
    n_rows, n_channels = A.shape[0], A.shape[2]
    edges = band_edges(n_rows, bands)
    if n_rows % (len(edges) - 1) == 0:
        A = tf.reshape(A, (len(edges) - 1, -1, n_channels))  # (bands, positions, C)
        positions = tf.cast(tf.shape(A)[1], tf.float32)
        return tf.matmul(A, A, transpose_a=True) / positions
    grams = []
    for low, high in pairwise(edges):
        band = tf.reshape(A[low:high], (-1, n_channels))
        positions = tf.cast(tf.shape(band)[0], tf.float32)
        grams.append(tf.matmul(band, band, transpose_a=True) / positions)
    return tf.stack(grams)


def style_loss(gram: Tensor, target: Tensor) -> Tensor:
    """Squared distance of Gram matrices, relative to the squared norm of the target.

    Parameters
    ----------
    gram, target : tf.Tensor [shape=(bands, C, C), float32]

    Returns
    -------
    tf.Tensor [scalar, float32]
        The mean over bands.
    """
    error = tf.reduce_sum(tf.square(gram - target), axis=(1, 2))
    energy = tf.reduce_sum(tf.square(target), axis=(1, 2))
    return tf.reduce_mean(tf.math.divide_no_nan(error, energy))


def band_means(activations: Tensor, bands: int = 1) -> Tensor:
    """Mean of the activations of each frequency band.

    Parameters
    ----------
    activations : tf.Tensor [shape=(1, F, T, C)]
    bands : int > 0

    Returns
    -------
    tf.Tensor [shape=(min(bands, F), C), float32]
    """
    rows = tf.reduce_mean(tf.cast(activations, tf.float32)[0], axis=1)  # (F, C)
    edges = band_edges(rows.shape[0], bands)
    return tf.stack([tf.reduce_mean(rows[low:high], axis=0) for low, high in pairwise(edges)])


def covariance(gram: Tensor, mean: Tensor) -> Tensor:
    """Covariance of each band, with `DIAGONAL_LOAD` of its mean variance on the diagonal.

    Parameters
    ----------
    gram : tf.Tensor [shape=(bands, C, C)]
    mean : tf.Tensor [shape=(bands, C)]

    Returns
    -------
    tf.Tensor [shape=(bands, C, C)]
    """
    centred = gram - mean[:, :, None] * mean[:, None, :]
    load = DIAGONAL_LOAD * tf.reduce_mean(tf.linalg.diag_part(centred), axis=1)
    return centred + load[:, None, None] * tf.eye(gram.shape[-1])


def _newton_schulz_scales() -> list[float]:
    """Scale of each step that raises the smallest singular value in view as far as it can.

    The cubic ``x -> s x (3 - s^2 x^2) / 2`` maps [low, 1] best to near 1 where its values at both
    ends agree (Chen & Chow 2014): small values grow by 2.6 a step in place of 1.5.
    """
    scales, low = [], NEWTON_SCHULZ_RANGE
    for _ in range(NEWTON_SCHULZ_STEPS):
        scale = math.sqrt(3.0 / (1.0 + low + low**2))
        scales.append(scale)
        low = 0.5 * scale * low * (3.0 - scale**2 * low**2)
    return scales


def sqrt_psd(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of positive definite matrices, and its inverse.

    Coupled Newton-Schulz iteration (Higham 2008, eq. 6.35), scaled: matrix products only, so it is
    as fast as the device multiplies. Directions that hold less than `NEWTON_SCHULZ_RANGE` squared
    of the largest eigenvalue are not iterated to the end.

    Parameters
    ----------
    matrices : tf.Tensor [shape=(bands, C, C)]

    Returns
    -------
    root, inverse_root : tf.Tensor [shape=(bands, C, C)]
    """
    norm = tf.norm(matrices, axis=(1, 2), keepdims=True) + 1e-30
    Y = matrices / norm
    eye = tf.eye(matrices.shape[-1], batch_shape=[matrices.shape[0]])
    Z = eye
    for scale in _newton_schulz_scales():
        T = 1.5 * scale * eye - 0.5 * scale**3 * tf.matmul(Z, Y)
        Y, Z = tf.matmul(Y, T), tf.matmul(T, Z)
    return Y * tf.sqrt(norm), Z / tf.sqrt(norm)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def trace_sqrt(matrices: Tensor) -> tuple[Tensor, Any]:
    """Trace of the square root of positive definite matrices.

    Its gradient, half the inverse root, comes from the same iteration, so nothing is differentiated
    through: a third of the time, and of the memory.

    Parameters
    ----------
    matrices : tf.Tensor [shape=(bands, C, C)]

    Returns
    -------
    tf.Tensor [shape=(bands,)]
    """
    root, inverse_root = sqrt_psd(matrices)

    def gradient(upstream: Tensor) -> Tensor:
        return 0.5 * upstream[:, None, None] * inverse_root

    return tf.linalg.trace(root), gradient


def wasserstein_loss(
    gram: Tensor, mean: Tensor, target_mean: Tensor, target_covariance: Tensor, target_root: Tensor
) -> Tensor:
    """Squared Wasserstein-2 (Bures) distance of Gaussians, relative to the energy of the target.

    ``|mu - mu_s|^2 + tr(S + S_s - 2 (S_s^1/2 S S_s^1/2)^1/2)`` for each band, with `mu` and `S`
    mean and covariance of the activations.

    Parameters
    ----------
    gram : tf.Tensor [shape=(bands, C, C)]
    mean : tf.Tensor [shape=(bands, C)]
    target_mean : tf.Tensor [shape=(bands, C)]
    target_covariance, target_root : tf.Tensor [shape=(bands, C, C)]
        `covariance` of the style, and its square root.

    Returns
    -------
    tf.Tensor [scalar, float32]
        The mean over bands.
    """
    S, R = covariance(gram, mean), target_root
    bures = (
        tf.linalg.trace(S)
        + tf.linalg.trace(target_covariance)
        - 2 * trace_sqrt(tf.matmul(R, tf.matmul(S, R)))
    )
    shift = tf.reduce_sum(tf.square(mean - target_mean), axis=1)
    energy = tf.reduce_sum(tf.square(target_mean), axis=1) + tf.linalg.trace(target_covariance)
    return tf.reduce_mean(tf.math.divide_no_nan(shift + bures, energy))


def moments_loss(gram: Tensor, mean: Tensor, target_gram: Tensor, target_mean: Tensor) -> Tensor:
    """Squared distance of means and deviations, relative to the energy of the target.

    Li et al. 2017, "Demystifying neural style transfer": batch-norm statistics. It is the
    Wasserstein-2 distance of Gaussians without covariances.

    Parameters
    ----------
    gram, target_gram : tf.Tensor [shape=(bands, C, C)]
    mean, target_mean : tf.Tensor [shape=(bands, C)]

    Returns
    -------
    tf.Tensor [scalar, float32]
        The mean over bands.
    """
    deviation, target_deviation = (
        tf.sqrt(tf.maximum(tf.linalg.diag_part(g) - tf.square(m), MIN_VARIANCE))
        for g, m in ((gram, mean), (target_gram, target_mean))
    )
    error = tf.square(mean - target_mean) + tf.square(deviation - target_deviation)
    energy = tf.reduce_sum(tf.linalg.diag_part(target_gram), axis=1)
    return tf.reduce_mean(tf.math.divide_no_nan(tf.reduce_sum(error, axis=1), energy))


def total_loss(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Add up the terms with their weights: ``alpha * L_content + beta * L_style + ...``."""
    return tf.add_n([weight * term for weight, term in zip(weights, terms, strict=True)])
