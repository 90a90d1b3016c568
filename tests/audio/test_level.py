"""Active level and gain curve against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from audiostyle.audio import level as audio_level
from tests.conftest import SR, Array, make_noise, make_tones


def sine(amplitude: float = 1.0, frequency: float = 997.0, sr: int = 48_000, n: int = 0) -> Array:
    t = np.arange(n or sr) / sr
    return amplitude * np.sin(2 * np.pi * frequency * t)[None]


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 1e-3])
def test_the_active_level_of_a_sine_is_its_rms(amplitude: float) -> None:
    expected = 20 * np.log10(amplitude / np.sqrt(2))
    assert audio_level.active_level(sine(amplitude), 48_000) == pytest.approx(expected, abs=1e-3)


def test_the_active_level_is_the_mean_over_the_power_of_the_channels() -> None:
    y = np.concatenate([sine(0.5), np.zeros((1, 48_000))])
    alone = audio_level.active_level(sine(0.5), 48_000)
    assert audio_level.active_level(y, 48_000) == pytest.approx(alone - 10 * np.log10(2), abs=1e-6)


@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_pauses_are_left_out(floor: float) -> None:
    pause = np.full((1, 96_000), floor)
    y = np.concatenate([sine(0.5), pause], axis=1)
    assert audio_level.active_level(y, 48_000) == pytest.approx(
        audio_level.active_level(sine(0.5), 48_000)
    )


def test_slightly_quieter_parts_count() -> None:
    y = np.concatenate([sine(0.5), sine(0.25)], axis=1)
    expected = 10 * np.log10((0.5**2 / 2 + 0.25**2 / 2) / 2)
    assert audio_level.active_level(y, 48_000) == pytest.approx(expected, abs=1e-3)


def test_silence_and_very_short_clips_have_a_level() -> None:
    assert audio_level.active_level(np.zeros((1, 48_000)), 48_000) == -200
    assert audio_level.active_level(np.full((1, 10), 0.1), 48_000) == pytest.approx(-20)


def cut(y: Array, seed: int = 0, largest: int = 5000) -> list[Array]:
    """Split into blocks of random sizes, some of one sample or empty."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([0, 1, 2, 1000, largest], size=2 + y.shape[1] // 100)
    return np.split(y, np.minimum(np.cumsum(sizes), y.shape[1]), axis=1)


def measured(y: Array, sr: int, blocks: list[Array] | None = None) -> audio_level.ActiveLevelMeter:
    level = audio_level.ActiveLevelMeter(sr)
    for block in [y] if blocks is None else blocks:
        level.add(block)
    return level


@pytest.mark.parametrize("n", [1, 400, 1102, 22_050, 33_333])
def test_the_active_level_does_not_depend_on_block_sizes(n: int) -> None:
    y = np.stack([np.resize(make_noise(), n), np.resize(make_tones(), n)])
    assert measured(y, SR, cut(y)).value() == audio_level.active_level(y, SR)


def test_the_active_level_equals_the_definition() -> None:
    y = make_tones()[None].astype(np.float64) * np.linspace(1, 0, SR)
    size = SR // 20
    blocks = [y[0, i * size : (i + 1) * size] for i in range(20)]
    blocks[-1] = y[0, 19 * size :]  # 10 samples more join the last block
    counted = [b for b in blocks if np.mean(b**2) >= 0.01 * np.mean(y**2)]
    assert 10 < len(counted) < 20
    expected = 10 * np.log10(np.mean(np.concatenate(counted) ** 2))
    assert audio_level.active_level(y, SR) == pytest.approx(expected, abs=1e-9)


def test_an_offset_is_removed_afterwards() -> None:
    y = np.stack([make_tones(), make_noise()]).astype(np.float64)
    offset = np.array([0.5, -0.3])
    shifted = measured(y + offset[:, None], SR)
    assert shifted.value(offset) == pytest.approx(audio_level.active_level(y, SR), abs=1e-9)


@pytest.mark.parametrize("seconds", [0.03, 1.0])
def test_a_clip_no_longer_than_the_window_has_one_gain(seconds: float) -> None:
    y = make_tones(seconds)[None]
    curve = measured(y, SR).gain_curve(None, 1.0)
    expected = 10 ** ((audio_level.ANALYSIS_LEVEL_DB - audio_level.active_level(y, SR)) / 20)
    assert curve.gains == pytest.approx([20 * np.log10(expected)])
    gain = curve.at(100, 7)
    assert (gain.shape, gain.dtype) == ((7,), np.float32)
    np.testing.assert_allclose(gain, expected, rtol=1e-6)


def test_the_gain_of_a_long_clip_is_piecewise_linear_in_db() -> None:
    n = 48_000
    loud, quiet = sine(0.5, n=n), sine(0.05, n=n)
    curve = measured(np.concatenate([loud, quiet, loud], axis=1), 48_000).gain_curve(None, 1.2)
    first = audio_level.ANALYSIS_LEVEL_DB - 20 * np.log10(0.5 / np.sqrt(2))
    gains = 20 * np.log10(curve.at(0, 3 * n))
    np.testing.assert_allclose(gains[: n // 2], first, atol=1e-3)
    np.testing.assert_allclose(gains[-(n // 2) :], first, atol=1e-3)
    rising = first + 20 * np.arange(n) / n  # from the first centre to the second
    np.testing.assert_allclose(gains[n // 2 : 3 * n // 2], rising, atol=1e-3)
    np.testing.assert_allclose(curve.at(12_345, 40_000), curve.at(0, 3 * n)[12_345:52_345])
    assert len(curve.gains) == 3


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_a_quiet_part_gets_at_most_30_db_more_than_the_whole(
    level: float,
) -> None:
    n = 48_000
    curve = measured(np.concatenate([sine(0.5, n=n), sine(level, n=n)], axis=1), 48_000).gain_curve(
        None, 1.0
    )
    whole = audio_level.ANALYSIS_LEVEL_DB - 20 * np.log10(0.5 / np.sqrt(2))
    np.testing.assert_allclose(curve.gains, [whole, whole + 30], atol=1e-3)


@pytest.mark.parametrize("seconds", [1.0, 0.3, 0.001])
def test_parts_are_equal_and_no_longer_than_the_window(seconds: float) -> None:
    y = make_noise(2.0)[None]
    curve = measured(y, SR).gain_curve(None, seconds)
    parts = min(int(np.ceil(2 / seconds)), 40)  # no part is shorter than a block of 50 ms
    np.testing.assert_allclose(curve.centres, (np.arange(parts) + 0.5) * 2 * SR / parts)


def test_an_offset_does_not_change_the_curve() -> None:
    y = np.concatenate([make_noise(2.0), 0.1 * make_noise(2.0, seed=1)])[None].astype(np.float64)
    expected = measured(y, SR).gain_curve(None, 1.0)
    curve = measured(y + 0.4, SR).gain_curve(np.array([0.4]), 1.0)
    np.testing.assert_allclose(curve.gains, expected.gains, atol=1e-9)


def test_blocks_are_views_of_the_array() -> None:
    y = np.zeros((2, 2 * audio_level.BLOCK_SAMPLES + 1), np.float32)
    sizes = [block.shape[1] for block in audio_level.split_blocks(y)]
    assert sizes == [audio_level.BLOCK_SAMPLES, audio_level.BLOCK_SAMPLES, 1]
    assert all(block.base is y for block in audio_level.split_blocks(y))


def test_mono_is_the_mean_unless_the_channels_cancel() -> None:
    tones, noise = make_tones(), make_noise()
    stereo = np.stack([tones, noise]).astype(np.float32)
    np.testing.assert_array_equal(audio_level.to_mono(stereo), stereo.mean(axis=0))
    np.testing.assert_array_equal(audio_level.to_mono(tones), tones.astype(np.float32))
    np.testing.assert_array_equal(audio_level.to_mono(stereo[:1]), stereo[0])
    silent = np.stack([tones, 0 * tones]).astype(np.float32)
    np.testing.assert_array_equal(audio_level.to_mono(silent), silent.mean(axis=0))


@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_mono_of_channels_that_cancel_keeps_the_power(offset: float) -> None:
    tones = make_tones()
    y = np.stack([tones, -1.1 * tones]).astype(np.float32) + np.float32(offset)
    np.testing.assert_array_equal(audio_level.to_mono(y), y[1])
