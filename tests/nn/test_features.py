from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import tensorflow as tf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.nn.backbones import build_network
from audiostyle.nn.features import FeatureAnalyzer
from tests.conftest import make_noise


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
