"""Edges, mutes, quiet channels and high levels of whole transfers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audiostyle import StyleTransfer, TransferConfig
from tests.conftest import (
    SR,
    Array,
    SetWindows,
    decibels_of,
    make_noise,
    make_tiny_config,
    make_tones,
)

CONFIG = make_tiny_config()


@pytest.fixture(scope="module")
def stylist() -> StyleTransfer:
    return StyleTransfer(CONFIG)


def styled(stylist: StyleTransfer, y: Array, style: Array | None = None) -> Array:
    found = stylist.transfer(y, make_noise() if style is None else style, SR).y
    assert found is not None and found.shape == y.shape and np.isfinite(found).all()
    return found


def test_no_edge_is_louder_than_the_inside() -> None:
    stylist = StyleTransfer(replace(CONFIG, init="notes"))
    t = np.arange(2 * SR) / SR
    y = (0.25 * np.cos(2 * np.pi * 440 * t)).astype(np.float32)  # begins and ends at its peak
    bursts = make_noise(2.0) * (np.arange(2 * SR) % (SR // 4) < SR // 20)
    result = styled(stylist, y, bursts.astype(np.float32))
    edge = SR // 1000
    inside = np.abs(result[SR // 10 : -SR // 10]).max()
    assert max(np.abs(result[:edge]).max(), np.abs(result[-edge:]).max()) <= inside


def test_a_mute_stays_mute_to_the_sample(stylist: StyleTransfer) -> None:
    y = np.stack([make_noise(2.0), make_noise(2.0, seed=1)])
    y[:, : SR // 2] = 0
    y[1, -SR // 4 :] = 0
    result = styled(stylist, y, make_tones(2.0))
    assert not result[:, : SR // 2].any() and not result[1, -SR // 4 :].any()
    assert decibels_of(result[:, SR // 2 : -SR // 4], y[:, SR // 2 : -SR // 4]) > -6
    assert decibels_of(result[0, -SR // 4 :], y[0, -SR // 4 :]) > -12


@pytest.mark.parametrize("where", ["content", "style"])
def test_windows_of_silence_pass_through(
    where: str, stylist: StyleTransfer, small_windows: SetWindows
) -> None:
    small_windows(160, 48)
    silent = np.zeros(5 * SR, np.float32)
    if where == "style":
        content, style = make_tones(), make_noise()
        both = np.concatenate([silent, style])
        result, expected = styled(stylist, content, both), styled(stylist, content, style)
        assert abs(decibels_of(result, expected)) < 1
        return
    y = np.concatenate([silent, make_tones(2.0)])
    result = styled(stylist, y)
    assert not result[: 5 * SR].any()
    assert decibels_of(result[5 * SR :] - y[5 * SR :], y[5 * SR :]) > -30  # it was styled


@pytest.mark.parametrize("channels", [2, 6])
def test_a_channel_of_noise_stays_quiet(channels: int, stylist: StyleTransfer) -> None:
    y = 10 ** (-75 / 20) * np.stack([make_noise(2.0, seed=i) for i in range(channels)])
    y[0] = make_tones(2.0)
    result = styled(stylist, y.astype(np.float32))
    gain = decibels_of(result, y)
    assert all(decibels_of(b, a) < gain + 4 for a, b in zip(y, result, strict=True))


def test_floating_point_above_full_scale_is_not_limited(stylist: StyleTransfer) -> None:
    y = make_tones(2.0)
    loud = stylist.transfer(4 * y / np.abs(y).max(), make_noise(), SR)
    soft = stylist.transfer(0.1 * y / np.abs(y).max(), make_noise(), SR)
    assert loud.y is not None and soft.y is not None
    assert (loud.reduction, loud.lowered) == (0.0, 0.0)
    assert np.abs(loud.y).max() > 2
    assert decibels_of(loud.y - 40 * soft.y, loud.y) < -25  # rounding errors that grew


def test_a_style_whose_channels_cancel_is_that_of_one_of_them() -> None:
    config: TransferConfig = replace(CONFIG, init="style")
    style, content = make_noise(2.0), make_tones(2.0)
    stylist = StyleTransfer(config)
    wide = styled(stylist, content, np.stack([style, -style]))
    np.testing.assert_allclose(wide, styled(stylist, content, style), atol=1e-3)
