"""Loudness against the reference values of ITU-R BS.1770, and streams against arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from audiostyle.audio import loudness
from tests.audio.test_level import cut, sine
from tests.audio.test_limiter import limit_peaks
from tests.conftest import SR, Array, make_noise, make_tones


@pytest.mark.parametrize("sr", [44_100, 48_000, 96_000])
def test_a_full_scale_sine_has_the_loudness_of_the_standard(sr: int) -> None:
    # BS.1770-4, annex 1: a 0 dBFS 997 Hz sine in one channel reads -3.01 LKFS.
    assert loudness.loudness(sine(sr=sr), sr) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize(
    ("frequency", "gain"),
    # Response of the two biquads of BS.1770-4 at 48 kHz, relative to 997 Hz.
    [(100.0, -1.8), (10_000.0, 3.3)],
)
def test_bass_counts_less_and_treble_more(frequency: float, gain: float) -> None:
    relative = loudness.loudness(sine(frequency=frequency), 48_000) + 3.01
    assert relative == pytest.approx(gain, abs=0.2)


def test_loudness_equals_the_time_domain_filters_of_the_standard() -> None:
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
    assert loudness.loudness(y[None], 48_000) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("gain_db", [-30.0, -6.0, 12.0])
def test_a_gain_changes_the_loudness_by_the_same_amount(gain_db: float) -> None:
    y = make_tones()[None].astype(np.float64)
    louder = y * 10 ** (gain_db / 20)
    moved = loudness.loudness(louder, SR) - loudness.loudness(y, SR)
    assert moved == pytest.approx(gain_db, abs=1e-6)


def test_two_equal_channels_are_three_decibels_louder_than_one() -> None:
    y = make_tones()[None]
    stereo = loudness.loudness(np.concatenate([y, y]), SR)
    assert stereo - loudness.loudness(y, SR) == pytest.approx(10 * np.log10(2), abs=1e-6)


@pytest.mark.parametrize("n", [1001, 1000])
def test_loudness_obeys_parseval_for_any_length(n: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal((1, n))
    frequencies = np.fft.fftfreq(n, 1 / SR)  # both sides, written out
    spectrum = np.fft.fft(y[0])
    power = np.sum(loudness.k_weighting(np.abs(frequencies)) * np.abs(spectrum) ** 2) / n**2
    assert loudness.loudness(y, SR) == pytest.approx(-0.691 + 10 * np.log10(power), abs=1e-9)


class CountedStream:
    """A stream that counts how often it is read."""

    def __init__(self, y: Array) -> None:
        self.y = y
        self.passes = 0

    def __call__(self) -> Iterator[Array]:
        self.passes += 1
        return iter(cut(self.y))


def matched(y: Array, change: float) -> tuple[Array, loudness.LoudnessMatchedStream, int]:
    blocks, now = CountedStream(y), loudness.loudness(y, SR)
    result = loudness.match_loudness_stream(blocks, SR, now, float(np.abs(y).max()), now + change)
    return np.concatenate(list(result.blocks()), axis=1), result, blocks.passes


def test_match_loudness_reaches_its_target_below_full_scale() -> None:
    y = make_tones()[None]
    quieter, result, _ = matched(y, -7)
    target = loudness.loudness(y, SR) - 7
    assert loudness.loudness(quieter, SR) == pytest.approx(target, abs=0.02)
    assert result.gain == pytest.approx(-7, abs=0.02)
    assert result.reduction == 0


@pytest.mark.parametrize(("over", "lowered"), [(1.0, 0.0), (3.0, 0.0), (8.0, 5.0), (17.0, 14.0)])
def test_the_limiter_takes_little_and_the_rest_lowers_the_whole(
    over: float, lowered: float
) -> None:
    y = make_noise()[None]
    y = y / np.float32(np.abs(y).max())
    louder, result, _ = matched(y, over)
    assert np.abs(louder).max() == pytest.approx(1.0, abs=1e-3)
    assert result.reduction == pytest.approx(over - lowered, abs=1e-3)
    assert result.lowered == pytest.approx(lowered, abs=1e-3)
    assert result.gain == pytest.approx(over - lowered, abs=1e-3)
    found = loudness.loudness(louder, SR) - loudness.loudness(y, SR)
    assert over - lowered - 1 < found <= over - lowered + 1e-3


def test_a_stream_without_a_ceiling_is_not_limited() -> None:
    y = make_noise()[None]
    source = CountedStream(y)
    result = loudness.match_loudness_stream(source, SR, -20.0, 1.0, -8.0, np.inf)
    assert (result.gain, result.lowered, result.reduction) == (12.0, 0.0, 0.0)
    louder = np.concatenate(list(result.blocks()), axis=1)
    np.testing.assert_allclose(louder, y * 10 ** (12 / 20), rtol=1e-5)


def test_match_loudness_limits_without_gain() -> None:
    y = make_tones()[None]
    y[0, 100] = 1.4
    limited, result, _ = matched(y, 0)
    assert result.gain == pytest.approx(0, abs=0.1)
    assert np.abs(limited).max() <= 1
    assert result.reduction == pytest.approx(20 * np.log10(1.4), abs=0.1)


def clip(seconds: float = 2.0, sr: int = SR, peak: float = 0.5) -> Array:
    y = np.stack([make_tones(seconds, sr), make_noise(seconds, sr)])
    return y * np.float32(peak / np.abs(y).max())


@pytest.mark.parametrize("n", [0, 1, 100, 8191, 8192, 8193, 12_288, 44_100])
def test_loudness_does_not_depend_on_block_sizes(n: int) -> None:
    y = clip()[:, :n]
    meter = loudness.LoudnessMeter(SR)
    for block in cut(y):
        meter.add(block)
    assert meter.value() == loudness.loudness(y, SR)


@pytest.mark.parametrize("sr", [8000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("seconds", [0.5, 1.3, 4.0])
def test_the_meter_agrees_with_the_spectrum_of_the_array(sr: int, seconds: float) -> None:
    y = clip(seconds, sr)
    n = y.shape[1]
    power = np.abs(np.fft.fft(y.astype(np.float64))) ** 2 / n**2
    expected = np.sum(loudness.k_weighting(np.abs(np.fft.fftfreq(n, 1 / sr))) * power)
    expected_db = -0.691 + 10 * np.log10(expected)
    # The whole is a circle there, and has no ends.
    assert loudness.loudness(y, sr) == pytest.approx(expected_db, abs=0.003 / min(seconds, 1))


@pytest.mark.parametrize("at", [0, 100, 8192, 20_000, 44_099])
def test_the_energy_of_each_sample_counts_once(at: int) -> None:
    # One sample among silence: its spectrum is flat, wherever it lies.
    y = np.zeros((1, 44_100))
    y[0, at] = 1.0
    flat = loudness.k_weighting(np.abs(np.fft.fftfreq(8192, 1 / SR))).mean() / 44_100
    assert loudness.loudness(y, SR) == pytest.approx(-0.691 + 10 * np.log10(flat), abs=1e-3)


@pytest.mark.parametrize("n", [5000, 8192, 20_001, 44_100])
def test_the_meter_removes_an_offset_afterwards(n: int) -> None:
    y = clip()[:, :n].astype(np.float64)
    offset = np.array([0.5, -0.25])
    meter = loudness.LoudnessMeter(SR)
    meter.add(y + offset[:, None])
    assert meter.value(offset) == pytest.approx(loudness.loudness(y, SR), abs=1e-9)
    assert meter.value() >= meter.value(offset)


@pytest.mark.parametrize(("change", "gain"), [(-7.0, -7.0), (5.9, 5.9), (-99.0, -60.0)])
def test_a_stream_that_needs_no_limiting_is_read_once(change: float, gain: float) -> None:
    y = clip(peak=0.5)
    louder, result, passes = matched(y, change)
    assert passes == 1
    assert result.gain == pytest.approx(gain)
    assert result.reduction == 0
    np.testing.assert_allclose(louder, y * 10 ** (gain / 20), rtol=1e-6)


def test_a_stream_at_its_loudness_passes_unchanged() -> None:
    y = clip(peak=1.0)
    same, result, passes = matched(y, 0.005)
    assert (result.gain, result.reduction, passes) == (0.0, 0.0, 1)
    np.testing.assert_array_equal(same, y)


def test_a_loud_enough_stream_is_only_limited() -> None:
    y = clip(peak=1.4)
    limited, result, passes = matched(y, 0.0)
    assert (result.gain, passes) == (0.0, 1)
    assert result.reduction == pytest.approx(20 * np.log10(1.4), abs=1e-3)
    np.testing.assert_array_equal(limited, limit_peaks(y, SR)[0])
