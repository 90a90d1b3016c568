"""Losses on the dB mel spectrogram itself, without a network.

A network trained on photographs knows nothing of notes, onsets or modulations. Pitch, onset and
rhythm losses keep those of the content; texture and envelope losses match the style's statistics of
how the bands vary, together and over time.

``S`` is a spectrogram [shape=(..., n_mels, t), dB]; a loss has the shape (...).
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Tensor

ENVELOPE_QUANTILES = 64  # of the temporal envelope
TEXTURE_BANDS = 40
TEXTURE_LAGS = (0, 1, 2, 4, 8, 16)  # frames, octaves of modulation: 23 to 372 ms by default
PITCH_SMOOTHING = 8 / 256  # of the mel bands: deviation of the Gaussian that gives the envelope
PARTIAL_RANGE_DB = 80.0  # below the largest possible level: softer partials have weight 0
PARTIAL_EXPONENT = 2.0  # of the level, in the weight of a partial
FLAT_DB = 0.1  # a curve that varies by less is treated as constant
_DB = 10.0 / math.log(10.0)


def texture_features(S: Tensor, top_db: float) -> Tensor:
    """Levels of broad bands, now and up to `TEXTURE_LAGS` later, in the form of a layer.

    The covariance of these features holds what distinguishes sound textures (McDermott & Simoncelli
    2011): how much each band varies, which bands vary together, and, through the lags, how fast.
    Here, the bands are averages of mel bands in dB, and correlations over time stand in for
    modulation power, their Fourier transform, so that all of it is matched like a network layer.

    The features [shape=(batch, 1, t, bands * lags)] of `S` [shape=(batch, n_mels, t)] go from -0.5
    (``-top_db``) to 0.5 (0 dB). The last frame is repeated after the end.
    """
    n_mels = S.shape[-2]
    centres = np.linspace(0.0, n_mels - 1.0, min(TEXTURE_BANDS, n_mels))
    spacing = centres[1] - centres[0]
    overlap = np.maximum(0.0, 1.0 - np.abs(np.arange(n_mels) - centres[:, None]) / spacing)
    weights = tf.constant(overlap / overlap.sum(axis=1, keepdims=True), tf.float32)
    # Centred on the middle of the range, as covariances are differences of squares: precision.
    levels = 0.5 + tf.einsum("bmt,km->btk", S, weights) / top_db
    last = tf.shape(S)[2] - 1
    later = [tf.minimum(tf.range(last + 1) + lag, last) for lag in TEXTURE_LAGS]
    return tf.concat([tf.gather(levels, frames, axis=1) for frames in later], axis=2)[:, None]


def fine_structure(S: Tensor) -> Tensor:
    """Levels above the smooth envelope of each frame: the partials of its notes.

    The result has the shape of `S`, in dB, and is non-negative.
    """
    n_mels = S.shape[-2]
    band = np.arange(n_mels)
    sigma = PITCH_SMOOTHING * n_mels
    kernel = np.exp(-0.5 * ((band[:, None] - band) / sigma) ** 2)
    smooth = tf.constant(kernel / kernel.sum(axis=1, keepdims=True), tf.float32)
    return tf.nn.relu(S - tf.matmul(smooth, S))


def partials(S: Tensor) -> Tensor:
    """Return the `fine_structure` in dB and its weights from 0 to 1 [shape=(..., 2, n_mels, t)].

    The louder a partial, the more it contributes to hearing its note: the weight grows with the
    square of the level above ``-PARTIAL_RANGE_DB``.
    """
    weights = tf.pow(tf.nn.relu(1.0 + S / PARTIAL_RANGE_DB), PARTIAL_EXPONENT)
    return tf.stack([fine_structure(S), weights], axis=-3)


def pitch_loss(S: Tensor, target: Tensor) -> Tensor:
    """Weighted squared error of the partials, relative to the weighted energy of the content's.

    As with source and filter in speech, the envelope of a frame depends on what plays, its fine
    structure on the notes. Comparing only the latter keeps the notes without the timbre. `target`
    holds the `partials` of the content. A partial that is missing counts by its weight, one that
    the content does not have counts fully: where the content is soft, it would sound as a note.
    """
    theirs, weights = target[..., 0, :, :], target[..., 1, :, :]
    excess = fine_structure(S) - theirs
    per_error = tf.where(excess > 0, tf.ones_like(weights), weights)
    error = tf.reduce_sum(per_error * tf.square(excess), axis=(-2, -1))
    energy = tf.reduce_sum(weights * tf.square(theirs), axis=(-2, -1))
    return 0.5 * tf.math.divide_no_nan(error, energy)


def onset_strength(S: Tensor) -> Tensor:
    """Spectral flux: mean rise of the bands between frames [shape=(..., t - 1), dB]."""
    return tf.reduce_mean(tf.nn.relu(S[..., 1:] - S[..., :-1]), axis=-2)


def onset_loss(S: Tensor, target: Tensor) -> Tensor:
    """One minus the correlation with the `onset_strength` of the content, from 0 to 2.

    The correlation ignores scale: attacks may be as hard or soft as the style's, at the times of
    the content's.
    """
    return _decorrelation(onset_strength(S), target)


def _decorrelation(ours: Tensor, theirs: Tensor) -> Tensor:
    """One minus Pearson's correlation of two curves in dB, which is 0 for two constant curves."""
    ours, theirs = (x - tf.reduce_mean(x, axis=-1, keepdims=True) for x in (ours, theirs))
    together = tf.reduce_mean(ours * theirs, axis=-1) + FLAT_DB**2
    energies = [tf.reduce_mean(tf.square(x), axis=-1) + FLAT_DB**2 for x in (ours, theirs)]
    return 1.0 - together / tf.sqrt(energies[0] * energies[1])


def frame_levels(S: Tensor) -> Tensor:
    """Mean power of each frame [shape=(..., t), dB]."""
    bands = tf.cast(tf.shape(S)[-2], tf.float32)
    return (tf.reduce_logsumexp(S / _DB, axis=-2) - tf.math.log(bands)) * _DB


def rhythm_loss(S: Tensor, target: Tensor) -> Tensor:
    """One minus the correlation with the `frame_levels` of the content, from 0 to 2.

    Style statistics determine how frames differ, not when; without this term the differences end
    up anywhere. After the temporal envelope loss of Verma & Smith 2018, which follows the style's
    envelope; this one keeps the shape of the content's envelope and leaves its range free.
    """
    return _decorrelation(frame_levels(S), target)


def spectral_envelope(S: Tensor) -> Tensor:
    """Mean power of each band over time [shape=(..., n_mels), dB]."""
    frames = tf.cast(tf.shape(S)[-1], tf.float32)
    return (tf.reduce_logsumexp(S / _DB, axis=-1) - tf.math.log(frames)) * _DB


def temporal_envelope(S: Tensor) -> Tensor:
    """Quantiles of the frame levels [shape=(..., ENVELOPE_QUANTILES), dB], softest first."""
    energy = tf.sort(frame_levels(S))
    last = tf.cast(tf.shape(energy)[-1] - 1, tf.float32)
    position = tf.linspace(0.0, last, ENVELOPE_QUANTILES)
    low = tf.floor(position)
    below, above = (
        tf.gather(energy, tf.cast(at, tf.int32), axis=-1) for at in (low, tf.minimum(low + 1, last))
    )
    return below + (position - low) * (above - below)


def envelope_loss(S: Tensor, spectral: Tensor, temporal: Tensor, top_db: float) -> Tensor:
    """Spectral plus temporal envelope loss (Verma & Smith 2018), in units of ``top_db ** 2``.

    `spectral` and `temporal` are the `spectral_envelope` and `temporal_envelope` of the style.
    Temporal envelopes are compared as distributions (quantile by quantile, a Wasserstein distance)
    and not frame by frame: clips may differ in length, and the result takes the dynamics of the
    style without its rhythm.
    """
    in_frequency = tf.reduce_mean(tf.square(spectral_envelope(S) - spectral), axis=-1)
    in_time = tf.reduce_mean(tf.square(temporal_envelope(S) - temporal), axis=-1)
    return (in_frequency + in_time) / top_db**2
