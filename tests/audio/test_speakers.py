"""Every speaker keeps its sound in every format, and WAV says which is which."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiostyle.audio.reader import load_audio
from audiostyle.audio.speakers import VORBIS_CHANNELS
from audiostyle.audio.writer import write_stream
from tests.conftest import Array

SR = 48_000
LFE = {"LFE": 60}  # Hz; encoders cut off more
TONES = {"FL": 300, "FR": 500, "FC": 700, "BL": 1100, "BR": 1300, "SL": 1500, "SR": 1700, "BC": 900}
TONES |= LFE
# By the specifications of FLAC (and WAV) and of Vorbis I, section 4.3.9.
WAV = {
    3: "FL FR FC",
    4: "FL FR BL BR",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}
VORBIS = {
    3: "FL FC FR",
    4: "FL FR BL BR",
    5: "FL FC FR BL BR",
    6: "FL FC FR BL BR LFE",
    7: "FL FC FR SL SR BC LFE",
    8: "FL FC FR SL SR BL BR LFE",
}
MASKS = {"FL": 1, "FR": 2, "FC": 4, "LFE": 8, "BL": 16, "BR": 32, "BC": 256, "SL": 512, "SR": 1024}


def tones(speakers: str) -> Array:
    t = np.arange(SR) / SR
    found = [0.1 * np.sin(2 * np.pi * TONES[name] * t) for name in speakers.split()]
    return np.stack(found).astype(np.float32)


def speakers_of(y: Array) -> str:
    peaks = [int(np.abs(np.fft.rfft(channel[:SR])).argmax()) for channel in y]
    return " ".join(min(TONES, key=lambda name: abs(TONES[name] - peak)) for peak in peaks)


@pytest.mark.parametrize("channels", sorted(WAV))
@pytest.mark.parametrize(
    ("name", "container", "subtype"), [("a.ogg", "OGG", "VORBIS"), ("a.opus", "OGG", "OPUS")]
)
def test_vorbis_and_opus_have_an_order_of_their_own(
    channels: int, name: str, container: str, subtype: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write_stream(path, [tones(WAV[channels])], SR, channels, container, subtype, path)
    stored, _ = sf.read(path, always_2d=True)
    assert speakers_of(stored.T) == VORBIS[channels]
    assert speakers_of(load_audio(path).y) == WAV[channels]


@pytest.mark.parametrize("channels", sorted(WAV))
@pytest.mark.parametrize("container", ["WAV", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_wav_says_which_channel_is_which_speaker(
    channels: int, container: str, subtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    y = tones(WAV[channels])
    write_stream(path, [y], SR, channels, container, subtype, path)
    data = path.read_bytes()
    chunk = data.index(b"fmt ") + 8
    tag, n_channels = struct.unpack_from("<HH", data, chunk)
    (mask,) = struct.unpack_from("<I", data, chunk + 20)
    assert (tag, n_channels) == (0xFFFE, channels)
    assert mask == sum(MASKS[name] for name in WAV[channels].split())
    found = load_audio(path)
    assert found.subtype == subtype
    np.testing.assert_allclose(found.y, y, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2])
def test_mono_and_stereo_wav_stay_plain(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_stream(path, [np.zeros((channels, 500))], SR, channels, "WAV", "PCM_16", path)
    assert path.read_bytes()[20:22] == b"\1\0"
    assert channels not in VORBIS_CHANNELS
