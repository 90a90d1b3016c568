"""Plugin network in one file: spectro-temporal filters (after Chi, Ru & Shamma 2005).

    audiostyle transfer content.wav style.wav -o out.wav --plugin examples/my_network.py \
      --network ripples

Each filter responds to ripples of one speed (up or down in frequency) and one spacing.
"""

import math
from typing import Any

import numpy as np

from audiostyle import TransferConfig, register_network

RATES = (-0.25, -0.125, -0.0625, 0.0, 0.0625, 0.125, 0.25)  # periods per frame
SCALES = (0.0625, 0.125, 0.25)  # periods per mel band
SIZE = 17  # frames and bands


@register_network(
    "ripples", layers=("slow", "fast"), content=("slow",), style=("slow", "fast"), bands=8
)
class Ripples:
    """Gabor filters on the spectrogram, at full and at half resolution."""

    def __init__(self, layers: list[str], config: TransferConfig) -> None:
        import tensorflow as tf  # here, so that --help does not load TensorFlow

        self._tf, self._top_db, self._wanted = tf, config.top_db, set(layers)
        self._kernels = tf.constant(gabors())
        self.min_frames = 2  # minimum length of the spectrogram

    def __call__(self, S: Any) -> dict[str, Any]:
        """Return the activations (batch, F, T, C) per layer for S (batch, n_mels, t, 1), in dB."""
        tf = self._tf
        x = S / self._top_db  # from -1 (silence) to 0 (0 dB)
        found = {}
        for name in ("fast", "slow"):
            if name in self._wanted:
                found[name] = tf.nn.relu(tf.nn.conv2d(x, self._kernels, 1, "SAME"))
            x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        return found


def gabors() -> np.ndarray:
    """Return windowed ripples of mean zero [shape=(SIZE, SIZE, 1, n_filters), float32]."""
    at = np.arange(SIZE) - SIZE // 2
    window = np.outer(np.hanning(SIZE + 2)[1:-1], np.hanning(SIZE + 2)[1:-1])
    filters = []
    for rate in RATES:
        for scale in SCALES:
            ripple = window * np.cos(2 * math.pi * (scale * at[:, None] + rate * at))
            ripple -= window * ripple.sum() / window.sum()
            filters.append(ripple / np.sqrt(np.square(ripple).sum()))
    return np.stack(filters, axis=-1)[:, :, None].astype(np.float32)
