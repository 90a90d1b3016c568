from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.report import charts, sounds
from audiostyle.report.records import SoundFile
from tests.conftest import SR


@pytest.mark.parametrize("hertz", [500, 1000, 5000])
def test_frequency_labels_are_at_the_loudest_band_of_a_sine(hertz: int, tmp_path: Path) -> None:
    config = TransferConfig()
    t = np.arange(SR) / SR
    sf.write(tmp_path / "sine.wav", 0.3 * np.sin(2 * np.pi * hertz * t), SR)
    loaded = sounds.load_sound(SoundFile(tmp_path / "sine.wav", "sine"), config)
    row = config.n_mels - 1 - int(loaded.S.mean(axis=1).argmax())
    label = f"{hertz // 1000}k" if hertz >= 1000 else str(hertz)
    (tick,) = [t for t in charts.frequency_ticks(config) if t.text == label]
    assert tick.at == pytest.approx(100 * (row + 0.5) / config.n_mels, abs=0.8)


@pytest.mark.parametrize(
    ("seconds", "exact", "text"),
    [
        (0, False, "0:00"),
        (29.999, True, "0:30.0"),
        (65.25, True, "1:05.2"),
        (3725, False, "1:02:05"),
    ],
)
def test_format_time(seconds: float, exact: bool, text: str) -> None:
    assert charts.format_time(seconds, exact) == text


@pytest.mark.parametrize("seconds", [0.5, 1, 4, 29.99, 30, 61, 600, 3600, 20_000])
def test_a_time_axis_has_few_round_labels(seconds: float) -> None:
    ticks = charts.time_ticks(seconds)
    assert 2 <= len(ticks) <= 11
    assert ticks[0].at == 0
    assert ticks[0].text in ("0:00", "0:00.0")
    assert all(0 <= tick.at <= 100 for tick in ticks)


def test_a_loss_chart_is_logarithmic() -> None:
    chart = charts.loss_chart("t", {"a": [1.0, 0.1, 0.01], "b": [0.1, 0.0, float("nan")]})
    assert chart is not None
    a, b = (
        [tuple(map(float, p.split(","))) for p in points.split()] for _, points, _ in chart.curves
    )
    assert a[1][1] - a[0][1] == pytest.approx(a[2][1] - a[1][1], abs=0.02)
    assert b[1][1] == b[2][1] == 100.0
    assert charts.loss_chart("t", {"a": [0.0]}) is None
