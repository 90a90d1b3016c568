"""A loss of one's own, in one file: brightness comes and goes as it does in the content.

    audiostyle transfer content.wav style.wav -o out.wav --plugin examples/my_loss.py \
      --losses brightness=2

What opens and closes there, a filter, a vowel, a bell, does so in the timbre of the style, too.
"""

import math
from typing import Any

from audiostyle import TransferConfig, register_loss

FLAT = 0.005  # of all bands: a course that varies by no more says nothing


@register_loss("brightness")
class Brightness:
    """One minus the correlation of the spectral centroid's course with that of the content.

    A correlation, so that the style may be brighter or duller as a whole.
    """

    def __init__(self, config: TransferConfig) -> None:
        import tensorflow as tf  # here, so that --help needs no TensorFlow

        self._tf = tf

    def target(self, S: Any) -> Any:
        """Return what is kept of the content, for S (batch, n_mels, t) in dB: batch first."""
        return self._course(S)

    def __call__(self, S: Any, target: Any) -> Any:
        """Return the loss of each item (batch,): 0 where S agrees with the target, 2 at most."""
        tf = self._tf
        ours = self._course(S)
        both = tf.reduce_mean(ours * target, axis=1) + FLAT**2
        energies = [tf.reduce_mean(tf.square(x), axis=1) + FLAT**2 for x in (ours, target)]
        return 1.0 - both / tf.sqrt(energies[0] * energies[1])

    def _course(self, S: Any) -> Any:
        """Centroid of every frame, by magnitude, as a share of the bands; without its mean."""
        tf = self._tf
        shares = tf.nn.softmax(S * (math.log(10) / 20), axis=1)
        bands = tf.linspace(0.0, 1.0, S.shape[1])[:, None]
        centroid = tf.reduce_sum(shares * bands, axis=1)
        return centroid - tf.reduce_mean(centroid, axis=1, keepdims=True)
