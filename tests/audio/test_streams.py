"""Streams against the functions of whole clips, and spools against what was put into them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from audiostyle.audio import buffer as spool_module
from audiostyle.audio import level, loudness, resampling, streams
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.streams import check_clip
from audiostyle.config.transfer_config import MAX_CHANNELS
from audiostyle.errors import AudioFileError, DiskError, OutputError
from tests.audio.test_level import cut
from tests.conftest import SR, Array, make_noise, make_tones

BLOCK = level.BLOCK_SAMPLES
TOO_MANY = f"{MAX_CHANNELS + 1} channels; from 1 to {MAX_CHANNELS} are supported"


def clip(seconds: float = 1.0, sr: int = SR) -> Array:
    return np.stack([make_tones(seconds, sr), make_noise(seconds, sr)])


class Cut(streams.ArraySource):
    """A clip that comes in blocks of random sizes."""

    def blocks(self) -> Iterator[Array]:
        return iter(cut(self.y))


def test_the_blocks_of_an_array_are_views_of_it() -> None:
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
def test_what_is_no_clip_is_no_source(y: Array, message: str) -> None:
    with pytest.raises(AudioFileError, match=message):
        streams.ArraySource(y, SR, "a")


@pytest.mark.parametrize("offset", [0.0, 0.25, -0.0031])
def test_a_survey_says_of_a_stream_what_is_true_of_the_whole(offset: float) -> None:
    y = clip()
    y -= y.mean(axis=1, keepdims=True)
    y[0] += offset
    survey = streams.summarize_stream(Cut(y, SR, "a"))
    checked = check_clip(y, SR, "a")
    assert survey.n == y.shape[1]
    assert survey.offset.dtype == np.float32
    np.testing.assert_allclose(survey.offset, y.mean(axis=1) if offset else 0, atol=1e-7)
    np.testing.assert_array_equal(y - survey.offset[:, None], checked)
    assert survey.peak == np.abs(checked).max()
    assert survey.loudness == pytest.approx(loudness.loudness(checked, SR), abs=1e-4)


@pytest.mark.parametrize(("offset", "left"), [(0.0029, True), (0.0031, False)])
def test_an_offset_of_more_than_50_db_below_full_scale_is_taken_out(
    offset: float, left: bool
) -> None:
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
def test_a_stream_and_a_clip_that_cannot_be_used_say_the_same(
    y: Array, kind: str, message: str
) -> None:
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


@pytest.mark.parametrize(
    ("orig_sr", "target_sr"),
    [(44_100, 22_050), (48_000, 22_050), (22_050, 44_100), (8000, 22_050), (44_101, 22_050)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_stream_is_resampled_as_the_whole_is(orig_sr: int, target_sr: int, channels: int) -> None:
    y = clip(1.003, orig_sr)[:channels]
    blocks = list(resampling.resample_stream(iter(cut(y)), orig_sr, target_sr, channels))
    assert all(block.dtype == np.float32 and len(block) == channels for block in blocks)
    resampled = np.concatenate(blocks, axis=1)
    whole = soxr.resample(y.T, orig_sr, target_sr, quality="HQ").T
    assert resampled.shape == (channels, -(-y.shape[1] * target_sr // orig_sr))
    np.testing.assert_array_equal(resampled, resampling.resample(y, orig_sr, target_sr))
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
    blocks = list(resampling.resample_stream(samples, orig_sr, target_sr, 1))
    assert sum(block.shape[1] for block in blocks) == -(-n * target_sr // orig_sr)


def test_blocks_that_are_at_the_rate_pass_through() -> None:
    blocks = cut(clip())
    passed = list(resampling.resample_stream(iter(blocks), SR, SR, 2))
    assert all(a is b for a, b in zip(passed, blocks, strict=True))


def test_nothing_resampled_is_nothing() -> None:
    assert list(resampling.resample_stream(iter([]), 44_100, SR, 2)) == []
    assert list(resampling.resample_stream(iter([np.zeros((2, 0))]), 44_100, SR, 2)) == []


MEMORY_ONLY, FILE_ONLY, BOTH = None, 0, 2 * 2 * 4 * BLOCK  # two blocks of two channels


@pytest.mark.parametrize("memory_bytes", [MEMORY_ONLY, FILE_ONLY, BOTH])
@pytest.mark.parametrize("n", [0, 1, BLOCK, 3 * BLOCK + 17])
def test_a_spool_gives_back_what_was_put_into_it(
    memory_bytes: int | None, n: int, tmp_path: Path
) -> None:
    y = np.random.default_rng(0).standard_normal((2, n), np.float32)
    folder = None if memory_bytes is None else tmp_path
    with AudioBuffer(2, folder, memory_bytes or 0) as spool:
        for block in cut(y, largest=300_000):
            spool.append(block.copy())
        assert (spool.n, spool.channels) == (n, 2)
        for _ in range(2):
            blocks = list(spool.blocks())
            assert all(block.shape[1] <= BLOCK for block in blocks)
            np.testing.assert_array_equal(np.concatenate([y[:, :0], *blocks], axis=1), y)
        assert os.listdir(tmp_path) == []  # the file has no name
    assert list(spool.blocks()) == []


def test_a_spool_copies_what_it_takes(tmp_path: Path) -> None:
    block = np.ones((1, BLOCK), np.float32)
    for spool in (AudioBuffer(1), AudioBuffer(1, tmp_path, 0)):
        for value in (1, 2):
            block[:] = value
            spool.append(block)
        block[:] = 3
        assert [float(b[0, -1]) for b in spool.blocks()] == [1.0, 2.0]
        spool.close()


class FullFile:
    """A file on a full disk, which fails once more when it is closed."""

    def seek(self, *_: int) -> None: ...

    def write(self, _: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        self.write(b"")


def test_a_full_disk_is_a_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module.tempfile, "TemporaryFile", lambda **_: FullFile())
    with (
        pytest.raises(DiskError, match=r"cannot be written \(No space left on device\); free"),
        AudioBuffer(1, tmp_path, 0) as spool,
    ):
        spool.append(np.zeros((1, BLOCK), np.float32))


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path) -> None:
    spool = AudioBuffer(1, tmp_path / "none", 0)
    spool.append(np.zeros((1, BLOCK - 1), np.float32))  # needs no file yet
    with pytest.raises(OutputError, match=r"none: cannot be written \(No such file"):
        spool.append(np.zeros((1, 1), np.float32))
