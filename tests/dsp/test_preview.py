"""The spectrograms of a result: all of it where it is short, block means where it is long."""

from __future__ import annotations

import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.preview import SpectrogramPreview
from tests.conftest import Array, make_noise, make_tones

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4)


def cut(x: Array, size: int) -> list[Array]:
    return [x[:, i : i + size] for i in range(0, x.shape[1], size)]


@pytest.mark.parametrize("size", [1, 100, 255, 256, 1500, 100_000])
def test_audio_in_blocks_has_the_spectrogram_of_the_whole(size: int) -> None:
    y = np.stack([make_tones(0.6), make_noise(0.6)])
    picture = SpectrogramPreview(CONFIG, 2, None)
    for block in cut(y, size):
        picture.add_audio(block)
    picture.end()
    assert picture.fold == 1
    np.testing.assert_allclose(picture.S(), spectrogram.mel_spectrogram(y, CONFIG), atol=1e-3)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize(("n", "fold"), [(50, 1), (80, 1), (81, 2), (160, 2), (162, 4), (999, 16)])
def test_many_frames_are_block_means(n: int, fold: int, size: int) -> None:
    S = np.random.default_rng(n).uniform(-80, 0, (CONFIG.n_mels, n)).astype(np.float32)
    picture = SpectrogramPreview(CONFIG, 1, 40)
    for block in cut(S, size):
        picture.add(block)
    whole = n // fold
    assert picture.fold == fold
    assert picture.S().shape == (CONFIG.n_mels, whole)
    means = S[:, : whole * fold].reshape(CONFIG.n_mels, whole, fold).mean(axis=2)
    np.testing.assert_allclose(picture.S(), means, atol=1e-3)


def test_without_a_bound_nothing_is_folded() -> None:
    S = np.random.default_rng(0).uniform(-80, 0, (CONFIG.n_mels, 999)).astype(np.float32)
    picture = SpectrogramPreview(CONFIG, 1, None)
    picture.add(S)
    np.testing.assert_array_equal(picture.S(), S)
