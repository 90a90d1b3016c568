"""Files as phones, browsers, pipes and video sites write them: whole, and right to the sample."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import correlate

from audiostyle.audio import reader
from audiostyle.audio.probe import probe_clip
from audiostyle.audio.sections import parse_mpeg_header
from audiostyle.errors import AudioFileError
from tests.conftest import Array, make_tones
from tests.support.media import encode

SR = 44_100
N = 50_021  # a multiple of no block of any format


def sound(sr: int = SR, n: int = N) -> Array:
    """Tones and a little noise: no other position looks like the right one."""
    noise = 0.01 * np.random.default_rng(2).standard_normal(n)
    return (np.resize(make_tones(1.2, sr), n) + noise).astype(np.float32)


def libsndfile(y: Array, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    sf.write(stream, y.T, SR, format=format, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def frames_of(mp3: bytes) -> list[bytes]:
    """Split MP3 data that has no tags."""
    frames, position = [], 0
    while position < len(mp3):
        header = parse_mpeg_header(mp3[position : position + 4])
        assert header is not None
        frames.append(mp3[position : position + header.size])
        position += header.size
    return frames


def mp3(y: Array, mode: str = "CONSTANT", level: float = 0.4) -> bytes:
    return libsndfile(y, "MP3", bitrate_mode=mode, compression_level=level)


def id3(n: int = 300) -> bytes:
    return b"ID3\x03\x00\x00" + bytes((0, 0, n >> 7, n & 127)) + bytes(n)


ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 72, 1, 0xA0000000) + bytes(8) + bytes(40)
APE += b"APETAGEX" + struct.pack("<IIII", 2000, 72, 1, 0x80000000) + bytes(8)

Load = Callable[[bytes, str], reader.Audio]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a file and read it, whole and as an input of a batch."""

    def write_and_load(data: bytes, name: str) -> reader.Audio:
        path = tmp_path / name
        path.write_bytes(data)
        info = probe_clip(path)
        audio = reader.load_audio(path)
        assert info.kind == "", info
        assert (info.sr, info.channels, info.subtype) == (audio.sr, len(audio.y), audio.subtype)
        assert abs(info.frames - audio.y.shape[1]) < 0.1 * audio.sr, "enough for an estimate"
        return audio

    return write_and_load


def check_same(y: Array, expected: Array, least: float = 0.98, delay: int = 0) -> None:
    """Check the position, level and likeness of a decoded sound; none of it may be lost."""
    y, expected = np.atleast_2d(y)[0], np.atleast_2d(expected)[0]
    found = correlate(y, expected, method="fft")
    at = int(np.argmax(found)) - (len(expected) - 1)
    assert at == delay
    part = y[at : at + len(expected)]
    assert len(part) == len(expected)
    assert np.corrcoef(part, expected)[0, 1] > least
    assert np.linalg.norm(part) / np.linalg.norm(expected) == pytest.approx(1, abs=0.1)
    tail = slice(-2000, None)
    assert np.corrcoef(part[tail], expected[tail])[0, 1] > 0.8, "the end is there too"


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("tagged", [False, True])
def test_an_mp3_without_a_header_is_read_to_its_end(mode: str, tagged: bool, load: Load) -> None:
    quiet = 0.001 * sound(n=3 * N)  # the first frames are short: estimates from them are wrong
    y = np.concatenate([quiet, sound()])
    whole = mp3(y, mode)
    assert b"Xing" in whole[:100] or b"Info" in whole[:100]
    frames = frames_of(whole)[1:]
    data = b"".join(frames)
    audio = load(id3() + data + APE + ID3V1 if tagged else data, "a.mp3")
    assert audio.y.shape[1] == 1152 * len(frames) >= len(y)
    assert audio.notes == [], "what a header does not say is not judged"
    check_same(audio.y[0], y, delay=1105)  # of encoder and decoder; nothing says how much it is


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_an_mp3_with_a_header_has_the_length_of_the_original(mode: str, load: Load) -> None:
    audio = load(id3(200) + mp3(sound(), mode) + ID3V1, "a.mp3")
    assert audio.y.shape == (1, N) and audio.notes == []
    check_same(audio.y, sound())


def test_joined_mp3_files_are_all_read(load: Load, tmp_path: Path) -> None:
    parts = [sound(), sound()[::-1].copy(), sound(n=20_011)]
    files = [
        mp3(part, mode)
        for part, mode in zip(parts, ["VARIABLE", "CONSTANT", "VARIABLE"], strict=True)
    ]
    audio = load(files[0] + ID3V1 + id3() + files[1] + APE + files[2], "a.mp3")
    assert audio.notes == [f"{tmp_path / 'a.mp3'}: holds 3 streams, one after another"]
    assert audio.y.shape == (1, 2 * N + 20_011)
    for part, y in zip(parts, np.split(audio.y[0], [N, 2 * N]), strict=True):
        check_same(y, part)


def test_a_cut_mp3_file_says_what_its_header_claims(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    frames = frames_of(mp3(sound()))
    path.write_bytes(b"".join(frames[: len(frames) // 2]))
    audio = reader.load_audio(path)
    assert N // 3 < audio.y.shape[1] < N // 2
    assert "was cut off: its header claims" in audio.notes[0]
    assert probe_clip(path).kind == "truncated"


def test_an_mp3_of_free_bit_rate(load: Load) -> None:
    """FFmpeg does not read these, libsndfile does."""
    y = sound(48_000)
    stream = io.BytesIO()
    sf.write(stream, y, 48_000, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    frames = frames_of(stream.getvalue())
    assert len({len(frame) for frame in frames}) == 1
    free = b"".join(frame[:2] + bytes([frame[2] & 0x0F]) + frame[3:] for frame in frames)
    audio = load(free, "a.mp3")
    assert audio.y.shape == (1, N)
    check_same(audio.y, y)


@pytest.mark.parametrize(("subtype", "sr"), [("VORBIS", SR), ("OPUS", 48_000)])
def test_chained_ogg_streams_are_all_read(subtype: str, sr: int, tmp_path: Path) -> None:
    parts = [sound(sr), sound(sr)[::-1].copy(), sound(sr, 20_011)]
    alone = []
    for number, part in enumerate(parts):
        path = tmp_path / f"{number}.ogg"
        sf.write(path, part, sr, format="OGG", subtype=subtype)
        alone.append(reader.load_audio(path).y)
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"".join((tmp_path / f"{i}.ogg").read_bytes() for i in (0, 1, 2, 0)))
    audio = reader.load_audio(path)
    np.testing.assert_array_equal(audio.y, np.concatenate([*alone, alone[0]], axis=1))
    assert audio.notes == [f"{path}: holds 4 streams, one after another"]
    assert (audio.format, audio.subtype) == ("OGG", subtype)
    assert probe_clip(path).frames == audio.y.shape[1]
    part = reader.load_audio(path, start=1.0, duration=1.5)
    np.testing.assert_array_equal(part.y, audio.y[:, sr : sr + 3 * sr // 2])


def test_joined_flac_files_are_all_read(load: Load) -> None:
    y = np.round(sound() * 2**15) / 2**15
    audio = load(libsndfile(y, "FLAC") + libsndfile(y[:20_000], "FLAC"), "a.flac")
    np.testing.assert_array_equal(audio.y[0], np.concatenate([y, y[:20_000]]))


def test_a_damaged_stream_of_a_chain_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    whole = libsndfile(sound(), "OGG")
    damaged = whole[:40] + bytes(200) + whole[240:]
    path.write_bytes(whole + damaged + whole)
    audio = reader.load_audio(path)
    assert audio.y.shape == (1, 2 * N)
    assert audio.notes[1:] == [f"{path}: stream 2 is damaged and left out"]


def test_streams_that_differ_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    stereo = np.stack([sound(), sound()])
    path.write_bytes(libsndfile(sound(), "OGG") + libsndfile(stereo, "OGG"))
    with pytest.raises(
        AudioFileError,
        match=r"a\.ogg: changes from 44100 Hz and 1 channels to 44100 Hz and 2 channels; convert",
    ):
        reader.load_audio(path)
    assert reader.load_audio(path, duration=1.0).y.shape == (1, SR)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_flac_file_from_a_pipe(subtype: str, load: Load) -> None:
    depth = 2.0 ** (int(subtype[-2:]) - 1)
    y = np.round(np.stack([sound(), sound()[::-1]]) * depth) / depth
    data = bytearray(libsndfile(y, "FLAC", subtype=subtype))
    data[21] &= 0xF0  # the number of samples
    data[22:26] = bytes(4)
    audio = load(bytes(data), "a.flac")
    np.testing.assert_array_equal(audio.y, y.astype(np.float32))
    assert (audio.format, audio.subtype, audio.notes) == ("FLAC", subtype, [])


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE", "PCM_U8", "ULAW"])
@pytest.mark.parametrize("size", [0, 2**32 - 1])
def test_a_wave_file_from_a_pipe(subtype: str, size: int, load: Load) -> None:
    data = bytearray(libsndfile(np.stack([sound(), sound()[::-1]]), "WAV", subtype=subtype))
    at = data.index(b"data") + 4
    expected = sf.read(io.BytesIO(bytes(data)), dtype="float32")[0].T
    data[at : at + 4] = struct.pack("<I", size)
    data[4:8] = struct.pack("<I", size)
    audio = load(bytes(data), "a.wav")
    np.testing.assert_array_equal(audio.y, expected)
    assert (audio.subtype, audio.notes) == (subtype, [])


MEDIA = {
    "a.m4a": ("ipod", "aac", SR),
    "a.mp4": ("mp4", "alac", SR),
    "a.mov": ("mov", "pcm_s24le", SR),
    "a.3gp": ("3gp", "aac", 22_050),
    "a.webm": ("webm", "libopus", 48_000),
    "opus.mp4": ("mp4", "libopus", 48_000),
    "opus.ogg": ("ogg", "libopus", 48_000),
    "flac.ogg": ("ogg", "flac", SR),
    "flac.mkv": ("matroska", "flac", SR),
    "alac.caf": ("caf", "alac", SR),
    "a.tta": ("tta", "tta", SR),
    "a.wv": ("wv", "wavpack", SR),
    "a.mp3": ("mp3", "libmp3lame", SR),
    "a.w64": ("w64", "pcm_f32le", SR),
    "a.aiff": ("aiff", "pcm_s24be", SR),
    "a.au": ("au", "pcm_mulaw", 8000),
    "adpcm.wav": ("wav", "adpcm_ms", SR),
}
LENGTH = {"a.w64": 3, "adpcm.wav": 2000}  # that containers add


@pytest.mark.parametrize("name", MEDIA)
def test_lengths_are_exact_where_the_format_tells(name: str, load: Load) -> None:
    container, codec, sr = MEDIA[name]
    audio = load(encode(sound(sr), sr, container, codec), name)
    assert audio.sr == sr and audio.notes == []
    assert 0 <= audio.y.shape[1] - N <= LENGTH.get(name, 0)
    check_same(audio.y[:, :N], sound(sr))


# These do not tell the delay of their encoder; at most a frame is added at the end.
DELAYS = {
    "a.aac": ("adts", "aac", SR, 1024),
    "a.wma": ("asf", "wmav2", SR, 0),
    "b.wma": ("asf", "wmav1", 22_050, 0),
    "a.ac3": ("ac3", "ac3", SR, 256),
    "a.mp2": ("mp2", "mp2", SR, 481),
    "a.ts": ("mpegts", "mp2", SR, 481),
    "a.avi": ("avi", "libmp3lame", SR, 1105),
    "a.flv": ("flv", "libmp3lame", SR, 1105),
    "mp3.wav": ("wav", "libmp3lame", SR, 1105),
}


@pytest.mark.parametrize("name", DELAYS)
def test_nothing_is_lost_where_it_does_not(name: str, load: Load) -> None:
    container, codec, sr, delay = DELAYS[name]
    audio = load(encode(sound(sr), sr, container, codec), name)
    assert audio.sr == sr and audio.notes == []
    assert N + delay <= audio.y.shape[1] < N + delay + 4096
    check_same(audio.y, sound(sr), delay=delay)


def test_speech_codecs_of_phones(load: Load) -> None:
    audio = load(encode(make_tones(2.0, 8000), 8000, "amr", "amr_nb"), "a.amr")
    assert (audio.sr, audio.format, audio.subtype) == (8000, "AMR", "AMRNB")
    assert 16_000 <= audio.y.shape[1] < 16_400
    assert 0.5 < np.linalg.norm(audio.y) / np.linalg.norm(make_tones(2.0, 8000)) < 1.5


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + name + data


def test_the_length_that_itunes_writes(load: Load) -> None:
    """It has no edit list; delay and length are in a tag."""
    data = encode(sound(), SR, "ipod", "aac", options={"use_editlist": "0"})
    assert load(data, "before.m4a").y.shape[1] > N + 1000
    value = f" 00000000 {1024:08X} {-(N + 1024) % 1024:08X} {N:016X} 00000000".encode()
    tag = box(b"mean", bytes(4) + b"com.apple.iTunes") + box(b"name", bytes(4) + b"iTunSMPB")
    tag = box(b"----", tag + box(b"data", struct.pack(">II", 1, 0) + value))
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    more = box(b"udta", box(b"meta", bytes(4) + handler + box(b"ilst", tag)))
    at = data.rindex(b"moov") - 4  # it is the last box
    (size,) = struct.unpack_from(">I", data, at)
    assert at + size == len(data)
    audio = load(data[:at] + struct.pack(">I", size + len(more)) + data[at + 4 :] + more, "a.m4a")
    assert audio.y.shape[1] == N
    check_same(audio.y, sound())


def test_fragments_as_browsers_record_them(load: Load) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    audio = load(encode(sound(), SR, "mp4", "aac", options=options), "a.mp4")
    check_same(audio.y, sound(), delay=1024)
    live = encode(sound(48_000), 48_000, "webm", "libopus", options={"live": "1"})
    assert load(live, "a.webm").y.shape[1] == N


def test_the_sound_of_a_video(load: Load) -> None:
    audio = load(encode(sound(), SR, "mp4", "aac", picture=True), "a.mp4")
    assert audio.y.shape[1] == N and audio.notes == []
    check_same(audio.y, sound())


def test_the_first_of_several_tracks_is_used(load: Load, tmp_path: Path) -> None:
    audio = load(encode(sound(), SR, "matroska", "flac", tracks=3), "a.mkv")
    check_same(audio.y, sound())
    assert audio.notes == [f"{tmp_path / 'a.mkv'}: holds 3 tracks of sound; number 1 is used"]


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(encode(sound(), SR, "mp4", "aac", tracks=0, picture=True))
    with pytest.raises(AudioFileError, match=r"a\.mp4: holds pictures and no sound; use another"):
        reader.load_audio(path)


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [("mp4", "aac", {"movflags": "faststart"}), ("webm", "libopus", {}), ("asf", "wmav2", {})],
)
def test_what_was_cut_off_is_said(
    container: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    data = encode(np.tile(sound(48_000), 4), 48_000, container, codec, options=options)
    path.write_bytes(data[: len(data) // 2])
    audio = reader.load_audio(path)
    assert 1.2 * N < audio.y.shape[1] < 2.4 * N
    check_same(audio.y[:, :N], sound(48_000))
    assert any("was cut off" in note or "is damaged" in note for note in audio.notes)


def test_a_recording_that_was_never_finished_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    data = encode(sound(), SR, "ipod", "aac")
    path.write_bytes(data[: len(data) // 2])  # the index is at the end
    with pytest.raises(AudioFileError, match=r"a\.m4a: is damaged or incomplete; copy or export"):
        reader.load_audio(path)


@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.mp3", "a.wma", "flac.mkv"])
def test_parts_are_those_of_the_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container, codec, sr, *_ = (MEDIA | DELAYS)[name]
    path = tmp_path / name
    path.write_bytes(encode(sound(sr), sr, container, codec))
    whole = reader.load_audio(path).y
    monkeypatch.setattr(reader, "BLOCK_SAMPLES", 1000)
    for first, n in ((0, 1), (441, 1000), (20_000, None), (whole.shape[1] - 1, 7)):
        source = reader.FileSource(path, first / sr, None if n is None else n / sr)
        blocks = list(source.blocks())
        assert max(block.shape[1] for block in blocks) <= 1000
        expected = whole[:, first:][:, :n]
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), expected)
    end = whole.shape[1] / sr
    with pytest.raises(AudioFileError, match=rf"start=99 s lies beyond its end at {end:.3f} s"):
        reader.load_audio(path, start=99)


def test_six_channels_keep_their_order(load: Load) -> None:
    t = np.arange(N) / 48_000
    y = np.stack([0.1 * np.sin(2 * np.pi * f * t) for f in (300, 500, 700, 90, 1100, 1300)])
    audio = load(encode(y, 48_000, "ipod", "aac"), "a.m4a")
    assert audio.y.shape == y.shape
    for channel, expected in zip(audio.y, y, strict=True):
        assert np.corrcoef(channel, expected)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.txt", "a.mp3", "a.m4a", "a", "a.gsm"])
@pytest.mark.parametrize("content", ["mp3", "m4a", "webm", "flac", "ogg"])
def test_the_content_counts_and_not_the_extension(
    name: str, content: str, load: Load, capfd: pytest.CaptureFixture[str]
) -> None:
    data = {
        "mp3": lambda: mp3(sound()),
        "m4a": lambda: encode(sound(), SR, "ipod", "aac"),
        "webm": lambda: encode(sound(48_000), 48_000, "webm", "libopus"),
        "flac": lambda: libsndfile(sound(), "FLAC"),
        "ogg": lambda: libsndfile(sound(), "OGG"),
    }[content]()
    assert load(data, name).y.shape == (1, N)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.m4a"])
def test_decoders_print_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    whole = mp3(sound())
    for step in (7, 97, 997):
        data = bytearray(whole)
        data[300::step] = bytes(len(data[300::step]))
        path.write_bytes(bytes(data))
        try:
            reader.load_audio(path)
        except AudioFileError as error:
            assert "\n" not in str(error)
        probe_clip(path)
    assert capfd.readouterr().err == ""


REFUSED = {
    "dsd.dsf": b"DSD " + bytes(2000),
    "list.m3u8": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n" * 40,
    "list.mp4": b"ffconcat version 1.0\nfile '/etc/hostname'\n" * 40,
    "page.mp3": b"<!doctype html><html><body>404</body></html>\n" * 40,
    "picture.m4a": b"\x89PNG\r\n\x1a\n" + bytes(2000),
    "noise.mp3": np.random.default_rng(0).bytes(20_000),
    "zeros.mp4": bytes(20_000),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_audio_is_refused_in_one_line(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(REFUSED[name])
    with pytest.raises(AudioFileError) as error:
        reader.load_audio(path)
    assert str(error.value).startswith(f"{path}: is not an audio file that can be read (")
    assert "\n" not in str(error.value) and "convert it" in str(error.value)
    assert probe_clip(path).kind == "unreadable"
    assert capfd.readouterr().err == ""


def test_more_planes_than_can_be_read_are_refused(tmp_path: Path) -> None:
    data = bytearray(encode(sound(), SR, "ipod", "aac"))
    at = data.index(b"\x05\x80\x80\x80", data.index(b"esds")) + 6
    data[at] = data[at] & 0x87 | 13 << 3  # 22.2 channels, in the configuration of the decoder
    path = tmp_path / "a.m4a"
    path.write_bytes(bytes(data))
    with pytest.raises(AudioFileError, match="24 channels in one track; from 1 to 8 are read"):
        reader.load_audio(path)


def test_an_mp3_with_a_hole_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    frames = frames_of(mp3(sound()))
    third = len(frames) // 3
    hole = sum(map(len, frames[third : 2 * third]))
    path.write_bytes(b"".join(frames[:third]) + bytes(hole) + b"".join(frames[2 * third :]))
    audio = reader.load_audio(path)
    assert audio.notes[0] == f"{path}: is damaged: {hole} bytes in it are no sound"
    assert 0.6 * N < audio.y.shape[1] < 0.8 * N
    assert probe_clip(path).kind == ""


def test_damaged_packets_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    data = bytearray(encode(sound(48_000), 48_000, "webm", "libopus"))
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    path.write_bytes(bytes(data))
    audio = reader.load_audio(path)
    assert audio.y.shape[1] > N // 2
    assert any("is damaged" in note or "was cut off" in note for note in audio.notes), audio.notes
