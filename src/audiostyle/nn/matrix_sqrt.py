"""Square root of a covariance matrix and its inverse, by matrix products alone."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Tensor

NEWTON_SCHULZ_STEPS = 10
NEWTON_SCHULZ_RANGE = 1e-3  # smallest singular value of interest, relative to the largest


def _newton_schulz_scales() -> list[float]:
    """Return the scale of each step that raises the smallest singular values fastest.

    The cubic ``x -> s x (3 - s^2 x^2) / 2`` maps [low, 1] closest to 1 when its values at both ends
    agree (Chen & Chow 2014): small values grow by 2.6 per step instead of 1.5.
    """
    scales, low = [], NEWTON_SCHULZ_RANGE
    for _ in range(NEWTON_SCHULZ_STEPS):
        scale = math.sqrt(3.0 / (1.0 + low + low**2))
        scales.append(scale)
        low = 0.5 * scale * low * (3.0 - scale**2 * low**2)
    return scales


def sqrt_psd(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of positive definite matrices [shape=(batch, bands, C, C)], and its inverse.

    Coupled Newton-Schulz iteration (Higham 2008, eq. 6.35), scaled. Eigenvalues below
    ``NEWTON_SCHULZ_RANGE ** 2`` of the largest do not converge.
    """
    norm = tf.norm(matrices, axis=(2, 3), keepdims=True) + 1e-30
    eye = np.eye(matrices.shape[-1], dtype=np.float32)
    scales = _newton_schulz_scales()
    Y = matrices / norm
    Z = 1.5 * scales[0] * eye - 0.5 * scales[0] ** 3 * Y  # the inverse root starts at eye
    Y = tf.matmul(Y, Z)
    for scale in scales[1:]:
        T = np.float32(1.5 * scale) * eye - (0.5 * scale**3) * tf.matmul(Z, Y)
        Y, Z = tf.matmul(Y, T), tf.matmul(T, Z)
    return Y * tf.sqrt(norm), Z / tf.sqrt(norm)
