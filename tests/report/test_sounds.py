from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiostyle.audio.reader import FileSource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.report import records, sounds
from audiostyle.report.records import SoundFile
from tests.conftest import make_noise
from tests.support.report_data import make_pair


def test_a_short_clip_has_the_spectrogram_of_its_transfer(tmp_path: Path) -> None:
    pair = records.collect([make_pair(tmp_path)]).pairs[0]
    loaded = sounds.load_sound(pair.sounds["content"], pair.config)
    stream = NormalizedStream(FileSource(tmp_path / "content.wav"), pair.config)
    y = np.concatenate(list(stream.normalized_blocks()), axis=1)
    S = spectrogram.mel_spectrogram(y, pair.config)
    np.testing.assert_allclose(loaded.S, S, atol=1e-3)


def test_a_long_file_has_few_columns_at_the_right_times(tmp_path: Path) -> None:
    sr, seconds, clicks = 8000, 200, (50, 190)
    y = make_noise(seconds, sr) * 1e-3
    for at in clicks:
        y[at * sr : at * sr + sr] = make_noise(1.0, sr, seed=1)
    sf.write(tmp_path / "long.wav", y, sr)
    sound = SoundFile(tmp_path / "long.wav", "long")
    loaded = sounds.load_sound(sound, TransferConfig())
    assert 1000 <= loaded.S.shape[1] <= 2000
    assert loaded.seconds == seconds
    loudness = loaded.S.mean(axis=0)
    for at in clicks:
        column = round((at + 0.5) / loaded.S_seconds * loaded.S.shape[1])
        around = loudness[max(0, column - 40) : column + 40]
        assert abs(int(around.argmax()) - min(column, 40)) <= 3
    assert loaded.wave.shape[1] <= sounds.WAVE_BINS


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 54_321])
@pytest.mark.parametrize("size", [100, 7777])
def test_a_wave_consists_of_the_extremes(n: int, size: int) -> None:
    y = np.random.default_rng(n).uniform(-1, 1, (2, n)).astype(np.float32)
    wave = sounds.wave_extremes(iter([y[:, i : i + size] for i in range(0, n, size)]), n)
    width = -(-n // sounds.WAVE_BINS)
    parts = [y[:, i : i + width] for i in range(0, n, width)]
    np.testing.assert_array_equal(wave[0], [min(0, part.min()) for part in parts])
    np.testing.assert_array_equal(wave[1], [max(0, part.max()) for part in parts])


@pytest.mark.parametrize(
    ("start", "expected"), [("in/a.wav", "./in/a.wav"), ("../b c.wav", "../b%20c.wav")]
)
def test_links_are_relative_to_the_page(start: str, expected: str, tmp_path: Path) -> None:
    page = tmp_path / "sub" / "page.html"
    assert sounds.relative_url(page.parent / start, page) == expected
