"""Audio mosaic in the mel domain: the content rebuilt from frames of the style.

After Driedger, Prätzlich & Müller, "Let it Bee - towards NMF-inspired audio mosaicing" (ISMIR
2015): the content's spectrogram is approximated by non-negative activations of the style's frames.
Departures: the dictionary is transposed, so that every note of the content finds a frame at its
pitch; activations need not be sparse or continuous, since the mosaic is only a part of the start;
and it is computed in mel bands, which is faster.
"""

from __future__ import annotations

import numpy as np

from audiostyle.arrays import Array

SEMITONES = range(-5, 7)  # an octave of transpositions: any note finds its pitch class
MAX_FRAMES = 300  # of the style in the dictionary, before transposition
UPDATES = 8
QUIET_DB = -40.0  # frames this far below the loudest are left out of the dictionary


class FrameReservoir:
    """A uniform random sample of the frames that are not silent, over any number of clips.

    Every frame draws a key, and the `MAX_FRAMES` frames with the highest keys stay.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._keys: Array = np.zeros(0)
        self._frames: Array | None = None

    def add(self, P: Array) -> None:
        """Offer the frames of a power spectrogram [shape=(n_fft // 2 + 1, t), non-negative]."""
        energy = P.sum(axis=0)
        P = P[:, energy > energy.max() * 10.0 ** (QUIET_DB / 10)]
        keys = np.concatenate([self._keys, self._rng.random(P.shape[1])])
        frames = P if self._frames is None else np.concatenate([self._frames, P], axis=1)
        kept = np.argsort(-keys, kind="stable")[:MAX_FRAMES]
        self._keys, self._frames = keys[kept], frames[:, kept]

    def take(self, share: float) -> Array:
        """Return a share of a full sample, the highest keys first.

        Parameters
        ----------
        share : float in [0, 1]

        Returns
        -------
        np.ndarray [shape=(n_fft // 2 + 1, at most share * MAX_FRAMES)]
        """
        if self._frames is None:
            raise ValueError("no frames were added")
        return self._frames[:, : max(1, round(share * MAX_FRAMES))]


def transpose_frames(P: Array, semitones: int) -> Array:
    """Transpose frames of a power spectrogram by resampling along frequency.

    Parameters
    ----------
    P : np.ndarray [shape=(n_fft // 2 + 1, t), non-negative]
    semitones : int

    Returns
    -------
    np.ndarray [same shape]
    """
    position = np.arange(len(P)) / 2.0 ** (semitones / 12)
    low = np.minimum(position.astype(int), len(P) - 1)
    high = np.minimum(low + 1, len(P) - 1)
    share = (position - low)[:, None]
    shifted = (1 - share) * P[low] + share * P[high]
    shifted[position > len(P) - 1] = 0.0
    return np.asarray(shifted, np.float32)


def make_dictionary(frames: Array, mel_filters: Array) -> Array:
    """Mel magnitudes of all transpositions of frames of a style.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_fft // 2 + 1, k), non-negative]
        Power of frames, from `FrameReservoir`.
    mel_filters : np.ndarray [shape=(n_mels, n_fft // 2 + 1), non-negative]

    Returns
    -------
    np.ndarray [shape=(n_mels, 12 * k), non-negative]
        Columns sum to 1.
    """
    # Magnitudes: in power, the loudest partial of a frame would decide alone.
    atoms = [np.sqrt(mel_filters @ transpose_frames(frames, shift)) for shift in SEMITONES]
    W = np.concatenate(atoms, axis=1)
    return np.asarray(W / (W.sum(axis=0) + 1e-9), np.float32)


def mosaic(mel: Array, dictionary: Array) -> Array:
    """Approximate a mel spectrogram by frames of a style; TensorFlow multiplies the matrices.

    Parameters
    ----------
    mel : np.ndarray [shape=(n_mels, t), non-negative]
        Mel power of the content.
    dictionary : np.ndarray [shape=(n_mels, k), non-negative]
        From `make_dictionary`.

    Returns
    -------
    np.ndarray [shape=(n_mels, t), non-negative]
        Mel power of the mosaic.
    """
    import tensorflow as tf

    V = tf.sqrt(tf.constant(mel, tf.float32))
    W = tf.constant(dictionary)
    H = tf.matmul(W, V, transpose_a=True)
    H *= tf.reduce_sum(V, axis=0) / (tf.reduce_sum(H, axis=0) + 1e-9)
    floor = 1e-6 * tf.reduce_max(V) + 1e-12
    # Lee & Seung 2001, Kullback-Leibler divergence, columns of W sum to 1. Departure: an update is
    # taken to the power of 1.5, so that 8 of them do the work of 12.
    for _ in range(UPDATES):
        update = tf.matmul(W, V / (tf.matmul(W, H) + floor), transpose_a=True)
        H *= update * tf.sqrt(update)
    return np.asarray(tf.square(tf.matmul(W, H)).numpy())
