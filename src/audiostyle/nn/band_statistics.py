"""Statistics of activations, band by band, and their gradient.

What style is made of: see `audiostyle.nn.style_losses`, which compares them.

Neighbouring bands overlap by half: what moves across the edge of one is in the middle of another.
The rows are cut into one part more than there are bands, statistics are taken of each part once,
and those of a band are the mean over its two parts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import tensorflow as tf

Tensor = Any  # TensorFlow ships no types


def part_edges(n_rows: int, bands: int) -> list[int]:
    """Split rows into the parts that bands are made of, two neighbouring parts each.

    Parameters
    ----------
    n_rows : int > 0
    bands : int > 0
        A single band is one part. More parts than rows are cut to one part a row.

    Returns
    -------
    list of int
        Rising edges from 0 to `n_rows`, of parts of nearly equal width.
    """
    parts = min(bands + 1 if bands > 1 else 1, n_rows)
    return [round(i * n_rows / parts) for i in range(parts + 1)]


def _pieces(activations: Tensor, bands: int) -> list[tuple[Tensor, int]]:
    """Cut into pieces of so many parts of equal width: into one if all parts are alike."""
    n_rows = activations.shape[1]
    edges = part_edges(n_rows, bands)
    if n_rows % (len(edges) - 1) == 0:
        return [(activations, len(edges) - 1)]
    return [(activations[:, low:high], 1) for low, high in pairwise(edges)]


def _merge_positions(A: Tensor, parts: int) -> Tensor:
    """Bring to [shape=(batch, parts, positions, C)]."""
    shape = tf.shape(A)
    return tf.reshape(A, (shape[0], parts, shape[1] // parts * shape[2], A.shape[3]))


def _over_bands(of_parts: Tensor) -> Tensor:
    """Mean over the two parts of each band, on axis 1; a single part is a band."""
    if of_parts.shape[1] == 1:
        return of_parts
    return 0.5 * (of_parts[:, :-1] + of_parts[:, 1:])


def _over_parts(of_bands: Tensor, parts: int) -> Tensor:
    """Turn the gradient by what `_over_bands` gives into that by what it takes."""
    if parts == 1:
        return of_bands
    nothing = tf.zeros_like(of_bands[:, :1])
    return 0.5 * (tf.concat([of_bands, nothing], 1) + tf.concat([nothing, of_bands], 1))


def statistics(activations: Tensor, bands: int = 1) -> tuple[Tensor, Tensor]:
    """Gram matrix of each frequency band, divided by its number of positions, and its mean.

    In float32, whatever the activations are in: a product of bfloat16 is rounded to it, and what
    that makes of a covariance may have no root, even where rows are added up in float32.

    Parameters
    ----------
    activations : tf.Tensor [shape=(batch, F, T, C)]
    bands : int > 0
        If above 1, they overlap by half, and there are at most ``F - 1``.

    Returns
    -------
    gram : tf.Tensor [shape=(batch, bands, C, C), float32]
    mean : tf.Tensor [shape=(batch, bands, C), float32]
    """
    grams, means = [], []
    for piece, n in _pieces(activations, bands):
        A = tf.cast(_merge_positions(piece, n), tf.float32)
        positions = tf.cast(tf.shape(A)[2], tf.float32)
        grams.append(tf.matmul(A, A, transpose_a=True) / positions)
        # A product with ones runs at twice the speed of tf.reduce_mean.
        ones = tf.ones_like(A[:, :, :, :1])
        means.append(tf.matmul(ones, A, transpose_a=True)[:, :, 0] / positions)
    return _over_bands(tf.concat(grams, axis=1)), _over_bands(tf.concat(means, axis=1))


def statistics_gradient(activations: Tensor, gram: Tensor, mean: Tensor, bands: int = 1) -> Tensor:
    """Turn the gradient by the statistics into the gradient by the activations.

    It is one matrix product at the precision of the activations, in which their gradient ends
    anyway; differentiating through `statistics` would pass four times over copies in float32.

    Parameters
    ----------
    activations : tf.Tensor [shape=(batch, F, T, C)]
    gram : tf.Tensor [shape=(batch, bands, C, C)]
        Gradient of a loss by the Gram matrices.
    mean : tf.Tensor [shape=(batch, bands, C)]
        Gradient of that loss by the means.
    bands : int > 0
        As for `statistics`.

    Returns
    -------
    tf.Tensor [shape and type of `activations`]
    """
    parts = len(part_edges(activations.shape[1], bands)) - 1
    gram = _over_parts(gram + tf.linalg.matrix_transpose(gram), parts)
    mean = _over_parts(mean, parts)
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
