"""Status: what is counted, over all journals of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fakes import call, run, sounds


def status_json(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert call("status", "out", "--json") == 0
    return capsys.readouterr().out


def test_status_counts(gtzan_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    assert run("--limit=1") == 0
    assert run() == 1
    Path("out/jazz.00000__classical.00001.wav").unlink()
    status = json.loads(status_json(capsys))
    counts = {name: status[name] for name in ("planned", "done", "failed", "pending")}
    assert counts == {"planned": 9, "done": 5, "failed": 3, "pending": 0}
    assert status["missing"] == ["jazz.00000__classical.00001.wav"]
    (failure,) = status["failures"]
    assert (failure["kind"], failure["pairs"]) == ("unreadable", 3)
    assert call("status", "out") == 0
    assert "planned 9, done 5, failed 3, pending 0, missing 1" in capsys.readouterr().out
    assert call("status", "genres") == 1


def test_status_merges_all_journals(gtzan_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--shard=2/2") == 0
    n_second = len(sounds(Path("out")))
    capsys.readouterr()
    assert call("status", "out") == 0
    text = capsys.readouterr().out
    assert f"planned {n_second}, done {n_second}, failed 0" in text
    assert "shards started: 1 of 2" in text
    assert run("--shard=1/2") == 0
    capsys.readouterr()
    assert call("status", "out", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["planned"], status["done"], status["shards"]) == (9, 9, ["1/2", "2/2"])
    assert not status["running"]
