"""Transfer of files, with the transfer itself replaced: what is read, written and recorded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile as sf

from audiostyle import transfer_file
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import TransferResult
from audiostyle.errors import AudioFileError, ConfigError, OptimizationError, OutputError
from audiostyle.events import TERMS, Iteration
from audiostyle.files import transfer
from tests.conftest import SR, Array, make_noise, make_tones
from tests.support.fakes import make_result, samples

HISTORY = [
    Iteration(
        step=i,
        n_steps=2,
        total=3.0 - i,
        layers={"block1_conv1": 2.0 - i},
        seconds=0.1,
        **(dict.fromkeys(TERMS, 0.0) | {"content": 1.0, "style": 2.0 - i}),
    )
    for i in (0, 1)
]


class FakeStyleTransfer:
    """Stands in for `StyleTransfer`: keeps its inputs, returns the content."""

    content: ClassVar[Array] = np.zeros(0)
    styles: ClassVar[list[list[Array]]] = []
    weights: ClassVar[list[float]] = []
    changes: ClassVar[dict[str, Any]] = {}
    float_output: ClassVar[bool | None] = None

    def __init__(self, config: TransferConfig, device: str, threads: int) -> None:
        self.config = config

    def run(
        self, content: Any, styles: Any, buffer: Any, callback: Any, *, float_output: bool
    ) -> TransferResult:
        kind = type(self)
        kind.float_output = float_output
        kind.content = samples(content)
        kind.styles = [[samples(clip) for clip in style.clips] for style in styles]
        kind.weights = [style.weight for style in styles]
        buffer.append(kind.content)
        return fake_result(content.sr, self.config, buffer, **self.changes)


def fake_result(
    sr: int, config: TransferConfig, buffer: AudioBuffer, **changes: Any
) -> TransferResult:
    S = np.linspace(-80, 0, 64 * 9, dtype=np.float32).reshape(64, 9)
    values: dict[str, Any] = dict(S_content=S, S_style=S, S_result=S, history=HISTORY)
    values |= dict(convergence=-20.0, gain=0.5, timings={})
    return make_result(sr, config, buffer, **{**values, **changes})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeStyleTransfer]:
    class Fresh(FakeStyleTransfer):
        pass

    monkeypatch.setattr(transfer, "StyleTransfer", Fresh)
    monkeypatch.setattr(transfer.nn_weights, "check_weights", lambda *_: None)
    return Fresh


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    sf.write("content.wav", make_tones(2.0), SR, subtype="FLOAT")
    sf.write("style.wav", make_noise(), SR)
    yield tmp_path
    assert not list(tmp_path.rglob("*.part"))


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


INPUTS = {"content.wav", "style.wav"}


def test_the_output_and_its_record(folder: Path, fake: type[FakeStyleTransfer]) -> None:
    config = TransferConfig(iterations=2, seed=3)
    result, record = transfer_file("content.wav", "style.wav", "o.wav", config, preset="fast")
    assert listing(folder) == INPUTS | {"o.wav", "o.wav.json"}
    y, sr = sf.read("o.wav", dtype="float32")
    np.testing.assert_array_equal(y, make_tones(2.0))
    assert sr == SR
    assert json.loads(Path("o.wav.json").read_text()) == record
    digests = {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in [*INPUTS, "o.wav"]
    }
    assert record["output"] == {
        "path": "o.wav",
        "sha256": digests["o.wav"],
        "sr": SR,
        "channels": 1,
        "samples": 2 * SR,
        "format": "WAV",
        "subtype": "FLOAT",
    }
    assert record["content"]["sha256"] == digests["content.wav"]
    assert record["content"]["samples"] == 2 * SR
    (style,) = record["styles"]
    assert style["clips"][0]["sha256"] == digests["style.wav"]
    assert (style["weight"], style["skipped"]) == (1.0, [])
    assert TransferConfig(**record["parameters"]) == config
    assert (record["status"], record["seed"], record["preset"]) == ("complete", 3, "fast")
    assert [loss["total"] for loss in record["losses"]] == [3.0, 2.0]
    assert record["losses"][0]["layers"] == {"block1_conv1": 2.0}
    assert record["notes"] == []
    assert result.history == HISTORY


def test_non_finite_numbers_become_null(folder: Path, fake: type[FakeStyleTransfer]) -> None:
    fake.changes = {"convergence": -math.inf, "gain": np.float32(1.5)}
    _, record = transfer_file("content.wav", "style.wav", "o.wav")
    text = Path("o.wav.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == record
    assert record["inversion_convergence_db"] is None
    assert record["loudness_gain_db"] == 1.5


def test_an_interrupted_transfer_is_marked(folder: Path, fake: type[FakeStyleTransfer]) -> None:
    fake.changes = {"stopped": "interrupted"}
    _, record = transfer_file("content.wav", "style.wav", "o.wav")
    assert record["status"] == record["stopped"] == "interrupted"


def test_notes_name_what_was_resampled_limited_and_repaired(
    folder: Path, fake: type[FakeStyleTransfer]
) -> None:
    sf.write("content.wav", make_tones(1.0, 44_100), 44_100)
    sf.write("style.wav", make_noise(1.0, 8000), 8000)
    data = Path("style.wav").read_bytes()
    Path("style.wav").write_bytes(data[:-2000])
    fake.changes = {"reduction": 1.234, "lowered": 5.678, "restarts": 1}
    _, record = transfer_file("content.wav", "style.wav", "o.wav")
    assert record["notes"] == [
        "content analysed at 22050 Hz; the output keeps its 44100 Hz",
        "style resampled from 8000 Hz to 22050 Hz",
        "style.wav: was cut off: its header claims 16000 bytes of audio, it holds 14000",
        "level lowered by 5.68 dB, so that peaks stay below full scale; a WAV file with --subtype "
        "FLOAT can hold those of the content",
        "peaks limited by up to 1.23 dB",
        "a loss was not finite; the optimisation was restarted with smaller steps",
    ]


@pytest.mark.parametrize(
    ("inversion", "channels"), [("griffinlim", 2), ("griffinlim", 1), ("content", 2)]
)
def test_griffin_lim_says_that_channels_become_one(
    inversion: str, channels: int, folder: Path, fake: type[FakeStyleTransfer]
) -> None:
    sf.write("content.wav", np.stack([make_tones()] * channels, axis=1), SR)
    config = TransferConfig(inversion=inversion)
    _, record = transfer_file("content.wav", "style.wav", "o.wav", config)
    found = [note for note in record["notes"] if "hold the same sound" in note]
    assert len(found) == (inversion == "griffinlim" and channels == 2)


@pytest.mark.parametrize(
    ("name", "subtype", "expected"),
    [("o.wav", None, True), ("o.wav", "PCM_16", False), ("o.flac", None, False)],
)
def test_only_files_in_floating_point_may_exceed_full_scale(
    name: str, subtype: str | None, expected: bool, folder: Path, fake: type[FakeStyleTransfer]
) -> None:
    transfer_file("content.wav", "style.wav", name, subtype=subtype)
    assert fake.float_output is expected


def test_start_and_duration_reach_the_transfer(folder: Path, fake: type[FakeStyleTransfer]) -> None:
    _, record = transfer_file("content.wav", "style.wav", "o.wav", start=0.5, duration=0.75)
    first, n = round(0.5 * SR), round(0.75 * SR)
    np.testing.assert_array_equal(fake.content, make_tones(2.0)[None, first : first + n])
    assert sf.info("o.wav").frames == n
    assert record["content"]["start_sample"] == first
    excerpt = {"start": 0.5, "duration": 0.75, "preview": None, "only": []}
    assert record["request"] == {**excerpt, "subtype": None}


def test_a_preview_takes_the_loudest_excerpt(folder: Path, fake: type[FakeStyleTransfer]) -> None:
    y = 0.01 * np.random.default_rng(0).standard_normal(4 * SR)
    y[round(2.2 * SR) : round(2.8 * SR)] *= 30
    sf.write("content.wav", y, SR)
    _, record = transfer_file("content.wav", "style.wav", "o.wav", preview=1.0, start=1.0)
    assert sf.info("o.wav").frames == SR
    first = record["content"]["start_sample"]
    assert round(1.8 * SR) <= first <= round(2.2 * SR)  # all of the loud part is inside
    whole = sf.read("content.wav", dtype="float32")[0]
    np.testing.assert_array_equal(fake.content[0], whole[first : first + SR])
    assert record["notes"] == [f"a preview: the loudest 1 s, from {first / SR:.2f} s on"]


def test_a_preview_longer_than_the_content_is_the_content(
    folder: Path, fake: type[FakeStyleTransfer]
) -> None:
    transfer_file("content.wav", "style.wav", "o.wav", preview=60.0)
    assert sf.info("o.wav").frames == 2 * SR


def test_nan_outside_the_preview_is_found(folder: Path, fake: type[FakeStyleTransfer]) -> None:
    y = make_tones(2.0)
    y[-1] = np.nan
    sf.write("content.wav", y, SR, subtype="FLOAT")
    with pytest.raises(AudioFileError, match=r"content\.wav: holds NaN"):
        transfer_file("content.wav", "style.wav", "o.wav", preview=0.6)
    assert listing(folder) == INPUTS


def test_a_broken_clip_in_a_folder_is_skipped_and_noted(
    folder: Path, fake: type[FakeStyleTransfer]
) -> None:
    Path("genre/sub").mkdir(parents=True)
    Path("genre/a.wav").write_text("no sound")
    sf.write("genre/b.wav", make_noise(seed=1), SR)
    sf.write("genre/c.wav", make_noise(0.3), SR)
    sf.write("genre/sub/d.wav", make_noise(seed=2), SR)
    Path("genre/sub/cover.jpg").touch()
    _, record = transfer_file("content.wav", "genre", "o.wav")
    (style,) = record["styles"]
    assert [clip["path"] for clip in style["clips"]] == ["genre/b.wav", "genre/sub/d.wav"]
    skipped = [clip["path"] for clip in style["skipped"]]
    assert skipped == ["genre/sub/cover.jpg", "genre/a.wav", "genre/c.wav"]
    assert style["skipped"][0]["reason"] == "unknown format"
    assert [len(clips) for clips in fake.styles] == [2]
    assert record["notes"][0] == "genre: left out 1 file: 1 unknown format (cover.jpg)"
    assert record["notes"][1].startswith("skipped genre/a.wav: is not an audio file")
    assert record["notes"][2].startswith("skipped genre/c.wav: 0.3 s is too short")


def test_several_styles_are_blended_in_their_order(
    folder: Path, fake: type[FakeStyleTransfer]
) -> None:
    sf.write("other.wav", make_noise(0.7, seed=5), SR)
    styles = ["style.wav", Path("other.wav")]
    _, record = transfer_file("content.wav", styles, "o.wav", style_weights=[2.0, 1.0])
    assert fake.weights == [2.0, 1.0]
    assert [clips[0].shape[1] for clips in fake.styles] == [SR, round(0.7 * SR)]
    assert [style["weight"] for style in record["styles"]] == [2.0, 1.0]
    transfer_file("content.wav", styles, "p.wav")
    assert fake.weights == [1.0, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style_weights": [1.0, 2.0]}, "2 blend weights do not fit 1 styles"),
        ({"style_weights": [math.nan]}, "blend=nan must be finite"),
        ({"device": "tpu"}, "device 'tpu' is not known: did you mean"),
        ({"plot": "a.pdf"}, r"plot=a\.pdf must end in \.png"),
    ],
)
def test_python_callers_get_the_same_checks(
    options: dict[str, Any], message: str, folder: Path, fake: type[FakeStyleTransfer]
) -> None:
    with pytest.raises(ConfigError, match=message):
        transfer_file("content.wav", "style.wav", "o.wav", **options)
    with pytest.raises(ConfigError, match="no style given"):
        transfer_file("content.wav", [], "o.wav")
    assert listing(folder) == INPUTS


def test_force_replaces_everything_of_an_older_run(
    folder: Path, fake: type[FakeStyleTransfer]
) -> None:
    for name in ("o.wav", "o.wav.json", "o.png"):
        Path(name).write_text("old")
    transfer_file("content.wav", "style.wav", "o.wav", plot="o.png", force=True)
    assert sf.info("o.wav").frames == 2 * SR
    assert json.loads(Path("o.wav.json").read_text())["status"] == "complete"
    assert Path("o.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_failing_transfer_leaves_nothing(
    folder: Path, fake: type[FakeStyleTransfer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OptimizationError("the loss is not finite")

    monkeypatch.setattr(fake, "run", fail)
    with pytest.raises(OptimizationError):
        transfer_file("content.wav", "style.wav", "o.wav", plot="o.png")
    assert listing(folder) == INPUTS


@pytest.mark.parametrize("name", ["o.wav", "o.wav.json", "o.png"])
def test_a_disk_that_is_full_leaves_nothing(
    name: str, folder: Path, fake: type[FakeStyleTransfer], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = transfer.Staging.add

    def add(self: Any, path: Path) -> Path:
        if path.name == name:
            raise OutputError(f"{path}: cannot be written (No space left on device)")
        return original(self, path)

    monkeypatch.setattr(transfer.Staging, "add", add)
    with pytest.raises(OutputError, match="No space left on device"):
        transfer_file("content.wav", "style.wav", "o.wav", plot="o.png")
    assert listing(folder) == INPUTS
