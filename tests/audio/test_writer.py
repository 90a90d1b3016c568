"""Writing of audio files: formats, round trips and failures."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiostyle.audio import level, reader, writer
from audiostyle.errors import AudioFileError, ConfigError, DiskError, OutputError
from audiostyle.utils import atomic_files
from tests.audio.test_level import cut
from tests.audio.test_reader import LOSSLESS_ERROR, N, clip
from tests.conftest import SR, Array


def save_audio(path: Path, y: Array, sr: int, container: str, subtype: str) -> None:
    with atomic_files.Staging() as staging:
        part = staging.add(path)
        writer.write_stream(part, [y], sr, len(y), container, subtype, name=path)
        staging.publish()


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("extension", reader.FORMATS)
def test_round_trip_of_every_format(extension: str, channels: int, tmp_path: Path) -> None:
    y, path = clip(channels), tmp_path / f"clip{extension}"
    sr = 48_000 if extension == ".opus" else 44_100  # Opus does not support 44.1 kHz
    container, subtype = writer.output_format(path, None, "PCM_16", y.size)
    writer.check_writable(path, sr, channels, container, subtype)
    assert listing(tmp_path) == {}
    save_audio(path, y, sr, container, subtype)
    loaded = reader.load_audio(path)
    assert (loaded.y.shape, loaded.y.dtype, loaded.sr) == (y.shape, np.float32, sr)
    assert (loaded.format, loaded.subtype, loaded.start) == (container, subtype, 0)
    assert loaded.notes == []
    assert os.listdir(tmp_path) == [path.name]
    if subtype == "PCM_16":
        np.testing.assert_allclose(loaded.y, y, atol=LOSSLESS_ERROR)
    elif subtype != "OPUS":  # Opus does not preserve the waveform
        assert np.sqrt(np.mean((loaded.y - y) ** 2)) < 0.2 * np.sqrt(np.mean(y**2))


@pytest.mark.parametrize(
    ("subtype", "extension", "expected"),
    [
        ("PCM_16", ".wav", ("WAV", "PCM_16")),
        ("PCM_24", ".wav", ("WAV", "PCM_24")),
        ("FLOAT", ".wav", ("WAV", "FLOAT")),
        ("PCM_U8", ".wav", ("WAV", "PCM_U8")),
        ("DOUBLE", ".aiff", ("AIFF", "DOUBLE")),
        ("PCM_24", ".WAV", ("WAV", "PCM_24")),
        ("PCM_24", ".flac", ("FLAC", "PCM_24")),
        ("FLOAT", ".flac", ("FLAC", "PCM_24")),
        ("PCM_32", ".flac", ("FLAC", "PCM_24")),
        ("PCM_U8", ".flac", ("FLAC", "PCM_16")),
        ("ALAC_24", ".wav", ("WAV", "PCM_24")),
        ("FLOAT", ".mp3", ("MP3", "MPEG_LAYER_III")),
        ("FLOAT", ".ogg", ("OGG", "VORBIS")),
        ("FLOAT", ".opus", ("OGG", "OPUS")),
        # Compressed audio is not compressed again: few programs play a WAV file with MP3.
        ("MPEG_LAYER_III", ".wav", ("WAV", "PCM_16")),
        ("MPEG_LAYER_III", ".flac", ("FLAC", "PCM_16")),
        ("VORBIS", ".wav", ("WAV", "PCM_16")),
        ("ULAW", ".wav", ("WAV", "PCM_16")),
        ("MS_ADPCM", ".wav", ("WAV", "PCM_16")),
    ],
)
def test_the_output_has_the_bit_depth_of_the_source(
    subtype: str, extension: str, expected: tuple[str, str]
) -> None:
    assert writer.output_format(f"out{extension}", None, subtype, 2 * N) == expected


def test_a_given_subtype_is_used() -> None:
    assert writer.output_format("o.wav", "float", "PCM_16", 2 * N) == ("WAV", "FLOAT")


@pytest.mark.parametrize(
    ("name", "subtype", "message"),
    [
        ("o.wav", "PCM24", "subtype 'PCM24' is not known: did you mean PCM_24"),
        ("o.flac", "FLOAT", "subtype 'FLOAT' is not known"),
        ("o", None, "o: has no extension; use one of .wav, .flac"),
        ("o.m4a", None, "cannot write files with extension .m4a; use one of .wav"),
    ],
)
def test_an_unknown_format_is_refused(name: str, subtype: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        writer.output_format(name, subtype, "PCM_16", 2 * N)


def test_a_clip_too_long_for_a_wav_file_becomes_rf64() -> None:
    assert writer.output_format("o.wav", None, "PCM_16", 2**29) == ("RF64", "PCM_16")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_samples_are_exact_to_the_bit_depth(subtype: str, tmp_path: Path) -> None:
    y = clip()
    save_audio(tmp_path / "a.wav", y, 44_100, "WAV", subtype)
    step = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "FLOAT": 0.0}[subtype]
    np.testing.assert_allclose(reader.load_audio(tmp_path / "a.wav").y, y, atol=step, rtol=1e-7)


def test_samples_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    y = np.array([[1.5, -1.5, 1.0, -1.0] * 100], np.float32)
    save_audio(tmp_path / "a.wav", y, 44_100, "WAV", "PCM_16")
    np.testing.assert_allclose(
        reader.load_audio(tmp_path / "a.wav").y, np.clip(y, -1, 1), atol=LOSSLESS_ERROR
    )


@pytest.mark.parametrize(
    ("name", "sr", "channels", "remedy"),
    [
        ("o.mp3", 44_100, 3, "MP3 with MPEG_LAYER_III does not support 3 channel"),
        ("o.opus", 44_100, 2, "OGG with OPUS does not support 2 channel.* at 44100 Hz"),
        ("o.flac", 44_100, 9, "FLAC with PCM_16 does not support 9 channel"),
    ],
)
def test_unsupported_rates_and_channels_are_refused_early(
    name: str, sr: int, channels: int, remedy: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    container, subtype = writer.output_format(path, None, "PCM_16", 2 * N)
    with pytest.raises(OutputError, match=rf"{name}: {remedy}.*; use \.wav or \.flac"):
        writer.check_writable(path, sr, channels, container, subtype)
    assert listing(tmp_path) == {}


class DiskFull(sf.SoundFile):  # type: ignore[misc]
    """A file on a disk that is full after the first block."""

    written = 0

    def write(self, data: Any) -> None:
        super().write(data)
        self.written += 1
        if self.written == 2:
            raise OSError(28, "No space left on device")


class Forgetful(sf.SoundFile):  # type: ignore[misc]
    """A file that loses its last sample."""

    def write(self, data: Any) -> None:
        super().write(data[:-1])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (DiskFull, r"cannot be written \(No space left on device\)"),
        (Forgetful, f"reads back with {N - 1} samples instead of {N}"),
    ],
)
def test_a_failing_save_keeps_the_old_file(
    broken: type, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.wav"
    path.write_bytes(b"the old one")
    if broken is DiskFull:
        monkeypatch.setattr(level, "BLOCK_SAMPLES", 1000)
    monkeypatch.setattr(sf, "SoundFile", broken)
    with pytest.raises(OutputError, match=rf"o\.wav: {message}"):
        save_audio(path, clip(), 44_100, "WAV", "PCM_16")
    assert listing(tmp_path) == {"o.wav": b"the old one"}


def test_samples_that_are_not_finite_are_not_published(tmp_path: Path) -> None:
    y = clip()
    y[1, 7] = np.nan
    with pytest.raises(OutputError, match="reads back with samples that are not finite"):
        save_audio(tmp_path / "o.wav", y, 44_100, "WAV", "FLOAT")
    assert listing(tmp_path) == {}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_have_the_permissions_of_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        save_audio(tmp_path / "o.wav", clip(), 44_100, "WAV", "PCM_16")
    finally:
        assert os.umask(before) == umask
    assert stat.S_IMODE((tmp_path / "o.wav").stat().st_mode) == mode


def test_a_folder_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic_files.tempfile, "mkstemp", refuse)
    with pytest.raises(OutputError, match=r"o\.wav: cannot be created in .*Permission denied"):
        writer.check_writable(tmp_path / "o.wav", 44_100, 1, "WAV", "PCM_16")


@pytest.mark.parametrize("container", ["WAV", "FLAC", "RF64"])
def test_writing_a_stream_equals_writing_the_array(container: str, tmp_path: Path) -> None:
    y = clip()
    written = writer.write_stream(
        tmp_path / "a", iter(cut(y)), 44_100, 2, container, "PCM_24", "o.wav"
    )
    assert written == N
    writer.write_stream(tmp_path / "b", [y], 44_100, 2, container, "PCM_24", "o.wav")
    assert atomic_files.file_digest(tmp_path / "a") == atomic_files.file_digest(tmp_path / "b")
    np.testing.assert_allclose(reader.load_audio(tmp_path / "a").y, y, atol=2.0**-23)


def test_a_disk_that_fills_during_writing_is_a_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sf, "SoundFile", DiskFull)
    with pytest.raises(DiskError, match=r"o\.wav: cannot be written \(No space left"):
        writer.write_stream(
            tmp_path / "a", np.split(clip()[:, :2000], 4, axis=1), SR, 2, "WAV", "PCM_16", "o.wav"
        )


def test_errors_of_the_stream_are_passed_on(tmp_path: Path) -> None:
    def failing() -> Iterator[Array]:
        yield clip()
        raise AudioFileError("a.flac: is damaged or incomplete; export it again")

    with pytest.raises(AudioFileError, match=r"a\.flac: is damaged"):
        writer.write_stream(tmp_path / "a", failing(), SR, 2, "WAV", "PCM_16", "o.wav")
