"""Resampling of streams against soxr on arrays."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from audiostyle.audio.resampling import resample, resample_stream
from tests.audio.test_level import cut
from tests.audio.test_streams import clip
from tests.conftest import SR


@pytest.mark.parametrize(
    ("orig_sr", "target_sr"),
    [(44_100, 22_050), (48_000, 22_050), (22_050, 44_100), (8000, 22_050), (44_101, 22_050)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_resampling_a_stream_equals_resampling_the_array(
    orig_sr: int, target_sr: int, channels: int
) -> None:
    y = clip(1.003, orig_sr)[:channels]
    blocks = list(resample_stream(iter(cut(y)), orig_sr, target_sr, channels))
    assert all(block.dtype == np.float32 and len(block) == channels for block in blocks)
    resampled = np.concatenate(blocks, axis=1)
    whole = soxr.resample(y.T, orig_sr, target_sr, quality="HQ").T
    assert resampled.shape == (channels, -(-y.shape[1] * target_sr // orig_sr))
    np.testing.assert_array_equal(resampled, resample(y, orig_sr, target_sr))
    n = min(whole.shape[1], resampled.shape[1])
    assert abs(whole.shape[1] - n) <= 1
    whole, resampled = whole[:, :n], resampled[:, :n]
    error = np.linalg.norm(resampled - whole) / np.linalg.norm(whole)
    assert 20 * np.log10(max(error, 1e-10)) < -100


@pytest.mark.parametrize("n", [1, 2, 3, 100, 101, 4410, 10_000])
@pytest.mark.parametrize(("orig_sr", "target_sr"), [(44_100, 22_050), (8000, 22_050), (3, 7)])
def test_the_length_of_a_resampled_stream_is_exact(n: int, orig_sr: int, target_sr: int) -> None:
    y = np.ones((1, n), np.float32)
    samples = (y[:, i : i + 1] for i in range(n))  # one at a time
    blocks = list(resample_stream(samples, orig_sr, target_sr, 1))
    assert sum(block.shape[1] for block in blocks) == -(-n * target_sr // orig_sr)


def test_equal_rates_pass_blocks_through() -> None:
    blocks = cut(clip())
    passed = list(resample_stream(iter(blocks), SR, SR, 2))
    assert all(a is b for a, b in zip(passed, blocks, strict=True))


def test_an_empty_stream_stays_empty() -> None:
    assert list(resample_stream(iter([]), 44_100, SR, 2)) == []
    assert list(resample_stream(iter([np.zeros((2, 0))]), 44_100, SR, 2)) == []
