"""Objective: keep a spectrogram close to its content, and match the statistics of a style.

What differs from pair to pair is passed as data, so that TensorFlow traces one function for all
pairs. Several windows can be stacked; each has its own loss and gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Array, Tensor
from audiostyle.config.fields import LayerWeights
from audiostyle.dsp import spectrogram
from audiostyle.events import TERMS
from audiostyle.nn import loss_registry, spectrogram_losses, style_losses
from audiostyle.nn.features import FeatureAnalyzer, NetworkFeatures
from audiostyle.nn.style_statistics import StyleStatistics
from audiostyle.utils.lazy_imports import paused_collection

Data = dict[str, Tensor]
Statistics = dict[str, tuple[Tensor, Tensor]]
Axes = dict[str, tuple[Array, Array, Array]]
Layers = dict[str, Tensor]  # activations, or the gradients by them, by the name of the layer
Distances = dict[str, style_losses.StyleDistance]

# Statistics over all frames mix what notes tell apart, and would undo the levels predicted from
# notes. Share of each term that is given up at full confidence in these.
YIELD = {"style": 0.75, "music": 0.75, "texture": 1.0}
MIN_PAIR_DISTANCE = 0.02  # content and style closer than this are not scaled up


class StyleObjective:
    """Losses of a configuration and their gradient, for any content and any style.

    The terms are the `TERMS`, then the plugin losses (`more`), then the style layers (`layers`).
    """

    def __init__(self, analyzer: FeatureAnalyzer) -> None:
        self.analyzer = analyzer
        self.config = analyzer.config
        self.layers = [name for name, _ in self.config.style_layers]
        self._weights = self.config.loss_weights
        self.more = list(self._weights)[len(TERMS) :]
        self._content_losses = loss_registry.make_losses(self.config)

        @paused_collection()
        def distances(statistics: Statistics, data: Data) -> dict[str, Tensor]:
            return self._style_terms(self._layer_distances(statistics, data))

        self._style_distances = tf.function(distances, autograph=False, reduce_retracing=True)

    def prepare(
        self,
        S_content: Array,
        S_init: Array,
        S_target: Array,
        confidence: Array,
        style: StyleStatistics,
        features: NetworkFeatures,
    ) -> tuple[Data, Tensor]:
        """Return the data of a pair, and the upper bound of the variable.

        `S_content`, `S_init` and `S_target` have the shape (batch, n_mels, t), in dB. `features`
        holds the statistics of `S_content` and the content features of `S_target`, which is so far
        from the content towards `S_init` as `confidence` [shape=(batch,)] says.

        Where ``strength < 1``, the target statistics lie on the straight line from the content's
        own (strength 0) to those of the style (strength 1), so that at strength 0 the content
        itself minimises all losses.

        The bound [shape=(batch, n_mels, 1)] is the maximum of each band in the start and the style.
        A louder peak of a single frame would cost the statistics little, but could not be converted
        to audio.
        """
        config = self.config
        style_data = self._style_data(_as_batch(style), style.axes)
        data = self._content_data(S_content, S_target, features) | style_data
        n_terms = len(self._weights)
        scale = np.ones((len(S_content), n_terms + len(self.layers)), np.float32)
        if config.style_norm == "pair":
            for name, distances in self._style_distances(features.statistics, style_data).items():
                distance = np.maximum(distances.numpy(), MIN_PAIR_DISTANCE)
                scale[:, TERMS.index(name)] = 1.0 / distance
            scale[:, n_terms:] = scale[:, [TERMS.index("style")]]
        for term, share in YIELD.items():
            scale[:, TERMS.index(term)] *= 1 - share * confidence
        data["scale"] = tf.constant(scale)
        if config.strength < 1:
            s = config.strength
            between = tf.nest.map_structure(
                lambda ours, theirs: (1 - s) * ours + s * theirs,
                features.statistics,
                _as_batch(style),
            )
            data |= self._style_data(between, {})
        if config.envelope_weight > 0:
            data |= self._envelope_data(tf.constant(S_content), style)
        peak = np.maximum(S_init.max(axis=2), style.peak)[:, :, None]
        return data, to_variable(peak, config.top_db)

    def example(self) -> tuple[Tensor, Data]:
        """Return a variable, and data with the `signature` of any pair, of the shortest clip."""
        config, n_frames = self.config, self.analyzer.min_frames
        S = np.zeros((1, config.n_mels, n_frames), np.float32)
        features = self.analyzer.analyze(S)
        axes = {
            name: style_losses.blank_axes(gram) for name, (gram, _) in features.statistics.items()
        }
        data = self._content_data(S, S, features) | self._style_data(features.statistics, axes)
        data["scale"] = tf.ones((1, len(self._weights) + len(self.layers)))
        if config.envelope_weight > 0:
            data["spectral"] = tf.zeros((1, config.n_mels))
            data["temporal"] = tf.zeros((1, spectrogram_losses.ENVELOPE_QUANTILES))
        return to_variable(S, config.top_db), data

    def signature(self, data: Data) -> tuple[Any, Any]:
        """Return the ``tf.TensorSpec`` of variable and data, with batch and time left open."""

        def spec(name: str, value: Tensor) -> Any:
            shape = [None, *value.shape[1:]]
            if name.startswith("features/"):
                shape[2] = None
            if name.startswith("target/"):  # only the loss knows which of its axes is time
                shape = [None] * len(shape)
            return tf.TensorSpec(shape, value.dtype)

        x = tf.TensorSpec((None, self.config.n_mels, None), tf.float32)
        return x, {name: spec(name, value) for name, value in data.items()}

    def evaluate(self, x: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the losses and their gradient.

        Parameters
        ----------
        x : tf.Tensor [shape=(batch, n_mels, t)]
            The spectrogram, mapped to 0 (``-top_db``) .. 1 (0 dB).

        Returns
        -------
        total : tf.Tensor [shape=(batch,)]
        gradient : tf.Tensor [shape of `x`]
        terms : tf.Tensor [shape=(batch, len(TERMS) + len(more) + len(layers))]
            `TERMS` and `more` before their weights, then the style loss of each layer.
        """
        S = (x - 1.0) * self.config.top_db
        with tf.GradientTape() as network_tape:
            network_tape.watch(S)
            activations = self.analyzer.activations(S)
        content, gradients = self._content_term(activations, data)
        distances = self._layer_distances(self.analyzer.statistics(activations), data)
        for name, gradient in self._style_gradients(activations, distances, data).items():
            gradients[name] = gradients[name] + gradient if name in gradients else gradient
        with tf.GradientTape() as tape:
            tape.watch(S)
            terms = self._spectrogram_terms(S, data)
            weighted = [self._weights[name] * term for name, term in terms.items()]
        direct = tape.gradient(weighted, S) if weighted else tf.zeros_like(S)
        direct = tf.convert_to_tensor(direct)  # the gradient of a loss that gathers may be sparse
        terms |= {"content": content, **self._style_terms(distances)}
        zeros = tf.zeros_like(content)
        values = [terms.get(name, zeros) for name in self._weights]
        values += [distances[name].value for name in self.layers]
        scaled = tf.stack(values, axis=1) * data["scale"]
        parts = tf.unstack(scaled[:, : len(self._weights)], axis=1)
        total = style_losses.total_loss(parts, list(self._weights.values()))
        names = list(gradients)
        through_networks = network_tape.gradient(
            [activations[n] for n in names], S, output_gradients=[gradients[n] for n in names]
        )
        return total, (direct + through_networks) * self.config.top_db, scaled

    def _content_data(self, S_content: Array, S_target: Array, content: NetworkFeatures) -> Data:
        S, shipped = tf.constant(S_content), tf.constant(S_target)
        data = {
            f"target/{name}": loss.target(shipped if name in loss_registry.SHIPPED else S)
            for name, loss in self._content_losses.items()
        }
        for name, A in content.features.items():
            data[f"features/{name}"] = A
            energy = tf.reduce_sum(tf.square(tf.cast(A, tf.float32)), axis=(1, 2, 3))
            data[f"energy/{name}"] = energy
        return data

    def _style_data(self, statistics: Statistics, axes: Axes) -> Data:
        """Return the targets of the style losses; `axes` caches principal axes by layer."""
        data: Data = {}
        for name, (gram, mean) in statistics.items():
            data[f"mean/{name}"] = mean
            if self.config.style_statistic != "wasserstein":
                data[f"gram/{name}"] = gram
                continue
            if name not in axes:
                axes[name] = style_losses.principal_axes(
                    style_losses.covariance(gram, mean).numpy()
                )
            parts = zip(("axes", "deviations", "rest"), axes[name], strict=True)
            data |= {f"{part}/{name}": tf.constant(array) for part, array in parts}
        return data

    def _envelope_data(self, S_content: Tensor, style: StyleStatistics) -> Data:
        s = self.config.strength
        mel = (1 - s) * spectrogram.db_to_power(S_content.numpy()).mean(axis=2) + s * style.mel_mean
        temporal = (1 - s) * spectrogram_losses.temporal_envelope(S_content) + s * style.temporal
        return {
            "spectral": tf.constant(spectrogram.power_to_db(mel, self.config.top_db)),
            "temporal": tf.cast(temporal, tf.float32),
        }

    def _content_term(self, activations: Layers, data: Data) -> tuple[Tensor, Layers]:
        """Content loss, and its weighted gradient by the activations of each layer."""
        values, gradients = [], {}
        for name, weight in _normalized(self.config.content_layers):
            target, energy = data[f"features/{name}"], data[f"energy/{name}"]
            value, gradient = style_losses.content_loss(activations[name], target, energy)
            values.append(weight * value)
            factor = tf.cast(self._weights["content"] * weight, gradient.dtype)
            gradients[name] = factor * gradient
        return tf.add_n(values), gradients

    def _layer_distances(self, statistics: Statistics, data: Data) -> Distances:
        return {name: self._style_loss(name, *s, data) for name, s in statistics.items()}

    def _style_terms(self, distances: Distances) -> dict[str, Tensor]:
        """Weighted mean of the distances of the layers of each style term."""
        return {
            term.name: tf.add_n(
                [weight * distances[name].value for name, weight in _normalized(term.layers)]
            )
            for term in self.analyzer.style_terms
        }

    def _style_gradients(self, activations: Layers, distances: Distances, data: Data) -> Layers:
        """Gradient of the weighted style terms by the activations of each layer."""
        gradients: Layers = {}
        for term in self.analyzer.style_terms:
            per_item = self._weights[term.name] * data["scale"][:, TERMS.index(term.name)]
            for name, weight in _normalized(term.layers):
                factor = weight * tf.reshape(per_item, (-1, 1, 1))
                by_gram = tf.expand_dims(factor, 3) * distances[name].by_gram
                by_mean = factor * distances[name].by_mean
                gradients[name] = style_losses.band_statistics_gradient(
                    activations[name], by_gram, by_mean, term.bands
                )
        return gradients

    def _style_loss(
        self, name: str, gram: Tensor, mean: Tensor, data: Data
    ) -> style_losses.StyleDistance:
        target_mean = data[f"mean/{name}"]
        if self.config.style_statistic == "gram":
            return style_losses.style_loss(gram, mean, data[f"gram/{name}"])
        if self.config.style_statistic == "moments":
            return style_losses.moments_loss(gram, mean, data[f"gram/{name}"], target_mean)
        shape = (data[f"{part}/{name}"] for part in ("axes", "deviations", "rest"))
        return style_losses.wasserstein_loss(gram, mean, style_losses.Gaussian(target_mean, *shape))

    def _spectrogram_terms(self, S: Tensor, data: Data) -> dict[str, Tensor]:
        """Terms that need no network, without those of weight 0."""
        losses = self._content_losses
        terms = {name: loss(S, data[f"target/{name}"]) for name, loss in losses.items()}
        if self.config.envelope_weight > 0:
            terms["envelope"] = spectrogram_losses.envelope_loss(
                S, data["spectral"], data["temporal"], self.config.top_db
            )
        return terms


def _normalized(layers: LayerWeights) -> Sequence[tuple[str, float]]:
    """Divide weights by their sum; weights that are all 0 (with alpha or beta 0) stay 0."""
    total = max(sum(weight for _, weight in layers), 1e-12)
    return [(name, weight / total) for name, weight in layers]


def _as_batch(style: StyleStatistics) -> Statistics:
    """Return the statistics of the layers as a batch of one."""
    return {
        name: (tf.constant(style.grams[name][None]), tf.constant(style.means[name][None]))
        for name in style.grams
    }


def to_variable(S: Array, top_db: float) -> Tensor:
    """Map dB [shape=(..., n_mels, t)] to the optimised variable: 0 (``-top_db``) .. 1 (0 dB)."""
    return tf.constant(1.0 + np.asarray(S, np.float32) / top_db)


def from_variable(x: Tensor, top_db: float) -> Array:
    """Map the optimised variable [shape=(..., n_mels, t), 0..1] back to dB."""
    return np.asarray((x.numpy() - 1.0) * top_db, np.float32)
