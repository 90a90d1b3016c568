"""Tagger: musicnn's music tagging network, the independent feature extractor of the evaluation.

It takes part in no loss, so that no result is evaluated by what it was optimised for. Architecture
of J. Pons and X. Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging", ISMIR late-breaking demo 2019, arXiv:1909.06654: filters along the frequency axis (timbre)
and the time axis (rhythm), three dense convolutions with residual connections, pooling over time.
TensorFlow and librosa are imported lazily.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.errors import WeightsError
from audiostyle.nn.device import load_tensorflow
from audiostyle.utils.lazy_imports import load_librosa

SAMPLE_RATE = 16_000  # Hz, as in training
N_FFT = 512
HOP_LENGTH = 256
N_MELS = 96
PATCH_FRAMES = 187  # three seconds, as in training
PATCH_HOP = 62  # one second: overlapping patches steady the mean


@lru_cache(maxsize=1)
def load_weights() -> dict[str, Array]:
    """Read the tagger's weights from the package, or raise a `WeightsError`.

    ``conv{i}/kernel`` [shape=(time, frequency, in, out)], ``conv{i}/bias``, ``dense{i}/kernel``
    [shape=(in, out)], ``dense{i}/bias``, and the batch normalisations as ``norm{i}/scale`` and
    ``norm{i}/shift``.
    """
    path = resources.files("audiostyle") / "weights" / "musicnn-tagger.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} cannot be read ({error}): reinstall audiostyle") from None


def log_mel(y: Array) -> Array:
    """Compute the input [shape=(t, N_MELS)] of audio: ``log10(1 + 10^4 P)`` of mel power."""
    librosa = load_librosa()
    power = librosa.feature.melspectrogram(
        y=y, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
    )
    return np.asarray(np.log10(1.0 + 1e4 * power.T), np.float32)


def cut_patches(x: Array) -> Array:
    """Cut frames [shape=(t, N_MELS)] into patches [shape=(p, PATCH_FRAMES, N_MELS)].

    Patches are one second apart; the last one ends with the last frame. A clip shorter than a patch
    is repeated.
    """
    if len(x) < PATCH_FRAMES:
        x = np.resize(x, (PATCH_FRAMES, x.shape[1]))
    last = len(x) - PATCH_FRAMES
    starts = [*range(0, last, PATCH_HOP), last]
    return np.stack([x[start : start + PATCH_FRAMES] for start in starts])


def forward(patches: Array) -> dict[str, Array]:
    """Run the network on patches [shape=(p, t, N_MELS)].

    Returns ``"front"`` [shape=(p, t, 561)], the timbral and temporal filters; ``"pooled"``
    [shape=(p, 1506)], standardised maximum and mean over time of all layers; ``"penultimate"``
    [shape=(p, 200)]; ``"tags"`` [shape=(p, 50)], probabilities.
    """
    tf = load_tensorflow()
    weights = load_weights()
    x = _affine(tf.constant(patches, tf.float32)[..., None], weights, 0)
    # Timbral (0, 1) and temporal (2, 3, 4) filters, each pooled over frequency.
    bank = [tf.reduce_max(_convolve(x, weights, i, temporal=i >= 2), axis=2) for i in range(5)]
    layers = [tf.concat(bank, axis=2)]
    for i in (5, 6, 7):
        # The kernel spans the "frequency" axis, along which the channels lie.
        layer = _convolve(layers[-1][..., None], weights, i)[:, :, 0, :]
        layers.append(layer if i == 5 else layer + layers[-1])
    features = tf.concat(layers, axis=2)
    # Maximum and mean of a channel are neighbours, as the dense kernel has them.
    pooled = tf.stack([tf.reduce_max(features, 1), tf.reduce_mean(features, 1)], axis=2)
    pooled = _affine(tf.reshape(pooled, (len(patches), -1)), weights, 9)
    hidden = tf.nn.relu(pooled @ weights["dense0/kernel"] + weights["dense0/bias"])
    penultimate = _affine(hidden, weights, 10)
    tags = tf.sigmoid(penultimate @ weights["dense1/kernel"] + weights["dense1/bias"])
    activations = {"front": layers[0], "pooled": pooled, "penultimate": penultimate, "tags": tags}
    return {name: np.asarray(values) for name, values in activations.items()}


def _affine(x: Any, weights: dict[str, Array], index: int) -> Any:
    """Apply batch normalisation number `index`, folded into scale and shift."""
    return x * weights[f"norm{index}/scale"] + weights[f"norm{index}/shift"]


def _convolve(x: Any, weights: dict[str, Array], index: int, temporal: bool = False) -> Any:
    """Convolve, rectify and normalise: layer `index` and the batch normalisation after it.

    The time axis keeps its length, the other one only in a temporal layer.
    """
    tf = load_tensorflow()
    kernel = weights[f"conv{index}/kernel"]
    half = len(kernel) // 2
    padding = "SAME" if temporal else [[0, 0], [half, half], [0, 0], [0, 0]]
    x = tf.nn.conv2d(x, kernel, strides=1, padding=padding)
    return _affine(tf.nn.relu(x + weights[f"conv{index}/bias"]), weights, index + 1)


def embed(y: Array) -> Array:
    """Describe a clip by one vector [shape=(1706,)] of pooled and penultimate features.

    Each part is averaged over patches and has unit norm, so that neither dominates a cosine. The
    audio [shape=(n,)] must be level-matched: to the network, level is timbre.
    """
    activations = forward(cut_patches(log_mel(y)))
    parts = [activations[name].mean(axis=0) for name in ("pooled", "penultimate")]
    return np.concatenate([part / np.linalg.norm(part) for part in parts])
