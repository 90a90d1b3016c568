"""Failures of a batch: exit code, message, and what is left on the disk."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audiostyle.batch import plan
from audiostyle.batch import run as batch_run
from audiostyle.batch.journal import Journal
from audiostyle.batch.status import batch_status
from tests.support.fakes import computed, journal_lines, rows, run


def test_exit_code_3_if_nothing_succeeded(gtzan_folder: Path, fake: Any) -> None:
    def fail(content: Any) -> None:
        raise ValueError

    fake.fail = fail
    assert run() == 3


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("genres/rock", 2, "genres/rock: no such file or folder; check the name"),
        ("rock.style.npz", 2, "rock.style.npz: no such file or folder; check the name"),
        ("@none.txt", 2, "none.txt: the list cannot be read (No such file or directory)"),
        ("@list.txt", 2, "gone.wav: no such file, though list.txt lists it"),
        ("empty", 3, "empty: holds no audio files"),
        ("genres/*.mp3", 3, "genres/*.mp3: no audio file matches; check the pattern"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--json",)])
def test_missing_inputs_exit_with_2_and_empty_ones_with_3(
    source: str,
    code: int,
    message: str,
    more: tuple[str, ...],
    gtzan_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("empty").mkdir()
    Path("list.txt").write_text("gone.wav\n")
    for sides in ((source, "genres/classical"), ("genres/jazz", source)):
        assert run(*more, sides=sides) == code
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert line.startswith(f"audiostyle: error: {message}")
        if "--json" in more:
            text = line.removeprefix("audiostyle: error: ")
            assert json.loads(out) == {
                **{"event": "error", "class": "AudioFileError", "message": text},
                **{"file": text.partition(": ")[0], "exit_code": code},
            }
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pair=products"], "pair 'products' is not known"),
        (["--by=folder"], "by 'folder' is not known"),
        (["--name={style}.wav"], "would be written for"),
        (["-o", "genres/jazz"], "would lie among the inputs of genres/jazz"),
        (["-o", "genres", "--name={style_genre}/{content}-{style}.wav"], "would lie among"),
        (["--limit=0"], "limit=0 must be at least 1"),
        (["--style-genre=rock"], "genre 'rock' is not known"),
        (["--preview=0.1"], "preview=0.1 must be at least 0.5"),
        (["--threads=1025"], "threads=1025 must be from 0 to 1024"),
        (["--iterations=-1"], "iterations=-1"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(
    options: list[str], message: str, gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("audiostyle: error: ") and message in line
    assert not Path("out").exists()


def test_a_full_disk_stops_the_batch_with_an_intact_journal(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
            calls.append(descriptor)
            if len(calls) > 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not name open files")
    monkeypatch.setattr(os, "fsync", fsync)
    assert run() == 4
    assert "No space left on device" in capsys.readouterr().err
    assert not list(Path("out").glob(".audiostyle-*"))
    n_done = len(computed())
    assert 0 < n_done < 9
    monkeypatch.setattr(os, "fsync", real)
    assert run() == 0
    assert len(computed()) == len(set(computed())) == 9
    assert {row["status"] for row in rows().values()} == {"done"}


def test_a_pair_that_does_not_fit_on_the_disk_is_not_started(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=1 << 30, used=0, free=batch_run.SPARE_BYTES + 300_000)
    monkeypatch.setattr(batch_run.shutil, "disk_usage", lambda path: usage)
    assert run("--limit=1") == 0
    usage.free = batch_run.SPARE_BYTES
    assert run() == 4
    assert [line["event"] for line in journal_lines(Path("out"))].count("started") == 1
    usage.free = 1000
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda path: usage)
    assert run() == 4


def test_evaluation_without_mir_eval_starts_nothing(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mir_eval", None)
    assert run("--evaluate", "--quiet") == 4
    assert capsys.readouterr().err == (
        "audiostyle: error: the evaluation needs mir_eval, which is not installed; "
        "run: pip install 'audiostyle[evaluate]'\n"
    )
    assert computed() == []
    assert run("--quiet") == 0


def test_an_unwritable_folder_exits_with_4_and_a_file_in_its_place_with_2(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("mine")
    assert run(out="file") == run(out="file/out") == 2
    assert "name a folder" in capsys.readouterr().err
    real = os.open

    def refuse(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("journal.jsonl"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert run() == 4
    assert "journal.jsonl: cannot be written (Permission denied)" in capsys.readouterr().err
    monkeypatch.setattr(os, "open", real)
    assert run() == 0

    def forbid(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", forbid)
    assert run(out="other") == 4


def test_a_folder_in_use_exits_with_4_and_is_not_touched(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--limit=1") == 0
    before = Path("out/journal.jsonl").read_bytes()

    with Journal(Path("out")):
        assert run() == 4
        assert batch_status(Path("out"))["running"]
    assert Path("out/journal.jsonl").read_bytes() == before
    assert not batch_status(Path("out"))["running"]
