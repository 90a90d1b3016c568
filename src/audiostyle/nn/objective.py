"""The objective that keeps a spectrogram near its content and pulls it towards a style.

What differs from pair to pair is handed over as data, so that TensorFlow traces one function for
all of them. Several windows can be stacked: each has a loss and a gradient of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle.config.fields import LayerWeights
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.events import TERMS
from audiostyle.nn import band_statistics, loss_registry, spectrogram_losses, style_losses
from audiostyle.nn.features import FeatureAnalyzer, NetworkFeatures
from audiostyle.nn.style_statistics import StyleStatistics

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types
Data = dict[str, Tensor]
Statistics = dict[str, tuple[Tensor, Tensor]]
Axes = dict[str, tuple[Array, Array, Array]]

MIN_PAIR_DISTANCE = 0.02  # below it content and style are one style, and nothing is scaled up


class StyleObjective:
    """The losses of a configuration and their gradient, for any content and any style.

    Parameters
    ----------
    analyzer : Analyzer

    Attributes
    ----------
    more : list of str
        Names of the losses that were registered, which follow the `TERMS`.
    layers : list of str
        Names of the style layers whose losses follow these.
    """

    def __init__(self, analyzer: FeatureAnalyzer) -> None:
        self.analyzer = analyzer
        self.config = analyzer.config
        self.layers = [name for name, _ in self.config.style_layers]
        self._weights = self.config.loss_weights
        self.more = list(self._weights)[len(TERMS) :]
        self._kept = loss_registry.make_losses(self.config)
        self._distances = tf.function(
            self._compute_distances, autograph=False, reduce_retracing=True
        )

    def prepare(
        self, S_content: Array, S_start: Array, style: StyleStatistics, analysis: NetworkFeatures
    ) -> tuple[Data, Tensor]:
        """Gather what is the pair's own.

        Parameters
        ----------
        S_content, S_start : np.ndarray [shape=(batch, n_mels, t), dB]
            No band of the result gets louder than it ever is in the start or in the style: a peak
            of a single frame would cost the statistics little, and could not be turned into sound.
        style : StyleStatistics
        analysis : Analysis
            Of the content. Where ``strength < 1`` the target lies on the straight line from the
            content's own statistics (strength 0) to those of the style (strength 1), so that at
            strength 0 the content itself is the minimum of all losses.

        Returns
        -------
        data : dict of str to tf.Tensor
            For `evaluate`.
        upper : tf.Tensor [shape=(batch, n_mels, 1)]
            Upper bound of the variable.
        """
        config = self.config
        target = self._style_data(_as_statistics(style), style.axes)
        data = self._content_data(S_content, analysis) | target
        n_terms = len(self._weights)
        scale = np.ones((len(S_content), n_terms + len(self.layers)), np.float32)
        if config.style_norm == "pair":
            distances = self._distances(analysis.statistics, target)
            for source in self.analyzer.sources:
                distance = distances[source.term].numpy()
                scale[:, TERMS.index(source.term)] = 1.0 / np.maximum(distance, MIN_PAIR_DISTANCE)
            scale[:, n_terms:] = scale[:, [TERMS.index("style")]]
        data["scale"] = tf.constant(scale)
        if config.strength < 1:
            data |= self._style_data(_mix(analysis.statistics, style, config.strength), {})
        if config.envelope_weight > 0:
            data |= self._envelope_data(tf.constant(S_content), style)
        loudest = np.maximum(S_start.max(axis=2), style.peak)[:, :, None]
        return data, to_variable(loudest, config)

    def signature(self, data: Data) -> tuple[Any, Any]:
        """Shapes of variable and data, with batch and time left open.

        Parameters
        ----------
        data : dict
            An example, from `prepare`.

        Returns
        -------
        x, data : tf.TensorSpec, dict of str to tf.TensorSpec
        """

        def spec(name: str, value: Tensor) -> Any:
            shape = [None, *value.shape[1:]]
            if name.startswith("features/"):
                shape[2] = None
            if name.startswith("kept/"):  # which of its axes is time, only the loss itself knows
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
        data : dict
            From `prepare`.

        Returns
        -------
        total : tf.Tensor [shape=(batch,)]
        gradient : tf.Tensor [shape of `x`]
        terms : tf.Tensor [shape=(batch, len(TERMS) + len(more) + len(layers))]
            `TERMS` and `more`, before their weights, then the style loss of each layer.
        """
        S = (x - 1.0) * self.config.top_db
        with tf.GradientTape() as through_networks:
            through_networks.watch(S)
            found = self.analyzer.activations(S)
        content, slopes = self._content_term(found, data)
        of_layers = self._style_losses(self.analyzer.statistics(found), data)
        for name, slope in self._style_slopes(found, of_layers, data).items():
            slopes[name] = slopes[name] + slope if name in slopes else slope
        with tf.GradientTape() as tape:
            tape.watch(S)
            terms = self._spectrogram_terms(S, data)
            weighted = [self._weights[name] * term for name, term in terms.items()]
        by_S = tape.gradient(weighted, S) if weighted else tf.zeros_like(S)
        by_S = tf.convert_to_tensor(by_S)  # of a loss that gathers, it may be sparse
        terms |= {"content": content, **self._style_terms(of_layers)}
        unused = tf.zeros_like(content)
        values = [terms.get(name, unused) for name in self._weights]
        values += [of_layers[name].value for name in self.layers]
        scaled = tf.stack(values, axis=1) * data["scale"]
        parts = tf.unstack(scaled[:, : len(self._weights)], axis=1)
        total = style_losses.total_loss(parts, list(self._weights.values()))
        names = list(slopes)
        by_networks = through_networks.gradient(
            [found[n] for n in names], S, output_gradients=[slopes[n] for n in names]
        )
        return total, (by_S + by_networks) * self.config.top_db, scaled

    def _content_data(self, S_content: Array, analysis: NetworkFeatures) -> Data:
        S = tf.constant(S_content)
        data = {f"features/{name}": A for name, A in analysis.features.items()}
        for name, A in analysis.features.items():
            energy = tf.reduce_sum(tf.square(tf.cast(A, tf.float32)), axis=(1, 2, 3))
            data[f"energy/{name}"] = energy
        return data | {f"kept/{name}": loss.target(S) for name, loss in self._kept.items()}

    def _style_data(self, statistics: Statistics, axes: Axes) -> Data:
        """Targets of the style losses; `axes` is looked up, and filled."""
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

    def _content_term(
        self, found: dict[str, Tensor], data: Data
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Content loss, and its weighted gradient by each layer, in closed form."""
        values, slopes = [], {}
        for name, weight in _shares(self.config.content_layers):
            target, energy = data[f"features/{name}"], data[f"energy/{name}"]
            value, slope = style_losses.content_loss(found[name], target, energy)
            values.append(weight * value)
            slopes[name] = tf.cast(self._weights["content"] * weight, slope.dtype) * slope
        return tf.add_n(values), slopes

    def _style_losses(
        self, statistics: Statistics, data: Data
    ) -> dict[str, style_losses.StyleDistance]:
        """Compare every layer that style is taken from with its target."""
        return {name: self._style_loss(name, *s, data) for name, s in statistics.items()}

    def _compute_distances(self, statistics: Statistics, data: Data) -> dict[str, Tensor]:
        return self._style_terms(self._style_losses(statistics, data))

    def _style_terms(self, of_layers: dict[str, style_losses.StyleDistance]) -> dict[str, Tensor]:
        """Weighted means of the losses of the layers, of each source."""
        return {
            source.term: tf.add_n(
                [share * of_layers[name].value for name, share in _shares(source.layers)]
            )
            for source in self.analyzer.sources
        }

    def _style_slopes(
        self, found: dict[str, Tensor], of_layers: dict[str, style_losses.StyleDistance], data: Data
    ) -> dict[str, Tensor]:
        """Gradient of the weighted style terms by the activations of each layer."""
        slopes: dict[str, Tensor] = {}
        for source in self.analyzer.sources:
            weight = getattr(self.config, f"{source.term}_weight")
            of_item = weight * data["scale"][:, TERMS.index(source.term)]
            for name, share in _shares(source.layers):
                factor = share * of_item[:, None, None]
                by_gram = factor[..., None] * of_layers[name].by_gram
                by_mean = factor * of_layers[name].by_mean
                slopes[name] = band_statistics.statistics_gradient(
                    found[name], by_gram, by_mean, source.bands
                )
        return slopes

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
        """Terms that need no network, all but those of weight 0."""
        terms = {name: loss(S, data[f"kept/{name}"]) for name, loss in self._kept.items()}
        if self.config.envelope_weight > 0:
            terms["envelope"] = spectrogram_losses.envelope_loss(
                S, data["spectral"], data["temporal"], self.config.top_db
            )
        return terms


def _shares(layers: LayerWeights) -> Sequence[tuple[str, float]]:
    """Divide weights by their sum; weights that are all 0 (with alpha or beta 0) stay 0."""
    total = max(sum(weight for _, weight in layers), 1e-12)
    return [(name, weight / total) for name, weight in layers]


def _as_statistics(style: StyleStatistics) -> Statistics:
    """Return the statistics of a style as a batch of one."""
    return {
        name: (tf.constant(style.grams[name][None]), tf.constant(style.means[name][None]))
        for name in style.grams
    }


def _mix(own: Statistics, style: StyleStatistics, strength: float) -> Statistics:
    """Return statistics on the way from the contents' own to those of a style."""
    return {
        name: (
            (1 - strength) * own[name][0] + strength * gram,
            (1 - strength) * own[name][1] + strength * mean,
        )
        for name, (gram, mean) in _as_statistics(style).items()
    }


def to_variable(S: Array, config: TransferConfig) -> Tensor:
    """Map dB to the variable of the descent: 0 (``-top_db``) .. 1 (0 dB).

    Parameters
    ----------
    S : np.ndarray [shape=(..., n_mels, t), dB]
    config : TransferConfig

    Returns
    -------
    tf.Tensor
    """
    return tf.constant(1.0 + np.asarray(S, np.float32) / config.top_db)


def from_variable(x: Tensor, config: TransferConfig) -> Array:
    """Inverse of `to_variable`.

    Parameters
    ----------
    x : tf.Tensor [shape=(..., n_mels, t), 0..1]
    config : TransferConfig

    Returns
    -------
    np.ndarray
    """
    return np.asarray((x.numpy() - 1.0) * config.top_db, np.float32)
