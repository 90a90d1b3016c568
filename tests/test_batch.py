"""Batches through the real command line, files and journal; only the transfer is a fake."""

from __future__ import annotations

import csv
import errno
import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle import batch, batch_runner, engines, outputs, schedule, workshop
from audiostyle.cli import main
from audiostyle.config import TransferConfig
from audiostyle.errors import DeviceError
from tests.conftest import make_noise, make_tones
from tests.fakes import BROKEN, GTZAN_SR, FakeStylist, install, journal_lines, make_gtzan, sounds

SIDES = ("genres/jazz", "genres/classical")
EXAMPLES = Path(__file__).parents[1] / "examples"
WORKER = Path(__file__).parent / "batch_worker.py"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeStylist]:
    return install(monkeypatch.setattr)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Any) -> Iterator[Path]:
    """Make a small GTZAN, 3 clips a genre and none broken, in the current folder."""
    make_gtzan(tmp_path, 3, broken=False)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    return int(exit_info.value.code or 0)


def run(*options: str, out: str = "out", sides: tuple[str, str] = SIDES) -> int:
    return call("batch", *sides, "-o", out, *options)


def computed(out: str = "out") -> list[str]:
    return [line["pair"] for line in journal_lines(Path(out)) if line["event"] == "done"]


def rows(out: str = "out") -> dict[str, dict[str, Any]]:
    lines = (Path(out) / "results.jsonl").read_text().splitlines()
    return {row["pair"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def gtzan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gtzan(tmp_path_factory.mktemp("gtzan"))


def test_gtzan_with_its_broken_clips(
    gtzan: Path,
    fake: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every good pair is done, the broken ones are listed with their class, and the code says 1."""
    monkeypatch.chdir(tmp_path)
    whole = ("--content-genre=jazz", "--style-genre=classical")
    assert run(*whole, sides=(str(gtzan), str(gtzan))) == 1
    good = [
        [i for i in range(20) if f"{g}.{i:05d}.wav" not in BROKEN] for g in ("jazz", "classical")
    ]
    expected = {f"jazz.{c:05d}__classical.{s:05d}.wav" for c in good[0] for s in good[1]}
    assert len(expected) == 18 * 19
    found = sounds(Path("out"))
    assert set(found) == expected
    table = rows()
    assert {name for name, row in table.items() if row["status"] == "done"} == expected
    failed = {name: row["kind"] for name, row in table.items() if row["status"] == "failed"}
    assert len(table) == 400 and len(failed) == 400 - len(expected)
    kinds = {n: {k for pair, k in failed.items() if n[:-4] in pair} for n in BROKEN}
    assert "unreadable" in kinds[BROKEN[0]] and "truncated" in kinds[BROKEN[1]]
    err = capsys.readouterr().err
    for name, kind in zip(BROKEN, ("unreadable", "truncated", "unreadable"), strict=True):
        (line,) = [
            line for line in err.splitlines() if line.startswith(f"failed: {kind}") and name in line
        ]
        assert "18 pairs" in line or "20 pairs" in line
    assert fake.heard == {str(gtzan / "classical" / f"classical.{s:05d}.wav"): 1 for s in good[1]}
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        assert {r["pair"]: r["status"] for r in csv.DictReader(stream)} == {
            name: row["status"] for name, row in table.items()
        }


def test_every_record_says_what_its_output_is(folder: Path) -> None:
    """Names, records and sounds belong together: no result lies under the name of another."""
    assert run() == 0
    for name in sounds(Path("out")):
        record = json.loads(Path("out", name + ".json").read_text())
        content, style = name.removesuffix(".wav").split("__")
        assert record["content"]["path"] == f"genres/jazz/{content}.wav"
        assert [c["path"] for c in record["styles"][0]["clips"]] == [
            f"genres/classical/{style}.wav"
        ]
        assert record["output"]["sha256"] == outputs.file_digest(Path("out", name))
        assert record["output"]["path"] == f"out/{name}"
        y, sr = sf.read(Path("out", name))
        x, _ = sf.read(record["content"]["path"])
        s, _ = sf.read(f"genres/classical/{style}.wav")
        x = x - x.mean()
        tone = np.sin(np.arange(len(x)) * round(np.abs(s).mean(), 3))
        np.testing.assert_allclose(y, 0.5 * x + 0.25 * tone, atol=2e-3)
        assert sr == GTZAN_SR


def test_the_same_command_again_does_nothing(folder: Path, fake: Any) -> None:
    assert run() == 0
    before = {p: p.stat().st_mtime_ns for p in Path("out").glob("*.wav*")}
    heard = dict(fake.heard)
    lines = len(journal_lines(Path("out")))
    assert run() == 0
    assert {p: p.stat().st_mtime_ns for p in Path("out").glob("*.wav*")} == before
    assert dict(fake.heard) == heard
    assert len(journal_lines(Path("out"))) == lines


CODE = """
import sys
from audiostyle.cli import main
try:
    main(sys.argv[1:])
except SystemExit as exit:
    print("exit", exit.code, *sorted(sys.modules))
"""


@pytest.mark.parametrize(
    "arguments", ["batch genres/jazz genres/classical -o out", "status out", "batch --help"]
)
def test_a_finished_batch_imports_no_tensorflow(folder: Path, arguments: str) -> None:
    assert run() == 0
    command = [sys.executable, "-c", CODE, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert {"tensorflow", "librosa", "scipy", "matplotlib"}.isdisjoint(modules)


def test_what_is_missing_or_changed_is_done_again_and_nothing_else(folder: Path) -> None:
    assert run() == 0
    first = sounds(Path("out"))
    gone, cut = "jazz.00000__classical.00001.wav", "jazz.00001__classical.00001.wav"
    Path("out", gone).unlink()
    Path("out", cut).write_bytes(first[cut][:99])
    sf.write("genres/jazz/jazz.00002.wav", make_tones(0.7, GTZAN_SR, 333.0), GTZAN_SR)
    assert run() == 0
    again = computed()[9:]
    changed = {f"jazz.00002__classical.0000{i}.wav" for i in range(3)}
    assert sorted(again) == sorted({gone, cut} | changed)
    second = sounds(Path("out"))
    assert {name for name in first if first[name] != second[name]} == changed


def test_another_parameter_does_all_again_and_the_old_ones_are_not_taken_for_new(
    folder: Path,
) -> None:
    assert run() == 0
    first = sounds(Path("out"))
    assert run("--strength", "0.5") == 0
    assert len(computed()) == 18
    second = sounds(Path("out"))
    assert first.keys() == second.keys()
    assert not [name for name in first if first[name] == second[name]]


def test_slices_order_and_resumption_do_not_change_a_result(folder: Path) -> None:
    assert run() == 0
    whole = sounds(Path("out"))
    for n in (2, 5, 9):
        assert run("--limit", str(n), out="slices") == 0
    assert len(computed("slices")) == 9
    assert run("--shuffle", "--limit=3", out="drawn") == 0
    assert run("--pair=zip", out="drawn") == 0
    assert run("--pair=random:2", out="drawn") == 0
    assert run(out="drawn") == 0
    assert len(computed("drawn")) == 9
    assert sounds(Path("slices")) == sounds(Path("drawn")) == whole


def test_the_whole_collection_and_its_folders_are_one_batch(folder: Path) -> None:
    assert run() == 0
    whole = ("--content-genre=jazz", "--style-genre=classical")
    assert run(*whole, sides=("genres", "genres")) == 0
    assert run(sides=("genres/jazz/*.wav", "genres/cl*/*")) == 0
    assert len(computed()) == 9


def test_a_genre_as_one_style_and_a_broken_clip_of_it_costs_no_pair(
    folder: Path, fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/classical/classical.00001.wav").write_bytes(b"")
    assert run("--by=genre", "--name={content_genre}/{content}__{style}.wav") == 0
    assert set(sounds(Path("out"))) == {f"jazz/jazz.0000{i}__classical.wav" for i in range(3)}
    assert fake.heard == {"genres/classical": 1}
    assert "left out genres/classical/classical.00001.wav: is empty" in capsys.readouterr().err
    record = json.loads(Path("out/jazz/jazz.00000__classical.wav.json").read_text())
    used = [Path(clip["path"]).name for clip in record["styles"][0]["clips"]]
    assert used == ["classical.00000.wav", "classical.00002.wav"]
    sf.write("genres/classical/classical.00001.wav", make_noise(0.6, GTZAN_SR, 9), GTZAN_SR)
    assert run("--by=genre", "--name={content_genre}/{content}__{style}.wav") == 0
    assert len(computed()) == 6  # the genre has changed


def test_every_class_of_bad_input_costs_its_pairs_only(folder: Path) -> None:
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


def test_what_would_fail_again_is_not_tried_again_unless_asked(folder: Path, fake: Any) -> None:
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


def test_nothing_that_succeeded_is_3(folder: Path, fake: Any) -> None:
    def fail(content: Any) -> None:
        raise ValueError

    fake.fail = fail
    assert run() == 3
    assert run(sides=("genres/rock", "genres/classical"), out="none") == 3
    assert not Path("none").exists()


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
    options: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("audiostyle: error: ") and message in line
    assert not Path("out").exists()


def test_an_input_is_never_an_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sounds(Path("genres"))
    one = ("genres/jazz/jazz.00000.wav", "genres/classical/classical.00000.wav")
    assert run("--name={content}.wav", "--force", out="genres/jazz", sides=one) != 0
    assert sounds(Path("genres")) == before
    assert not Path("genres/jazz/journal.jsonl").exists()


def test_what_the_batch_did_not_make_is_not_replaced_without_force(folder: Path) -> None:
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


def test_a_dry_run_names_all_and_makes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    assert run("--dry-run") == 0
    out = capsys.readouterr().out
    assert not Path("out").exists()
    names = [line for line in out.splitlines() if line.endswith(".wav")]
    assert sorted(names) == sorted(
        f"jazz.0000{c}__classical.0000{s}.wav" for c in (0, 2) for s in range(3)
    )
    assert "9 pairs: 0 done, 6 to compute, 3 that cannot be done" in out
    needed = 6 * (round(0.6 * GTZAN_SR) * 2 + schedule.RECORD_BYTES)
    assert f"disk: about {needed / 1e6:.1f} MB needed" in out
    assert "a rule of thumb" in out
    assert run("--limit=1") == 0
    capsys.readouterr()
    assert run("--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["to_compute"], planned["measured"], len(planned["names"])) == (5, True, 5)


def test_a_pair_that_took_the_process_down_twice_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
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


def test_what_crashed_once_comes_last(folder: Path) -> None:
    assert run("--limit=1") == 0
    (start,) = [line for line in journal_lines(Path("out")) if line["event"] == "started"]
    with Path("out/journal.jsonl").open("a") as stream:
        stream.write(json.dumps(start) + "\n")
    assert run() == 0
    assert computed()[-1] == start["pair"]


def test_an_input_that_changes_while_the_batch_runs_is_noticed(folder: Path, fake: Any) -> None:
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
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=1 << 30, used=0, free=batch.SPARE_BYTES + 300_000)
    monkeypatch.setattr(batch.shutil, "disk_usage", lambda path: usage)
    assert run("--limit=1") == 0
    usage.free = batch.SPARE_BYTES
    assert run() == 4
    assert [line["event"] for line in journal_lines(Path("out"))].count("started") == 1
    usage.free = 1000
    monkeypatch.setattr(schedule.shutil, "disk_usage", lambda path: usage)
    assert run() == 4


def test_an_absent_device_is_4(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(config: TransferConfig, device: str, threads: int) -> None:
        raise DeviceError(f"device {device}: none found; use --device auto or cpu")

    monkeypatch.setattr(workshop, "Stylist", absent)
    assert run("--device=gpu:7") == 4
    lines = [line["event"] for line in journal_lines(Path("out"))]
    assert lines[-2:] == ["started", "interrupted"]
    assert {row["status"] for row in rows().values()} == {"pending"}


def test_a_folder_that_cannot_be_made_or_written_is_4_and_a_file_in_its_place_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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


def test_a_folder_in_use_is_4_and_untouched(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--limit=1") == 0
    before = Path("out/journal.jsonl").read_bytes()
    from audiostyle.journal import Journal

    with Journal(Path("out")):
        assert run() == 4
        assert json.loads(status_json(capsys))["running"]
    assert Path("out/journal.jsonl").read_bytes() == before
    assert not json.loads(status_json(capsys))["running"]


def status_json(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert call("status", "out", "--json") == 0
    return capsys.readouterr().out


def test_status_counts_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_events_are_a_document_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    assert run("--json", "--style-genre=classical", "--limit=2") == 1
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "plan" and names[-1] == "end"
    assert names.count("started") == names.count("done") == 1
    assert names.index("started") < names.index("step") < names.index("done")
    assert events[-1] == {"event": "end", "done": 1, "failed": 1, "pending": 0, "exit_code": 1}
    assert events[0]["failed"][0]["kind"] == "unreadable"
    assert len(err.splitlines()) == 2  # what failed, and the end


def test_a_line_a_pair_without_a_terminal_and_nothing_when_quiet(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--limit=3") == 0
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "3 pairs: 0 done before, 3 to compute, 0 that cannot be done"
    assert [line.split()[0] for line in lines if line.startswith("[")] == [
        f"[{i}/3]" for i in (1, 2, 3)
    ]
    assert lines[-1] == f"{folder / 'out'}: 3 done (3 now), 0 failed"
    assert run("--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_two_bars_on_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run("--limit=2") == 0
    err = capsys.readouterr().err
    assert "2/2" in err and "pair" in err and "step" in err
    assert err.splitlines()[-1].endswith("2 done (2 now), 0 failed")


def test_scores_are_in_the_results_and_added_to_what_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def judge(self: Any, job: Any) -> dict[str, Any]:
        judged.append(job.pair.id)
        if len(judged) == 2:
            raise ValueError("no opinion")
        return {"style_mean": 0.25, "content_mean": None}

    monkeypatch.setattr(workshop.Workshop, "judge", judge)
    monkeypatch.setattr("audiostyle.content_metrics.require_mir_eval", lambda: None)
    assert run("--limit=2") == 0
    assert judged == []
    assert run("--limit=3", "--evaluate") == 1
    assert len(judged) == 3 and len(computed()) == 3
    assert run("--limit=3", "--evaluate") == 0
    assert len(judged) == 4 and judged[1] == judged[3] and len(computed()) == 3
    assert [row["score_style_mean"] for row in rows().values()] == [0.25] * 3
    with Path("out/results.csv").open(newline="") as stream:
        assert [row["score_style_mean"] for row in csv.DictReader(stream)] == ["0.25"] * 3


def test_nothing_of_a_pair_stays_in_memory(folder: Path, fake: Any) -> None:
    """Every result is dead when the next pair begins; styles are kept, but only so many."""
    alive: list[Any] = []
    most = 0

    def watch(result: Any) -> None:
        nonlocal most
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
        alive.append(weakref.ref(result))

    fake.watch = watch
    assert run() == 0
    assert len(alive) == 9
    assert most == 0


def test_results_do_not_depend_on_which_styles_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fake: Any
) -> None:
    assert run() == 0
    assert set(fake.heard.values()) == {1}
    whole = sounds(Path("out"))
    monkeypatch.setattr(workshop.Workshop, "_hear", _hear_anew)
    fake.heard.clear()
    assert run(out="other") == 0
    assert sounds(Path("other")) == whole
    assert set(fake.heard.values()) == {3}


def _hear_anew(self: Any, job: Any, callback: Any) -> Any:
    self._styles.clear()
    return HEAR(self, job, callback)


HEAR = workshop.Workshop._hear


def test_the_python_example_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = EXAMPLES / "batch_gtzan.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.main("genres", "out") == 0
    names = {f"jazz-to-classical/jazz.0000{i}.wav" for i in range(3)}
    assert set(sounds(Path("out"))) == names
    out = capsys.readouterr().out
    assert all(f"{name}: loss 1.000" in out for name in names)
    assert "3 done, 3 of them now" in out
    assert example.main("genres", "out") == 0
    assert capsys.readouterr().out == "3 done, 0 of them now\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sh")
def test_the_shell_example_runs(folder: Path) -> None:
    program = folder / "bin" / "audiostyle"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{WORKER}" 0 "$@"\n')
    program.chmod(0o755)
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["sh", str(EXAMPLES / "batch_gtzan.sh"), "genres", "out"]
    planned, done = (
        subprocess.run([*command, *more], env=environment, capture_output=True, text=True)
        for more in (["--dry-run"], ["--quiet"])
    )
    assert (planned.returncode, done.returncode) == (0, 1), planned.stderr + done.stderr
    assert "3 pairs: 0 done, 2 to compute, 1 that cannot be done" in planned.stdout
    assert "planned 3, done 2, failed 1, pending 0" in done.stdout
    assert len(sounds(Path("out"))) == 2


class Recorder:
    """An engine that computes nothing, and tells what it was given."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def run(self, jobs: Any, report: Any) -> Iterator[Any]:
        for job in jobs:
            self.jobs.append(job)
            yield engines.Started(job)
            lines = journal_lines(Path("out"))
            assert (lines[-1]["event"], lines[-1]["pair"]) == ("started", job.pair.id)
            yield engines.Failed(job, "internal", "it is a test", 0.0)


def test_any_engine_will_do_and_the_journal_is_ahead_of_it(folder: Path) -> None:
    engine = Recorder()
    result = audiostyle.run_batch(*SIDES, "out", engine=engine, limit=4)
    assert (result.exit_code, result.count("failed"), result.computed) == (3, 4, 0)
    assert [job.pair.id for job in engine.jobs] == sorted(
        (job.pair.id for job in engine.jobs), key=lambda name: name.split("__")[::-1]
    )
    assert result.failures == {
        ("internal", "it is a test"): sorted(job.pair.id for job in engine.jobs)
    }


def test_a_signal_while_it_plans_stops_it_now(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def planning(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(schedule, "make_plan", planning)
    assert run() == 143
    assert capsys.readouterr().err == "audiostyle: error: interrupted; nothing was begun\n"
    assert not Path("out").exists()


def test_a_damaged_style_file_costs_its_pairs_only(folder: Path) -> None:
    Path("odd.style.npz").write_bytes(b"PK")
    Path("styles.txt").write_text("odd.style.npz\ngenres/classical/classical.00000.wav\n")
    assert run(sides=("genres/jazz", "@styles.txt")) == 1
    table = rows()
    done = {name for name, row in table.items() if row["status"] == "done"}
    assert done == {f"jazz.0000{i}__classical.00000.wav" for i in range(3)}
    failed = {row["kind"] for row in table.values() if row["status"] == "failed"}
    assert (len(table), failed) == (6, {"unreadable"})


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_pair_up_cleanly_and_the_next_run_goes_on(
    number: signal.Signals, tmp_path: Path
) -> None:
    make_gtzan(tmp_path, 3, broken=False)
    command = [sys.executable, str(WORKER), "0.05", "batch", *SIDES, "-o", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[2/9]"):
                break
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait() == 128 + number
    assert "stopping; what is done stays done" in rest
    lines = journal_lines(tmp_path / "out")
    assert [e["event"] for e in lines if e["event"] in ("started", "done", "interrupted")][-1] in (
        "interrupted",
        "done",
    )
    assert not list((tmp_path / "out").glob(".audiostyle-*"))
    n_done = sum(e["event"] == "done" for e in lines)
    assert 2 <= n_done < 9
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    pairs = [e["pair"] for e in journal_lines(tmp_path / "out") if e["event"] == "done"]
    assert len(pairs) == len(set(pairs)) == 9


def test_the_second_signal_stops_now() -> None:
    from audiostyle.errors import Interrupted

    said: list[str] = []
    interrupt = batch_runner.BatchInterrupt(said.append)
    with pytest.raises(Interrupted), interrupt:
        interrupt.stage = "pair"
        signal.raise_signal(signal.SIGINT)
        assert said == ["stopping; what is done stays done (once more to stop now)"]
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)
        pytest.fail("it went on")
    assert interrupt.code == 130
