"""Repeating a run from its record, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.cli import transfer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.files.request import TransferRequest
from tests.conftest import SR, TINY_OPTIONS, make_noise, make_tones
from tests.support.fakes import call

Runs = list[tuple[TransferRequest, TransferConfig]]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Collect the requests that the command line makes, in a folder with a record."""
    record = {
        "preset": "fast",
        "parameters": TransferConfig.from_preset("fast", strength=0.3).to_dict(),
        "content": {"path": "song.wav", "sha256": "c"},
        "styles": [
            {"path": "a.wav", "weight": 2.0, "clips": []},
            {"path": "b.wav", "weight": 1.0, "clips": []},
        ],
        "request": {"start": 1.5, "duration": 4.0, "preview": None, "subtype": "PCM_24"},
        **{"threads": 2, "deterministic": True},
    }
    (tmp_path / "take.wav.json").write_text(json.dumps(record))
    found: Runs = []

    def run(request: TransferRequest, config: TransferConfig, *_: Any, **__: Any) -> int:
        found.append((request, config))
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer, "run_transfer_command", run)
    return found


def repeat(*arguments: str) -> int:
    return call("transfer", "--config=take.wav.json", "-o", "again.wav", *arguments)


def test_all_that_is_not_given_is_as_it_was(runs: Runs) -> None:
    assert repeat() == 0
    ((request, config),) = runs
    assert config == TransferConfig.from_preset("fast", strength=0.3)
    assert (request.content, request.output) == (Path("song.wav"), Path("again.wav"))
    assert (request.styles, request.style_weights) == ([Path("a.wav"), Path("b.wav")], [2.0, 1.0])
    assert (request.start, request.duration, request.preview) == (1.5, 4.0, None)
    assert (request.subtype, request.threads, request.deterministic) == ("PCM_24", 2, True)
    assert request.command == [
        *("audiostyle", "transfer", "--config=take.wav.json", "-o", "again.wav")
    ]


def test_what_is_given_counts(runs: Runs) -> None:
    assert repeat("--start=0", "--strength=0.9", "--blend=1,1", "--subtype=FLOAT") == 0
    assert repeat("other.wav") == 0
    assert repeat("other.wav", "c.wav", "--duration=2") == 0
    (first, config), (second, _), (third, _) = runs
    assert config == TransferConfig.from_preset("fast", strength=0.9)
    assert (first.start, first.duration, first.subtype) == (0.0, 4.0, "FLOAT")
    assert first.style_weights == [1.0, 1.0]
    # An excerpt is one of its content.
    assert (second.content, second.start, second.duration) == (Path("other.wav"), 0.0, None)
    assert (second.styles, second.style_weights) == (first.styles, [2.0, 1.0])
    assert (third.styles, third.style_weights) == ([Path("c.wav")], [1.0])
    assert third.duration == 2.0 and third.subtype == "PCM_24"


def test_without_a_record_the_arguments_are_needed(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("transfer", "-o", "x.wav") == 2
    assert "Missing argument 'CONTENT'" in capsys.readouterr().err
    assert call("transfer", "song.wav", "-o", "x.wav") == 2
    assert "Missing argument" in capsys.readouterr().err
    assert runs == []


@pytest.mark.slow
def test_a_repeated_run_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sf.write("content.wav", make_tones(), SR)
    sf.write("style.wav", make_noise(), SR)
    options = [*TINY_OPTIONS, "--iterations=2", "--music-weight=0"]
    assert call("transfer", "content.wav", "style.wav", "-o", "a.wav", "--start=0.2", *options) == 0
    assert call("transfer", "--config=a.wav.json", "-o", "b.wav") == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    first, second = (json.loads(Path(f"{name}.wav.json").read_text()) for name in "ab")
    assert second["command"] == ["audiostyle", *("transfer --config=a.wav.json -o b.wav".split())]
    assert first["time"] <= second["time"] and first["parameters"] == second["parameters"]
    assert "is not what it was" not in capsys.readouterr().err
    sf.write("style.wav", make_noise(seed=5), SR)
    assert call("transfer", "--config=a.wav.json", "-o", "c.wav") == 0
    assert "style.wav: is not what it was for a.wav.json" in capsys.readouterr().err


def test_times_and_stretches_of_the_command_line(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("song.wav", "a.wav", "-o", "o.wav")
    assert call("transfer", *files, "--start=1:02", "--duration=0:01.5", "--mix=0.5") == 0
    assert call("transfer", *files, "--only=2:00-2:10.5", "--only", "1:02-78") == 0
    (first, config), (second, _) = runs
    assert (first.start, first.duration, first.only, config.mix) == (62.0, 1.5, [], 0.5)
    assert second.only == [(62.0, 78.0), (120.0, 130.5)]
    for option, text in (("--start", "1:75"), ("--only", "1:02"), ("--only", "1-x")):
        capsys.readouterr()
        assert call("transfer", *files, f"{option}={text}") == 2
        error = capsys.readouterr().err
        assert f"Invalid value for '{option}'" in error
        assert "is not a" in error


def test_a_stretch_of_a_repeated_run(runs: Runs) -> None:
    assert repeat("--only=0:02-0:03") == 0
    take = json.loads(Path("take.wav.json").read_text())
    take["request"] = dict(start=0.0, duration=None, preview=None, only=[[2, 3]], subtype=None)
    Path("take.wav.json").write_text(json.dumps(take))
    assert repeat() == 0
    assert repeat("--start=1") == 0
    excerpts = [(request.start, request.duration, request.only) for request, _ in runs]
    assert excerpts == [(0.0, None, [(2.0, 3.0)]), (0.0, None, [(2.0, 3.0)]), (1.0, None, [])]
