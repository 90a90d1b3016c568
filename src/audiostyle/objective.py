"""The style as statistics, and the objective that pulls a spectrogram towards them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle import losses, spectral
from audiostyle.config import TransferConfig
from audiostyle.networks import FeatureExtractor
from audiostyle.optimize import Objective
from audiostyle.options import LayerWeights

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types

WINDOW_FRAMES = 1024  # a style is analysed in windows, so that its length costs no memory
N_TERMS = 4  # content, style, rhythm, envelope; those of the style layers follow
MIN_PAIR_DISTANCE = 0.02  # below it content and style are one style, and nothing is scaled up


@dataclass
class StyleTarget:
    """The statistics that stand for a style, whatever its length.

    Attributes
    ----------
    grams : dict of str to np.ndarray [shape=(bands, C, C)]
        Gram matrix of each style layer, averaged over all positions of all clips.
    means : dict of str to np.ndarray [shape=(bands, C)]
        Mean activations, likewise.
    mel_mean : np.ndarray [shape=(n_mels,), non-negative]
        Mean mel power over time.
    temporal : np.ndarray [shape=(ENVELOPE_QUANTILES,), dB]
        Quantiles of the frames' power.
    peak : np.ndarray [shape=(n_mels,), dB]
        The loudest that each band ever is.
    n_frames : int
    """

    grams: dict[str, Array]
    means: dict[str, Array]
    mel_mean: Array
    temporal: Array
    peak: Array
    n_frames: int


class Analyzer:
    """A network, compiled once for clips of any length.

    Parameters
    ----------
    network : FeatureExtractor
    config : TransferConfig
    """

    def __init__(self, network: FeatureExtractor, config: TransferConfig) -> None:
        self.network = network
        self.config = config
        self._style_layers = [name for name, _ in config.style_layers]
        self._content_layers = [name for name, _ in config.content_layers]
        signature = [tf.TensorSpec((1, config.n_mels, None, 1), tf.float32)]
        self._statistics = tf.function(self._compute_statistics, input_signature=signature)
        self._features = tf.function(self._compute_features, input_signature=signature)

    def _compute_statistics(self, S: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        activations = self.network(S)
        bands = self.config.bands
        return {
            n: (losses.gram_matrix(activations[n], bands), losses.band_means(activations[n], bands))
            for n in self._style_layers
        }

    def _compute_features(self, S: Tensor) -> dict[str, Tensor]:
        activations = self.network(S)
        return {n: activations[n] for n in self._content_layers}

    def content_features(self, S: Array) -> dict[str, Tensor]:
        """Activations of the content layers.

        Parameters
        ----------
        S : np.ndarray [shape=(n_mels, t), dB]
        """
        features: dict[str, Tensor] = self._features(tf.constant(S[None, :, :, None]))
        return features

    def style_target(self, spectrograms: Iterable[Array]) -> StyleTarget:
        """Statistics of a style, accumulated over its clips as if they were one.

        Parameters
        ----------
        spectrograms : iterable of np.ndarray [shape=(n_mels, t), dB]
            The iterable may be lazy: one clip is held at a time.

        Returns
        -------
        StyleTarget
        """
        sums: dict[str, Array] = {}
        mean_sums: dict[str, Array] = {}
        mel_sum: Array = np.zeros(self.config.n_mels)
        temporal: Array = np.zeros(losses.ENVELOPE_QUANTILES)
        peak: Array = np.full(self.config.n_mels, -self.config.top_db)
        n_frames = 0
        for S in spectrograms:
            for window in self._windows(S):
                frames = window.shape[1]
                found = self._statistics(tf.constant(window[None, :, :, None]))
                for name, (gram, mean) in found.items():
                    sums[name] = sums.get(name, 0.0) + frames * gram.numpy().astype(np.float64)
                    mean_sums[name] = mean_sums.get(name, 0.0) + frames * mean.numpy()
            mel_sum += spectral.db_to_power(S).sum(axis=1, dtype=np.float64)
            temporal += S.shape[1] * losses.temporal_envelope(tf.constant(S)).numpy()
            peak = np.maximum(peak, S.max(axis=1))
            n_frames += S.shape[1]
        grams = {n: (s / n_frames).astype(np.float32) for n, s in sums.items()}
        means = {n: (s / n_frames).astype(np.float32) for n, s in mean_sums.items()}
        return StyleTarget(grams, means, mel_sum / n_frames, temporal / n_frames, peak, n_frames)

    def _windows(self, S: Array) -> list[Array]:
        """Cut a clip into windows of nearly equal length that cover it exactly."""
        n_windows = -(-S.shape[1] // WINDOW_FRAMES)
        return np.array_split(S, n_windows, axis=1)


def blend(targets: Sequence[StyleTarget], weights: Sequence[float]) -> StyleTarget:
    """Weighted mean of the statistics of several styles.

    Parameters
    ----------
    targets : sequence of StyleTarget
    weights : sequence of float >= 0
        Relative; they are divided by their sum.

    Returns
    -------
    StyleTarget
    """
    shares = np.asarray(weights, float) / np.sum(weights)
    pairs = list(zip(shares, targets, strict=True))
    return StyleTarget(
        {
            name: np.asarray(sum(share * t.grams[name] for share, t in pairs), np.float32)
            for name in targets[0].grams
        },
        {
            name: np.asarray(sum(share * t.means[name] for share, t in pairs), np.float32)
            for name in targets[0].grams
        },
        np.asarray(sum(share * t.mel_mean for share, t in pairs)),
        np.asarray(sum(share * t.temporal for share, t in pairs)),
        np.max([t.peak for t in targets], axis=0),
        sum(t.n_frames for t in targets),
    )


def build_objective(
    analyzer: Analyzer,
    S_content: Array,
    S_start: Array,
    content: StyleTarget | None,
    style: StyleTarget,
) -> Objective:
    """Make the function to minimise over a spectrogram of the content's shape.

    Parameters
    ----------
    analyzer : Analyzer
    S_content, S_start : np.ndarray [shape=(n_mels, t), dB]
        No band of the result gets louder than it ever is in the start or in the style: a peak of a
        single frame would cost the statistics little, and could not be turned into sound.
    content : StyleTarget or None
        The content's own statistics, needed where ``strength < 1``: the target lies on the straight
        line from them (strength 0) to those of the style (strength 1), so that at strength 0 the
        content itself is the minimum of both losses.
    style : StyleTarget

    Returns
    -------
    Objective
        Its variable is the spectrogram mapped to 0 (``-top_db``) .. 1 (0 dB).
    """
    config = analyzer.config
    terms_of = _make_terms(analyzer, S_content, style)
    scale = np.ones(N_TERMS + len(config.style_layers), np.float32)
    if config.style_norm == "pair":
        distance = float(terms_of(tf.constant(S_content))[1])
        scale[[1, *range(N_TERMS, len(scale))]] /= max(distance, MIN_PAIR_DISTANCE)
    if content is not None and config.strength < 1:
        target = blend([content, style], [1 - config.strength, config.strength])
        terms_of = _make_terms(analyzer, S_content, target)

    @tf.function(input_signature=[tf.TensorSpec(S_content.shape, tf.float32)])  # type: ignore[untyped-decorator]
    def evaluate(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            terms = scale * terms_of((x - 1.0) * config.top_db)
            weights = (
                config.content_weight,
                config.style_weight,
                config.rhythm_weight,
                config.envelope_weight,
            )
            total = losses.total_loss(tf.unstack(terms[:N_TERMS]), weights)
        return total, tape.gradient(total, x), terms

    loudest = np.maximum(S_start.max(axis=1), style.peak)[:, None]
    layers = [name for name, _ in config.style_layers]
    return Objective(evaluate, layers, 0.0, to_variable(loudest, config))


def _make_terms(
    analyzer: Analyzer, S_content: Array, style: StyleTarget
) -> Callable[[Tensor], Tensor]:
    """Make the terms: content, style, rhythm, envelope, and the style of each layer."""
    config = analyzer.config
    features = analyzer.content_features(S_content)
    style_losses = {
        name: _style_loss(config, style.grams[name], style.means[name]) for name in style.grams
    }
    spectral_target = spectral.power_to_db(style.mel_mean[:, None], config)[:, 0]
    temporal_target = np.asarray(style.temporal, np.float32)
    rhythm_target = losses.frame_levels(tf.constant(S_content))

    def terms_of(S: Tensor) -> Tensor:
        activations = analyzer.network(S[None, :, :, None])
        content_terms = [
            losses.content_loss(activations[n], features[n]) for n, _ in config.content_layers
        ]
        style_terms = [style_losses[n](activations[n]) for n, _ in config.style_layers]
        rhythm = losses.rhythm_loss(S, rhythm_target, config.top_db)
        envelope = tf.constant(0.0)
        if config.envelope_weight > 0:
            envelope = losses.envelope_loss(S, spectral_target, temporal_target, config.top_db)
        content = _weighted_mean(content_terms, config.content_layers)
        style = _weighted_mean(style_terms, config.style_layers)
        return tf.stack([content, style, rhythm, envelope, *style_terms])

    return terms_of


def _weighted_mean(terms: Sequence[Tensor], layers: LayerWeights) -> Tensor:
    """Weigh the terms of the layers; weights that are all 0 (with alpha or beta 0) give 0."""
    total = max(sum(weight for _, weight in layers), 1e-12)
    return tf.add_n([w / total * term for (_, w), term in zip(layers, terms, strict=True)])


def _style_loss(config: TransferConfig, gram: Array, mean: Array) -> Callable[[Tensor], Tensor]:
    """Make the style loss of one layer: activations in, scalar out."""
    bands, statistic = config.bands, config.style_statistic
    target_gram, target_mean = tf.constant(gram), tf.constant(mean)
    if statistic == "gram":
        return lambda A: losses.style_loss(losses.gram_matrix(A, bands), target_gram)
    if statistic == "moments":
        return lambda A: losses.moments_loss(
            losses.gram_matrix(A, bands), losses.band_means(A, bands), target_gram, target_mean
        )
    target_covariance = losses.covariance(target_gram, target_mean)
    target_root = tf.constant(_exact_root(target_covariance.numpy()))
    return lambda A: losses.wasserstein_loss(
        losses.gram_matrix(A, bands),
        losses.band_means(A, bands),
        target_mean,
        target_covariance,
        target_root,
    )


def _exact_root(matrices: Array) -> Array:
    """Square roots of symmetric matrices, by eigenvalues: slow, but needed only once a style."""
    values, vectors = np.linalg.eigh(matrices.astype(np.float64))
    roots = np.sqrt(np.maximum(values, 0.0))
    product = (vectors * roots[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    return np.asarray(product, np.float32)


def to_variable(S: Array, config: TransferConfig) -> Tensor:
    """Map dB to the variable of the descent: 0 (``-top_db``) .. 1 (0 dB)."""
    return tf.constant(1.0 + np.asarray(S, np.float32) / config.top_db)


def from_variable(x: Tensor, config: TransferConfig) -> Array:
    """Inverse of `to_variable`."""
    return np.asarray((x.numpy() - 1.0) * config.top_db, np.float32)
