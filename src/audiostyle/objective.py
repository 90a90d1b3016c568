"""The style as statistics, and the objective that pulls a spectrogram towards them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle import losses, mel_losses, networks, spectral
from audiostyle.config import NETWORKS, TransferConfig
from audiostyle.events import TERMS
from audiostyle.networks import FeatureExtractor
from audiostyle.optimize import Objective
from audiostyle.options import LayerWeights

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types

WINDOW_FRAMES = 1024  # a style is analysed in windows, so that its length costs no memory
MIN_PAIR_DISTANCE = 0.02  # below it content and style are one style, and nothing is scaled up
MUSIC = "music/"  # before the names of the second network's layers
TEXTURE = "texture"  # the layer that the spectrogram's own statistics are


@dataclass(frozen=True)
class StyleSource:
    """Layers whose statistics make one term of the objective.

    Attributes
    ----------
    term : str
        ``style``, ``music`` or ``texture``.
    layers : tuple of (str, float)
        Names among `Analyzer.activations`, with their weights.
    bands : int
    """

    term: str
    layers: LayerWeights
    bands: int


def style_sources(config: TransferConfig) -> list[StyleSource]:
    """List what the style is taken from: all sources whose weight is not 0.

    Parameters
    ----------
    config : TransferConfig

    Returns
    -------
    list of StyleSource
        The network's own layers always, and first.
    """
    music = NETWORKS["musicnn-vgg"]
    sources = [StyleSource("style", config.style_layers, config.bands)]
    if config.music_weight > 0:
        layers = tuple((MUSIC + name, weight) for name, weight in music.style)
        sources.append(StyleSource("music", layers, music.bands))
    if config.texture_weight > 0:
        sources.append(StyleSource("texture", ((TEXTURE, 1.0),), 1))
    return sources


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
    roots : dict of str to np.ndarray [shape=(bands, C, C)]
        Square roots of the covariances, kept once they were needed: they take seconds, and a style
        may serve many contents.
    """

    grams: dict[str, Array]
    means: dict[str, Array]
    mel_mean: Array
    temporal: Array
    peak: Array
    n_frames: int
    roots: dict[str, Array] = field(default_factory=dict)


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
        self.sources = style_sources(config)
        self._music = networks.build_music(config) if config.music_weight > 0 else None
        self._content_layers = [name for name, _ in config.content_layers]
        signature = [tf.TensorSpec((config.n_mels, None), tf.float32)]
        self._statistics = tf.function(self._compute_statistics, input_signature=signature)
        self._features = tf.function(self._compute_features, input_signature=signature)

    @property
    def min_frames(self) -> int:
        """The fewest frames that every network takes."""
        used = (self.network, self._music)
        return max(network.min_frames for network in used if network is not None)

    def activations(self, S: Tensor) -> dict[str, Tensor]:
        """Activations of all layers of content and style.

        Parameters
        ----------
        S : tf.Tensor [shape=(n_mels, t), dB]
        """
        picture = S[None, :, :, None]
        found: dict[str, Tensor] = dict(self.network(picture))
        if self._music is not None:
            found |= {MUSIC + name: A for name, A in self._music(picture).items()}
        if self.config.texture_weight > 0:
            found[TEXTURE] = mel_losses.texture_features(S, self.config.top_db)
        return found

    def _compute_statistics(self, S: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        found = self.activations(S)
        return {
            name: (
                losses.gram_matrix(found[name], source.bands),
                losses.band_means(found[name], source.bands),
            )
            for source in self.sources
            for name, _ in source.layers
        }

    def _compute_features(self, S: Tensor) -> dict[str, Tensor]:
        activations = self.network(S[None, :, :, None])
        return {n: activations[n] for n in self._content_layers}

    def content_features(self, S: Array) -> dict[str, Tensor]:
        """Activations of the content layers.

        Parameters
        ----------
        S : np.ndarray [shape=(n_mels, t), dB]
        """
        features: dict[str, Tensor] = self._features(tf.constant(S))
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
        temporal: Array = np.zeros(mel_losses.ENVELOPE_QUANTILES)
        peak: Array = np.full(self.config.n_mels, -self.config.top_db)
        n_frames = 0
        for S in spectrograms:
            for window in self._windows(S):
                frames = window.shape[1]
                found = self._statistics(tf.constant(window))
                for name, (gram, mean) in found.items():
                    sums[name] = sums.get(name, 0.0) + frames * gram.numpy().astype(np.float64)
                    mean_sums[name] = mean_sums.get(name, 0.0) + frames * mean.numpy()
            mel_sum += spectral.db_to_power(S).sum(axis=1, dtype=np.float64)
            temporal += S.shape[1] * mel_losses.temporal_envelope(tf.constant(S)).numpy()
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
        Of one style, that style itself.
    """
    if len(targets) == 1:
        return targets[0]
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
    scale = np.ones(len(TERMS) + len(config.style_layers), np.float32)
    if config.style_norm == "pair":
        distances = terms_of(tf.constant(S_content)).numpy()
        for i in (TERMS.index(source.term) for source in analyzer.sources):
            scale[i] = 1.0 / max(float(distances[i]), MIN_PAIR_DISTANCE)
        scale[len(TERMS) :] = scale[TERMS.index("style")]
    if content is not None and config.strength < 1:
        target = blend([content, style], [1 - config.strength, config.strength])
        terms_of = _make_terms(analyzer, S_content, target)
    weights = [getattr(config, f"{term}_weight") for term in TERMS]

    @tf.function(input_signature=[tf.TensorSpec(S_content.shape, tf.float32)])  # type: ignore[untyped-decorator]
    def evaluate(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            terms = scale * terms_of((x - 1.0) * config.top_db)
            total = losses.total_loss(tf.unstack(terms[: len(TERMS)]), weights)
        return total, tape.gradient(total, x), terms

    loudest = np.maximum(S_start.max(axis=1), style.peak)[:, None]
    layers = [name for name, _ in config.style_layers]
    return Objective(evaluate, layers, 0.0, to_variable(loudest, config))


def _make_terms(
    analyzer: Analyzer, S_content: Array, style: StyleTarget
) -> Callable[[Tensor], Tensor]:
    """Make the terms: those of `TERMS`, then the style loss of each of the network's layers."""
    config = analyzer.config
    style_losses = {
        name: _style_loss(config, source.bands, style, name)
        for source in analyzer.sources
        for name, _ in source.layers
    }
    features = analyzer.content_features(S_content)
    in_spectrogram = _spectrogram_terms(config, tf.constant(S_content), style)

    def terms_of(S: Tensor) -> Tensor:
        found = analyzer.activations(S)
        terms = {name: loss(S) for name, loss in in_spectrogram.items()}
        terms["content"] = _weighted_mean(
            [losses.content_loss(found[n], features[n]) for n, _ in config.content_layers],
            config.content_layers,
        )
        of_layer = {name: loss(found[name]) for name, loss in style_losses.items()}
        for source in analyzer.sources:
            values = [of_layer[name] for name, _ in source.layers]
            terms[source.term] = _weighted_mean(values, source.layers)
        unused = tf.constant(0.0)
        layers = [of_layer[name] for name, _ in config.style_layers]
        return tf.stack([*(terms.get(name, unused) for name in TERMS), *layers])

    return terms_of


def _spectrogram_terms(
    config: TransferConfig, S_content: Tensor, style: StyleTarget
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Make the terms that need no network, all but those of weight 0."""
    partials = mel_losses.fine_structure(S_content)
    onsets = mel_losses.onset_strength(S_content)
    levels = mel_losses.frame_levels(S_content)
    spectral_target = spectral.power_to_db(style.mel_mean[:, None], config)[:, 0]
    temporal_target = np.asarray(style.temporal, np.float32)
    terms: dict[str, Callable[[Tensor], Tensor]] = {
        "pitch": lambda S: mel_losses.pitch_loss(S, partials),
        "onset": lambda S: mel_losses.onset_loss(S, onsets),
        "rhythm": lambda S: mel_losses.rhythm_loss(S, levels),
        "envelope": lambda S: mel_losses.envelope_loss(
            S, spectral_target, temporal_target, config.top_db
        ),
    }
    return {name: loss for name, loss in terms.items() if getattr(config, f"{name}_weight") > 0}


def _weighted_mean(terms: Sequence[Tensor], layers: LayerWeights) -> Tensor:
    """Weigh the terms of the layers; weights that are all 0 (with alpha or beta 0) give 0."""
    total = max(sum(weight for _, weight in layers), 1e-12)
    return tf.add_n([w / total * term for (_, w), term in zip(layers, terms, strict=True)])


def _style_loss(
    config: TransferConfig, bands: int, style: StyleTarget, layer: str
) -> Callable[[Tensor], Tensor]:
    """Make the style loss of one layer: activations in, scalar out."""
    statistic = config.style_statistic
    target_gram, target_mean = tf.constant(style.grams[layer]), tf.constant(style.means[layer])
    if statistic == "gram":
        return lambda A: losses.style_loss(losses.gram_matrix(A, bands), target_gram)
    if statistic == "moments":
        return lambda A: losses.moments_loss(
            losses.gram_matrix(A, bands), losses.band_means(A, bands), target_gram, target_mean
        )
    target_covariance = losses.covariance(target_gram, target_mean)
    if layer not in style.roots:
        style.roots[layer] = _exact_root(target_covariance.numpy())
    target_root = tf.constant(style.roots[layer])
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
