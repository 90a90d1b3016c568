"""Losses on the dB mel spectrogram itself, beside those on the activations of a network.

A network that learned from photographs knows nothing of notes, onsets or modulations. These terms
do: what makes a note, an attack and a course of level is held to the content, and the statistics of
how the bands move, together and in time, are drawn to the style.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any  # TensorFlow ships no types

ENVELOPE_QUANTILES = 64  # of the temporal envelope
TEXTURE_BANDS = 40
TEXTURE_LAGS = (0, 1, 2, 4, 8, 16)  # frames, octaves of modulation: 23 to 372 ms by default
PITCH_SMOOTHING = 8 / 256  # of the mel bands: deviation of the Gaussian that leaves the envelope
HEARD_DB = 80.0  # below the loudest that can be: softer partials count for nothing
LOUD_COUNTS = 2.0  # power of the level that a partial counts with
FLAT_DB = 0.1  # a curve that varies by no more than this says nothing
_DB = 10.0 / math.log(10.0)


def texture_features(S: Tensor, top_db: float) -> Tensor:
    """Levels of broad bands, now and up to `TEXTURE_LAGS` later, as a layer of activations.

    The covariance of these features holds what tells sound textures apart (McDermott & Simoncelli
    2011): how much each band moves, which bands move together, and, by the lags, how fast. Unlike
    there, the bands are averages of mel bands in dB, and modulation is described by correlations
    over time, of which modulation power is the Fourier transform; so that all of it can be matched
    like a layer of a network.

    Parameters
    ----------
    S : tf.Tensor [shape=(batch, n_mels, t), dB]
    top_db : float > 0

    Returns
    -------
    tf.Tensor [shape=(batch, 1, t, bands * lags)]
        From -0.5 (``-top_db``) to 0.5 (0 dB). Frames after the last repeat it.
    """
    n_mels = S.shape[-2]
    centres = np.linspace(0.0, n_mels - 1.0, min(TEXTURE_BANDS, n_mels))
    spacing = centres[1] - centres[0]
    overlap = np.maximum(0.0, 1.0 - np.abs(np.arange(n_mels) - centres[:, None]) / spacing)
    weights = tf.constant(overlap / overlap.sum(axis=1, keepdims=True), tf.float32)
    # Around the middle of the range: covariances are differences of squares, of few digits else.
    levels = 0.5 + tf.einsum("bmt,km->btk", S, weights) / top_db
    last = tf.shape(S)[2] - 1
    later = [tf.minimum(tf.range(last + 1) + lag, last) for lag in TEXTURE_LAGS]
    return tf.concat([tf.gather(levels, frames, axis=1) for frames in later], axis=2)[:, None]


def fine_structure(S: Tensor) -> Tensor:
    """Leave what rises above the smooth envelope of each frame: the partials of its notes.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]

    Returns
    -------
    tf.Tensor [shape=(..., n_mels, t), dB, non-negative]
    """
    n_mels = S.shape[-2]
    band = np.arange(n_mels)
    sigma = PITCH_SMOOTHING * n_mels
    kernel = np.exp(-0.5 * ((band[:, None] - band) / sigma) ** 2)
    smooth = tf.constant(kernel / kernel.sum(axis=1, keepdims=True), tf.float32)
    return tf.nn.relu(S - tf.matmul(smooth, S))


def partials(S: Tensor) -> Tensor:
    """Find the partials of the notes, and how much each of them counts.

    The louder a partial, the more its note is heard by it: the weight grows with the square of the
    level above ``-HEARD_DB``. What is soft is left to the style, and so are the gaps between the
    partials, which the weight of what the content has there makes cheap to fill.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]

    Returns
    -------
    tf.Tensor [shape=(..., 2, n_mels, t)]
        `fine_structure` in dB, and weights from 0 to 1.
    """
    weights = tf.pow(tf.nn.relu(1.0 + S / HEARD_DB), LOUD_COUNTS)
    return tf.stack([fine_structure(S), weights], axis=-3)


def pitch_loss(S: Tensor, target: Tensor) -> Tensor:
    """How far the partials have left those of the content.

    The envelope of a frame says what plays, its fine structure which notes (the source and the
    filter of speech). Comparing the latter alone holds the notes without holding the timbre.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]
    target : tf.Tensor [shape=(..., 2, n_mels, t)]
        `partials` of the content.

    Returns
    -------
    tf.Tensor [shape=(...)]
        Half the weighted squared error, relative to the weighted energy of the target.
    """
    theirs, weights = target[..., 0, :, :], target[..., 1, :, :]
    error = tf.reduce_sum(weights * tf.square(fine_structure(S) - theirs), axis=(-2, -1))
    energy = tf.reduce_sum(weights * tf.square(theirs), axis=(-2, -1))
    return 0.5 * tf.math.divide_no_nan(error, energy)


def onset_strength(S: Tensor) -> Tensor:
    """Spectral flux: the mean rise of the bands from each frame to the next.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]

    Returns
    -------
    tf.Tensor [shape=(..., t - 1), dB, non-negative]
    """
    return tf.reduce_mean(tf.nn.relu(S[..., 1:] - S[..., :-1]), axis=-2)


def onset_loss(S: Tensor, target: Tensor) -> Tensor:
    """One minus the correlation of the onset strength with that of the content.

    A correlation, so that the attacks of the style may be harder or softer than the content's;
    only when they come is held.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]
    target : tf.Tensor [shape=(..., t - 1), dB]
        `onset_strength` of the content.

    Returns
    -------
    tf.Tensor [shape=(...)]
        From 0 to 2.
    """
    return _decorrelation(onset_strength(S), target)


def _decorrelation(ours: Tensor, theirs: Tensor) -> Tensor:
    """One minus Pearson's correlation of two curves in dB; two flat ones correlate."""
    ours, theirs = (x - tf.reduce_mean(x, axis=-1, keepdims=True) for x in (ours, theirs))
    together = tf.reduce_mean(ours * theirs, axis=-1) + FLAT_DB**2
    energies = [tf.reduce_mean(tf.square(x), axis=-1) + FLAT_DB**2 for x in (ours, theirs)]
    return 1.0 - together / tf.sqrt(energies[0] * energies[1])


def frame_levels(S: Tensor) -> Tensor:
    """Mean power of each frame.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]

    Returns
    -------
    tf.Tensor [shape=(..., t), dB]
    """
    bands = tf.cast(tf.shape(S)[-2], tf.float32)
    return (tf.reduce_logsumexp(S / _DB, axis=-2) - tf.math.log(bands)) * _DB


def rhythm_loss(S: Tensor, target: Tensor) -> Tensor:
    """One minus the correlation of the course of the level with that of the content.

    Statistics of a style say how its frames differ, not when: unchecked, the descent places the
    differences anywhere. After the temporal envelope loss of Verma & Smith 2018, which takes the
    envelope of the style; this one keeps the shape of the content's, while the range of the
    dynamics is free to be the style's.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]
    target : tf.Tensor [shape=(..., t), dB]
        `frame_levels` of the content.

    Returns
    -------
    tf.Tensor [shape=(...)]
        From 0 to 2.
    """
    return _decorrelation(frame_levels(S), target)


def spectral_envelope(S: Tensor) -> Tensor:
    """Mean power of each band over time.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]

    Returns
    -------
    tf.Tensor [shape=(..., n_mels), dB]
    """
    frames = tf.cast(tf.shape(S)[-1], tf.float32)
    return (tf.reduce_logsumexp(S / _DB, axis=-1) - tf.math.log(frames)) * _DB


def temporal_envelope(S: Tensor) -> Tensor:
    """Quantiles of the mean power of the frames, from the softest frame to the loudest.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]

    Returns
    -------
    tf.Tensor [shape=(..., ENVELOPE_QUANTILES), dB]
    """
    energy = tf.sort(frame_levels(S))
    last = tf.cast(tf.shape(energy)[-1] - 1, tf.float32)
    position = tf.linspace(0.0, last, ENVELOPE_QUANTILES)
    low = tf.floor(position)
    high = tf.minimum(low + 1, last)
    share = position - low
    below = tf.gather(energy, tf.cast(low, tf.int32), axis=-1)
    above = tf.gather(energy, tf.cast(high, tf.int32), axis=-1)
    return below + share * (above - below)


def envelope_loss(S: Tensor, spectral: Tensor, temporal: Tensor, top_db: float) -> Tensor:
    """Energy-envelope losses of Verma & Smith 2018, temporal plus spectral.

    Unlike there, the temporal envelopes are compared as distributions (quantile by quantile, a
    Wasserstein distance), not frame by frame: clips may differ in length, and the dynamics of the
    style are taken over without its rhythm.

    Parameters
    ----------
    S : tf.Tensor [shape=(..., n_mels, t), dB]
    spectral, temporal : tf.Tensor
        `spectral_envelope` and `temporal_envelope` of the style.
    top_db : float > 0

    Returns
    -------
    tf.Tensor [shape=(...)]
        Mean squared differences, in units of ``top_db`` squared.
    """
    in_frequency = tf.reduce_mean(tf.square(spectral_envelope(S) - spectral), axis=-1)
    in_time = tf.reduce_mean(tf.square(temporal_envelope(S) - temporal), axis=-1)
    return (in_frequency + in_time) / top_db**2
