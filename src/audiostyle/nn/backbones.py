"""Feature extractors: from dB mel spectrograms to the activations of layers.

The input ``S`` has shape (batch, n_mels, t, 1), in dB from ``-top_db`` (silence) to about 0.
Activations have shape (batch, F, T, C): frequency rows, time frames, channels, after the ReLU.
Only the requested layers, and those below them, are computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Array, Tensor
from audiostyle.config.registry import MUSIC_LAYERS, NETWORKS, find_network
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp.spectrogram import mel_frequencies
from audiostyle.nn.device import choose_precision
from audiostyle.nn.weights import load_weights

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # of the Caffe models, subtracted from 0..255
RANDOM_FILTERS = 1024  # for 256 bands; Ulyanov & Lebedev used 4096 for 1025 bins
MUSICNN_SR, MUSICNN_HOP, MUSICNN_MELS = 16_000, 256, 96
MUSICNN_N_FFT = 512


class FeatureExtractor(Protocol):
    """Interface of a network."""

    min_frames: int
    """Length of the shortest spectrogram that reaches the deepest layer, in frames."""

    def __call__(self, S: Tensor) -> dict[str, Tensor]:
        """Return the activations of each layer for a dB mel spectrogram."""
        ...


def build_network(config: TransferConfig) -> FeatureExtractor:
    """Build the network of a configuration, with its weights.

    Raises
    ------
    WeightsError
        If the weights are missing or corrupt.
    ConfigError
        If the network is unknown in this process.
    """
    layers = [name for name, _ in (*config.content_layers, *config.style_layers)]
    # A configuration from another process may name a network that is not known in this one.
    build = NETWORKS[find_network(config.network)].build or SHIPPED[config.network]
    network: FeatureExtractor = build(layers, config)
    return network


def build_music_network(config: TransferConfig) -> FeatureExtractor:
    """Build the second network, musicnn's VGG as it was trained, for the ``music`` style term."""
    as_trained = dataclasses.replace(config, pooling="max", weights=None)
    return MusicnnVGG([name for name, _ in MUSIC_LAYERS], as_trained)


def resolve_precision(precision: str) -> str:
    """Resolve ``auto`` to the precision that the device is fast at."""
    return choose_precision(precision, tf)[0]


def _pool(x: Tensor, kind: str, size: Any = 2, steps: Any = 2) -> Tensor:
    """Pool windows of `size` every `steps` (frequency, time)."""
    pool = tf.nn.max_pool2d if kind == "max" else tf.nn.avg_pool2d
    return pool(x, size, steps, "VALID")


def convolve_plane(plane: Tensor, kernel: Tensor, bias: Tensor, step: int = 1) -> Tensor:
    """Convolve a single plane, as a network's first layer does, with a faster gradient.

    The gradient of a convolution by its input is a convolution from many channels to one, which
    libraries are slow at. As a matrix product, whose columns are then shifted and added, it takes
    at most half the time (docs/performance.md).

    The `plane` has the shape (batch, rows, t, 1), the result (batch, rows / step, t, C). A second
    input channel of the `kernel` [shape=(3, 3, 1 or 2, C)] is applied to a plane of ones; because
    of the zero padding, that is not the same as a bias. A `step` of 2 gives every other row,
    starting with the first, of an even number.
    """

    def convolve(plane: Tensor) -> tuple[Tensor, Any]:
        ones = [tf.ones_like(plane)] * (kernel.shape[2] - 1)
        # With a step of 2, "SAME" would shift the rows by one.
        padding: Any = "SAME" if step == 1 else [[0, 0], [1, 0], [1, 1], [0, 0]]
        y = tf.nn.conv2d(tf.concat([plane, *ones], axis=3), kernel, (1, step, 1, 1), padding)

        def gradient(upstream: Tensor) -> Tensor:
            by_plane = _gather(upstream, kernel[:, :, 0], step)
            return tf.cast(tf.expand_dims(by_plane, 3), plane.dtype)

        return tf.nn.bias_add(y, bias), gradient

    convolved: Tensor = tf.custom_gradient(convolve)(plane)
    if not tf.executing_eagerly():
        _forget_gradient(convolved)
    return convolved


def _forget_gradient(traced: Tensor) -> None:
    """Release a graph that TensorFlow would keep for the life of the process.

    TensorFlow registers custom gradients by name, and each holds the graph that it was traced in.
    A tape does not need the registry.
    """
    from tensorflow.python.framework import ops

    listed = getattr(getattr(ops, "gradient_registry", None), "_registry", None)
    if isinstance(listed, dict):  # a private name, which may change
        listed.pop(traced.op.get_attr("_gradient_op_type").decode(), None)


def _gather(upstream: Tensor, kernel: Tensor, step: int) -> Tensor:
    """Gradient by the plane [shape=(batch, rows, t), float32]."""
    channels = kernel.shape[2]
    shape = tf.shape(upstream)
    # Taps come first, so that each is contiguous: slicing the last axis would take longer than the
    # product.
    by_tap = tf.reshape(tf.transpose(kernel, (1, 0, 2)), (9, channels))  # column by column
    positions = tf.reshape(upstream, (-1, channels))
    taps = tf.cast(tf.matmul(by_tap, positions, transpose_b=True), tf.float32)
    columns = tf.unstack(tf.reshape(taps, (3, 3, shape[0], shape[1], shape[2])))
    above, level, below = tf.unstack(_add_columns(*columns))
    above = tf.pad(above[:, 1:], ((0, 0), (0, 1), (0, 0)))  # contributes to the row below it
    if step == 1:
        return above + level + tf.pad(below[:, :-1], ((0, 0), (1, 0), (0, 0)))
    rows = tf.stack([level, above + below], axis=2)
    return tf.reshape(rows, (shape[0], 2 * shape[1], shape[2]))


def _add_columns(first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Add the taps of the columns of the kernel, shifted to the frames that they came from."""
    earlier = tf.pad(first[..., 1:], ((0, 0), (0, 0), (0, 0), (0, 1)))
    later = tf.pad(third[..., :-1], ((0, 0), (0, 0), (0, 0), (1, 0)))
    return earlier + second + later


class VGG19:
    """VGG-19 (Simonyan & Zisserman 2015) trained on ImageNet, up to block5_conv1.

    The spectrogram takes the place of all three colour planes, so the kernels of the first layer
    are summed over colours: one plane is convolved instead of three, with the same result. Of the
    mean colour that Keras subtracts, the mean grey is subtracted from the plane; the differences of
    the colours from grey enter through a second plane of ones. Zero padding then has the same
    effect as in Keras.
    """

    def __init__(self, layers: list[str], config: TransferConfig) -> None:
        names = NETWORKS["vgg19"].layers
        self._dtype = tf.as_dtype(resolve_precision(config.precision))
        self._names = names[: 1 + max(names.index(layer) for layer in layers)]
        weights = load_weights("vgg19", config.weights, self._names)
        self._wanted = set(layers)
        self._pooling = config.pooling
        self._top_db = config.top_db
        # n_mels is always large enough for every pooling; only time may be too short.
        self.min_frames = 2 ** (int(self._names[-1][5]) - 1)
        first = weights["block1_conv1/kernel"]
        self._grey = float(np.mean(IMAGENET_MEAN_BGR)) / 255.0
        tint = np.float32(255.0 * self._grey) - np.asarray(IMAGENET_MEAN_BGR, np.float32)
        tint = tint.reshape(1, 1, 3, 1)
        weights["block1_conv1/kernel"] = np.concatenate(
            [255.0 * first.sum(axis=2, keepdims=True), (first * tint).sum(axis=2, keepdims=True)],
            axis=2,
        )
        self._kernels, self._biases = (
            {n: tf.constant(weights[f"{n}/{part}"], dtype=self._dtype) for n in self._names}
            for part in ("kernel", "bias")
        )

    def __call__(self, S: Tensor) -> dict[str, Tensor]:
        """Return the activations of each layer for a dB mel spectrogram."""
        x = tf.cast(1.0 + S / self._top_db - self._grey, self._dtype)
        activations = {}
        for name, after in zip(self._names, [*self._names[1:], ""], strict=True):
            kernel, bias = self._kernels[name], self._biases[name]
            if name == "block1_conv1":
                y = convolve_plane(x, kernel, bias)
            else:
                y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)
            pooled = after.endswith("conv1")
            if pooled and self._pooling == "max" and name not in self._wanted:
                x = tf.nn.relu(_pool(y, "max"))  # same result, a quarter of the values
                continue
            x = tf.nn.relu(y)
            if name in self._wanted:
                activations[name] = x
            if pooled:
                x = _pool(x, self._pooling)
        return activations


class MusicnnVGG:
    """The VGG of musicnn (Pons & Serra 2019), trained on music (MagnaTagATune), conv1 to conv5.

    Its input was log10(1 + 10000 P) of 96 mel bands at 16 kHz, every 16 ms. To let gradients pass,
    that input is interpolated from the optimised spectrogram: mel power is averaged into the 96
    bands, and frames are interpolated in time.
    """

    def __init__(self, layers: list[str], config: TransferConfig) -> None:
        self._dtype = tf.as_dtype(resolve_precision(config.precision))
        names = NETWORKS["musicnn-vgg"].layers
        self._names = names[: 1 + max(names.index(layer) for layer in layers)]
        weights = load_weights("musicnn-vgg", config.weights, ["input", *self._names])
        self._wanted = set(layers)
        self._pooling = config.pooling
        self._top_db = config.top_db
        # A longer window gives a louder STFT; measured between the factors of noise and of tones.
        self._power_scale = 100.0 * 1.3 * (MUSICNN_N_FFT / config.n_fft) ** 2
        self._rebin = tf.constant(_musicnn_rebin(config))
        self._time_scale = (config.hop_length / config.sr) / (MUSICNN_HOP / MUSICNN_SR)
        # The first pooling takes 4 of musicnn's frames, each of the others halves them.
        depth = len(self._names)
        musicnn_frames = 1 if depth == 1 else 2 ** (depth - 1) + 2
        self.min_frames = int(np.ceil(musicnn_frames / self._time_scale))
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
        """Rewrite a layer that is pooled only, so that a quarter of the values is rectified.

        Its scale moves before the pooling, into its kernel. What remains after the pooling is
        ``sign * relu(sign * x) + shift``, and the first sign moves into the kernel of the next
        layer.
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
            size, steps = (2, 2), (2, 2)
            if name == "conv1":
                # The pooling skips every other row; compute them only if the layer is requested.
                skip = 1 if name in self._wanted else 2
                y = convolve_plane(x, kernel, bias, skip)
                size, steps = (1, 4), (2 // skip, 2)
            else:
                y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)
            if name in self._signs:
                x = tf.nn.relu(self._signs[name] * _pool(y, "max", size, steps)) + shift
                continue
            x = tf.nn.relu(y)
            if name in self._wanted:
                activations[name] = x
            if name != self._names[-1]:
                # Shifting after the pooling gives the same, on a quarter of the values.
                x = _pool(x * scale, self._pooling, size, steps) + shift
        return activations


def _musicnn_rebin(config: TransferConfig) -> Array:
    """Return weights that average the mel bands into musicnn's; rows sum to 1."""
    bands = mel_frequencies(config.n_mels + 2, config.sr / 2, config.mel_scale)
    targets = mel_frequencies(MUSICNN_MELS + 2, MUSICNN_SR / 2, "slaney")
    spacing, bands = np.gradient(bands)[1:-1], bands[1:-1]
    low, centre, high = targets[:-2, None], targets[1:-1, None], targets[2:, None]
    rising, falling = (bands - low) / (centre - low), (high - bands) / (high - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling)) * spacing
    # A triangle narrower than the spacing of the bands takes the nearest.
    empty = np.flatnonzero(weights.sum(axis=1) == 0)
    weights[empty, np.abs(bands - centre[empty]).argmin(axis=1)] = 1.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


class Random1D:
    """Random filters with frequency as channels (Ulyanov & Lebedev 2016).

    Each layer ``widthN`` is one convolution over N frames and all bands, He-normal, with a ReLU.
    The published system has one width (11) and the log1p of the linear STFT as its input; this one
    combines several widths (Antognini et al. 2019 found separate layers better than a stack), and
    shares the dB mel spectrogram with the other networks.
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
        x = tf.transpose(1.0 + S / self._top_db, (0, 3, 2, 1))  # (batch, 1, t, n_mels)
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
"""Constructors of the networks that ship."""
