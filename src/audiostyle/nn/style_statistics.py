"""Style statistics: what a style is reduced to, accumulated over any number of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.fields import LayerWeights
from audiostyle.config.registry import MUSIC_LAYERS, NETWORKS
from audiostyle.config.transfer_config import TransferConfig

MUSIC = "music/"  # prefix of the layers of the second network
TEXTURE = "texture"  # name of the layer of `spectrogram_losses.texture_features`


@dataclass(frozen=True)
class StyleTerm:
    """A term of the objective that compares statistics of layers."""

    name: str  # "style", "music" or "texture"
    layers: LayerWeights  # among `FeatureAnalyzer.activations`
    bands: int


def style_terms(config: TransferConfig) -> list[StyleTerm]:
    """Return the terms that compare statistics: "style" always and first, others by weight."""
    terms = [StyleTerm("style", config.style_layers, config.bands)]
    if config.music_weight > 0:
        layers = tuple((MUSIC + name, weight) for name, weight in MUSIC_LAYERS)
        terms.append(StyleTerm("music", layers, NETWORKS["musicnn-vgg"].bands))
    if config.texture_weight > 0:
        terms.append(StyleTerm("texture", ((TEXTURE, 1.0),), 1))
    return terms


@dataclass
class StyleStatistics:
    """Statistics of a style, of any length.

    `axes` caches the principal axes of the covariances by layer: they take a while to compute, and
    one style may serve many contents.
    """

    grams: dict[str, Array]  # by layer [shape=(bands, C, C)], averaged over all positions
    means: dict[str, Array]  # by layer [shape=(bands, C)]
    mel_mean: Array  # [shape=(n_mels,)], mean mel power over time
    temporal: Array  # [shape=(ENVELOPE_QUANTILES,), dB], quantiles of the power of the frames
    peak: Array  # [shape=(n_mels,), dB], maximum of each band
    n_frames: int
    axes: dict[str, tuple[Array, Array, Array]] = field(
        default_factory=dict, repr=False, metadata={"derived": True}
    )


def blend_statistics(
    styles: Sequence[StyleStatistics], weights: Sequence[float]
) -> StyleStatistics:
    """Weighted mean of several styles; peaks are maxima. A single style is returned itself."""
    if len(styles) == 1:
        return styles[0]
    shares = np.asarray(weights, float) / np.sum(weights)
    pairs = list(zip(shares, styles, strict=True))

    def mean(name: str, layer: str) -> Array:
        total = sum(share * getattr(s, name)[layer].astype(np.float64) for share, s in pairs)
        return np.asarray(total, np.float32)

    return StyleStatistics(
        {layer: mean("grams", layer) for layer in styles[0].grams},
        {layer: mean("means", layer) for layer in styles[0].means},
        np.asarray(sum(share * s.mel_mean for share, s in pairs)),
        np.asarray(sum(share * s.temporal for share, s in pairs)),
        np.max([s.peak for s in styles], axis=0),
        sum(s.n_frames for s in styles),
    )


class StyleStatisticsAccumulator:
    """Running sums of the statistics of windows, weighted by their lengths, in float64."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, Array]] = {"grams": {}, "means": {}}
        self._mel: Array | float = 0.0
        self._temporal: Array | float = 0.0
        self._peak: Array | None = None
        self._n_frames = 0

    def add(self, window: StyleStatistics) -> None:
        """Add a window."""
        n = window.n_frames
        for kind, sums in self._sums.items():
            for layer, values in getattr(window, kind).items():
                sums[layer] = sums.get(layer, 0.0) + n * values.astype(np.float64)
        self._mel = self._mel + n * window.mel_mean
        self._temporal = self._temporal + n * window.temporal
        self._peak = window.peak if self._peak is None else np.maximum(self._peak, window.peak)
        self._n_frames += n

    def total(self) -> StyleStatistics:
        """Return the statistics of all windows; raises ValueError if there are none."""
        if self._peak is None:
            raise ValueError("no window was added")
        n = self._n_frames
        grams, means = (
            {layer: (values / n).astype(np.float32) for layer, values in sums.items()}
            for sums in self._sums.values()
        )
        mel_mean, temporal = np.asarray(self._mel / n), np.asarray(self._temporal / n)
        return StyleStatistics(grams, means, mel_mean, temporal, self._peak, n)
