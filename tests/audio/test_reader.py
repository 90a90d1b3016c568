"""Reading of audio files: exact lengths, broken headers, and blocks."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiostyle.audio import reader
from audiostyle.errors import AudioFileError
from tests.conftest import SR, Array, make_noise, make_tones

LOSSLESS_ERROR = 2.0**-15  # of 16 bits
N = 22_051  # odd, and a multiple of no block of any format


def clip(channels: int = 2, sr: int = 44_100) -> Array:
    both = [make_tones(0.6, sr), make_noise(0.6, sr, seed=1)]
    return np.stack([np.resize(y, N) for y in both[:channels]])


@pytest.mark.parametrize("extension", [".wav", ".flac", ".aiff", ".ogg", ".mp3"])
def test_start_and_duration_cut_exactly(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    sf.write(path, clip().T, 44_100)
    whole = reader.load_audio(path).y
    part = reader.load_audio(path, start=0.1, duration=0.25)
    assert part.start == 4410
    assert part.y.shape == (2, 11_025)
    if extension != ".mp3":  # a decoder of MP3 that begins in the middle lacks what came before
        np.testing.assert_allclose(part.y, whole[:, 4410 : 4410 + 11_025], atol=1e-6)
    rest = reader.load_audio(path, start=0.1, duration=99)
    assert rest.y.shape == (2, N - 4410)
    assert rest.notes == []


def test_a_start_beyond_the_end_is_refused(write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", make_tones())
    with pytest.raises(AudioFileError, match=r"a\.wav: start=1 s lies beyond its end at 1\.000 s"):
        reader.load_audio(path, start=1.0)
    assert reader.load_audio(path, start=1 - 1 / SR).y.shape == (1, 1)


def test_several_blocks_are_read_in_order(
    write_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav("a.wav", clip(), 44_100, subtype="FLOAT")
    monkeypatch.setattr(reader, "BLOCK_SAMPLES", 1000)
    np.testing.assert_array_equal(reader.load_audio(path).y, clip())


def test_a_file_without_permission_is_named(
    write_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write_wav("a.wav", make_tones())
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        AudioFileError, match=r"a\.wav: cannot be read \(Permission denied\); check"
    ):
        reader.load_audio(path)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


@pytest.mark.parametrize("extension", [".wav", ".aiff", ".au", ".ogg", ".mp3"])
def test_a_truncated_file_is_used_with_a_note(
    extension: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{extension}"
    sf.write(path, np.tile(clip(), 4).T, 44_100)
    whole = reader.load_audio(path).y
    loaded = reader.load_audio(cut(path, 0.5))
    n = loaded.y.shape[1]
    assert 0.3 * whole.shape[1] < n < 0.7 * whole.shape[1]
    if extension != ".mp3":
        np.testing.assert_array_equal(loaded.y[:, : n - 5000], whole[:, : n - 5000])
    assert loaded.notes
    assert loaded.notes[0].startswith(f"{path}: was cut off: its ")
    assert capfd.readouterr().err == ""  # the MP3 decoder prints warnings


def test_a_wave_header_that_claims_too_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, clip(1).T, 44_100, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    assert struct.unpack_from("<I", data, at) == (2 * N,)
    struct.pack_into("<I", data, at, 2 * N + 1000)
    path.write_bytes(data)
    loaded = reader.load_audio(path)
    assert loaded.y.shape == (1, N)
    assert loaded.notes == [
        f"{path}: was cut off: its header claims {2 * N + 1000} bytes of audio, it holds {2 * N}"
    ]
    struct.pack_into("<I", data, at, 2**32 - 1)  # as ffmpeg does when it writes to a pipe
    path.write_bytes(data)
    loaded = reader.load_audio(path)
    assert (loaded.y.shape, loaded.notes) == ((1, N), [])


def test_a_header_that_claims_billions_of_samples_needs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    sf.write(path, clip(1).T, 44_100)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the 36-bit number of samples in STREAMINFO
    data[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(AudioFileError, match=r"a\.flac: is (damaged|not an audio file)"):
        reader.load_audio(path)


def test_a_damaged_flac_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    sf.write(path, clip().T, 44_100)
    with pytest.raises(AudioFileError, match=r"a\.flac: is damaged or incomplete; copy or export"):
        reader.load_audio(cut(path, 0.5))


def test_many_channels_keep_their_order(write_wav: Callable[..., Path]) -> None:
    y = np.linspace(0.1, 0.8, 8)[:, None] * np.ones((8, 100))
    np.testing.assert_allclose(reader.load_audio(write_wav("a.wav", y)).y, y, atol=LOSSLESS_ERROR)


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize(("start", "duration"), [(0.0, None), (0.1, 0.25), (0.1, 99.0)])
def test_blocks_of_a_file_equal_the_loaded_array_on_every_pass(
    extension: str,
    start: float,
    duration: float | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / f"a{extension}"
    sf.write(path, clip().T, 44_100)
    whole = reader.load_audio(path, start=start, duration=duration)
    monkeypatch.setattr(reader, "BLOCK_SAMPLES", 1152)  # a frame of MP3
    source = reader.FileSource(path, start, duration)
    assert (source.sr, source.channels, source.name) == (44_100, 2, str(path))
    assert (source.format, source.subtype, source.start) == (
        whole.format,
        whole.subtype,
        whole.start,
    )
    next(source.blocks())  # a pass may be given up
    for _ in range(2):
        blocks = list(source.blocks())
        assert all(block.shape[1] <= 1152 and block.dtype == np.float32 for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole.y)
    assert source.notes == []


@pytest.mark.parametrize(("first", "n"), [(0, 1), (441, 1000), (20_000, None), (N - 1, 7)])
def test_an_excerpt_of_a_file_is_exact(
    first: int, n: int | None, write_wav: Callable[..., Path]
) -> None:
    path = write_wav("a.wav", clip(), 44_100, subtype="FLOAT")
    source = reader.FileSource(path, first / 44_100, None if n is None else n / 44_100)
    assert source.start == first
    expected = clip()[:, first:][:, :n]
    np.testing.assert_array_equal(np.concatenate(list(source.blocks()), axis=1), expected)


def test_faults_of_a_file_are_raised_when_it_is_opened(
    write_wav: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(AudioFileError, match=r"none\.wav: no such file"):
        reader.FileSource(tmp_path / "none.wav")
    path = write_wav("a.wav", make_tones())
    with pytest.raises(AudioFileError, match=r"start=1 s lies beyond its end at 1\.000 s"):
        reader.FileSource(path, 1.0)
    sf.write(path, np.zeros((0, 1)), SR)
    with pytest.raises(AudioFileError, match=r"a\.wav: holds no samples$"):
        list(reader.FileSource(path).blocks())


@pytest.mark.parametrize("extension", [".wav", ".ogg", ".mp3"])
def test_a_complete_pass_makes_the_same_notes_as_loading(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    sf.write(path, np.tile(clip(), 4).T, 44_100)
    cut(path, 0.5)
    source = reader.FileSource(path)
    next(source.blocks())
    assert source.notes == []
    for _ in range(2):
        assert sum(block.shape[1] for block in source.blocks()) > N
        assert source.notes == reader.load_audio(path).notes != []
    (block,) = reader.FileSource(path, 0.0, 100 / 44_100).blocks()
    assert block.shape == (2, 100)


def test_output_between_two_blocks_is_not_captured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp3"  # whose decoder's messages are caught
    sf.write(path, np.tile(clip(), 4).T, 44_100)
    monkeypatch.setattr(reader, "BLOCK_SAMPLES", 1 << 14)
    cut(path, 0.5)
    source = reader.FileSource(path)
    n_blocks = 0
    for _ in source.blocks():
        os.write(2, b".")
        n_blocks += 1
    assert n_blocks > 1
    assert capfd.readouterr().err == n_blocks * "."
