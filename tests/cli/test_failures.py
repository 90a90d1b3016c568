"""Failures for programs: one JSON document on standard output, one line on standard error."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from audiostyle.cli import main as main_module
from audiostyle.errors import (
    AudioFileError,
    AudioStyleError,
    ConfigError,
    DeviceError,
    Interrupted,
    OutputError,
)
from tests.support.fakes import call


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status", "none"], ("AudioFileError", "none/journal.jsonl", 1)),
        (["transfer", "a.wav", "x.toml", "-o", "c.wav"], ("AudioFileError", "a.wav", 1)),
        (["transfer", "x.toml", "x.toml", "-o", "x.toml"], ("OutputError", "x.toml", 1)),
        (["transfer", "a", "b", "-o", "c.wav", "--config", "x.toml"], ("ConfigError", "x.toml", 2)),
        (["transfer", "a", "b", "-o", "c.wav", "--strength", "9"], ("ConfigError", None, 2)),
        (["transfer"], ("MissingParameter", None, 2)),
        (["evaluate", "a", "--colour"], ("NoSuchOption", None, 2)),
        (["batch", "songs", "genres", "-o", "out"], ("AudioFileError", "songs", 2)),
        (["batch", "x.toml", "x.toml", "-o", "out", "--by=x"], ("ConfigError", None, 2)),
    ],
)
def test_a_failure_is_one_document(
    arguments: list[str],
    expected: tuple[str, str | None, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text("strength = 'much'")
    code = call(*arguments, "--json")
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["class"], document["file"], document["exit_code"]) == expected
    assert code == expected[2] and document["event"] == "error"
    assert err == f"audiostyle: error: {document['message']}\n"
    assert call(*arguments) == code
    assert capsys.readouterr() == ("", err)


@pytest.mark.parametrize(
    ("error", "name", "file", "code"),
    [
        (Interrupted(143), "Interrupted", None, 143),
        (OSError(errno.EIO, "broken", "disk.wav"), "OSError", "disk.wav", 1),
        (ValueError("odd"), "ValueError", None, 1),
        (MemoryError(), "MemoryError", None, 1),
    ],
)
def test_failures_that_are_not_on_purpose(
    error: BaseException,
    name: str,
    file: str | None,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(main_module.cli, "main", fail)
    assert call("status", "out", "--json") == code
    document = json.loads(capsys.readouterr().out)
    assert (document["class"], document["file"]) == (name, file)
    assert call("status", "--", "--json") == code  # a file of that name
    assert capsys.readouterr().out == ""


def test_the_file_of_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a: b.wav").touch()
    assert AudioFileError("a: b.wav: is silent: check it").file == "a: b.wav"
    assert OutputError("gone.wav: exists: already").file == "gone.wav"
    assert ConfigError("a: b.wav: strength=2").file == "a: b.wav"
    assert ConfigError("strength=2: too much").file is None
    assert DeviceError("no GPU").file is None and AudioStyleError("").file is None
