"""Records as configuration: what they say survives, and what is not a record is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audiostyle.cli.options import build_config
from audiostyle.config.record_file import input_digests, load_record
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError
from tests.config.test_transfer_config import EVERYTHING


def write_record(path: Path, config: TransferConfig, preset: str | None, **changes: Any) -> None:
    record = {
        "preset": preset,
        "parameters": config.to_dict(),
        "content": {"path": "song.wav", "sha256": "c"},
        "styles": [{"path": "genre", "weight": 0.5, "clips": [{"path": "genre/a", "sha256": "s"}]}],
        "request": {"start": 1.5, "duration": None, "preview": None, "subtype": "PCM_24"},
        **{"threads": 2, "deterministic": True},
    }
    path.write_text(json.dumps({**record, **changes}))


@pytest.mark.parametrize(
    ("config", "preset"),
    [
        (TransferConfig(), "balanced"),
        (EVERYTHING, None),
        (TransferConfig.from_preset("classic", bands=2), "classic"),
        (TransferConfig(iterations=7), "a preset of another version"),
    ],
)
def test_a_configuration_survives_its_record(
    config: TransferConfig, preset: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "out.wav.json"
    write_record(path, config, preset)
    assert build_config(None, str(path), {})[1] == config


def test_options_and_presets_override_a_record(tmp_path: Path) -> None:
    path = tmp_path / "out.wav.json"
    write_record(path, TransferConfig.from_preset("fast", strength=0.3), "fast")
    preset, config = build_config("classic", str(path), {"seed": "5"})
    assert (preset, config) == (
        "classic",
        TransferConfig.from_preset("classic", strength=0.3, seed=5),
    )


def test_what_a_record_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "song.wav").touch()
    path = tmp_path / "out" / "out.wav.json"
    write_record(path, TransferConfig(), "balanced")
    earlier = load_record(path)
    assert earlier.content == tmp_path / "song.wav"  # one folder above the record
    assert earlier.styles == [Path("genre")] and earlier.blend == [0.5]  # not found: as recorded
    assert earlier.request == {
        **{"start": 1.5, "duration": None, "preview": None, "only": [], "subtype": "PCM_24"},
        **{"threads": 2, "deterministic": True},
    }
    assert earlier.digests == [("song.wav", ["c"]), ("genre", ["s"])]
    saved = {"content": {"path": "a", "sha256": "c"}, "styles": [{"path": "b", "sha256": "f"}]}
    assert input_digests(saved) == [("a", ["c"]), ("b", ["f"])]  # a style file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not the record"),
        ("[1]", "is not the record"),
        ("{}", "is not the record"),
        (None, "cannot be read"),
    ],
)
def test_what_is_not_a_record(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_record(path)


def test_an_unknown_parameter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_record(path, TransferConfig(), "fast", parameters={"strenght": 1})
    with pytest.raises(ConfigError, match=r"out\.json: .*strenght"):
        load_record(path)
