"""The losses of neural style transfer, as pure functions of activations.

Activations ``A`` have shape (batch, F, T, C): frequency rows, time frames, channels; every loss is
one number an item of the batch. With ``M = F * T`` positions the equations are those of Gatys,
Ecker & Bethge 2016:

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

What is compared in the spectrogram itself is in `audiostyle.nn.spectrogram_losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle.nn.matrix_sqrt import sqrt_psd

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types

DIAGONAL_LOAD = 1e-4  # of the mean variance: keeps covariances of few positions invertible
MIN_VARIANCE = 1e-6  # the root has no derivative at 0
ALL_AXES = 32  # of a covariance so many axes are compared, or a quarter where that is more


def content_loss(features: Tensor, target: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    """Half the squared error of the features, relative to the energy of the target.

    Parameters
    ----------
    features, target : tf.Tensor [shape=(batch, F, T, C)]
    energy : tf.Tensor [shape=(batch,), float32]
        Sum of the squared target; where it is 0, so is the loss.

    Returns
    -------
    value : tf.Tensor [shape=(batch,), float32]
    gradient : tf.Tensor [shape and type of `features`]
        By the features, written out.
    """
    error = features - target
    half = 0.5 * tf.reduce_sum(tf.square(tf.cast(error, tf.float32)), axis=(1, 2, 3))
    share = tf.math.divide_no_nan(1.0, energy)[:, None, None, None]
    return tf.math.divide_no_nan(half, energy), tf.cast(share, error.dtype) * error


class StyleDistance(NamedTuple):
    """How well statistics match a target, and how to match it better.

    The gradients are written out: differentiating would make TensorFlow trace three times as much.

    Attributes
    ----------
    value : tf.Tensor [shape=(batch,)]
        The loss: its mean over bands.
    by_gram : tf.Tensor [shape=(batch, bands, C, C)]
    by_mean : tf.Tensor [shape=(batch, bands, C)]
        Its gradients.
    """

    value: Tensor
    by_gram: Tensor
    by_mean: Tensor


def style_loss(gram: Tensor, mean: Tensor, target: Tensor) -> StyleDistance:
    """Squared distance of Gram matrices, relative to the squared norm of the target.

    Parameters
    ----------
    gram : tf.Tensor [shape=(batch, bands, C, C), float32]
    mean : tf.Tensor [shape=(batch, bands, C)]
        Counts for nothing.
    target : tf.Tensor [shape=(batch or 1, bands, C, C), float32]

    Returns
    -------
    Matched
    """
    error = gram - target
    share = _share_of(tf.reduce_sum(tf.square(target), axis=(2, 3)))
    value = tf.reduce_sum(share * tf.reduce_sum(tf.square(error), axis=(2, 3)), axis=1)
    return StyleDistance(value, 2.0 * share[..., None, None] * error, tf.zeros_like(mean))


def _share_of(energy: Tensor) -> Tensor:
    """Factor of each band in a mean over bands relative to their energies; 0 for silent ones."""
    return tf.math.divide_no_nan(1.0 / energy.shape[1], energy)


def covariance(gram: Tensor, mean: Tensor) -> Tensor:
    """Covariance of each band, with `DIAGONAL_LOAD` of its mean variance on the diagonal.

    Parameters
    ----------
    gram : tf.Tensor [shape=(batch, bands, C, C)]
    mean : tf.Tensor [shape=(batch, bands, C)]

    Returns
    -------
    tf.Tensor [shape=(batch, bands, C, C)]
    """
    centred = gram - mean[..., :, None] * mean[..., None, :]
    load = DIAGONAL_LOAD * tf.reduce_mean(tf.linalg.diag_part(centred), axis=-1)
    return centred + load[..., None, None] * tf.eye(gram.shape[-1])


class Gaussian(NamedTuple):
    """The Gaussian that stands for a style, by the axes of its ellipsoid.

    Attributes
    ----------
    mean : tf.Tensor [shape=(batch or 1, bands, C)]
    axes : tf.Tensor [shape=(batch or 1, bands, C, k)]
        The directions of largest variance, orthonormal.
    deviations : tf.Tensor [shape=(batch or 1, bands, k)]
        Along the axes.
    rest : tf.Tensor [shape=(batch or 1, bands)]
        Variance in all other directions together.
    """

    mean: Tensor
    axes: Tensor
    deviations: Tensor
    rest: Tensor


def principal_axes(covariances: Array) -> tuple[Array, Array, Array]:
    """Axes, deviations along them, and the variance of the rest, for a `Gaussian`.

    Parameters
    ----------
    covariances : np.ndarray [shape=(batch, bands, C, C)]

    Returns
    -------
    axes : np.ndarray [shape=(batch, bands, C, k)]
        `ALL_AXES`, or a quarter of the channels where that is more; all if there are fewer.
    deviations : np.ndarray [shape=(batch, bands, k)]
    rest : np.ndarray [shape=(batch, bands)]
    """
    from threadpoolctl import threadpool_limits

    # Threads do not make matrices of this size faster, and on busy cores they wait for each other.
    with threadpool_limits(1, "blas"):
        values, vectors = np.linalg.eigh(covariances)
    values = np.maximum(values, 0.0)
    n_channels = values.shape[-1]
    first = max(0, n_channels - max(ALL_AXES, n_channels // 4))
    rest = values[..., :first].sum(axis=-1)
    deviations = np.sqrt(values[..., first:])
    axes, deviations, rest = (
        np.asarray(array, np.float32) for array in (vectors[..., first:], deviations, rest)
    )
    return axes, deviations, rest


def wasserstein_loss(gram: Tensor, mean: Tensor, target: Gaussian) -> StyleDistance:
    """Squared Wasserstein-2 (Bures) distance of Gaussians, relative to the energy of the target.

    ``|mu - mu_s|^2 + tr(S + S_s - 2 (S_s^1/2 S S_s^1/2)^1/2)`` for each band, with `mu` and `S`
    mean and covariance of the activations. In the axes of the style ``S_s^1/2`` is diagonal. With
    ``M = S_s^1/2 S S_s^1/2`` the gradient by `S` is ``I - S_s^1/2 M^-1/2 S_s^1/2``, and the inverse
    root comes from the same iteration as the root.

    Of layers with more than `ALL_AXES` channels only a quarter of the directions are compared one
    by one, and no fewer than `ALL_AXES`: those in which the style varies most, with nine tenths of
    its variance. Of the rest the sum is: the root of a matrix costs the cube of its size.

    Parameters
    ----------
    gram : tf.Tensor [shape=(batch, bands, C, C)]
    mean : tf.Tensor [shape=(batch, bands, C)]
    target : Gaussian

    Returns
    -------
    Matched
    """
    S = covariance(gram, mean)
    n_channels = gram.shape[-1]
    eye = np.eye(n_channels, dtype=np.float32)
    # Left to tf.matmul, broadcasting its right side corrupts memory on processors with AVX-512
    # (oneDNN issue 4396).
    U = tf.broadcast_to(target.axes, [tf.shape(S)[0], *target.axes.shape[1:]])
    r, axes_eye = target.deviations, np.eye(target.axes.shape[-1], dtype=np.float32)
    SU = tf.matmul(S, U)
    inside = tf.reduce_sum(U * SU, axis=(2, 3))
    M = r[..., :, None] * tf.matmul(U, SU, transpose_a=True) * r[..., None, :]
    root, inverse_root = sqrt_psd(M)
    bures = inside + tf.reduce_sum(tf.square(r), axis=2) - 2.0 * tf.linalg.trace(root)
    inner = -r[..., :, None] * inverse_root * r[..., None, :] + np.eye(
        r.shape[-1], dtype=np.float32
    )
    outer = tf.zeros_like(inside)
    if r.shape[-1] < n_channels:
        outside = tf.maximum(tf.linalg.trace(S) - inside, 0.0)
        ratio = tf.sqrt(target.rest / tf.maximum(outside, MIN_VARIANCE))
        bures += outside + target.rest - 2.0 * tf.sqrt(target.rest * outside)
        outer = 1.0 - ratio
        inner -= outer[..., None, None] * axes_eye
    shift = mean - target.mean
    energy = tf.reduce_sum(tf.square(target.mean), axis=2) + (
        tf.reduce_sum(tf.square(r), axis=2) + target.rest
    )
    share = _share_of(energy)
    value = tf.reduce_sum(share * (tf.reduce_sum(tf.square(shift), axis=2) + bures), axis=1)
    by_covariance = share[..., None, None] * (
        outer[..., None, None] * eye + tf.matmul(tf.matmul(U, inner), U, transpose_b=True)
    )
    load = DIAGONAL_LOAD / n_channels * tf.linalg.trace(by_covariance)
    by_gram = by_covariance + load[..., None, None] * eye
    by_mean = 2.0 * (share[..., None] * shift - tf.linalg.matvec(by_gram, mean))
    return StyleDistance(value, by_gram, by_mean)


def moments_loss(
    gram: Tensor, mean: Tensor, target_gram: Tensor, target_mean: Tensor
) -> StyleDistance:
    """Squared distance of means and deviations, relative to the energy of the target.

    Li et al. 2017, "Demystifying neural style transfer": batch-norm statistics. It is the
    Wasserstein-2 distance of Gaussians without covariances.

    Parameters
    ----------
    gram : tf.Tensor [shape=(batch, bands, C, C)]
    mean : tf.Tensor [shape=(batch, bands, C)]
    target_gram, target_mean : tf.Tensor
        Those of the style.

    Returns
    -------
    Matched
    """
    variance = tf.linalg.diag_part(gram) - tf.square(mean)
    deviation, target_deviation = (
        tf.sqrt(tf.maximum(v, MIN_VARIANCE))
        for v in (variance, tf.linalg.diag_part(target_gram) - tf.square(target_mean))
    )
    shift, spread = mean - target_mean, deviation - target_deviation
    share = _share_of(tf.reduce_sum(tf.linalg.diag_part(target_gram), axis=2))
    error = tf.reduce_sum(tf.square(shift) + tf.square(spread), axis=2)
    by_variance = tf.where(variance > MIN_VARIANCE, spread / deviation, 0.0) * share[..., None]
    by_mean = 2.0 * (share[..., None] * shift - by_variance * mean)
    value = tf.reduce_sum(share * error, axis=1)
    return StyleDistance(value, tf.linalg.diag(by_variance), by_mean)


def total_loss(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Add up the terms with their weights: ``alpha * L_content + beta * L_style + ...``.

    Parameters
    ----------
    terms : sequence of tf.Tensor [shape=(batch,)]
    weights : sequence of float

    Returns
    -------
    tf.Tensor
    """
    return tf.add_n([weight * term for weight, term in zip(weights, terms, strict=True)])
