"""Plan: which pairs are computed again, and which are skipped or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from tests.conftest import make_tones
from tests.support.fakes import GTZAN_SR, computed, journal_lines, rows, run, sounds


def test_a_second_run_computes_nothing(gtzan_folder: Path, fake: Any) -> None:
    assert run() == 0
    before = {p: p.stat().st_mtime_ns for p in Path("out").glob("*.wav*")}
    analyzed = dict(fake.analyzed)
    lines = len(journal_lines(Path("out")))
    assert run() == 0
    assert {p: p.stat().st_mtime_ns for p in Path("out").glob("*.wav*")} == before
    assert dict(fake.analyzed) == analyzed
    assert len(journal_lines(Path("out"))) == lines


def test_only_missing_or_changed_pairs_are_computed_again(gtzan_folder: Path) -> None:
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


def test_a_stretch_of_each_content(gtzan_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of each output is its content; another stretch is another result."""
    options = ("--only=0:00-0:00.55", "--limit=1")  # of 0.6 s
    assert run(*options) == 0
    assert run(*options) == 0
    (name,) = computed()
    content, output = (
        sf.read(path, dtype="int16")[0]
        for path in (Path("genres/jazz", name.split("__")[0] + ".wav"), Path("out", name))
    )
    last = round(0.55 * GTZAN_SR)
    np.testing.assert_array_equal(output[last:], content[last:])
    assert np.any(output[:last] != content[:last])
    other = ("--only=0:00-0:00.6", "--limit=1")
    capsys.readouterr()
    assert run(*other) == 3
    line = "1 finished output was made with only=0:00-0:00.55, not 0:00-0:00.6"
    assert line in capsys.readouterr().err
    assert run(*other, "--force") == 0
    assert computed() == [name, name]
    Path("out/journal.jsonl").unlink()
    assert run(*options) == 3  # the record tells
    assert run(*other) == 0


def test_every_kind_of_bad_input_costs_only_its_pairs(gtzan_folder: Path) -> None:
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


def test_a_damaged_style_file_costs_only_its_pairs(gtzan_folder: Path) -> None:
    Path("odd.style.npz").write_bytes(b"PK")
    Path("styles.txt").write_text("odd.style.npz\ngenres/classical/classical.00000.wav\n")
    assert run(sides=("genres/jazz", "@styles.txt")) == 1
    table = rows()
    done = {name for name, row in table.items() if row["status"] == "done"}
    assert done == {f"jazz.0000{i}__classical.00000.wav" for i in range(3)}
    failed = {row["kind"] for row in table.values() if row["status"] == "failed"}
    assert (len(table), failed) == (6, {"unreadable"})


def test_lasting_failures_are_retried_only_on_request(gtzan_folder: Path, fake: Any) -> None:
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


def test_a_pair_that_crashed_twice_is_skipped(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal holds what two kills leave: a pair that started twice and never ended."""
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


def test_a_pair_that_crashed_once_comes_last(gtzan_folder: Path) -> None:
    assert run("--limit=1") == 0
    (start,) = [line for line in journal_lines(Path("out")) if line["event"] == "started"]
    with Path("out/journal.jsonl").open("a") as stream:
        stream.write(json.dumps(start) + "\n")
    assert run() == 0
    assert computed()[-1] == start["pair"]


def test_an_input_is_never_overwritten(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sounds(Path("genres"))
    one = ("genres/jazz/jazz.00000.wav", "genres/classical/classical.00000.wav")
    assert run("--name={content}.wav", "--force", out="genres/jazz", sides=one) != 0
    assert sounds(Path("genres")) == before
    assert not Path("genres/jazz/journal.jsonl").exists()


def test_foreign_files_are_not_replaced_without_force(gtzan_folder: Path) -> None:
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
