from __future__ import annotations

import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import mosaic, spectrogram
from tests.conftest import SR, make_noise

CONFIG = TransferConfig(n_fft=2048, hop_length=512, n_mels=128, bands=4)


def power(y: np.ndarray) -> np.ndarray:
    return spectrogram.channel_power(spectrogram.stft(y[None], CONFIG.n_fft, CONFIG.hop_length))


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    t = np.arange(round(seconds * SR)) / SR
    partials = [np.sin(2 * np.pi * k * frequency * t) / k for k in range(1, 6)]
    return (0.1 * np.sum(partials, axis=0)).astype(np.float32)


def pool_of(*clips: np.ndarray, seed: int = 0) -> mosaic.FrameReservoir:
    pool = mosaic.FrameReservoir(seed)
    for clip in clips:
        pool.add(clip)
    return pool


def dictionary_of(P: np.ndarray) -> np.ndarray:
    return mosaic.make_dictionary(pool_of(P).take(1.0), spectrogram.mel_filters(CONFIG))


def test_the_columns_of_a_dictionary_sum_to_1() -> None:
    W = dictionary_of(power(make_noise()))
    assert W.shape[0] == CONFIG.n_mels
    assert W.shape[1] % len(mosaic.SEMITONES) == 0
    np.testing.assert_allclose(W.sum(axis=0), 1, rtol=1e-5)


def test_transposing_by_an_octave_doubles_the_frequency() -> None:
    moved = mosaic.transpose_frames(power(tone(440.0)), 12)
    assert abs(int(moved.mean(axis=1).argmax()) - 2 * 440 * CONFIG.n_fft / SR) <= 2


def test_transposing_by_0_semitones_changes_nothing() -> None:
    P = power(tone(440.0))
    np.testing.assert_array_equal(mosaic.transpose_frames(P, 0), P)


def test_a_style_is_rebuilt_far_better_from_its_own_frames() -> None:
    P = power(make_noise(2.0))
    mel = spectrogram.mel_filters(CONFIG) @ P

    def distance(style: np.ndarray) -> float:
        rebuilt = mosaic.mosaic(mel, dictionary_of(style))
        return float(np.linalg.norm(np.sqrt(rebuilt) - np.sqrt(mel)) / np.linalg.norm(np.sqrt(mel)))

    assert distance(P) < 0.5 * distance(power(tone(440.0)))


def test_a_note_that_the_style_lacks_is_found_by_transposition() -> None:
    """The style has a C; the content an E: the mosaic has the E, with the style's partials."""
    mel = spectrogram.mel_filters(CONFIG) @ power(tone(329.63))
    rebuilt = mosaic.mosaic(mel, dictionary_of(power(tone(261.63))))
    assert rebuilt.mean(axis=1).argmax() == mel.mean(axis=1).argmax()
    correlation = np.corrcoef(np.sqrt(rebuilt.mean(axis=1)), np.sqrt(mel.mean(axis=1)))[0, 1]
    assert correlation > 0.9


def test_the_mosaic_of_silence_is_silent() -> None:
    mel = spectrogram.mel_filters(CONFIG) @ power(make_noise())
    mel[:, 10:20] = 0.0
    rebuilt = mosaic.mosaic(mel, dictionary_of(power(make_noise())))
    assert rebuilt[:, 10:20].max() < 1e-6 * rebuilt.max()


def test_the_reservoir_is_a_uniform_sample_of_the_frames_that_are_not_silent() -> None:
    first, second = np.full((3, 900), 1.0), np.full((3, 300), 2.0)
    silence = np.zeros((3, 500))
    counts = []
    for seed in range(20):
        frames = pool_of(np.hstack([first, silence]), second, seed=seed).take(1.0)
        assert frames.shape == (3, mosaic.MAX_FRAMES)
        assert frames.min() > 0
        counts.append((frames[0] == 2.0).mean())
    assert np.mean(counts) == pytest.approx(0.25, abs=0.03)


def test_the_reservoir_depends_only_on_the_seed() -> None:
    P = np.random.default_rng(0).random((3, 1000))
    np.testing.assert_array_equal(pool_of(P, seed=1).take(1.0), pool_of(P, seed=1).take(1.0))
    assert np.abs(pool_of(P, seed=1).take(1.0) - pool_of(P, seed=2).take(1.0)).max() > 0
    np.testing.assert_array_equal(pool_of(P).take(0.5), pool_of(P).take(1.0)[:, :150])
