"""Feature extractors: dB mel spectrogram in, activations of the layers that a loss reads out.

Conventions
-----------
- Input ``S`` has shape (batch, n_mels, t, 1), in dB from ``-top_db`` (silence) to about 0.
- Activations have shape (batch, F, T, C): frequency rows, time frames, channels, after the ReLU.
- Only the layers asked for, and those below them, are computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle.config.network_specs import MUSIC_LAYERS, NETWORKS, find_network
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.nn.convolution import convolve_plane
from audiostyle.nn.precision import choose_precision
from audiostyle.nn.weights import load_weights

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types
Size = tuple[int, int]

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # of the Caffe models, subtracted from 0..255
RANDOM_FILTERS = 1024  # Ulyanov & Lebedev took 4096 on 1025 bins; here the input has 256 bands
MUSICNN_SR, MUSICNN_HOP, MUSICNN_MELS = 16_000, 256, 96
MUSICNN_N_FFT = 512


class FeatureExtractor(Protocol):
    """What the descent needs of a network."""

    min_frames: int
    """Shortest spectrogram, in frames, that reaches the deepest layer."""

    def __call__(self, S: Tensor) -> dict[str, Tensor]:
        """Return the activations of each layer for a dB mel spectrogram."""
        ...


def build_network(config: TransferConfig) -> FeatureExtractor:
    """Make the network of a configuration, with its weights.

    Parameters
    ----------
    config : TransferConfig

    Returns
    -------
    FeatureExtractor

    Raises
    ------
    WeightsError
        If the weights are missing or corrupt.
    ConfigError
        If the network is not known in this process.
    """
    layers = [name for name, _ in (*config.content_layers, *config.style_layers)]
    # A configuration that came from another process names a network that was checked only there.
    build = NETWORKS[find_network(config.network)].build
    if build is not None:
        network: FeatureExtractor = build(layers, config)
        return network
    return SHIPPED[config.network](layers, config)


def build_music_network(config: TransferConfig) -> FeatureExtractor:
    """Make the second network, musicnn's VGG as it was trained, for the style layers of its own.

    Parameters
    ----------
    config : TransferConfig

    Returns
    -------
    FeatureExtractor

    Raises
    ------
    WeightsError
        If the weights are missing or corrupt.
    """
    own = dataclasses.replace(
        config,
        network="musicnn-vgg",
        content_layers=(),
        style_layers=(),
        bands=0,
        pooling="max",
        weights=None,
    )
    return MusicnnVGG([name for name, _ in MUSIC_LAYERS], own)


def resolve_precision(precision: str) -> str:
    """Turn ``auto`` into what the device is fast at; see `audiostyle.nn.precision.choose_precision`.

    Parameters
    ----------
    precision : str

    Returns
    -------
    str
    """
    return choose_precision(precision, tf)[0]


def _unit(S: Tensor, top_db: float) -> Tensor:
    """Map dB to 0 (silence) .. 1 (0 dB)."""
    return 1.0 + S / top_db


def _pool(x: Tensor, kind: str, size: Size = (2, 2), steps: Size = (2, 2)) -> Tensor:
    """Pool by `size` in `steps` (frequency, time)."""
    if kind == "max":
        return tf.nn.max_pool2d(x, size, steps, "VALID")
    return tf.nn.avg_pool2d(x, size, steps, "VALID")


class VGG19:
    """VGG-19 (Simonyan & Zisserman 2015) trained on ImageNet, up to block5_conv1.

    The spectrogram stands in for all three colour planes at once, so the kernels of the first layer
    are summed over them: one plane is convolved in place of three, with the same result. Of the
    mean colour that Keras subtracts, its mean grey is subtracted from the plane, and what each
    colour differs from grey enters by a second plane of ones; zero padding then falls exactly where
    Keras has it.
    """

    def __init__(self, layers: list[str], config: TransferConfig) -> None:
        names = NETWORKS["vgg19"].layers
        weights = load_weights("vgg19", config.weights)
        self._dtype = tf.as_dtype(resolve_precision(config.precision))
        self._names = names[: 1 + max(names.index(layer) for layer in layers)]
        self._wanted = set(layers)
        self._pooling = config.pooling
        self._top_db = config.top_db
        # The bounds of n_mels let every pooling through; time alone may be too short.
        self.min_frames = 2 ** (int(self._names[-1][5]) - 1)
        first = weights["block1_conv1/kernel"]
        self._grey = float(np.mean(IMAGENET_MEAN_BGR)) / 255.0
        tint = (np.float32(255.0 * self._grey) - np.asarray(IMAGENET_MEAN_BGR, np.float32)).reshape(
            1, 1, 3, 1
        )
        weights["block1_conv1/kernel"] = np.concatenate(
            [255.0 * first.sum(axis=2, keepdims=True), (first * tint).sum(axis=2, keepdims=True)],
            axis=2,
        )
        self._kernels = {
            n: tf.constant(weights[f"{n}/kernel"], dtype=self._dtype) for n in self._names
        }
        self._biases = {
            n: tf.constant(weights[f"{n}/bias"], dtype=self._dtype) for n in self._names
        }

    def __call__(self, S: Tensor) -> dict[str, Tensor]:
        """Return the activations of each layer for a dB mel spectrogram."""
        x = tf.cast(_unit(S, self._top_db) - self._grey, self._dtype)
        activations = {}
        for name, after in zip(self._names, [*self._names[1:], ""], strict=True):
            kernel, bias = self._kernels[name], self._biases[name]
            if name == "block1_conv1":
                y = convolve_plane(x, kernel, bias)
            else:
                y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)
            pooled = after.endswith("conv1")
            if pooled and self._pooling == "max" and name not in self._wanted:
                x = tf.nn.relu(_pool(y, "max"))  # the same, and a quarter to rectify
                continue
            x = tf.nn.relu(y)
            if name in self._wanted:
                activations[name] = x
            if pooled:
                x = _pool(x, self._pooling)
        return activations


class MusicnnVGG:
    """The VGG of musicnn (Pons & Serra 2019), trained on music (MagnaTagATune), conv1 to conv5.

    It was trained on 96 mel bands of a 16 kHz signal with a step of 16 ms, as log10(1 + 10000 P).
    Unlike there, these are interpolated from the spectrogram that is optimised: its mel power is
    averaged into the 96 bands, and its frames are interpolated in time, so that gradients reach it.
    """

    def __init__(self, layers: list[str], config: TransferConfig) -> None:
        weights = load_weights("musicnn-vgg", config.weights)
        self._dtype = tf.as_dtype(resolve_precision(config.precision))
        names = NETWORKS["musicnn-vgg"].layers
        self._names = names[: 1 + max(names.index(layer) for layer in layers)]
        self._wanted = set(layers)
        self._pooling = config.pooling
        self._top_db = config.top_db
        # A louder STFT (longer window) of the same sound, measured between that of noise and tones.
        self._power_scale = 100.0 * 1.3 * (MUSICNN_N_FFT / config.n_fft) ** 2
        self._rebin = tf.constant(_musicnn_rebin(config))
        self._time_scale = (config.hop_length / config.sr) / (MUSICNN_HOP / MUSICNN_SR)
        # The first pooling takes 4 frames of musicnn's, the others halve.
        depth = len(self._names)
        theirs = 1 if depth == 1 else 2 ** (depth - 1) + 2
        self.min_frames = int(np.ceil(theirs / self._time_scale))
        self._signs: dict[str, Tensor] = {}
        for name, after in zip(self._names, self._names[1:], strict=False):
            if self._pooling == "max" and name not in self._wanted:
                self._signs[name] = self._pool_first(weights, name, after)
        self._weights = {
            name: tf.constant(array, dtype=self._dtype)
            for name, array in weights.items()
            if name.startswith(("input", *self._names))
        }

    def _pool_first(self, weights: dict[str, Array], name: str, after: str) -> Tensor:
        """Rewrite a layer that is only pooled, so that a quarter is rectified, scaled and shifted.

        Its scale, of either sign, goes before the pooling: into its kernel. What is left to do
        after it is ``sign * relu(sign * x) + shift``, and the first sign goes into the kernel of
        the next layer.
        """
        scale = weights[f"{name}/scale"]
        sign = np.where(scale < 0, np.float32(-1), np.float32(1))
        weights[f"{name}/kernel"] = weights[f"{name}/kernel"] * scale
        weights[f"{name}/bias"] = weights[f"{name}/bias"] * scale
        weights[f"{name}/shift"] = weights[f"{name}/shift"] * sign
        weights[f"{after}/kernel"] = weights[f"{after}/kernel"] * sign[:, None]
        return tf.constant(sign, dtype=self._dtype)

    def __call__(self, S: Tensor) -> dict[str, Tensor]:
        """Return the activations of each layer for a dB mel spectrogram."""
        power = self._power_scale * tf.exp(S * float(np.log(10) / 10))
        power = tf.einsum("fm,bmtc->bftc", self._rebin, power)
        log_power = tf.math.log1p(1e4 * power) / float(np.log(10))
        frames = tf.cast(tf.round(tf.cast(tf.shape(S)[2], tf.float32) * self._time_scale), tf.int32)
        x = tf.cast(tf.image.resize(log_power, (MUSICNN_MELS, frames)), self._dtype)
        x = x * self._weights["input/scale"] + self._weights["input/shift"]
        activations = {}
        for name in self._names:
            kernel, bias, scale, shift = (
                self._weights[f"{name}/{part}"] for part in ("kernel", "bias", "scale", "shift")
            )
            size, steps = ((1, 4), (2, 2)) if name == "conv1" else ((2, 2), (2, 2))
            if name == "conv1":
                # Its pooling skips every other row, which need not be there if nobody else looks.
                skip = 1 if name in self._wanted else 2
                y = convolve_plane(x, kernel, bias, skip)
                steps = (2 // skip, 2)
            else:
                y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)
            if name in self._signs:
                x = tf.nn.relu(self._signs[name] * _pool(y, "max", size, steps)) + shift
                continue
            x = tf.nn.relu(y)
            if name in self._wanted:
                activations[name] = x
            if name != self._names[-1]:
                # Pooling first leaves a quarter to be shifted, and gives the same.
                x = _pool(x * scale, self._pooling, size, steps) + shift
        return activations


def _musicnn_rebin(config: TransferConfig) -> Array:
    """Weights that average our mel bands into musicnn's; rows sum to 1."""
    import librosa

    htk = config.mel_scale == "htk"
    centres = librosa.mel_frequencies(config.n_mels + 2, fmin=0.0, fmax=config.sr / 2, htk=htk)
    theirs = librosa.mel_frequencies(MUSICNN_MELS + 2, fmin=0.0, fmax=MUSICNN_SR / 2)
    spacing = np.gradient(centres)[1:-1]
    rows = []
    for low, centre, high in zip(theirs[:-2], theirs[1:-1], theirs[2:], strict=True):
        rising = (centres[1:-1] - low) / (centre - low)
        falling = (high - centres[1:-1]) / (high - centre)
        weights = np.maximum(0.0, np.minimum(rising, falling)) * spacing
        if weights.sum() == 0:  # our bands are wider than theirs: take the nearest
            weights[np.abs(centres[1:-1] - centre).argmin()] = 1.0
        rows.append(weights / weights.sum())
    return np.asarray(rows, np.float32)


class Random1D:
    """Random filters with frequency as channels (Ulyanov & Lebedev 2016).

    Each layer ``widthN`` is one convolution over N frames and all bands, He-normal, with a ReLU.
    Unlike the published system, which has one width (11) and takes log1p of the linear STFT,
    several widths can be combined (Antognini et al. 2019 found separate layers better than a
    stack), and the input is the dB mel spectrogram that all networks here share.
    """

    def __init__(self, layers: list[str], config: TransferConfig) -> None:
        load_weights("random-1d", config.weights)
        self._dtype = tf.as_dtype(resolve_precision(config.precision))
        self._top_db = config.top_db
        widths = {layer: int(layer[5:]) for layer in layers}
        self.min_frames = max(widths.values())
        self._kernels = {}
        for layer, width in widths.items():
            kernel = tf.random.stateless_normal(
                (1, width, config.n_mels, RANDOM_FILTERS), seed=(config.seed, width)
            )
            kernel *= float(np.sqrt(2.0 / (width * config.n_mels)))
            self._kernels[layer] = tf.cast(kernel, self._dtype)

    def __call__(self, S: Tensor) -> dict[str, Tensor]:
        """Return the activations of each layer for a dB mel spectrogram."""
        x = tf.transpose(_unit(S, self._top_db), (0, 3, 2, 1))  # (batch, 1, t, n_mels)
        x = tf.cast(x, self._dtype)
        return {
            layer: tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
            for layer, kernel in self._kernels.items()
        }


SHIPPED: dict[str, Callable[[list[str], TransferConfig], FeatureExtractor]] = {
    "vgg19": VGG19,
    "musicnn-vgg": MusicnnVGG,
    "random-1d": Random1D,
}
"""What makes each of the networks that need no registration."""
