"""Feature analysis: from spectrograms to activations of the networks and their statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Array, Tensor
from audiostyle.audio.level import to_mono
from audiostyle.audio.resampling import resample
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.level_model import LevelAnalysis, analyze_levels
from audiostyle.dsp.notes import align_posteriors, make_roll
from audiostyle.dsp.segmentation import split_frames
from audiostyle.nn import backbones, spectrogram_losses, transcription
from audiostyle.nn.backbones import FeatureExtractor
from audiostyle.nn.style_losses import band_statistics
from audiostyle.nn.style_statistics import (
    MUSIC,
    TEXTURE,
    StyleStatistics,
    StyleStatisticsAccumulator,
    style_terms,
)
from audiostyle.nn.transcription import NoteTranscriber
from audiostyle.utils.lazy_imports import paused_collection


@dataclass(frozen=True)
class NetworkFeatures:
    """Features of spectrograms, from one run of every network."""

    features: dict[str, Tensor]  # activations of the content layers [shape=(batch, F, T, C)]
    statistics: dict[str, tuple[Tensor, Tensor]]  # `band_statistics` of the style layers


class NoteLevels:
    """Describes bands and frames of a clip by the notes that a transcriber finds in it."""

    def __init__(self, config: TransferConfig) -> None:
        self._config = config
        self._transcriber = NoteTranscriber()

    def analyze(self, y: Array, S: Array) -> LevelAnalysis:
        """Analyse a window for `dsp.level_model`.

        Parameters
        ----------
        y : np.ndarray [shape=(channels, n)]
            Samples from the centre of the first frame to that of the last.
        S : np.ndarray [shape=(n_mels, t), dB]
        """
        config = self._config
        y = resample(to_mono(y)[None], config.sr, transcription.SAMPLE_RATE)
        seconds = transcription.HOP_LENGTH / transcription.SAMPLE_RATE
        note, onset = (
            align_posteriors(p, S.shape[1], seconds, config.hop_length / config.sr)
            for p in self._transcriber.posteriors(y)
        )
        return analyze_levels(S, make_roll(note, onset, S, config), config)


class FeatureAnalyzer:
    """The networks of a configuration, traced once for clips of any length."""

    def __init__(self, network: FeatureExtractor, config: TransferConfig) -> None:
        self.network = network
        self.config = config
        self.style_terms = style_terms(config)
        self._music = backbones.build_music_network(config) if config.music_weight > 0 else None
        networks = [network] if self._music is None else [network, self._music]
        self.notes = NoteLevels(config) if config.init == "notes" else None
        self.min_frames = max(network.min_frames for network in networks)
        signature = [tf.TensorSpec((None, config.n_mels, None), tf.float32)]
        compute = paused_collection()(self._compute)
        self._analyze = tf.function(compute, input_signature=signature, autograph=False)

    def activations(self, S: Tensor) -> dict[str, Tensor]:
        """Activations [shape=(batch, F, T, C)] of all layers for S [shape=(batch, n_mels, t)]."""
        image = S[..., None]
        activations: dict[str, Tensor] = dict(self.network(image))
        if self._music is not None:
            activations |= {MUSIC + name: A for name, A in self._music(image).items()}
        if self.config.texture_weight > 0:
            activations[TEXTURE] = spectrogram_losses.texture_features(S, self.config.top_db)
        return activations

    def statistics(self, activations: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """`band_statistics` of every style layer."""
        return {
            name: band_statistics(activations[name], term.bands)
            for term in self.style_terms
            for name, _ in term.layers
        }

    def _compute(self, S: Tensor) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]:
        activations = self.activations(S)
        features = {name: activations[name] for name, _ in self.config.content_layers}
        return features, self.statistics(activations)

    def analyze(self, S: Array) -> NetworkFeatures:
        """Run the networks over spectrograms of one length [shape=(batch, n_mels, t), dB]."""
        return NetworkFeatures(*self._analyze(tf.constant(np.asarray(S, np.float32))))

    def statistics_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the style statistics that depend on the networks.

        Keys are fields of `StyleStatistics`, with the layer where there is one: ``grams/conv1``.
        """
        graph = self._analyze.get_concrete_function()  # the one that `analyze` runs
        shapes: dict[str, tuple[int, ...]] = {"temporal": (spectrogram_losses.ENVELOPE_QUANTILES,)}
        for name, (gram, mean) in graph.structured_outputs[1].items():
            shapes[f"grams/{name}"] = tuple(gram.shape[1:])
            shapes[f"means/{name}"] = tuple(mean.shape[1:])
        return shapes

    def window_statistics(self, S: Array) -> StyleStatistics:
        """Statistics of one window of a style [shape=(n_mels, t), dB]."""
        statistics = self.analyze(S[None]).statistics
        temporal = spectrogram_losses.temporal_envelope(tf.constant(S))
        return StyleStatistics(
            grams={name: gram[0].numpy() for name, (gram, _) in statistics.items()},
            means={name: mean[0].numpy() for name, (_, mean) in statistics.items()},
            mel_mean=spectrogram.db_to_power(S).mean(axis=1, dtype=np.float64),
            temporal=temporal.numpy().astype(np.float64),
            peak=S.max(axis=1),
            n_frames=S.shape[1],
        )

    def style_statistics(self, spectrograms: Iterable[Array]) -> StyleStatistics:
        """Statistics of a style, over all clips as if they were one [shape=(n_mels, t), dB].

        The iterable may be lazy: one spectrogram is in memory at a time.
        """
        accumulator = StyleStatisticsAccumulator()
        for S in spectrograms:
            for first, last in split_frames(S.shape[1]):
                accumulator.add(self.window_statistics(S[:, first:last]))
        return accumulator.total()
