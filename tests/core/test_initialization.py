"""Initialization: what `TransferConfig.init` promises, in one window and in several."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import initialization
from audiostyle.core.initialization import Initializer
from audiostyle.dsp import spectrogram
from audiostyle.dsp.level_model import LevelAnalysis, analyze_levels, measure_levels
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.notes import N_KEYS, make_roll
from tests.conftest import SR, make_noise, make_tones

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4)
INITS = ["notes", "content", "style", "noise"]


class Clip:
    """A clip as it is analysed, in one window."""

    def __init__(self, y: np.ndarray, config: TransferConfig = CONFIG) -> None:
        recording = NormalizedStream(ArraySource(y, SR, "y"), config)
        self.y = np.concatenate(list(recording.normalized_blocks()), axis=1)
        self.n_resampled = recording.n_resampled
        self.D = spectrogram.stft(self.y, config.n_fft, config.hop_length)
        self.mel = spectrogram.mel_filters(config) @ spectrogram.channel_power(self.D)
        self.S = spectrogram.power_to_db(self.mel, config.top_db)

    def analysis(self, first: int = 0, last: int | None = None) -> LevelAnalysis:
        """Describe frames for the level model, as if the notes were known: none."""
        S = self.S[:, first:last]
        none = np.zeros((N_KEYS, S.shape[1]), np.float32)
        return analyze_levels(S, make_roll(none, none, S, CONFIG), CONFIG)


@dataclass
class Start:
    D: np.ndarray
    S: np.ndarray
    S_target: np.ndarray
    confidence: float


def make_initializer(content: Clip, style: Clip, config: TransferConfig) -> Initializer:
    levels = measure_levels(style.analysis())
    return Initializer(levels, style.y, content.n_resampled, config)


def start_window(
    initializer: Initializer, content: Clip, first: int = 0, last: int | None = None
) -> Start:
    S, D = content.S[:, first:last], content.D[:, :, first:last]
    initial = initializer.spectrogram(S, D, first, content.analysis(first, last))
    return Start(initializer.stft(D, first), initial.S, initial.S_target, initial.confidence)


def make_start(content: Clip, style: Clip, config: TransferConfig) -> Start:
    return start_window(make_initializer(content, style, config), content)


@pytest.mark.parametrize("confidence", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_the_notes_start_and_target_are_on_the_way_to_the_predicted_levels(
    strength: float, confidence: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, style = Clip(make_tones()[None]), Clip(make_noise()[None])
    levels = content.S[:, ::-1] - 70  # partly below the floor
    monkeypatch.setattr(initialization, "predict_levels", lambda *_: (levels, confidence))
    start = make_start(content, style, dataclasses.replace(CONFIG, strength=strength))
    way = strength * (np.maximum(levels, -CONFIG.top_db) - content.S)
    np.testing.assert_allclose(start.S, content.S + way, atol=1e-4)
    np.testing.assert_allclose(start.S_target, content.S + confidence * way, atol=1e-4)
    np.testing.assert_array_equal(start.D, content.D)
    assert start.confidence == confidence


def test_a_content_without_notes_gets_the_spectral_envelope_of_the_style() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(0, 0.1, (2, SR))
    content = Clip(white[:1])
    style = Clip(white[1:] + 0.8 * np.roll(white[1:], 1))  # less treble
    start = make_start(content, style, CONFIG)
    reached = 10 * np.log10(spectrogram.db_to_power(start.S).mean(axis=1))
    wanted = 10 * np.log10(style.mel.mean(axis=1))
    before = 10 * np.log10(content.mel.mean(axis=1))
    assert np.abs(reached - wanted)[4:-4].mean() < 0.15 * np.abs(before - wanted)[4:-4].mean()
    assert start.confidence == 0.0
    np.testing.assert_array_equal(start.S_target, content.S)


@pytest.mark.parametrize("init", INITS)
def test_every_start_at_strength_0_is_the_content(init: str) -> None:
    config = dataclasses.replace(CONFIG, init=init, strength=0.0)
    content = Clip(make_tones()[None])
    start = make_start(content, Clip(make_noise()[None]), config)
    np.testing.assert_allclose(start.S, content.S, atol=1e-3)
    np.testing.assert_allclose(start.D, content.D, atol=1e-5)


def test_the_style_start_repeats_a_short_style_and_cuts_a_long_one() -> None:
    config = dataclasses.replace(CONFIG, init="style")
    content = Clip(make_tones(2.0)[None])
    short, long = (Clip(make_noise(s)[None]) for s in (0.6, 3.0))
    for style, t in ((short, short.S.shape[1] - 4), (long, content.S.shape[1] - 4)):
        start = make_start(content, style, config)
        assert start.S.shape == content.S.shape
        np.testing.assert_allclose(start.S[:, :t], style.S[:, :t], atol=1e-3)
    repeated = np.resize(short.y[0], content.n_resampled)[None]
    start = make_start(content, short, config)
    np.testing.assert_allclose(
        start.D, spectrogram.stft(repeated, config.n_fft, config.hop_length), atol=1e-4
    )


def test_the_noise_start_depends_on_the_seed_alone() -> None:
    content = Clip(make_tones()[None])
    config = dataclasses.replace(CONFIG, init="noise")
    a, b, c = (
        make_start(content, content, dataclasses.replace(config, seed=seed)).S for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).mean() > 10


@pytest.mark.parametrize("init", ["content", "style"])
def test_a_window_starts_like_the_same_frames_of_the_whole(init: str) -> None:
    config = dataclasses.replace(CONFIG, init=init)
    content = Clip(make_tones(2.0)[None])
    initializer = make_initializer(content, Clip(make_noise(0.6)[None]), config)
    whole = start_window(initializer, content)
    first, last = 60, 140
    window = start_window(initializer, content, first, last)
    np.testing.assert_allclose(window.D, whole.D[:, :, first:last], atol=1e-4)
    np.testing.assert_allclose(window.S, whole.S[:, first:last], atol=0.05)


def test_windows_start_from_different_noise() -> None:
    config = dataclasses.replace(CONFIG, init="noise")
    content = Clip(make_tones()[None])
    initializer = make_initializer(content, content, config)
    first, second = (
        start_window(initializer, content, *frames).S for frames in ((0, 40), (40, 80))
    )
    assert np.abs(first - second).mean() > 10
