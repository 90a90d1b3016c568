"""The independent network of the evaluation: musicnn's music tagger, as a feature extractor.

The network judges results and never takes part in a loss, so that what was optimised does not
mark its own work. The architecture is that of J. Pons and X. Serra, "musicnn: pre-trained
convolutional neural networks for music audio tagging", ISMIR late-breaking demo 2019,
arXiv:1909.06654: filters that span much of the frequency axis (timbre) or of the time axis
(rhythm), three dense convolutions with residual connections, and pooling over time. TensorFlow
and librosa are imported only when a function needs them.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.errors import WeightsError

Array = npt.NDArray[Any]

SAMPLE_RATE = 16_000
"""Sampling rate that the network was trained at, in Hz."""

N_FFT = 512
HOP_LENGTH = 256
N_MELS = 96
PATCH_FRAMES = 187  # three seconds, the length that the network was trained with
PATCH_HOP = 62  # one second: three looks at each second of audio steady the mean


@lru_cache(maxsize=1)
def load_weights() -> dict[str, Array]:
    """Read the tagger's weights from the package.

    Returns
    -------
    weights : dict of str to np.ndarray
        ``conv{i}/kernel`` [shape=(time, frequency, in, out)], ``conv{i}/bias``,
        ``dense{i}/kernel`` [shape=(in, out)], ``dense{i}/bias`` and the affine maps
        ``norm{i}/scale`` and ``norm{i}/shift`` of the batch normalisations.

    Raises
    ------
    WeightsError
        If the file is missing or damaged.
    """
    path = resources.files("audiostyle") / "weights" / "musicnn-tagger.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} cannot be read ({error}): reinstall audiostyle") from None


def log_mel(y: Array) -> Array:
    """Compute the network's input, ``log10(1 + 10^4 P)`` of a mel power spectrogram.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        Mono audio at `SAMPLE_RATE`.

    Returns
    -------
    x : np.ndarray [shape=(t, N_MELS)]
        Log-compressed mel power, time first, non-negative.
    """
    import librosa

    power = librosa.feature.melspectrogram(
        y=y, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
    )
    return np.asarray(np.log10(1.0 + 1e4 * power.T), np.float32)


def cut_patches(x: Array) -> Array:
    """Cut overlapping patches of the length that the network was trained with.

    Parameters
    ----------
    x : np.ndarray [shape=(t, N_MELS)]
        Log-mel frames. Less than a patch is repeated until it fills one.

    Returns
    -------
    patches : np.ndarray [shape=(p, PATCH_FRAMES, N_MELS)]
        Patches one second apart; the last one ends with the last frame.
    """
    if len(x) < PATCH_FRAMES:
        x = np.resize(x, (PATCH_FRAMES, x.shape[1]))
    last = len(x) - PATCH_FRAMES
    starts = [*range(0, last, PATCH_HOP), last]
    return np.stack([x[start : start + PATCH_FRAMES] for start in starts])


def forward(patches: Array) -> dict[str, Array]:
    """Run the network.

    Parameters
    ----------
    patches : np.ndarray [shape=(p, t, N_MELS)]
        Log-mel patches, as from `cut_patches`.

    Returns
    -------
    activations : dict of str to np.ndarray
        ``"front"`` [shape=(p, t, 561)], the timbral and temporal filters; ``"pooled"``
        [shape=(p, 1506)], the standardised maximum and mean over time of all layers;
        ``"penultimate"`` [shape=(p, 200)]; ``"tags"`` [shape=(p, 50)], probabilities.
    """
    import tensorflow as tf

    weights = load_weights()
    front = _front_end(tf, tf.constant(patches, tf.float32)[..., None], weights)
    layers = _middle(tf, front, weights)
    # The maximum and the mean of a channel are neighbours: the order of the dense kernel.
    pooled = tf.stack([tf.reduce_max(layers, 1), tf.reduce_mean(layers, 1)], axis=2)
    pooled = _affine(tf.reshape(pooled, (len(patches), -1)), weights, 9)
    hidden = tf.nn.relu(pooled @ weights["dense0/kernel"] + weights["dense0/bias"])
    penultimate = _affine(hidden, weights, 10)
    tags = tf.sigmoid(penultimate @ weights["dense1/kernel"] + weights["dense1/bias"])
    return {
        "front": np.asarray(front),
        "pooled": np.asarray(pooled),
        "penultimate": np.asarray(penultimate),
        "tags": np.asarray(tags),
    }


def _affine(x: Any, weights: dict[str, Array], index: int) -> Any:
    """Apply batch normalisation number `index`, folded into scale and shift."""
    return x * weights[f"norm{index}/scale"] + weights[f"norm{index}/shift"]


def _convolve(tf: Any, x: Any, weights: dict[str, Array], index: int, padding: Any) -> Any:
    """Convolve, rectify and normalise: layer `index` and the batch normalisation after it."""
    x = tf.nn.conv2d(x, weights[f"conv{index}/kernel"], strides=1, padding=padding)
    return _affine(tf.nn.relu(x + weights[f"conv{index}/bias"]), weights, index + 1)


def _same_time(kernel: Array) -> list[list[int]]:
    """Pad so that an odd kernel keeps the time axis; pad nothing along frequency."""
    half = kernel.shape[0] // 2
    return [[0, 0], [half, half], [0, 0], [0, 0]]


def _front_end(tf: Any, x: Any, weights: dict[str, Array]) -> Any:
    """Timbral (0, 1) and temporal (2, 3, 4) filters, each pooled over all frequencies."""
    x = _affine(x, weights, 0)
    bank = []
    for index in range(5):
        timbral = index < 2
        padding = _same_time(weights[f"conv{index}/kernel"]) if timbral else "SAME"
        bank.append(tf.reduce_max(_convolve(tf, x, weights, index, padding), axis=2))
    return tf.concat(bank, axis=2)


def _middle(tf: Any, front: Any, weights: dict[str, Array]) -> Any:
    """Three convolutions over all channels, residual from the second, densely concatenated."""
    layers = [front]
    for index in (5, 6, 7):
        padding = _same_time(weights[f"conv{index}/kernel"])
        # Channels lie along the "frequency" axis, which a kernel covers whole.
        layer = _convolve(tf, layers[-1][..., None], weights, index, padding)[:, :, 0, :]
        layers.append(layer if index == 5 else layer + layers[-1])
    return tf.concat(layers, axis=2)


def embed(y: Array) -> Array:
    """Describe a clip by one vector of the network's pooled features.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        Mono audio at `SAMPLE_RATE`, level-matched: the network hears level as timbre.

    Returns
    -------
    embedding : np.ndarray [shape=(1706,)]
        Mean over patches of the standardised pooled features and of the penultimate layer, each
        of unit root mean square, so that neither outweighs the other in a cosine.
    """
    activations = forward(cut_patches(log_mel(y)))
    parts = [activations[name].mean(axis=0) for name in ("pooled", "penultimate")]
    return np.concatenate([part / np.linalg.norm(part) for part in parts])
