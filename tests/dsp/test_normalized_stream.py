"""Recordings as the analysis sees them: any stretch of a stream, at one level, frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiostyle.audio import level as audio_level
from audiostyle.audio import loudness
from audiostyle.audio.reader import FileSource
from audiostyle.audio.streams import ArraySource, StreamReader
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import (
    FrameReader,
    NormalizedStream,
    check_frames,
)
from audiostyle.errors import AudioFileError
from tests.conftest import SR, Array, SetWindows, decibels_of, make_noise, make_tones

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4)
FIXED = settings(derandomize=True, deadline=None, database=None)


def cut(y: Array, sizes: list[int]) -> Iterator[Array]:
    """Cut into blocks of some sizes, over and over."""
    first = i = 0
    while first < y.shape[1]:
        size = sizes[i % len(sizes)]
        yield y[:, first : first + size]
        first, i = first + size, i + 1


def stretch(y: Array, start: int, stop: int) -> Array:
    """Slice as if there were silence before and after, without end."""
    padded = np.pad(y, ((0, 0), (300, 300)))
    return padded[:, 300 + start : 300 + stop]


STRETCHES = st.lists(st.tuples(st.integers(-90, 290), st.integers(0, 150)), min_size=1, max_size=8)


@FIXED
@given(
    n=st.integers(0, 200),
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=5),
    stretches=STRETCHES,
)
def test_reading_a_stream_returns_slices_of_it(
    n: int, sizes: list[int], stretches: list[tuple[int, int]]
) -> None:
    y = 1 + np.arange(2 * n, dtype=np.float32).reshape(2, n)
    reader = StreamReader(cut(y, sizes), 2)
    for start, length in sorted(stretches):
        stop = min(start + length, 300)
        np.testing.assert_array_equal(reader.read(start, stop), stretch(y, start, stop))


def test_a_reader_keeps_at_most_one_block_beyond_the_request() -> None:
    reader = StreamReader(iter([np.ones((1, 10), np.float32)] * 1000), 1)
    for start in range(0, 9000, 7):
        reader.read(start, start + 20)
        assert reader._buffer.base is None  # a view would keep the blocks of before
        assert reader._buffer.shape[1] < 20 + 10


@settings(FIXED, max_examples=30)
@given(
    n=st.integers(1024, 9000),
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=3),
    cuts=st.lists(st.tuples(st.integers(0, 35), st.integers(0, 6)), max_size=4),
)
def test_frames_of_windows_equal_those_of_the_whole(
    n: int, sizes: list[int], cuts: list[tuple[int, int]]
) -> None:
    y = np.random.default_rng(n).standard_normal((2, n)).astype(np.float32)
    whole = spectrogram.stft(y, CONFIG.n_fft, CONFIG.hop_length)
    n_frames = whole.shape[2]
    edges = [0, *sorted(min(first, n_frames - 1) for first, _ in cuts), n_frames]
    overlaps = [0, *(overlap for _, overlap in cuts), 0]
    reader = FrameReader(cut(y, sizes), 2, CONFIG.n_fft, CONFIG.hop_length)
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        stop = min(stop + overlaps[i], n_frames)
        if stop > start:
            np.testing.assert_array_equal(reader.stft(start, stop), whole[:, :, start:stop])


@pytest.mark.parametrize("sr", [8000, SR, 44_100, 44_056, 48_000])
def test_frames_of_the_clip_are_centred_as_those_of_librosa(sr: int) -> None:
    y = np.stack([make_tones(1.0, sr), make_noise(1.0, sr)])
    recording = NormalizedStream(ArraySource(y, sr, "y"), CONFIG)
    whole, pad = everything(recording), recording.pad_frames
    centred = spectrogram.stft(whole, CONFIG.n_fft, CONFIG.hop_length)
    D = recording.frame_reader().stft(0, recording.n_frames)
    padded = recording.frame_reader(padded=True).stft(0, recording.n_frames + 2 * pad)
    assert D.shape == centred.shape
    np.testing.assert_array_equal(D[:, :, 2:-4], centred[:, :, 2:-4])
    np.testing.assert_array_equal(padded[:, :, pad:-pad], D)
    blocks = np.concatenate(list(recording.padded_blocks()), axis=1)
    np.testing.assert_array_equal(blocks[:, recording.pad : -recording.pad], whole)
    assert whole.shape[1] == recording.n_resampled == blocks.shape[1] - 2 * recording.pad


def everything(recording: NormalizedStream) -> Array:
    return np.concatenate(list(recording.normalized_blocks()), axis=1)


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_a_file_and_the_same_array_give_the_same_stream(
    seconds: float, write_wav: Callable[..., Path], small_windows: SetWindows
) -> None:
    small_windows(160, 48)
    sr = 44_100
    y = np.stack([make_tones(seconds, sr), make_noise(seconds, sr)])
    path = write_wav("a.wav", y, sr, subtype="FLOAT")
    file, array = (
        NormalizedStream(FileSource(path), CONFIG),
        NormalizedStream(ArraySource(y, sr, "a"), CONFIG),
    )
    for name in ("sr", "channels", "n", "n_resampled", "n_frames"):
        assert getattr(file, name) == getattr(array, name)
    assert file.loudness == pytest.approx(array.loudness, abs=1e-9)
    assert file.loudness == pytest.approx(loudness.loudness(y, sr), abs=1e-4)
    assert (file.n, file.n_resampled) == (y.shape[1], round(seconds * SR))
    np.testing.assert_array_equal(np.concatenate(list(file.blocks()), axis=1), y)
    np.testing.assert_array_equal(everything(file), everything(array))
    assert everything(file).shape == (2, file.n_resampled)


@pytest.mark.parametrize("sr", [SR, 44_100])
def test_a_dc_offset_is_removed(sr: int) -> None:
    y = make_tones(1.0, sr)
    y -= y.mean()
    offsets = np.array([[0.1], [-0.05]], np.float32)
    plain, shifted = (
        NormalizedStream(ArraySource(z, sr, "y"), CONFIG) for z in (y + 0 * offsets, y + offsets)
    )
    blocks = [np.concatenate(list(one.blocks()), axis=1) for one in (plain, shifted)]
    np.testing.assert_allclose(blocks[1], blocks[0], atol=1e-6)
    assert decibels_of(everything(shifted) - everything(plain), everything(plain)) < -80
    assert shifted.loudness == pytest.approx(plain.loudness, abs=1e-3)
    # An offset that is no fault of the recording stays what it is.
    small = NormalizedStream(ArraySource(y + np.float32(0.001), sr, "y"), CONFIG)
    assert np.concatenate(list(small.blocks()), axis=1).mean() == pytest.approx(0.001, rel=1e-2)


def test_a_short_recording_gets_a_constant_gain(
    small_windows: SetWindows,
) -> None:
    small_windows(160, 48)
    y = make_noise(1.5)
    y[: len(y) // 2] *= 0.3
    recording = NormalizedStream(ArraySource(y, SR, "y"), CONFIG)
    assert len(recording.gain.gains) == 1
    factor = recording.gain.at(0, 1)
    np.testing.assert_allclose(everything(recording)[0], factor * y, rtol=1e-6)
    level = audio_level.active_level(everything(recording), SR)
    assert level == pytest.approx(audio_level.ANALYSIS_LEVEL_DB, abs=0.01)


def test_a_long_recording_gets_a_gain_that_varies(small_windows: SetWindows) -> None:
    small_windows(160, 48)
    n = 160 * CONFIG.hop_length
    loud, soft = make_noise(2 * n / SR, seed=1), 0.1 * make_noise(2 * n / SR, seed=2)
    recording = NormalizedStream(ArraySource(np.concatenate([loud, soft]), SR, "y"), CONFIG)
    assert len(recording.gain.gains) > 1
    y = everything(recording)
    reached = [audio_level.active_level(y[:, i * n : (i + 1) * n], SR) for i in range(4)]
    assert reached[0] == pytest.approx(audio_level.ANALYSIS_LEVEL_DB, abs=0.5)
    assert reached[3] == pytest.approx(audio_level.ANALYSIS_LEVEL_DB, abs=0.5)
    # The gain is known exactly, and smooth: undoing it leaves no trace.
    factor = recording.gain.at(0, y.shape[1])
    np.testing.assert_allclose(y[0], factor * np.concatenate([loud, soft]), rtol=1e-5)
    assert np.abs(np.diff(20 * np.log10(factor.astype(float)))).max() < 0.01


def test_too_few_frames_are_an_error_with_a_remedy() -> None:
    check_frames(16, 16, "a.wav", CONFIG)
    with pytest.raises(AudioFileError, match=r"a\.wav: 15 frames are too few .* needs 16.* 256"):
        check_frames(15, 16, "a.wav", CONFIG)
