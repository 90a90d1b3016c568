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
  the squared content features (over the same positions): both losses are free of units, and a weight
  means the same for every layer, network, pair and length. Gatys' constants are absorbed.
- ``G`` can be taken per frequency band: a spectrogram, unlike a photograph, is not invariant to
  translation along its frequency axis. One band is the classic definition.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

Tensor = Any  # TensorFlow ships no types

ENVELOPE_QUANTILES = 64  # of the temporal envelope
_DB = 10.0 / math.log(10.0)


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
    for low, high in zip(edges[:-1], edges[1:], strict=True):
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


def total_loss(
    content: Tensor, style: Tensor, envelope: Tensor, alpha: float, beta: float, gamma: float
) -> Tensor:
    """Return ``alpha * content + beta * style + gamma * envelope``."""
    return alpha * content + beta * style + gamma * envelope


def spectral_envelope(S: Tensor) -> Tensor:
    """Mean power of each band over time.

    Parameters
    ----------
    S : tf.Tensor [shape=(n_mels, t), dB]

    Returns
    -------
    tf.Tensor [shape=(n_mels,), dB]
    """
    frames = tf.cast(tf.shape(S)[1], tf.float32)
    return (tf.reduce_logsumexp(S / _DB, axis=1) - tf.math.log(frames)) * _DB


def temporal_envelope(S: Tensor) -> Tensor:
    """Quantiles of the mean power of the frames, from the softest frame to the loudest.

    Parameters
    ----------
    S : tf.Tensor [shape=(n_mels, t), dB]

    Returns
    -------
    tf.Tensor [shape=(ENVELOPE_QUANTILES,), dB]
    """
    bands = tf.cast(tf.shape(S)[0], tf.float32)
    energy = tf.sort((tf.reduce_logsumexp(S / _DB, axis=0) - tf.math.log(bands)) * _DB)
    last = tf.cast(tf.shape(energy)[0] - 1, tf.float32)
    position = tf.linspace(0.0, last, ENVELOPE_QUANTILES)
    low = tf.floor(position)
    high = tf.minimum(low + 1, last)
    share = position - low
    below = tf.gather(energy, tf.cast(low, tf.int32))
    above = tf.gather(energy, tf.cast(high, tf.int32))
    return below + share * (above - below)


def envelope_loss(S: Tensor, spectral: Tensor, temporal: Tensor, top_db: float) -> Tensor:
    """Energy-envelope losses of Verma & Smith 2018, temporal plus spectral.

    Unlike there, the temporal envelopes are compared as distributions (quantile by quantile, a
    Wasserstein distance), not frame by frame: clips may differ in length, and the dynamics of the
    style are taken over without its rhythm.

    Parameters
    ----------
    S : tf.Tensor [shape=(n_mels, t), dB]
    spectral, temporal : tf.Tensor
        `spectral_envelope` and `temporal_envelope` of the style.
    top_db : float > 0

    Returns
    -------
    tf.Tensor [scalar]
        Mean squared differences, in units of ``top_db`` squared.
    """
    in_frequency = tf.reduce_mean(tf.square(spectral_envelope(S) - spectral))
    in_time = tf.reduce_mean(tf.square(temporal_envelope(S) - temporal))
    return (in_frequency + in_time) / top_db**2
