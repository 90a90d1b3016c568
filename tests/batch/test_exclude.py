"""Excluded files are left out and counted; known bad clips need not cost the exit code."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch import worker
from audiostyle.batch.inputs import exclude_inputs, find_inputs
from tests.support.fakes import rows, run


def test_excluded_files_are_counted(gtzan_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--exclude=jazz/*1.wav", "--exclude=*.00001.*", "--exclude=none*")
    assert run(*options, "--dry-run", sides=("genres", "genres")) == 0
    plan = capsys.readouterr().out
    assert "2 excluded (classical.00001.wav, jazz.00001.wav)" in plan
    assert "--exclude 'none*': matches no file\n" in plan and plan.count("matches no file") == 1
    assert "12 pairs" in plan  # of 4 files, none with itself
    assert run("--exclude=*", "--json") == 3
    out, err = capsys.readouterr()
    assert "3 excluded" in err and json.loads(out)["exit_code"] == 3


def test_files_excluded_from_either_side_are_counted(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genres = ("--content-genre=jazz", "--style-genre=classical")
    assert run(*genres, "--exclude=*1.wav", "--dry-run", sides=("genres", "genres")) == 0
    out = capsys.readouterr().out
    assert "2 excluded (jazz.00001.wav, classical.00001.wav)" in out and "4 pairs" in out


def test_patterns_match_keys_and_names(gtzan_folder: Path) -> None:
    inputs, skipped = find_inputs("genres")
    hidden = len(skipped)
    patterns = ["classical/*", "jazz.00000.wav", "none"]
    kept, unused = exclude_inputs(inputs, patterns, "genres", skipped)
    assert [found.key for found in kept] == ["jazz/jazz.00001.wav", "jazz/jazz.00002.wav"]
    assert unused == ["none"]
    assert [entry["reason"] for entry in skipped[hidden:]] == ["excluded"] * 4


def test_known_bad_clips_are_allowed(
    gtzan_folder: Path, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    assert run() == 1
    assert run("--allow-failed") == 0
    assert sum(row["status"] == "failed" for row in rows().values()) == 3
    for path in Path("genres/jazz").glob("jazz*"):
        path.write_bytes(b"")
    assert run("--allow-failed", out="none") == 3


def test_other_failures_still_count(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, calls = worker.PairWorker.transfer, []

    def transfer(self: Any, job: Any, callback: Any) -> Any:
        calls.append(job)
        if len(calls) == 2:
            raise ValueError("odd")
        return real(self, job, callback)

    monkeypatch.setattr(worker.PairWorker, "transfer", transfer)
    caplog.set_level(logging.INFO, "audiostyle")
    assert run("--limit=3", "--allow-failed", "--exclude=x") == 1
    records = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
    pair = calls[1].pair.id
    failure = f"{pair}: failed, internal: internal error (ValueError: odd)"
    assert ("audiostyle.batch.run", "WARNING", failure) in records
    assert ("audiostyle.batch.run", "INFO", "--exclude 'x': matches no file") in records
    assert sum(message.endswith(" s") and ": done in " in message for *_, message in records) == 2
