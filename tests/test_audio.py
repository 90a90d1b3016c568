"""Files in and out: exact lengths, formats, broken headers, and writing that leaves no traces."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiostyle import audio, outputs
from audiostyle.errors import AudioFileError, ConfigError, OutputError
from tests.conftest import SR, Array, make_noise, make_tones

LOSSLESS_ERROR = 2.0**-15  # of 16 bits
N = 22_051  # odd, and a multiple of no block of any format


def clip(channels: int = 2, sr: int = 44_100) -> Array:
    both = [make_tones(0.6, sr), make_noise(0.6, sr, seed=1)]
    return np.stack([np.resize(y, N) for y in both[:channels]])


def as_source(y: Array, container: str = "WAV", subtype: str = "PCM_16") -> audio.Audio:
    return audio.Audio(y, 44_100, container, subtype, 0, [])


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("extension", audio.FORMATS)
def test_round_trip_of_every_format(extension: str, channels: int, tmp_path: Path) -> None:
    y, path = clip(channels), tmp_path / f"clip{extension}"
    sr = 48_000 if extension == ".opus" else 44_100  # Opus knows no 44.1 kHz
    container, subtype = audio.output_format(path, None, as_source(y))
    audio.check_writable(path, sr, channels, container, subtype)
    assert listing(tmp_path) == {}
    audio.save_audio(path, y, sr, container, subtype)
    loaded = audio.load_audio(path)
    assert (loaded.y.shape, loaded.y.dtype, loaded.sr) == (y.shape, np.float32, sr)
    assert (loaded.format, loaded.subtype, loaded.start) == (container, subtype, 0)
    assert loaded.notes == []
    assert os.listdir(tmp_path) == [path.name]
    if subtype == "PCM_16":
        np.testing.assert_allclose(loaded.y, y, atol=LOSSLESS_ERROR)
    elif subtype != "OPUS":  # whose error in the waveform says nothing
        assert np.sqrt(np.mean((loaded.y - y) ** 2)) < 0.2 * np.sqrt(np.mean(y**2))


@pytest.mark.parametrize(
    ("container", "subtype", "extension", "expected"),
    [
        ("WAV", "PCM_16", ".wav", ("WAV", "PCM_16")),
        ("WAV", "PCM_24", ".wav", ("WAV", "PCM_24")),
        ("WAV", "FLOAT", ".wav", ("WAV", "FLOAT")),
        ("WAV", "PCM_U8", ".wav", ("WAV", "PCM_U8")),
        ("WAV", "DOUBLE", ".aiff", ("AIFF", "DOUBLE")),
        ("FLAC", "PCM_24", ".WAV", ("WAV", "PCM_24")),
        ("WAV", "PCM_24", ".flac", ("FLAC", "PCM_24")),
        ("WAV", "FLOAT", ".flac", ("FLAC", "PCM_24")),
        ("WAV", "PCM_32", ".flac", ("FLAC", "PCM_24")),
        ("WAV", "PCM_U8", ".flac", ("FLAC", "PCM_16")),
        ("CAF", "ALAC_24", ".wav", ("WAV", "PCM_24")),
        ("WAV", "FLOAT", ".mp3", ("MP3", "MPEG_LAYER_III")),
        ("WAV", "FLOAT", ".ogg", ("OGG", "VORBIS")),
        ("WAV", "FLOAT", ".opus", ("OGG", "OPUS")),
        # Compressed sound is not compressed once more: a WAV that holds MP3 plays almost nowhere.
        ("MP3", "MPEG_LAYER_III", ".wav", ("WAV", "PCM_16")),
        ("MP3", "MPEG_LAYER_III", ".flac", ("FLAC", "PCM_16")),
        ("OGG", "VORBIS", ".wav", ("WAV", "PCM_16")),
        ("WAV", "ULAW", ".wav", ("WAV", "PCM_16")),
        ("WAV", "MS_ADPCM", ".wav", ("WAV", "PCM_16")),
    ],
)
def test_the_output_is_as_deep_as_the_source(
    container: str, subtype: str, extension: str, expected: tuple[str, str]
) -> None:
    source = as_source(clip(), container, subtype)
    assert audio.output_format(f"out{extension}", None, source) == expected


def test_a_subtype_that_is_asked_for_is_taken() -> None:
    assert audio.output_format("o.wav", "float", as_source(clip())) == ("WAV", "FLOAT")


@pytest.mark.parametrize(
    ("name", "subtype", "message"),
    [
        ("o.wav", "PCM24", "subtype 'PCM24' is not known: did you mean PCM_24"),
        ("o.flac", "FLOAT", "subtype 'FLOAT' is not known"),
        ("o", None, "o: has no extension to name a format that can be written: use .wav, .flac"),
        ("o.m4a", None, "the extension .m4a is not of a format that can be written: use .wav"),
    ],
)
def test_an_unknown_format_is_refused(name: str, subtype: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        audio.output_format(name, subtype, as_source(clip()))


def test_a_clip_too_long_for_a_wav_file_becomes_rf64() -> None:
    huge = np.broadcast_to(np.zeros((1, 1), np.float32), (2, 2**28 + 1))
    assert audio.output_format("o.wav", None, as_source(huge)) == ("RF64", "PCM_16")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_samples_survive_to_the_depth_of_the_file(subtype: str, tmp_path: Path) -> None:
    y = clip()
    audio.save_audio(tmp_path / "a.wav", y, 44_100, "WAV", subtype)
    step = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "FLOAT": 0.0}[subtype]
    np.testing.assert_allclose(audio.load_audio(tmp_path / "a.wav").y, y, atol=step, rtol=1e-7)


def test_samples_beyond_full_scale_are_clipped_and_never_wrapped(tmp_path: Path) -> None:
    y = np.array([[1.5, -1.5, 1.0, -1.0] * 100], np.float32)
    audio.save_audio(tmp_path / "a.wav", y, 44_100, "WAV", "PCM_16")
    np.testing.assert_allclose(
        audio.load_audio(tmp_path / "a.wav").y, np.clip(y, -1, 1), atol=LOSSLESS_ERROR
    )


@pytest.mark.parametrize("extension", [".wav", ".flac", ".aiff", ".ogg", ".mp3"])
def test_start_and_duration_cut_exactly(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    sf.write(path, clip().T, 44_100)
    whole = audio.load_audio(path).y
    part = audio.load_audio(path, start=0.1, duration=0.25)
    assert part.start == 4410
    assert part.y.shape == (2, 11_025)
    if extension != ".mp3":  # a decoder of MP3 that begins in the middle lacks what came before
        np.testing.assert_allclose(part.y, whole[:, 4410 : 4410 + 11_025], atol=1e-6)
    rest = audio.load_audio(path, start=0.1, duration=99)
    assert rest.y.shape == (2, N - 4410)
    assert rest.notes == []


def test_a_start_beyond_the_end_is_refused(write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", make_tones())
    with pytest.raises(AudioFileError, match=r"a\.wav: start=1 s lies beyond its end at 1\.000 s"):
        audio.load_audio(path, start=1.0)
    assert audio.load_audio(path, start=1 - 1 / SR).y.shape == (1, 1)


def test_more_samples_than_a_block_are_read_in_order(
    write_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav("a.wav", clip(), 44_100, subtype="FLOAT")
    monkeypatch.setattr(audio, "BLOCK_FRAMES", 1000)
    np.testing.assert_array_equal(audio.load_audio(path).y, clip())


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
        audio.load_audio(path)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


@pytest.mark.parametrize("extension", [".wav", ".aiff", ".au", ".ogg", ".mp3"])
def test_a_file_that_was_cut_off_is_used_and_noted(
    extension: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{extension}"
    sf.write(path, np.tile(clip(), 4).T, 44_100)
    whole = audio.load_audio(path).y
    loaded = audio.load_audio(cut(path, 0.5))
    n = loaded.y.shape[1]
    assert 0.3 * whole.shape[1] < n < 0.7 * whole.shape[1]
    if extension != ".mp3":
        np.testing.assert_array_equal(loaded.y[:, : n - 5000], whole[:, : n - 5000])
    assert loaded.notes
    assert loaded.notes[0].startswith(f"{path}: was cut off: its ")
    assert capfd.readouterr().err == ""  # MP3's decoder would have its own say


def test_a_wave_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, clip(1).T, 44_100, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    assert struct.unpack_from("<I", data, at) == (2 * N,)
    struct.pack_into("<I", data, at, 2 * N + 1000)
    path.write_bytes(data)
    loaded = audio.load_audio(path)
    assert loaded.y.shape == (1, N)
    assert loaded.notes == [
        f"{path}: was cut off: its header says {2 * N + 1000} bytes of sound, {2 * N} are there"
    ]
    struct.pack_into("<I", data, at, 2**32 - 1)  # as ffmpeg does when it writes to a pipe
    path.write_bytes(data)
    loaded = audio.load_audio(path)
    assert (loaded.y.shape, loaded.notes) == ((1, N), [])


def test_a_header_that_claims_billions_of_samples_needs_no_memory_for_them(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    sf.write(path, clip(1).T, 44_100)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the 36-bit number of samples in STREAMINFO
    data[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(AudioFileError, match=r"a\.flac: is (damaged|not an audio file)"):
        audio.load_audio(path)


def test_a_lossless_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    sf.write(path, clip().T, 44_100)
    with pytest.raises(AudioFileError, match=r"a\.flac: is damaged or incomplete; make it anew"):
        audio.load_audio(cut(path, 0.5))


def test_many_channels_keep_their_order(write_wav: Callable[..., Path]) -> None:
    y = np.linspace(0.1, 0.8, 8)[:, None] * np.ones((8, 100))
    np.testing.assert_allclose(audio.load_audio(write_wav("a.wav", y)).y, y, atol=LOSSLESS_ERROR)


@pytest.mark.parametrize(
    ("name", "sr", "channels", "remedy"),
    [
        ("o.mp3", 44_100, 3, "MP3 with MPEG_LAYER_III does not take 3 channel"),
        ("o.opus", 44_100, 2, "OGG with OPUS does not take 2 channel.* at 44100 Hz"),
        ("o.flac", 44_100, 9, "FLAC with PCM_16 does not take 9 channel"),
    ],
)
def test_what_a_format_does_not_take_is_refused_before_any_work(
    name: str, sr: int, channels: int, remedy: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    container, subtype = audio.output_format(path, None, as_source(clip()))
    with pytest.raises(OutputError, match=rf"{name}: {remedy}.*; use \.wav or \.flac"):
        audio.check_writable(path, sr, channels, container, subtype)
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
        (Forgetful, f"reads back with {N - 1} samples in place of {N}"),
    ],
)
def test_a_failing_save_leaves_the_old_file_and_nothing_else(
    broken: type, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.wav"
    path.write_bytes(b"the old one")
    if broken is DiskFull:
        monkeypatch.setattr(audio, "BLOCK_FRAMES", 1000)
    monkeypatch.setattr(sf, "SoundFile", broken)
    with pytest.raises(OutputError, match=rf"o\.wav: {message}"):
        audio.save_audio(path, clip(), 44_100, "WAV", "PCM_16")
    assert listing(tmp_path) == {"o.wav": b"the old one"}


def test_samples_that_are_not_finite_are_not_published(tmp_path: Path) -> None:
    y = clip()
    y[1, 7] = np.nan
    with pytest.raises(OutputError, match="reads back with samples that are not finite"):
        audio.save_audio(tmp_path / "o.wav", y, 44_100, "WAV", "FLOAT")
    assert listing(tmp_path) == {}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_get_the_permissions_that_the_umask_asks_for(
    umask: int, mode: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        audio.save_audio(tmp_path / "o.wav", clip(), 44_100, "WAV", "PCM_16")
    finally:
        assert os.umask(before) == umask
    assert stat.S_IMODE((tmp_path / "o.wav").stat().st_mode) == mode


def test_staged_files_appear_together(tmp_path: Path) -> None:
    with outputs.Staging() as staging:
        staging.add(tmp_path / "a").write_bytes(b"1")
        staging.write(tmp_path / "b", b"2")
        assert not (tmp_path / "a").exists()
        staging.publish()
    assert listing(tmp_path) == {"a": b"1", "b": b"2"}


def test_staged_files_that_are_not_published_leave_no_trace(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), outputs.Staging() as staging:
        staging.write(tmp_path / "a", b"1")
        staging.write(tmp_path / "b", b"2")
        raise KeyboardInterrupt
    assert listing(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none/o.wav", r"o\.wav: there is no folder .*none; create it first"),
        (250 * "x" + ".json.wav", r"cannot be made in .* \(File name too long\)"),
        ("file/o.wav", r"cannot be made in .*file \(Not a directory\)"),
    ],
)
def test_a_place_that_takes_no_file_is_named(path: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=message), outputs.part_file(tmp_path / path):
        pass
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(outputs.tempfile, "mkstemp", refuse)
    with pytest.raises(OutputError, match=r"o\.wav: cannot be made in .*Permission denied"):
        audio.check_writable(tmp_path / "o.wav", 44_100, 1, "WAV", "PCM_16")


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(data)
    assert outputs.file_digest(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_find_clips_sorts_descends_and_skips_what_is_hidden(tmp_path: Path) -> None:
    names = ["b.wav", "a.FLAC", "sub/deep/c.mp3", "z.aif"]
    others = ["._b.wav", ".hidden.wav", ".git/d.wav", "notes.txt", "wav", "o.wav.json"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    found = audio.find_clips(tmp_path)
    assert found == sorted(tmp_path / name for name in names)


def test_a_hidden_folder_may_be_named_itself(tmp_path: Path) -> None:
    folder = tmp_path / ".clips"
    folder.mkdir()
    (folder / "a.wav").touch()
    assert audio.find_clips(folder) == [folder / "a.wav"]


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(AudioFileError, match=r"holds no audio files \(\.aif, .*\.wav"):
        audio.find_clips(tmp_path)
