"""What goes wrong in a batch: which pairs it costs, what the exit code says, what is left."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiostyle.batch import plan, worker
from audiostyle.batch import run as batch_run
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import DeviceError
from tests.conftest import make_tones
from tests.support.fakes import GTZAN_SR, computed, journal_lines, rows, run, sounds


def test_every_class_of_bad_input_costs_its_pairs_only(gtzan_folder: Path) -> None:
    jazz = Path("genres/jazz")
    sf.write(jazz / "short.wav", make_tones(0.3, GTZAN_SR), GTZAN_SR)
    sf.write(jazz / "silent.wav", np.zeros(GTZAN_SR), GTZAN_SR)
    long = np.zeros(20 * GTZAN_SR)
    long[5 * GTZAN_SR] = 1e-6
    sf.write(jazz / "late.wav", long, GTZAN_SR)  # silent in the middle, too: only reading tells
    sf.write(jazz / "nan.wav", np.full(GTZAN_SR, np.nan), GTZAN_SR, subtype="FLOAT")
    (jazz / "text.wav").write_text("no sound")
    (jazz / "empty.flac").write_bytes(b"")
    whole = (jazz / "jazz.00000.wav").read_bytes()
    (jazz / "cut.wav").write_bytes(whole[: len(whole) // 2])
    assert run("--pair=random:1") == 1
    kinds = {
        row["content"].removeprefix("genres/jazz/"): row["kind"]
        for row in rows().values()
        if row["status"] == "failed"
    }
    assert kinds == {
        "short.wav": "too_short",
        "silent.wav": "silent",
        "late.wav": "silent",
        "nan.wav": "not_finite",
        "text.wav": "unreadable",
        "empty.flac": "unreadable",
        "cut.wav": "truncated",
    }
    assert len(computed()) == 3


def test_what_would_fail_again_is_not_tried_again_unless_asked(
    gtzan_folder: Path, fake: Any
) -> None:
    quiet = np.zeros(20 * GTZAN_SR)
    sf.write("genres/jazz/quiet.wav", quiet, GTZAN_SR)  # too long for the probe to read it all
    failures = iter([MemoryError(), ValueError("odd")])

    def fail(content: Any) -> None:
        if (error := next(failures, None)) is not None:
            raise error

    fake.fail = fail
    assert run("--pair=random:1") == 1
    kinds = sorted(row["kind"] for row in rows().values() if row["status"] == "failed")
    assert kinds == ["internal", "out_of_memory", "silent"]
    assert run("--pair=random:1") == 1
    starts = [line["pair"] for line in journal_lines(Path("out")) if line["event"] == "started"]
    assert len(starts) == 4 + 2
    assert run("--pair=random:1", "--retry-failed") == 1
    starts = [line["pair"] for line in journal_lines(Path("out")) if line["event"] == "started"]
    assert len(starts) == 4 + 2 + 1
    sf.write("genres/jazz/quiet.wav", make_tones(1.0, GTZAN_SR), GTZAN_SR)
    assert run("--pair=random:1") == 0


def test_nothing_that_succeeded_is_3(gtzan_folder: Path, fake: Any) -> None:
    def fail(content: Any) -> None:
        raise ValueError

    fake.fail = fail
    assert run() == 3


@pytest.mark.parametrize(
    ("side", "code", "message"),
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
def test_a_side_that_is_not_there_is_2_and_one_that_holds_nothing_3(
    side: str,
    code: int,
    message: str,
    more: tuple[str, ...],
    gtzan_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("empty").mkdir()
    Path("list.txt").write_text("gone.wav\n")
    for sides in ((side, "genres/classical"), ("genres/jazz", side)):
        assert run(*more, sides=sides) == code
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert line.startswith(f"audiostyle: error: {message}")
        if "--json" in more:
            reason = line.removeprefix("audiostyle: error: ")
            assert json.loads(out) == {"event": "error", "reason": reason, "exit_code": code}
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
def test_what_cannot_be_right_is_refused_before_anything_is_made(
    options: list[str], message: str, gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("audiostyle: error: ") and message in line
    assert not Path("out").exists()


def test_an_input_is_never_an_output(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sounds(Path("genres"))
    one = ("genres/jazz/jazz.00000.wav", "genres/classical/classical.00000.wav")
    assert run("--name={content}.wav", "--force", out="genres/jazz", sides=one) != 0
    assert sounds(Path("genres")) == before
    assert not Path("genres/jazz/journal.jsonl").exists()


def test_what_the_batch_did_not_make_is_not_replaced_without_force(gtzan_folder: Path) -> None:
    Path("out").mkdir()
    precious = Path("out", "jazz.00001__classical.00001.wav")
    precious.write_text("mine")
    assert run() == 2
    assert precious.read_text() == "mine"
    assert [p.name for p in Path("out").glob("*.wav")] == [precious.name]
    assert run("--force") == 0
    assert len(sounds(Path("out"))) == 9
    assert run("--force") == 0
    assert len(computed()) == 18


def test_a_pair_that_took_the_process_down_twice_is_left_alone(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A journal as two kills leave it: a pair started twice, and never ended."""
    assert run("--limit=1") == 0
    (name,) = computed()
    lines = journal_lines(Path("out"))
    (start,) = [line for line in lines if line["event"] == "started"]
    with Path("out/journal.jsonl").open("a") as stream:
        stream.write((json.dumps(start) + "\n") * 2)
    assert run() == 1
    assert [row["kind"] for row in rows().values() if row["status"] == "failed"] == ["crashed"]
    assert rows()[name]["kind"] == "crashed"
    assert "--retry-failed" in capsys.readouterr().err
    assert run() == 1
    assert run("--retry-failed") == 0
    assert len(computed()) == 10


def test_what_crashed_once_comes_last(gtzan_folder: Path) -> None:
    assert run("--limit=1") == 0
    (start,) = [line for line in journal_lines(Path("out")) if line["event"] == "started"]
    with Path("out/journal.jsonl").open("a") as stream:
        stream.write(json.dumps(start) + "\n")
    assert run() == 0
    assert computed()[-1] == start["pair"]


def test_an_input_that_changes_while_the_batch_runs_is_noticed(
    gtzan_folder: Path, fake: Any
) -> None:
    def change(content: Any) -> None:
        sf.write("genres/jazz/jazz.00002.wav", make_tones(0.6, GTZAN_SR, 500.0), GTZAN_SR)
        fake.fail = None

    fake.fail = change
    assert run("--style-genre=classical", "--limit=3") == 1
    (failed,) = [row for row in rows().values() if row["status"] == "failed"]
    assert failed["kind"] == "changed" and failed["content"].endswith("jazz.00002.wav")
    assert not Path("out", failed["pair"]).exists()
    assert run("--limit=3") == 0


def test_a_full_disk_stops_at_once_and_the_journal_is_intact(
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


def test_a_pair_that_the_disk_cannot_hold_is_not_begun(
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


def test_an_absent_device_is_4(gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(config: TransferConfig, device: str, threads: int) -> None:
        raise DeviceError(f"device {device}: none found; use --device auto or cpu")

    monkeypatch.setattr(worker, "StyleTransfer", absent)
    assert run("--device=gpu:7") == 4
    lines = [line["event"] for line in journal_lines(Path("out"))]
    assert lines[-2:] == ["started", "interrupted"]
    assert {row["status"] for row in rows().values()} == {"pending"}


def test_without_mir_eval_nothing_is_begun_that_would_need_it(
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


def test_a_folder_that_cannot_be_made_or_written_is_4_and_a_file_in_its_place_2(
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


def test_a_damaged_style_file_costs_its_pairs_only(gtzan_folder: Path) -> None:
    Path("odd.style.npz").write_bytes(b"PK")
    Path("styles.txt").write_text("odd.style.npz\ngenres/classical/classical.00000.wav\n")
    assert run(sides=("genres/jazz", "@styles.txt")) == 1
    table = rows()
    done = {name for name, row in table.items() if row["status"] == "done"}
    assert done == {f"jazz.0000{i}__classical.00000.wav" for i in range(3)}
    failed = {row["kind"] for row in table.values() if row["status"] == "failed"}
    assert (len(table), failed) == (6, {"unreadable"})
