"""Style and content losses: statistics of activations, their distances, and the gradients of both.

Shapes are (batch, F, T, C) for activations ``A`` (frequency rows, time frames, channels),
(batch, bands, C, C) for ``gram``, (batch, bands, C) for ``mean``, and (batch,) for a loss; the
statistics of a style may have a batch of 1. With ``M = F * T`` positions the equations are those of
Gatys, Ecker & Bethge 2016:

    L_content = 1/2 * sum_ij (F_ij - P_ij)^2
    G_ij      = sum_k A_ik A_jk
    L_style^l = 1/M_l * sum_ij (G_ij(s) - G_ij(g))^2
    L_total   = alpha * L_content + beta * sum_l w_l L_style^l

with these changes:

- ``G`` is divided by the number of positions, so that it does not depend on the length of a clip.
- ``M_l`` is the sum of the squared style Gram matrix itself, and L_content is divided by the sum of
  the squared content features (over the same positions): both losses are free of units, and a
  weight means the same for every layer, network, pair and length. They absorb Gatys' constants.
- ``G`` can be taken per frequency band: a spectrogram, unlike a photograph, is not invariant to
  translation along its frequency axis. One band is the original definition.
- Instead of the Gram matrix, the distribution of the activations can be matched as a Gaussian, by
  its Wasserstein-2 distance, or the mean and deviation of each channel alone.

Gradients are written out: by automatic differentiation TensorFlow would trace three times as much.

Neighbouring bands overlap by half, so that what moves across the edge of one is in the middle of
another. The rows are cut into one part more than there are bands; the statistics of a band are the
mean over its two parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Array, Tensor
from audiostyle.nn.device import single_blas_thread
from audiostyle.nn.matrix_sqrt import sqrt_psd

DIAGONAL_LOAD = 1e-4  # of the mean variance: keeps covariances of few positions invertible
ROUNDING_LOAD = 4e-6  # of the trace of the Gram matrix: more than float32 rounds off
MIN_VARIANCE = 1e-6  # the root has no derivative at 0
ALL_AXES = 32  # axes of a covariance that are compared; a quarter of all where that is more


def part_edges(n_rows: int, bands: int) -> list[int]:
    """Split rows into parts of nearly equal width, and return their edges from 0 to `n_rows`.

    A single band is one part; there are at most as many parts as rows.
    """
    parts = min(bands + 1 if bands > 1 else 1, n_rows)
    return [round(i * n_rows / parts) for i in range(parts + 1)]


def _pieces(activations: Tensor, bands: int) -> list[tuple[Tensor, int]]:
    """Cut into pieces, each with its number of parts of equal width; one piece if possible."""
    n_rows = activations.shape[1]
    edges = part_edges(n_rows, bands)
    if n_rows % (len(edges) - 1) == 0:
        return [(activations, len(edges) - 1)]
    return [(activations[:, low:high], 1) for low, high in pairwise(edges)]


def _merge_positions(A: Tensor, parts: int) -> Tensor:
    """Reshape to [shape=(batch, parts, positions, C)]."""
    n_frames = tf.shape(A)[2]
    return tf.reshape(A, (-1, parts, A.shape[1] // parts * n_frames, A.shape[3]))


def _over_bands(of_parts: Tensor) -> Tensor:
    """Average the two parts of each band, on axis 1; a single part is a band."""
    if of_parts.shape[1] == 1:
        return of_parts
    return 0.5 * (of_parts[:, :-1] + of_parts[:, 1:])


def _over_parts(of_bands: Tensor, parts: int) -> Tensor:
    """Backpropagate through `_over_bands`."""
    if parts == 1:
        return of_bands
    zeros = tf.zeros_like(of_bands[:, :1])
    return 0.5 * (tf.concat([of_bands, zeros], 1) + tf.concat([zeros, of_bands], 1))


def band_statistics(activations: Tensor, bands: int = 1) -> tuple[Tensor, Tensor]:
    """Gram matrix of each frequency band, divided by its number of positions, and its mean.

    Always in float32: a product in bfloat16 is rounded to bfloat16, and the resulting covariance
    may have no root, even if the sums are float32. There are at most ``F - 1`` overlapping bands.
    """
    grams, means = [], []
    for piece, n in _pieces(activations, bands):
        A = tf.cast(_merge_positions(piece, n), tf.float32)
        positions = tf.cast(tf.shape(A)[2], tf.float32)
        grams.append(tf.matmul(A, A, transpose_a=True) / positions)
        # A product with ones runs at twice the speed of tf.reduce_mean.
        ones = tf.ones_like(A[:, :, :, :1])
        means.append(tf.squeeze(tf.matmul(ones, A, transpose_a=True), 2) / positions)
    return _over_bands(tf.concat(grams, axis=1)), _over_bands(tf.concat(means, axis=1))


def band_statistics_gradient(
    activations: Tensor, gram: Tensor, mean: Tensor, bands: int = 1
) -> Tensor:
    """Backpropagate the gradients by `gram` and `mean` to `activations`, in their precision.

    Automatic differentiation would make four passes over copies in float32.
    """
    parts = len(part_edges(activations.shape[1], bands)) - 1
    gram = _over_parts(gram + tf.linalg.matrix_transpose(gram), parts)
    mean = _over_parts(mean, parts)
    pieces, first = [], 0
    for piece, n in _pieces(activations, bands):
        A = _merge_positions(piece, n)
        part = slice(first, first + n)
        positions = tf.cast(tf.shape(A)[2], tf.float32)
        by_gram = tf.cast(gram[:, part] / positions, A.dtype)
        by_mean = tf.cast(tf.expand_dims(mean[:, part], 2) / positions, A.dtype)
        by_position = tf.matmul(A, by_gram) + by_mean
        pieces.append(tf.reshape(by_position, tf.shape(piece)))
        first += n
    return tf.concat(pieces, axis=1)


def content_loss(features: Tensor, target: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    """Half the squared error of the features, relative to the energy of the target.

    `energy` is the sum of the squared target; where it is 0, so is the loss. Returns the loss and
    its gradient by `features`, in their precision.
    """
    error = features - target
    half = 0.5 * tf.reduce_sum(tf.square(tf.cast(error, tf.float32)), axis=(1, 2, 3))
    share = tf.reshape(tf.math.divide_no_nan(1.0, energy), (-1, 1, 1, 1))
    return tf.math.divide_no_nan(half, energy), tf.cast(share, error.dtype) * error


class StyleDistance(NamedTuple):
    """Distance of statistics from those of a style, averaged over bands, and its gradients."""

    value: Tensor  # [shape=(batch,)]
    by_gram: Tensor  # [shape=(batch, bands, C, C)]
    by_mean: Tensor  # [shape=(batch, bands, C)]


def style_loss(gram: Tensor, mean: Tensor, target: Tensor) -> StyleDistance:
    """Squared distance of Gram matrices, relative to the squared norm of the target.

    `mean` is ignored; the gradient by it is 0.
    """
    error = gram - target
    share = _share_of(tf.reduce_sum(tf.square(target), axis=(2, 3)))
    value = tf.reduce_sum(share * tf.reduce_sum(tf.square(error), axis=(2, 3)), axis=1)
    return StyleDistance(value, 2.0 * _to_matrices(share) * error, tf.zeros_like(mean))


def _share_of(energy: Tensor) -> Tensor:
    """Return the factor of each band in a mean of relative errors; 0 for silent bands."""
    return tf.math.divide_no_nan(1.0 / energy.shape[1], energy)


def _to_matrices(values: Tensor) -> Tensor:
    """Reshape a value of each band [shape=(batch, bands)] to multiply matrices."""
    return tf.reshape(values, (-1, values.shape[1], 1, 1))  # traced faster than an index


def covariance(gram: Tensor, mean: Tensor) -> Tensor:
    """Covariance of each band, with `DIAGONAL_LOAD` and `ROUNDING_LOAD` on the diagonal.

    Where activations hardly vary, the difference is rounding errors, and has no root without them.
    """
    centred = gram - tf.expand_dims(mean, -1) * tf.expand_dims(mean, -2)
    load = DIAGONAL_LOAD * tf.reduce_mean(tf.linalg.diag_part(centred), axis=-1)
    load += ROUNDING_LOAD * tf.linalg.trace(gram)
    return centred + _to_matrices(load) * np.eye(gram.shape[-1], dtype=np.float32)


class Gaussian(NamedTuple):
    """Distribution of a style's activations, by the principal axes of its covariance."""

    mean: Tensor  # [shape=(batch or 1, bands, C)]
    axes: Tensor  # [shape=(batch or 1, bands, C, k)], those of largest variance, orthonormal
    deviations: Tensor  # [shape=(batch or 1, bands, k)], along the axes
    rest: Tensor  # [shape=(batch or 1, bands)], variance in all other directions together


def principal_axes(covariances: Array) -> tuple[Array, Array, Array]:
    """Principal axes, deviations and rest of covariances [shape=(batch, bands, C, C)].

    They are those of a `Gaussian`, in float32. ``k`` is `ALL_AXES`, or a quarter of the channels
    where that is more, or all of fewer.
    """
    with single_blas_thread():
        values, vectors = np.linalg.eigh(covariances)
    values = np.maximum(values, 0.0)
    first = values.shape[-1] - _count_axes(values.shape[-1])
    axes, deviations = vectors[..., first:], np.sqrt(values[..., first:])
    rest = values[..., :first].sum(axis=-1)
    return axes.astype(np.float32), deviations.astype(np.float32), rest.astype(np.float32)


def _count_axes(n_channels: int) -> int:
    return min(n_channels, max(ALL_AXES, n_channels // 4))


def blank_axes(covariances: Tensor) -> tuple[Array, Array, Array]:
    """Zeros of the shapes that `principal_axes` returns."""
    *bands, n_channels, _ = covariances.shape
    k = _count_axes(n_channels)
    shapes = (*bands, n_channels, k), (*bands, k), bands
    axes, deviations, rest = (np.zeros(shape, np.float32) for shape in shapes)
    return axes, deviations, rest


def wasserstein_loss(gram: Tensor, mean: Tensor, target: Gaussian) -> StyleDistance:
    """Squared Wasserstein-2 (Bures) distance of Gaussians, relative to the energy of the target.

    ``|mu - mu_s|^2 + tr(S + S_s - 2 (S_s^1/2 S S_s^1/2)^1/2)`` for each band, with `mu` and `S`
    mean and covariance of the activations. In the axes of the style ``S_s^1/2`` is diagonal. With
    ``M = S_s^1/2 S S_s^1/2`` the gradient by `S` is ``I - S_s^1/2 M^-1/2 S_s^1/2``, and the inverse
    root comes from the same iteration as the root.

    In layers with more than `ALL_AXES` channels, only the directions in which the style varies most
    are compared one by one: a quarter of all, at least `ALL_AXES`, with nine tenths of the
    variance. The others are compared by their total variance, as the root of a matrix costs the
    cube of its size.
    """
    S = covariance(gram, mean)
    n_channels = gram.shape[-1]
    eye = np.eye(n_channels, dtype=np.float32)
    # When tf.matmul broadcasts its right side, it corrupts memory on processors with AVX-512
    # (oneDNN issue 4396).
    U = tf.broadcast_to(target.axes, [tf.shape(S)[0], *target.axes.shape[1:]])
    r, axes_eye = target.deviations, np.eye(target.axes.shape[-1], dtype=np.float32)
    column, row = tf.expand_dims(r, 3), tf.expand_dims(r, 2)
    SU = tf.matmul(S, U)
    inside = tf.reduce_sum(U * SU, axis=(2, 3))
    M = column * tf.matmul(U, SU, transpose_a=True) * row
    root, inverse_root = sqrt_psd(M)
    bures = inside + tf.reduce_sum(tf.square(r), axis=2) - 2.0 * tf.linalg.trace(root)
    inner = -column * inverse_root * row + axes_eye
    outer = tf.zeros_like(inside)
    if r.shape[-1] < n_channels:
        outside = tf.maximum(tf.linalg.trace(S) - inside, 0.0)
        ratio = tf.sqrt(target.rest / tf.maximum(outside, MIN_VARIANCE))
        bures += outside + target.rest - 2.0 * tf.sqrt(target.rest * outside)
        outer = 1.0 - ratio
        inner -= _to_matrices(outer) * axes_eye
    shift = mean - target.mean
    energy = tf.reduce_sum(tf.square(target.mean), axis=2) + (
        tf.reduce_sum(tf.square(r), axis=2) + target.rest
    )
    share = _share_of(energy)
    value = tf.reduce_sum(share * (tf.reduce_sum(tf.square(shift), axis=2) + bures), axis=1)
    by_covariance = _to_matrices(share) * (
        _to_matrices(outer) * eye + tf.matmul(tf.matmul(U, inner), U, transpose_b=True)
    )
    trace = _to_matrices(tf.linalg.trace(by_covariance))
    by_centred = by_covariance + DIAGONAL_LOAD / n_channels * trace * eye
    by_mean = 2.0 * (tf.expand_dims(share, 2) * shift - tf.linalg.matvec(by_centred, mean))
    return StyleDistance(value, by_centred + ROUNDING_LOAD * trace * eye, by_mean)


def moments_loss(
    gram: Tensor, mean: Tensor, target_gram: Tensor, target_mean: Tensor
) -> StyleDistance:
    """Squared distance of means and deviations, relative to the energy of the target.

    Batch-norm statistics (Li et al. 2017, "Demystifying neural style transfer"): the Wasserstein-2
    distance of Gaussians without covariances.
    """
    variance = tf.linalg.diag_part(gram) - tf.square(mean)
    deviation, target_deviation = (
        tf.sqrt(tf.maximum(v, MIN_VARIANCE))
        for v in (variance, tf.linalg.diag_part(target_gram) - tf.square(target_mean))
    )
    shift, spread = mean - target_mean, deviation - target_deviation
    share = _share_of(tf.reduce_sum(tf.linalg.diag_part(target_gram), axis=2))
    error = tf.reduce_sum(tf.square(shift) + tf.square(spread), axis=2)
    of_channels = tf.expand_dims(share, 2)
    by_variance = tf.where(variance > MIN_VARIANCE, spread / deviation, 0.0) * of_channels
    by_mean = 2.0 * (of_channels * shift - by_variance * mean)
    value = tf.reduce_sum(share * error, axis=1)
    return StyleDistance(value, tf.linalg.diag(by_variance), by_mean)


def total_loss(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Sum the weighted terms [shape=(batch,)]: ``alpha * L_content + beta * L_style + ...``."""
    return tf.add_n([weight * term for weight, term in zip(weights, terms, strict=True)])
