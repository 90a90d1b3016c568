"""A style as statistics: what is taken from it, gathered over any number of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.fields import LayerWeights
from audiostyle.config.network_specs import MUSIC_LAYERS, NETWORKS
from audiostyle.config.transfer_config import TransferConfig

Array = npt.NDArray[Any]

MUSIC = "music/"  # before the names of the second network's layers
TEXTURE = "texture"  # the layer that the spectrogram's own statistics are


@dataclass(frozen=True)
class StyleTerm:
    """Layers whose statistics make one term of the objective.

    Attributes
    ----------
    term : str
        ``style``, ``music`` or ``texture``.
    layers : tuple of (str, float)
        Names among `audiostyle.nn.features.FeatureAnalyzer.activations`, with their weights.
    bands : int
    """

    term: str
    layers: LayerWeights
    bands: int


def style_terms(config: TransferConfig) -> list[StyleTerm]:
    """List what the style is taken from: all sources whose weight is not 0.

    Parameters
    ----------
    config : TransferConfig

    Returns
    -------
    list of StyleTerm
        The network's own layers always, and first.
    """
    sources = [StyleTerm("style", config.style_layers, config.bands)]
    if config.music_weight > 0:
        layers = tuple((MUSIC + name, weight) for name, weight in MUSIC_LAYERS)
        sources.append(StyleTerm("music", layers, NETWORKS["musicnn-vgg"].bands))
    if config.texture_weight > 0:
        sources.append(StyleTerm("texture", ((TEXTURE, 1.0),), 1))
    return sources


@dataclass
class StyleStatistics:
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
    axes : dict of str to tuple of np.ndarray
        Principal axes of the covariances, kept once they were needed: they take a while, and a
        style may serve many contents.
    """

    grams: dict[str, Array]
    means: dict[str, Array]
    mel_mean: Array
    temporal: Array
    peak: Array
    n_frames: int
    axes: dict[str, tuple[Array, Array, Array]] = field(
        default_factory=dict, repr=False, metadata={"derived": True}
    )


def blend_statistics(
    targets: Sequence[StyleStatistics], weights: Sequence[float]
) -> StyleStatistics:
    """Weighted mean of the statistics of several styles.

    Parameters
    ----------
    targets : sequence of StyleStatistics
    weights : sequence of float >= 0
        Relative; they are divided by their sum.

    Returns
    -------
    StyleStatistics
        Of one style, that style itself.
    """
    if len(targets) == 1:
        return targets[0]
    shares = np.asarray(weights, float) / np.sum(weights)
    pairs = list(zip(shares, targets, strict=True))

    def mean(name: str, layer: str) -> Array:
        total = sum(share * getattr(t, name)[layer].astype(np.float64) for share, t in pairs)
        return np.asarray(total, np.float32)

    return StyleStatistics(
        {layer: mean("grams", layer) for layer in targets[0].grams},
        {layer: mean("means", layer) for layer in targets[0].means},
        np.asarray(sum(share * t.mel_mean for share, t in pairs)),
        np.asarray(sum(share * t.temporal for share, t in pairs)),
        np.max([t.peak for t in targets], axis=0),
        sum(t.n_frames for t in targets),
    )


class StyleStatisticsAccumulator:
    """The statistics of a style as its windows come, with only their sums held.

    Windows are pooled as if they were one clip; the sum is exact to the rounding of float64.
    """

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, Array]] = {"grams": {}, "means": {}}
        self._mel: Array | float = 0.0
        self._temporal: Array | float = 0.0
        self._peak: Array | None = None
        self._n_frames = 0

    def add(self, target: StyleStatistics) -> None:
        """Add a window.

        Parameters
        ----------
        target : StyleStatistics
        """
        n = target.n_frames
        for kind, sums in self._sums.items():
            for layer, values in getattr(target, kind).items():
                sums[layer] = sums.get(layer, 0.0) + n * values.astype(np.float64)
        self._mel = self._mel + n * target.mel_mean
        self._temporal = self._temporal + n * target.temporal
        self._peak = target.peak if self._peak is None else np.maximum(self._peak, target.peak)
        self._n_frames += n

    def total(self) -> StyleStatistics:
        """Return the statistics of all windows so far.

        Returns
        -------
        StyleStatistics

        Raises
        ------
        ValueError
            If no window was added.
        """
        if self._peak is None:
            raise ValueError("no window was added")
        n = self._n_frames
        grams, means = (
            {layer: (values / n).astype(np.float32) for layer, values in sums.items()}
            for sums in self._sums.values()
        )
        mel_mean, temporal = np.asarray(self._mel / n), np.asarray(self._temporal / n)
        return StyleStatistics(grams, means, mel_mean, temporal, self._peak, n)
