"""Mutes stay mute, and no channel is raised far above the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from audiostyle.dsp.quiet import ChannelBalance, balance, sound_masks
from tests.conftest import Array, decibels_of

SR = 8000


def in_blocks(y: Array, size: int) -> Iterator[Array]:
    return (y[:, first : first + size] for first in range(0, y.shape[1], size))


def mask_of(y: Array, size: int = 100_000) -> Array:
    parts = list(sound_masks(in_blocks(y, size), SR))
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts], axis=1), y)
    return np.concatenate([mask for _, mask in parts], axis=1)


@pytest.mark.parametrize("size", [100_000, 1000, 37])
def test_the_mask_is_0_in_digital_silence_and_1_beyond_a_millisecond_of_it(size: int) -> None:
    y = np.random.default_rng(0).standard_normal((2, 6000)).astype(np.float32)
    y[0, :1500], y[1, 2000:2400], y[1, 5000:] = 0, 0, 0
    y[0, 3000:3100] = 0  # 12 ms are no silence
    mask = mask_of(y, size)
    assert not mask[0, :1500].any() and not mask[1, 2000:2400].any() and not mask[1, 5000:].any()
    assert (mask[0, 1516:] == pytest.approx(1)) and (mask[1, 2416:4984] == pytest.approx(1))
    assert np.all(np.diff(mask[0, 1500:1520]) >= 0)
    np.testing.assert_array_equal(mask, mask_of(y))


def test_a_sound_that_crosses_zero_is_no_silence() -> None:
    t = np.arange(4000)
    y = np.stack([np.sin(np.pi * t / 10), np.sign(np.sin(np.pi * t / 150))]).astype(np.float32)
    np.testing.assert_array_equal(mask_of(y), 1)


@pytest.mark.parametrize("size", [100_000, 999])
def test_a_channel_gains_at_most_3_dB_more_than_all(size: int) -> None:
    rng = np.random.default_rng(1)
    before = rng.standard_normal((3, 10 * SR)).astype(np.float32)
    before[1] *= 1e-4
    before[2, : 5 * SR] *= 1e-4  # silent in the first half
    after = before.copy()
    after[1] *= 30
    after[2, : 5 * SR] *= 30
    after *= 2
    channels = ChannelBalance(SR)
    for a, b in zip(in_blocks(before, size), in_blocks(after, size), strict=True):
        channels.add(a, b)
    curves = channels.curves()
    assert curves is not None
    y = np.concatenate(list(balance(in_blocks(after, size), curves)), axis=1)
    np.testing.assert_array_equal(y[0], after[0])
    gain = [
        decibels_of(y[i, a:b], before[i, a:b])
        for i, a, b in ((1, 0, None), (2, 0, 4 * SR), (2, 6 * SR, None))
    ]
    assert gain == pytest.approx([9.02, 9.02, 6.02], abs=0.05)


def test_channels_that_keep_their_balance_are_left_alone() -> None:
    y = np.random.default_rng(2).standard_normal((2, 3 * SR)).astype(np.float32)
    channels = ChannelBalance(SR)
    channels.add(y, 0.1 * y)
    assert channels.curves() is None
    mono = ChannelBalance(SR)
    mono.add(y[:1], 100 * y[:1])
    assert mono.curves() is None
    assert ChannelBalance(SR).curves() is None
