"""Audio streams against arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.signal

from audiostyle.audio import level, loudness, streams
from audiostyle.audio.streams import check_clip, crop_stream, extend_stream
from audiostyle.config.transfer_config import MAX_CHANNELS
from audiostyle.errors import AudioFileError
from tests.audio.test_level import cut
from tests.conftest import SR, Array, make_noise, make_tones

BLOCK = level.BLOCK_SAMPLES
TOO_MANY = f"{MAX_CHANNELS + 1} channels; from 1 to {MAX_CHANNELS} are supported"


def clip(seconds: float = 1.0, sr: int = SR) -> Array:
    return np.stack([make_tones(seconds, sr), make_noise(seconds, sr)])


def in_blocks(y: Array, sizes: list[int]) -> Iterator[Array]:
    first = 0
    for size in itertools.cycle(sizes):
        if first >= y.shape[1]:
            return
        yield y[:, first : first + size]
        first += size


class Cut(streams.ArraySource):
    """An array source with blocks of random sizes."""

    def blocks(self) -> Iterator[Array]:
        return iter(cut(self.y))


def test_blocks_of_an_array_source_are_views() -> None:
    y = np.zeros((2, BLOCK + 5), np.float32)
    source = streams.ArraySource(y, SR, "a")
    for _ in range(2):
        assert [block.shape for block in source.blocks()] == [(2, BLOCK), (2, 5)]
        assert all(np.shares_memory(block, y) for block in source.blocks())
    mono = streams.ArraySource(y[0], SR, "a")
    assert (mono.channels, mono.sr, mono.name) == (1, SR, "a")
    assert np.shares_memory(next(mono.blocks()), y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((2, 3, 4)), r"a: samples of shape \(2, 3, 4\) and type float64 are not audio"),
        (np.zeros(5, np.int16), "a: samples are integers; divide by full scale"),
        (np.zeros((MAX_CHANNELS + 1, 5)), f"a: {TOO_MANY}"),
        (np.zeros((0, 5)), f"a: 0 channels; from 1 to {MAX_CHANNELS} are supported"),
    ],
)
def test_array_source_refuses_what_is_not_audio(y: Array, message: str) -> None:
    with pytest.raises(AudioFileError, match=message):
        streams.ArraySource(y, SR, "a")


@pytest.mark.parametrize("offset", [0.0, 0.25, -0.0031])
def test_summary_of_a_stream_equals_measurements_of_the_array(offset: float) -> None:
    y = clip()
    y -= y.mean(axis=1, keepdims=True)
    y[0] += offset
    summary = streams.summarize_stream(Cut(y, SR, "a"))
    checked = check_clip(y, SR, "a")
    assert summary.n == y.shape[1]
    assert summary.offset.dtype == np.float32
    np.testing.assert_allclose(summary.offset, y.mean(axis=1) if offset else 0, atol=1e-7)
    np.testing.assert_array_equal(y - summary.offset[:, None], checked)
    assert summary.peak == np.abs(checked).max()
    assert summary.loudness == pytest.approx(loudness.loudness(checked, SR), abs=1e-4)


@pytest.mark.parametrize(("offset", "left"), [(0.0029, True), (0.0031, False)])
def test_an_offset_above_minus_50_db_is_removed(offset: float, left: bool) -> None:
    y = np.sin(np.arange(SR) * 2 * np.pi * 441 / SR)[None] / 2 + offset  # whole periods
    assert check_clip(y, SR, "a").mean() == pytest.approx(offset if left else 0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("y", "kind", "message"),
    [
        (np.zeros((1, 0)), "too_short", "a: holds no samples"),
        (make_tones(0.4), "too_short", r"a: 0\.4 s is too short; at least 0\.5 s are needed"),
        (np.where(np.arange(SR) == 7000, np.nan, 0.1), "not_finite", "a: holds NaN or infinite"),
        (np.where(np.arange(SR) == 7000, np.inf, 0.1), "not_finite", "a: holds NaN or infinite"),
        (np.full(SR, 0.5), "silent", r"a: is silent \(peak below -90 dBFS\)"),
    ],
)
def test_unusable_streams_and_clips_raise_the_same_error(y: Array, kind: str, message: str) -> None:
    for refuse in (
        lambda: check_clip(y, SR, "a"),
        lambda: streams.summarize_stream(streams.ArraySource(y, SR, "a")),
        lambda: streams.summarize_stream(Cut(y, SR, "a")),
    ):
        with pytest.raises(AudioFileError, match=message) as caught:
            refuse()
        assert caught.value.kind == kind


def test_a_stream_with_too_many_channels_is_refused() -> None:
    source = Cut(clip(), SR, "a")
    source.channels = MAX_CHANNELS + 1
    with pytest.raises(AudioFileError, match=f"a: {TOO_MANY}"):
        streams.summarize_stream(source)


@pytest.mark.parametrize("seconds", [1e-6, 0.001, 0.0123, 0.1, 0.3, 0.4999, 0.5, 99.0])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_the_loudest_excerpt_equals_brute_force(seconds: float, offset: float) -> None:
    y = clip()
    n_all = y.shape[1]
    n = min(max(round(seconds * SR), 1), n_all)
    energy = [np.square(y[:, i : i + n], dtype=np.float64).sum() for i in range(0, n_all - n + 1)]
    starts = np.arange(0, n_all - n + 1, max(1, n // 10))
    expected = int(starts[np.argmax(np.array(energy)[starts])])
    shift = np.array([offset, -offset], np.float32)
    source = Cut(y + shift[:, None], SR, "a")
    assert streams.loudest_excerpt(source, seconds, shift) == (expected, n)
    if not offset:
        assert streams.loudest_excerpt(source, seconds) == (expected, n)


def test_the_first_of_equal_excerpts_is_taken() -> None:
    assert streams.loudest_excerpt(Cut(np.zeros(SR), SR, "a"), 0.1) == (0, 2205)


@pytest.mark.parametrize("sizes", [[100_000], [700, 5000], [1]])
def test_a_sine_goes_on_beyond_both_ends_of_its_stream(sizes: list[int]) -> None:
    n, pad, before = 5000, 1500, 2000
    t = np.arange(-before, n + before)
    y = (0.25 * np.stack([np.sin(0.125 * t + 0.7), np.cos(0.5 * t)])).astype(np.float32)
    inner = y[:, before:-before]
    extended = np.concatenate(list(extend_stream(in_blocks(inner, sizes), before, pad)), axis=1)
    assert extended.shape == y.shape
    np.testing.assert_array_equal(extended[:, before : before + n], inner)
    fade = np.cos(0.5 * np.pi * (np.arange(pad) + 1) / (pad + 1)) ** 2
    after = extended[:, before + n :]
    np.testing.assert_allclose(after[:, :pad], fade * y[:, before + n :][:, :pad], atol=0.01)
    np.testing.assert_allclose(
        extended[:, before - pad : before],
        (fade * y[:, :before][:, ::-1][:, :pad])[:, ::-1],
        atol=0.01,
    )
    assert not extended[:, : before - pad].any() and not after[:, pad:].any()


def test_silence_goes_on_as_silence_and_noise_gets_no_louder() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 4000)).astype(np.float32)
    y = np.concatenate([np.zeros((1, 2000), np.float32), noise], axis=1)
    extended = np.concatenate(list(extend_stream([y], 1000, 1000)), axis=1)
    assert not extended[:, :3000].any()
    assert 0 < np.abs(extended[:, -1000:]).max() <= np.abs(noise).max()
    short = np.concatenate(list(extend_stream([y[:, 1990:2010]], 50, 50)), axis=1)
    assert short.shape == (1, 120) and np.isfinite(short).all()
    assert list(extend_stream([], 10, 10)) == []


@pytest.mark.parametrize("sizes", [[100], [3], [1, 7]])
def test_a_stream_is_cropped_to_the_sample(sizes: list[int]) -> None:
    y = np.arange(40, dtype=np.float32).reshape(2, 20)
    for first, n in ((0, 20), (3, 9), (0, 1), (19, 1)):
        blocks = list(crop_stream(in_blocks(y, sizes), first, n))
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), y[:, first : first + n])


def test_samples_that_would_overflow_are_refused_in_one_line() -> None:
    y = clip()
    streams.check_clip(y * np.float32(1e9), SR, "loud")
    with pytest.raises(
        AudioFileError, match=r"huge: holds samples up to .*e\+3\d times full scale"
    ):
        streams.check_clip(y / np.abs(y).max() * np.float32(1e38), SR, "huge")


@pytest.mark.parametrize("n", [1, 20, 5000])
def test_a_stream_is_continued_by_its_prediction_filter(n: int) -> None:
    """As `scipy.signal.lfilter` does from the state that the last samples leave."""
    y = np.random.default_rng(n).standard_normal(n).cumsum()
    a = streams._burg(y, min(streams.PREDICTION_ORDER, n - 1))
    state = scipy.signal.lfiltic([1.0], a, y[: -len(a) : -1])
    expected, _ = scipy.signal.lfilter([1.0], a, np.zeros(300), zi=state)
    np.testing.assert_allclose(streams._continue(y, a, 300), expected, rtol=1e-9, atol=1e-12)
