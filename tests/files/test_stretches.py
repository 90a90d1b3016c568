"""Stretches: what is styled, what stays bit for bit, and which are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiostyle import transfer_file
from audiostyle.audio.loudness import loudness
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import StyleTransfer, TransferResult
from audiostyle.errors import AudioFileError, AudioStyleError, ConfigError
from audiostyle.files import transfer
from audiostyle.files.request import TransferRequest
from audiostyle.files.stretches import CONTEXT_SECONDS, FADE_SECONDS
from tests.conftest import SR, Array, make_noise
from tests.support.fakes import make_result, samples

FADE = round(FADE_SECONDS * SR)
CONTEXT = round(CONTEXT_SECONDS * SR)


class Inverter:
    """Stands in for `StyleTransfer`: the result is the content upside down, and too quiet."""

    lengths: list[int]

    def __init__(self, config: TransferConfig, *_: Any) -> None:
        self.config = config

    def run(self, content: Any, styles: Any, buffer: Any, *_: Any, **__: Any) -> TransferResult:
        y = samples(content)
        type(self).lengths.append(y.shape[1])
        buffer.append(-0.25 * y)
        return make_result(content.sr, self.config, buffer)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer, "StyleTransfer", Inverter)
    monkeypatch.setattr(transfer.nn_weights, "check_weights", lambda *_: None)
    Inverter.lengths = []
    sf.write("style.wav", make_noise(), SR)
    yield tmp_path
    assert not list(tmp_path.rglob("*.part"))


def write_content(subtype: str = "PCM_16", seconds: float = 6.0, offset: float = 0.0) -> Array:
    """Write stereo noise that is three times as loud from the middle on."""
    noise = np.stack([make_noise(seconds), make_noise(seconds, seed=1)], axis=1)
    noise[: len(noise) // 2] /= 3
    sf.write("content.wav", noise / 3 + offset, SR, subtype=subtype)
    y, _ = sf.read("content.wav", dtype="float32")
    return np.asarray(y)


def read(name: str, dtype: str = "float32") -> Array:
    return np.asarray(sf.read(name, dtype=dtype)[0])


def expected(y: Array, *spans: tuple[float, float], mix: float = 1.0) -> Array:
    """Add a faded share of the difference between the content and its negative to it."""
    share = np.zeros(len(y))
    ramp = (np.arange(FADE) + 1) / (FADE + 1)
    for start, stop in spans:
        first, last = round(start * SR), round(stop * SR)
        share[first:last] = 1
        if first > 0:
            share[first : first + FADE] = ramp
        if last < len(y):
            share[last - FADE : last] = ramp[::-1]
    return np.asarray(y * (1 - 2 * mix * share[:, None]))


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0)]
)
@pytest.mark.parametrize("spans", [[(2.0, 3.5)], [(4.0, 5.0), (0.0, 0.7)], [(5.2, 6.0)], [(0, 6)]])
def test_a_stretch_changes_and_the_rest_stays(
    folder: Path, subtype: str, step: float, spans: list[tuple[float, float]]
) -> None:
    y = write_content(subtype)
    _, record = transfer_file("content.wav", "style.wav", "o.wav", only=spans)
    out = read("o.wav")
    np.testing.assert_allclose(out, expected(y, *spans), atol=step + 2e-4)  # gain within .01 dB
    dtype = "float32" if subtype == "FLOAT" else "int32"
    kept = np.ones(len(y), bool)
    for start, stop in spans:
        kept[round(start * SR) : round(stop * SR)] = False
    np.testing.assert_array_equal(read("o.wav", dtype)[kept], read("content.wav", dtype)[kept])
    assert record["output"]["subtype"] == subtype
    assert record["output"]["samples"] == record["content"]["samples"] == len(y)
    assert record["request"]["only"] == [list(span) for span in sorted(spans)]
    assert any(note.startswith("styled only ") for note in record["notes"])


def test_only_the_stretch_and_its_context_are_processed(folder: Path) -> None:
    write_content()
    transfer_file("content.wav", "style.wav", "o.wav", only=[(2.0, 2.5), (5.0, 6.0)])
    assert Inverter.lengths == [round(2.5 * SR) + CONTEXT + CONTEXT - CONTEXT + CONTEXT]


def test_the_loudness_is_that_of_the_stretch(folder: Path) -> None:
    """The context of the stretch is three times as loud as the stretch itself."""
    y = write_content("FLOAT")
    result, _ = transfer_file("content.wav", "style.wav", "o.wav", only=[(2.0, 3.0)])
    inner = slice(2 * SR + FADE, 3 * SR - FADE)
    before, after = (loudness(x[inner].T, SR) for x in (y, read("o.wav")))
    assert after == pytest.approx(before, abs=0.02)
    assert result.gain == pytest.approx(20 * np.log10(4), abs=0.02)
    assert result.seconds == 6.0


def test_a_mix_within_a_stretch(folder: Path) -> None:
    y = write_content("FLOAT")
    config = TransferConfig(mix=0.25)
    _, record = transfer_file("content.wav", "style.wav", "o.wav", config, only=[(2, 3.5)])
    np.testing.assert_allclose(read("o.wav"), expected(y, (2, 3.5), mix=0.25), atol=2e-4)
    assert "mixed in phase: 25 % result, 75 % content" in record["notes"]


def test_a_dc_offset_stays(folder: Path) -> None:
    y = write_content("FLOAT", offset=0.05)
    transfer_file("content.wav", "style.wav", "o.wav", only=[(2, 3.5)])
    stretch = slice(SR, round(4.5 * SR))  # with the context that the offset is measured in
    offset = y[stretch].mean(axis=0, dtype=float)
    np.testing.assert_allclose(read("o.wav"), expected(y - offset, (2, 3.5)) + offset, atol=2e-4)


def test_a_mix_of_a_whole_file(folder: Path) -> None:
    y = write_content("FLOAT")
    for mix in (0.0, 0.5):
        config = TransferConfig(mix=mix, inversion="griffinlim")
        transfer_file("content.wav", "style.wav", "o.wav", config, force=True)
        np.testing.assert_allclose(read("o.wav"), y * (1 - 1.25 * mix), atol=1e-6)
    _, record = transfer_file("content.wav", "style.wav", "o.wav", config, force=True)
    (note,) = (note for note in record["notes"] if "mixed" in note)
    assert "out of phase" in note
    assert "inversion=content" in note


def test_formats_that_cannot_keep_the_rest_say_so(folder: Path) -> None:
    y = write_content()
    _, record = transfer_file("content.wav", "style.wav", "o.ogg", only=[(2, 3)])
    assert any("lossy" in note for note in record["notes"])
    sf.write("content.wav", 1.5 * y / np.abs(y).max(), SR, subtype="FLOAT")
    _, record = transfer_file("content.wav", "style.wav", "o.wav", only=[(2, 3)], subtype="PCM_16")
    assert any("above full scale" in note for note in record["notes"])


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ([(2, 7)], "content.wav: only=0:02-0:07 reaches beyond its end at 0:06"),
        ([(61, 62.5)], "content.wav: only=1:01-1:02.5 reaches beyond its end at 0:06"),
        ([(3, 2)], "only=0:03-0:02 must end after it begins"),
        ([(3, 3)], "only=0:03-0:03 must end after it begins"),
        ([(3, 3.4)], "only=0:03-0:03.4 must be at least 0.5 seconds long"),
        ([(-1, 3)], "only=-1-3 must be from 0 seconds to a finite time"),
        ([(1, float("inf"))], "only=1-inf must be from 0 seconds to a finite time"),
        ([(float("nan"), 3)], "only=nan-3 must be from 0 seconds to a finite time"),
        ([(1, 3), (2, 4)], "only=0:02-0:04 overlaps the stretch before it; join them"),
    ],
)
def test_stretches_that_are_refused(
    folder: Path, only: list[tuple[float, float]], message: str
) -> None:
    write_content()
    with pytest.raises(AudioStyleError) as caught:
        transfer_file("content.wav", "style.wav", "o.wav", only=only)
    assert str(caught.value) == message
    assert isinstance(caught.value, (ConfigError, AudioFileError))
    assert not list(folder.glob("o.*"))


@pytest.mark.parametrize("excerpt", [{"start": 1.0}, {"duration": 2.0}, {"preview": 2.0}])
def test_a_stretch_of_an_excerpt_is_refused(excerpt: dict[str, float]) -> None:
    paths: Any = (Path("c.wav"), [Path("s.wav")], Path("o.wav"), [1.0])
    (name,) = excerpt
    with pytest.raises(ConfigError, match=f"only=0:01-0:02 cannot be combined with {name}="):
        TransferRequest(*paths, only=[(1, 2)], **excerpt).check()


@pytest.mark.parametrize("only", [(1, 2), [(1,)], ["1:02-1:18"], 5, [(None, 2)]])
def test_what_is_no_stretch_is_refused(only: Any) -> None:
    with pytest.raises(ConfigError, match="must be pairs of start and end in seconds"):
        TransferRequest(Path("c.wav"), [Path("s.wav")], Path("o.wav"), [1.0], only=only)


def test_a_silent_stretch_is_named(folder: Path) -> None:
    sf.write("content.wav", np.concatenate([make_noise(), np.zeros(5 * SR)]), SR)
    with pytest.raises(AudioFileError, match=r"content.wav at 0:03-0:04: is silent"):
        transfer_file("content.wav", "style.wav", "o.wav", only=[(3, 4)])


def test_a_real_stretch(
    tmp_path: Path, tiny: TransferConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without style the whole file comes back; with it, only the stretch differs."""
    monkeypatch.chdir(tmp_path)
    y = write_content(seconds=4.0)
    sf.write("style.wav", make_noise(seed=5), SR)
    for strength in (0.0, 1.0):
        config = dataclasses.replace(tiny, strength=strength)
        request = TransferRequest(
            *(Path("content.wav"), [Path("style.wav")], Path(f"{strength}.wav"), [1.0]),
            only=[(1.5, 2.5)],
        )
        result, _ = transfer.run_transfer(request, config, None, StyleTransfer(config))
        change = np.abs(read(f"{strength}.wav") - y).max(axis=1)
        changed = np.nonzero(change > 2**-14)[0]
        assert result.S_content.shape[1] == 1 + 3 * SR // tiny.hop_length
        if strength == 0:
            assert not len(changed)
        else:
            assert 1.5 * SR <= changed[0] < 1.6 * SR
            assert 2.4 * SR < changed[-1] < 2.5 * SR
