"""Networks at work: from spectrograms to activations, features and statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.segmentation import split_frames
from audiostyle.nn import backbones, band_statistics, spectrogram_losses
from audiostyle.nn.backbones import FeatureExtractor
from audiostyle.nn.style_statistics import (
    MUSIC,
    TEXTURE,
    StyleStatistics,
    StyleStatisticsAccumulator,
    style_terms,
)

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types


@dataclass(frozen=True)
class NetworkFeatures:
    """What the networks find in spectrograms, each of them run once.

    Attributes
    ----------
    features : dict of str to tf.Tensor [shape=(batch, F, T, C)]
        Activations of the content layers.
    statistics : dict of str to (tf.Tensor, tf.Tensor)
        `audiostyle.nn.band_statistics.statistics` of every layer that style is taken from.
    """

    features: dict[str, Tensor]
    statistics: dict[str, tuple[Tensor, Tensor]]


class FeatureAnalyzer:
    """The networks of a configuration, traced once for clips of any length.

    Parameters
    ----------
    network : FeatureExtractor
    config : TransferConfig
    """

    def __init__(self, network: FeatureExtractor, config: TransferConfig) -> None:
        self.network = network
        self.config = config
        self.sources = style_terms(config)
        self._music = backbones.build_music_network(config) if config.music_weight > 0 else None
        signature = [tf.TensorSpec((None, config.n_mels, None), tf.float32)]
        self._analyse = tf.function(self._compute, input_signature=signature, autograph=False)

    @property
    def min_frames(self) -> int:
        """The fewest frames that every network takes."""
        used = (self.network, self._music)
        return max(network.min_frames for network in used if network is not None)

    def activations(self, S: Tensor) -> dict[str, Tensor]:
        """Activations of all layers of content and style.

        Parameters
        ----------
        S : tf.Tensor [shape=(batch, n_mels, t), dB]

        Returns
        -------
        dict of str to tf.Tensor
        """
        picture = S[..., None]
        found: dict[str, Tensor] = dict(self.network(picture))
        if self._music is not None:
            found |= {MUSIC + name: A for name, A in self._music(picture).items()}
        if self.config.texture_weight > 0:
            found[TEXTURE] = spectrogram_losses.texture_features(S, self.config.top_db)
        return found

    def statistics(self, found: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Statistics of every layer that style is taken from.

        Parameters
        ----------
        found : dict
            From `activations`.

        Returns
        -------
        dict of str to (tf.Tensor, tf.Tensor)
        """
        return {
            name: band_statistics.statistics(found[name], source.bands)
            for source in self.sources
            for name, _ in source.layers
        }

    def _compute(self, S: Tensor) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]:
        found = self.activations(S)
        features = {name: found[name] for name, _ in self.config.content_layers}
        return features, self.statistics(found)

    def analyse(self, S: Array) -> NetworkFeatures:
        """Run the networks over spectrograms of one length.

        Parameters
        ----------
        S : np.ndarray [shape=(batch, n_mels, t), dB]

        Returns
        -------
        Analysis
        """
        return NetworkFeatures(*self._analyse(tf.constant(np.asarray(S, np.float32))))

    def target_shapes(self) -> dict[str, tuple[int, ...]]:
        """Say what shapes the statistics of a style have that depend on the networks.

        Returns
        -------
        dict of str to tuple of int
            By the field of a `StyleStatistics`, and of one by layers also the layer: ``grams/conv1``.
        """
        graph = self._analyse.get_concrete_function()  # the one that `analyse` runs
        found: dict[str, tuple[int, ...]] = {"temporal": (spectrogram_losses.ENVELOPE_QUANTILES,)}
        for name, (gram, mean) in graph.structured_outputs[1].items():
            found |= {
                f"grams/{name}": tuple(gram.shape[1:]),
                f"means/{name}": tuple(mean.shape[1:]),
            }
        return found

    def window_target(self, S: Array) -> StyleStatistics:
        """Statistics of a piece of a style.

        Parameters
        ----------
        S : np.ndarray [shape=(n_mels, t), dB]

        Returns
        -------
        StyleStatistics
        """
        statistics = self.analyse(S[None]).statistics
        return StyleStatistics(
            grams={name: gram[0].numpy() for name, (gram, _) in statistics.items()},
            means={name: mean[0].numpy() for name, (_, mean) in statistics.items()},
            mel_mean=spectrogram.db_to_power(S).mean(axis=1, dtype=np.float64),
            temporal=spectrogram_losses.temporal_envelope(tf.constant(S))
            .numpy()
            .astype(np.float64),
            peak=S.max(axis=1),
            n_frames=S.shape[1],
        )

    def style_target(self, spectrograms: Iterable[Array]) -> StyleStatistics:
        """Statistics of a style, accumulated over its clips as if they were one.

        Parameters
        ----------
        spectrograms : iterable of np.ndarray [shape=(n_mels, t), dB]
            The iterable may be lazy: one is held at a time.

        Returns
        -------
        StyleStatistics
        """
        pool = StyleStatisticsAccumulator()
        for S in spectrograms:
            for first, last in split_frames(S.shape[1]):
                pool.add(self.window_target(S[:, first:last]))
        return pool.total()
