"""Statistics of activations, band by band, and their gradient.

What style is made of: see `audiostyle.losses`, which compares them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import tensorflow as tf

Tensor = Any  # TensorFlow ships no types


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


def _pieces(activations: Tensor, bands: int) -> list[tuple[Tensor, int]]:
    """Cut into pieces of so many bands of equal width: into one if all bands are alike."""
    n_rows = activations.shape[1]
    edges = band_edges(n_rows, bands)
    if n_rows % (len(edges) - 1) == 0:
        return [(activations, len(edges) - 1)]
    return [(activations[:, low:high], 1) for low, high in pairwise(edges)]


def _merge_positions(A: Tensor, bands: int) -> Tensor:
    """Bring to [shape=(batch, bands, positions, C)]."""
    shape = tf.shape(A)
    return tf.reshape(A, (shape[0], bands, shape[1] // bands * shape[2], A.shape[3]))


def statistics(activations: Tensor, bands: int = 1) -> tuple[Tensor, Tensor]:
    """Gram matrix of each frequency band, divided by its number of positions, and its mean.

    In float32, whatever the activations are in: a product of bfloat16 is rounded to it, and what
    that makes of a covariance may have no root, even where rows are added up in float32.

    Parameters
    ----------
    activations : tf.Tensor [shape=(batch, F, T, C)]
    bands : int > 0

    Returns
    -------
    gram : tf.Tensor [shape=(batch, min(bands, F), C, C), float32]
    mean : tf.Tensor [shape=(batch, min(bands, F), C), float32]
    """
    grams, means = [], []
    for piece, n in _pieces(activations, bands):
        A = tf.cast(_merge_positions(piece, n), tf.float32)
        positions = tf.cast(tf.shape(A)[2], tf.float32)
        grams.append(tf.matmul(A, A, transpose_a=True) / positions)
        # A product with ones runs at twice the speed of tf.reduce_mean.
        ones = tf.ones_like(A[:, :, :, :1])
        means.append(tf.matmul(ones, A, transpose_a=True)[:, :, 0] / positions)
    return tf.concat(grams, axis=1), tf.concat(means, axis=1)


def statistics_gradient(activations: Tensor, gram: Tensor, mean: Tensor, bands: int = 1) -> Tensor:
    """Turn the gradient by the statistics into the gradient by the activations.

    It is one matrix product at the precision of the activations, in which their gradient ends
    anyway; differentiating through `statistics` would pass four times over copies in float32.

    Parameters
    ----------
    activations : tf.Tensor [shape=(batch, F, T, C)]
    gram : tf.Tensor [shape=(batch, min(bands, F), C, C)]
        Gradient of a loss by the Gram matrices.
    mean : tf.Tensor [shape=(batch, min(bands, F), C)]
        Gradient of that loss by the means.
    bands : int > 0

    Returns
    -------
    tf.Tensor [shape and type of `activations`]
    """
    gram = gram + tf.linalg.matrix_transpose(gram)
    pieces, first = [], 0
    for piece, n in _pieces(activations, bands):
        A = _merge_positions(piece, n)
        ours = slice(first, first + n)
        positions = tf.cast(tf.shape(A)[2], tf.float32)
        slope = tf.cast(gram[:, ours] / positions, A.dtype)
        shift = tf.cast(mean[:, ours, None] / positions, A.dtype)
        by_position = tf.matmul(A, slope) + shift
        rows = tf.shape(activations)
        pieces.append(tf.reshape(by_position, (rows[0], -1, rows[2], rows[3])))
        first += n
    return tf.concat(pieces, axis=1)
