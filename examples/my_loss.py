"""Plugin loss in one file: brightness varies over time as in the content.

    audiostyle transfer content.wav style.wav -o out.wav --plugin examples/my_loss.py \
      --losses brightness=2

What opens and closes in the content (a filter, a vowel, a bell) then does so in the style's timbre.
"""

import math
from typing import Any

from audiostyle import TransferConfig, register_loss

FLAT = 0.005  # of all bands: a curve that varies less counts as constant


@register_loss("brightness")
class Brightness:
    """One minus the correlation between the spectral centroids of result and content.

    A correlation allows the style to be brighter or darker as a whole.
    """

    def __init__(self, config: TransferConfig) -> None:
        import tensorflow as tf  # here, so that --help does not load TensorFlow

        self._tf = tf

    def target(self, S: Any) -> Any:
        """Return the target (batch, t) of the content S (batch, n_mels, t), in dB."""
        return self._centroid(S)

    def __call__(self, S: Any, target: Any) -> Any:
        """Return the loss of each item (batch,): 0 if S agrees with the target, at most 2."""
        tf = self._tf
        ours = self._centroid(S)
        both = tf.reduce_mean(ours * target, axis=1) + FLAT**2
        energies = [tf.reduce_mean(tf.square(x), axis=1) + FLAT**2 for x in (ours, target)]
        return 1.0 - both / tf.sqrt(energies[0] * energies[1])

    def _centroid(self, S: Any) -> Any:
        """Spectral centroid of each frame as a share of the bands, minus its mean over time."""
        tf = self._tf
        shares = tf.nn.softmax(S * (math.log(10) / 20), axis=1)
        bands = tf.linspace(0.0, 1.0, S.shape[1])[:, None]
        centroid = tf.reduce_sum(shares * bands, axis=1)
        return centroid - tf.reduce_mean(centroid, axis=1, keepdims=True)
