from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from audiostyle import levels, loudness, mosaic, render, spectral
from audiostyle.config import TransferConfig
from tests.conftest import SR, make_noise, make_tones

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4, inversion_iterations=4)


def stereo(sr: int) -> np.ndarray:
    """Tones left, softer noise right, and something above 11 kHz in both."""
    left, right = make_tones(1.0, sr), 0.5 * make_noise(1.0, sr)
    t = np.arange(sr) / sr
    high = 0.02 * np.sin(2 * np.pi * 15_000 * t) if sr > 30_000 else 0 * t
    return np.stack([left + high, right + high]).astype(np.float32)


def sound_of(style: render.Clip) -> render.StyleSound:
    pool = mosaic.FramePool(0)
    pool.add(spectral.channel_power(style.D))
    return render.StyleSound(style.mel.mean(axis=1), pool.take(1.0), style.y)


def untouched(y: np.ndarray, sr: int, config: TransferConfig = CONFIG) -> render.Rendered:
    clip = render.analyse(y, sr, config)
    return render.render(y, sr, clip, render.Start(clip.D, clip.S), clip.S, config)


@pytest.mark.parametrize("sr", [8000, SR, 44_100, 48_000])
def test_an_untouched_spectrogram_gives_the_content_back(sr: int) -> None:
    y = stereo(sr)
    rendered = untouched(y, sr)
    assert rendered.y.shape == y.shape
    error = np.linalg.norm(rendered.y - y) / np.linalg.norm(y)
    assert 20 * np.log10(error) < -60
    assert rendered.gain == pytest.approx(0, abs=0.01)
    assert rendered.reduction == 0.0


def test_clips_are_analysed_at_one_level_whatever_their_own() -> None:
    y = make_tones()[None]
    loud, soft = render.analyse(y, SR, CONFIG), render.analyse(0.01 * y, SR, CONFIG)
    np.testing.assert_allclose(soft.S, loud.S, atol=1e-2)
    assert levels.active_level(loud.y, SR) == pytest.approx(levels.ANALYSIS_LEVEL_DB, abs=1e-3)
    assert soft.gain == pytest.approx(100 * loud.gain, rel=1e-4)


def test_the_envelope_start_has_the_spectrum_of_the_style() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(0, 0.1, (2, SR))
    content = render.analyse(white[:1], SR, CONFIG)
    style = render.analyse(white[1:] + 0.8 * np.roll(white[1:], 1), SR, CONFIG)  # less treble
    start = render.make_start(
        content, sound_of(style), dataclasses.replace(CONFIG, init="envelope")
    )
    reached = 10 * np.log10(spectral.db_to_power(start.S).mean(axis=1))
    wanted = 10 * np.log10(style.mel.mean(axis=1))
    before = 10 * np.log10(content.mel.mean(axis=1))
    assert np.abs(reached - wanted)[4:-4].mean() < 0.15 * np.abs(before - wanted)[4:-4].mean()


@pytest.mark.parametrize("init", ["content", "envelope", "mosaic", "style", "noise"])
def test_every_start_at_strength_0_is_the_content(init: str) -> None:
    config = dataclasses.replace(CONFIG, init=init, strength=0.0)
    content = render.analyse(make_tones()[None], SR, config)
    style = render.analyse(make_noise()[None], SR, config)
    start = render.make_start(content, sound_of(style), config)
    np.testing.assert_allclose(start.S, content.S, atol=1e-3)
    np.testing.assert_allclose(start.D, content.D, atol=1e-5)


def test_the_style_start_repeats_a_short_style_and_cuts_a_long_one() -> None:
    config = dataclasses.replace(CONFIG, init="style")
    content = render.analyse(make_tones(2.0)[None], SR, config)
    short, long = (render.analyse(make_noise(s)[None], SR, config) for s in (0.6, 3.0))
    for style, t in ((short, short.S.shape[1] - 4), (long, content.S.shape[1] - 4)):
        start = render.make_start(content, sound_of(style), config)
        assert start.S.shape == content.S.shape
        np.testing.assert_allclose(start.S[:, :t], style.S[:, :t], atol=1e-3)


def test_the_noise_start_depends_on_the_seed_alone() -> None:
    content = render.analyse(make_tones()[None], SR, CONFIG)
    config = dataclasses.replace(CONFIG, init="noise")
    a, b, c = (
        render.make_start(content, sound_of(content), dataclasses.replace(config, seed=seed)).S
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).mean() > 10


def louder_treble(y: np.ndarray, sr: int, gain_db: float) -> render.Rendered:
    """Ask for more (or less) of everything above 1 kHz."""
    clip = render.analyse(y, sr, CONFIG)
    S = clip.S.copy()
    S[20:] += gain_db
    return render.render(y, sr, clip, render.Start(clip.D, clip.S), S, CONFIG)


def test_a_gain_in_the_spectrogram_is_heard_in_the_result() -> None:
    y = make_noise()[None]
    rendered = louder_treble(y, SR, -12.0)
    power = [np.abs(np.fft.rfft(z[0])) ** 2 for z in (y, rendered.y)]
    f = np.fft.rfftfreq(y.shape[1], 1 / SR)
    low, high = (f > 100) & (f < 600), (f > 2500) & (f < 8000)
    change = [10 * np.log10(power[1][band].sum() / power[0][band].sum()) for band in (low, high)]
    assert change[1] - change[0] == pytest.approx(-12.0, abs=1.0)


def test_what_lies_above_the_analysed_range_follows_the_octave_below() -> None:
    sr = 44_100
    t = np.arange(sr) / sr
    y = make_noise(1.0, sr)[None] + 0.05 * np.sin(2 * np.pi * 15_000 * t)[None]
    rendered = louder_treble(y.astype(np.float32), sr, -12.0)
    tone = [np.abs(np.fft.rfft(z[0])[15_000]) for z in (y, rendered.y)]
    assert 20 * np.log10(tone[1] / tone[0]) - rendered.gain == pytest.approx(-12, abs=1)


def test_the_loudness_of_the_content_is_kept() -> None:
    y = stereo(SR)
    rendered = louder_treble(y, SR, 15.0)
    assert loudness.loudness(rendered.y, SR) == pytest.approx(loudness.loudness(y, SR), abs=0.05)


def test_peaks_are_limited_and_the_reduction_is_told() -> None:
    y = 8 * stereo(SR)
    rendered = untouched(y, SR)
    assert np.abs(y).max() > 1
    assert np.abs(rendered.y).max() <= 1.0
    assert rendered.reduction == pytest.approx(20 * np.log10(np.abs(y).max()), abs=0.1)


def test_equal_channels_stay_equal_and_silent_ones_stay_silent() -> None:
    tones = make_tones()
    rendered = louder_treble(np.stack([tones, tones, 0 * tones]), SR, 9.0)
    np.testing.assert_array_equal(rendered.y[0], rendered.y[1])
    assert np.abs(rendered.y[2]).max() == 0.0


def test_plain_griffin_lim_starts_from_nothing_but_the_spectrogram() -> None:
    config = dataclasses.replace(CONFIG, inversion="griffinlim", inversion_iterations=60)
    y = make_tones()[None]
    first, other = (untouched(y, SR, dataclasses.replace(config, seed=seed)).y for seed in (0, 1))
    assert np.linalg.norm(first - y) > 0.5 * np.linalg.norm(y)  # the phase is another
    assert np.linalg.norm(first - other) > 0.5 * np.linalg.norm(y)
    S = spectral.mel_spectrogram(y, config)
    error = np.abs(spectral.mel_spectrogram(first, config) - S)[S > -40]
    assert error.mean() < 3.0  # dB, of what is loud enough to hear
