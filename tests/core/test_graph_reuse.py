"""Graphs that TensorFlow traces for the first transfer serve all others."""

from __future__ import annotations

import gc

import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer
from audiostyle.core.transfer import Style, StyleTransfer
from audiostyle.dsp import spectrogram
from tests.conftest import SR, make_noise, make_tones
from tests.support.networks import starts

pytestmark = pytest.mark.slow


def n_graphs() -> int:
    gc.collect()
    return sum(type(item).__name__ == "FuncGraph" for item in gc.get_objects())


def test_later_transfers_trace_no_graphs(tiny_config: TransferConfig) -> None:
    transfer = StyleTransfer(tiny_config, "cpu")
    counts = []
    for i in range(3):
        style = Style([(make_noise(0.6, seed=i), SR)])
        transfer.transfer(make_tones(0.6 + 0.1 * i), [style], SR)
        counts.append(n_graphs())
    assert counts[0] == counts[1] == counts[2]


def test_an_optimizer_reuses_its_graphs_and_frees_them(
    tiny_config: TransferConfig,
) -> None:
    before = n_graphs()
    optimizer = SpectrogramOptimizer(tiny_config)
    counts = []
    for i in range(3):
        S = spectrogram.mel_spectrogram(make_tones(0.6 + 0.1 * i), tiny_config)[None]
        style = spectrogram.mel_spectrogram(make_noise(0.6, seed=i), tiny_config)
        target = optimizer.analyzer.style_statistics([style])
        optimizer.optimize(optimizer.prepare(S, starts(S), target))
        counts.append(n_graphs())
    assert before < counts[0] == counts[1] == counts[2]
    del optimizer
    assert n_graphs() == before
