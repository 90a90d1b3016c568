from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.nn.backbones import build_network
from audiostyle.nn.features import FeatureAnalyzer, NoteLevels
from tests.conftest import CHORDS, REED, SR, make_chords, make_noise


@pytest.mark.parametrize("changes", [
    {},
    {"bands": 60},  # more than rows
    {"music_weight": 0.0, "texture_weight": 0.0, "bands": 1},
    {"network": "random-1d", "style_layers": (("width11", 1.0),), "content_layers":
     (("width11", 1.0),), "bands": 1, "music_weight": 0.0},
])  # fmt: skip
def test_statistics_shapes_are_the_shapes_of_the_statistics(
    changes: dict[str, Any], tiny_config: TransferConfig
) -> None:
    config = dataclasses.replace(tiny_config, **changes)
    analyzer = FeatureAnalyzer(build_network(config), config)
    y = make_noise(1.0)[None]
    target = analyzer.window_statistics(spectrogram.mel_spectrogram(y, config))
    found = {"temporal": target.temporal.shape}
    for kind in ("grams", "means"):
        found |= {f"{kind}/{name}": a.shape for name, a in getattr(target, kind).items()}
    assert analyzer.statistics_shapes() == found


def test_statistics_shapes_trace_no_graph_of_their_own(tiny_config: TransferConfig) -> None:
    analyzer = FeatureAnalyzer(build_network(tiny_config), tiny_config)
    traces = []
    compute = analyzer._analyze.python_function
    analyzer._analyze = tf.function(
        lambda S: traces.append(1) or compute(S),
        input_signature=analyzer._analyze.input_signature,
        autograph=False,
    )
    S = spectrogram.mel_spectrogram(make_noise(1.0)[None], tiny_config)
    for _ in range(2):
        analyzer.statistics_shapes()
        analyzer.window_statistics(S)
    assert len(traces) == 1


def test_channels_in_antiphase_are_described_by_the_notes_of_one(
    tiny_config: TransferConfig,
) -> None:
    """Their mean is silence."""
    y = make_chords(CHORDS[:3], REED, 0.5)[None]
    S = spectrogram.mel_spectrogram(y, tiny_config)
    levels = NoteLevels(tiny_config)
    mono, antiphase, silent = (
        levels.analyze(clip, S) for clip in (y, np.concatenate([y, -y]), 0 * y)
    )
    np.testing.assert_allclose(antiphase.features, mono.features, atol=1e-3)
    assert np.abs(silent.features - mono.features).max() > 1


def test_notes_are_found_at_the_frames_where_they_sound(tiny_config: TransferConfig) -> None:
    """Chords of half a second: the feature of all notes has its steps there, at any rate."""
    y = make_chords([(60, 64)], REED, 0.5)
    silence = np.zeros(SR // 2, np.float32)
    y = np.concatenate([silence, y, silence, y])[None]
    for hop_length in (256, 512):
        config = dataclasses.replace(tiny_config, hop_length=hop_length)
        S = spectrogram.mel_spectrogram(y, config)
        playing = NoteLevels(config).analyze(y, S).features[-1, 0] > 0
        seconds = np.arange(len(playing)) * hop_length / SR
        expected = (seconds % 1.0) >= 0.5
        near = np.abs((seconds + 0.25) % 0.5 - 0.25) < 0.15
        np.testing.assert_array_equal(playing[~near], expected[~near])
