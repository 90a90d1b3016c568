"""Limiter of streams against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from audiostyle.audio.level import split_blocks
from audiostyle.audio.limiter import Limiter
from tests.audio.test_level import cut
from tests.audio.test_streams import clip
from tests.conftest import SR, Array, make_tones


def limit_peaks(
    y: Array, sr: int, ceiling: float = 1.0, lookahead: float = 0.005
) -> tuple[Array, float]:
    """Limit a whole clip; return it with the largest reduction."""
    limiter = Limiter(sr, ceiling, lookahead)
    limited = np.concatenate(list(limiter.run(split_blocks(y))), axis=1)
    return limited, limiter.reduction


def test_peaks_below_the_ceiling_are_not_changed() -> None:
    y = make_tones()[None]
    limited, reduction = limit_peaks(y, SR)
    np.testing.assert_array_equal(limited, y)
    assert reduction == 0


@pytest.mark.parametrize("ceiling", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_no_sample_exceeds_the_ceiling(ceiling: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.laplace(size=(2, 5000)).astype(np.float32)
    limited, reduction = limit_peaks(y, SR, ceiling)
    assert limited.shape == y.shape
    assert limited.dtype == y.dtype
    assert np.abs(limited).max() <= ceiling
    assert reduction == pytest.approx(20 * np.log10(np.abs(y).max() / ceiling), abs=1.0)
    assert reduction >= 20 * np.log10(np.abs(y).max() / ceiling) - 1e-6


def test_the_gain_is_smooth_and_ends_with_the_lookahead() -> None:
    lookahead = 0.005
    radius = int(lookahead * SR)
    y = np.full((2, 4000), 0.5, np.float64)
    y[1, 2000] = 4.0  # one channel's peak turns both down alike
    limited, reduction = limit_peaks(y, SR, 1.0, lookahead)
    gain = limited / y
    np.testing.assert_allclose(gain[0], gain[1], rtol=1e-12)
    assert gain[0, 2000] == pytest.approx(0.25)
    assert reduction == pytest.approx(20 * np.log10(4))
    # A unit-sum Hann window over 2 r + 1 samples has its maximum 1 / (r + 1) in the middle, and a
    # mean of values in [0.25, 1] with it moves by at most that maximum times their range a step.
    assert np.abs(np.diff(gain[0])).max() <= 0.75 / (radius + 1) + 1e-9
    assert np.all(gain[0, : 2000 - 2 * radius] == 1)
    assert np.all(gain[0, 2001 + 2 * radius :] == 1)


@pytest.mark.parametrize("n", [1, 100, 441, 2000, 30_000])
@pytest.mark.parametrize("ceiling", [1.0, 0.3])
def test_limiting_a_stream_equals_the_definition_for_the_array(n: int, ceiling: float) -> None:
    y = np.random.default_rng(n).laplace(scale=0.3, size=(2, n)).astype(np.float32)
    y[0, 0] = 1.5  # the ends are limited as well
    y[1, -1] = -2.0
    radius = int(0.005 * SR)
    needed = np.minimum(1.0, ceiling / np.abs(y).max(axis=0))
    held = [needed[max(0, i - radius) : i + radius + 1].min() for i in range(n)]
    kernel = np.hanning(2 * radius + 3)[1:-1]
    gain = np.convolve(np.pad(held, radius, mode="edge"), kernel / kernel.sum(), mode="valid")
    limiter = Limiter(SR, ceiling)
    limited = list(limiter.run(iter(cut(y))))
    np.testing.assert_allclose(
        np.concatenate(limited, axis=1), np.clip(y * gain, -ceiling, ceiling), atol=1e-7
    )
    assert limiter.reduction == pytest.approx(-20 * np.log10(gain.min()))
    np.testing.assert_array_equal(np.concatenate(limited, axis=1), limit_peaks(y, SR, ceiling)[0])


def test_a_stream_below_the_ceiling_passes_unchanged() -> None:
    y = clip()
    y /= np.abs(y).max()
    limiter = Limiter(SR)
    np.testing.assert_array_equal(np.concatenate(list(limiter.run(iter(cut(y)))), axis=1), y)
    assert str(limiter.reduction) == "0.0"
    assert list(Limiter(SR).run(iter([]))) == []
