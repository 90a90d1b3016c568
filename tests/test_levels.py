"""Levels against closed forms and the reference values of ITU-R BS.1770."""

from __future__ import annotations

import numpy as np
import pytest

from audiostyle import levels
from tests.conftest import SR, Array, make_noise, make_tones


def sine(amplitude: float = 1.0, frequency: float = 997.0, sr: int = 48_000, n: int = 0) -> Array:
    t = np.arange(n or sr) / sr
    return amplitude * np.sin(2 * np.pi * frequency * t)[None]


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 1e-3])
def test_the_active_level_of_a_sine_is_its_rms(amplitude: float) -> None:
    expected = 20 * np.log10(amplitude / np.sqrt(2))
    assert levels.active_level(sine(amplitude), 48_000) == pytest.approx(expected, abs=1e-3)


def test_the_active_level_is_the_mean_over_the_power_of_the_channels() -> None:
    y = np.concatenate([sine(0.5), np.zeros((1, 48_000))])
    alone = levels.active_level(sine(0.5), 48_000)
    assert levels.active_level(y, 48_000) == pytest.approx(alone - 10 * np.log10(2), abs=1e-6)


@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_pauses_do_not_count(floor: float) -> None:
    pause = np.full((1, 96_000), floor)
    y = np.concatenate([sine(0.5), pause], axis=1)
    assert levels.active_level(y, 48_000) == pytest.approx(levels.active_level(sine(0.5), 48_000))


def test_what_is_only_a_little_quieter_counts() -> None:
    y = np.concatenate([sine(0.5), sine(0.25)], axis=1)
    expected = 10 * np.log10((0.5**2 / 2 + 0.25**2 / 2) / 2)
    assert levels.active_level(y, 48_000) == pytest.approx(expected, abs=1e-3)


def test_silence_and_clips_shorter_than_a_block_have_a_level() -> None:
    assert levels.active_level(np.zeros((1, 48_000)), 48_000) == -200
    assert levels.active_level(np.full((1, 10), 0.1), 48_000) == pytest.approx(-20)


@pytest.mark.parametrize("sr", [44_100, 48_000, 96_000])
def test_a_full_scale_sine_has_the_loudness_of_the_standard(sr: int) -> None:
    # BS.1770-4, annex 1: a 0 dBFS 997 Hz sine in one channel reads -3.01 LKFS.
    assert levels.loudness(sine(sr=sr), sr) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize(
    ("frequency", "gain"),
    # Response of the two biquads of BS.1770-4 at 48 kHz, relative to 997 Hz.
    [(100.0, -1.8), (10_000.0, 3.3)],
)
def test_bass_counts_less_and_treble_more(frequency: float, gain: float) -> None:
    relative = levels.loudness(sine(frequency=frequency), 48_000) + 3.01
    assert relative == pytest.approx(gain, abs=0.2)


def test_the_filter_of_the_loudness_is_that_of_the_standard_in_the_time_domain() -> None:
    y = make_noise(1.0, 48_000).astype(np.float64)
    shelf = (
        [1.53512485958697, -2.69169618940638, 1.19839281085285],
        [-1.69065929318241, 0.73248077421585],
    )
    high_pass = ([1.0, -2.0, 1.0], [-1.99004745483398, 0.99007225036621])
    padded = np.concatenate([y, np.zeros(48_000)])  # the filters ring on
    for (b0, b1, b2), (a1, a2) in (shelf, high_pass):
        filtered = np.zeros_like(padded)
        x1 = x2 = y1 = y2 = 0.0
        for i, x in enumerate(padded):
            value = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            x2, x1, y2, y1 = x1, x, y1, value
            filtered[i] = value
        padded = filtered
    expected = -0.691 + 10 * np.log10(np.sum(padded**2) / len(y))
    assert levels.loudness(y[None], 48_000) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("gain_db", [-30.0, -6.0, 12.0])
def test_a_gain_moves_the_loudness_by_as_much(gain_db: float) -> None:
    y = make_tones()[None].astype(np.float64)
    louder = y * 10 ** (gain_db / 20)
    moved = levels.loudness(louder, SR) - levels.loudness(y, SR)
    assert moved == pytest.approx(gain_db, abs=1e-6)


def test_two_equal_channels_are_three_decibels_louder_than_one() -> None:
    y = make_tones()[None]
    stereo = levels.loudness(np.concatenate([y, y]), SR)
    assert stereo - levels.loudness(y, SR) == pytest.approx(10 * np.log10(2), abs=1e-6)


@pytest.mark.parametrize("n", [1001, 1000])
def test_the_loudness_of_any_length_obeys_parseval(n: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal((1, n))
    frequencies = np.fft.fftfreq(n, 1 / SR)  # both sides, written out
    spectrum = np.fft.fft(y[0])
    power = np.sum(levels.k_weighting(np.abs(frequencies)) * np.abs(spectrum) ** 2) / n**2
    assert levels.loudness(y, SR) == pytest.approx(-0.691 + 10 * np.log10(power), abs=1e-9)


def test_peaks_below_the_ceiling_are_left_alone() -> None:
    y = make_tones()[None]
    limited, reduction = levels.limit_peaks(y, SR)
    assert limited is y
    assert reduction == 0


@pytest.mark.parametrize("ceiling", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_no_sample_exceeds_the_ceiling_and_the_length_stays(ceiling: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.laplace(size=(2, 5000)).astype(np.float32)
    limited, reduction = levels.limit_peaks(y, SR, ceiling)
    assert limited.shape == y.shape
    assert limited.dtype == y.dtype
    assert np.abs(limited).max() <= ceiling
    assert reduction == pytest.approx(20 * np.log10(np.abs(y).max() / ceiling), abs=1.0)
    assert reduction >= 20 * np.log10(np.abs(y).max() / ceiling) - 1e-6


def test_the_gain_of_the_limiter_is_smooth_and_ends_with_its_lookahead() -> None:
    lookahead = 0.005
    radius = int(lookahead * SR)
    y = np.full((2, 4000), 0.5, np.float64)
    y[1, 2000] = 4.0  # one channel's peak turns both down alike
    limited, reduction = levels.limit_peaks(y, SR, 1.0, lookahead)
    gain = limited / y
    np.testing.assert_allclose(gain[0], gain[1], rtol=1e-12)
    assert gain[0, 2000] == pytest.approx(0.25)
    assert reduction == pytest.approx(20 * np.log10(4))
    # A unit-sum Hann window over 2 r + 1 samples has its maximum 1 / (r + 1) in the middle, and a
    # mean of values in [0.25, 1] with it moves by at most that maximum times their range a step.
    assert np.abs(np.diff(gain[0])).max() <= 0.75 / (radius + 1) + 1e-9
    assert np.all(gain[0, : 2000 - 2 * radius] == 1)
    assert np.all(gain[0, 2001 + 2 * radius :] == 1)


@pytest.mark.parametrize("size", [1, 3, 7, 21, 301])
@pytest.mark.parametrize("n", [1, 2, 20, 100])
def test_the_sliding_minimum_equals_brute_force(size: int, n: int) -> None:
    x = np.random.default_rng(size * n).standard_normal(n)
    radius = size // 2
    expected = [x[max(0, i - radius) : i + radius + 1].min() for i in range(n)]
    np.testing.assert_array_equal(levels._sliding_minimum(x, size), expected)


def test_match_loudness_reaches_its_target_below_full_scale() -> None:
    y = make_tones()[None]
    target = levels.loudness(y, SR) - 7
    matched, gain, reduction = levels.match_loudness(y, SR, target)
    assert levels.loudness(matched, SR) == pytest.approx(target, abs=0.02)
    assert gain == pytest.approx(-7, abs=0.02)
    assert reduction == 0


def test_match_loudness_makes_up_for_what_the_limiter_takes() -> None:
    y = make_noise()[None]
    y = y / np.float32(np.abs(y).max())
    target = levels.loudness(y, SR) + 3
    matched, gain, reduction = levels.match_loudness(y, SR, target)
    assert np.abs(matched).max() <= 1
    assert reduction > 0
    assert gain > 3
    assert levels.loudness(matched, SR) == pytest.approx(target, abs=0.1)


def test_match_loudness_limits_what_needs_no_gain() -> None:
    y = make_tones()[None]
    y[0, 100] = 1.5
    matched, gain, reduction = levels.match_loudness(y, SR, levels.loudness(y, SR))
    assert gain == pytest.approx(0, abs=0.1)
    assert np.abs(matched).max() <= 1
    assert reduction == pytest.approx(20 * np.log10(1.5), abs=0.1)
