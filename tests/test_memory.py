"""Memory: what TensorFlow traces for the first transfer serves them all, and nothing is added."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from audiostyle import memory, spectral
from audiostyle.config import TransferConfig
from audiostyle.errors import DeviceError
from audiostyle.pipeline import Style, Stylist
from audiostyle.styler import Styler
from tests.conftest import SR, make_noise, make_tones


def n_graphs() -> int:
    gc.collect()
    return sum(type(item).__name__ == "FuncGraph" for item in gc.get_objects())


def test_no_graph_is_added_by_the_second_pair_or_the_third(tiny_config: TransferConfig) -> None:
    stylist = Stylist(tiny_config, "cpu")
    counts = []
    for i in range(3):
        style = Style([(make_noise(0.6, seed=i), SR)])
        stylist.transfer(make_tones(0.6 + 0.1 * i), [style], SR)
        counts.append(n_graphs())
    assert counts[0] == counts[1] == counts[2]


def test_no_graph_is_added_by_another_descent_and_none_outlives_its_styler(
    tiny_config: TransferConfig,
) -> None:
    before = n_graphs()
    styler = Styler(tiny_config)
    counts = []
    for i in range(3):
        S = spectral.mel_spectrogram(make_tones(0.6 + 0.1 * i), tiny_config)[None]
        style = spectral.mel_spectrogram(make_noise(0.6, seed=i), tiny_config)
        styler.descend(styler.prepare(S, S, styler.analyzer.style_target([style])))
        counts.append(n_graphs())
    assert before < counts[0] == counts[1] == counts[2]
    del styler
    assert n_graphs() == before


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "CGROUP_FILES", (tmp_path / "none", tmp_path / "memory.max"))
    memory.check_memory()
    (tmp_path / "memory.max").write_text(f"{256 << 20}\n")
    with pytest.raises(DeviceError, match=r"may take 0\.27 GB of memory, .* raise the limit"):
        memory.check_memory()
