"""Files that a batch does not use: they are named wherever it reports, and no pair left is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from tests.conftest import make_noise
from tests.support.fakes import GTZAN_SR, rows, run

JAZZ = "genres/jazz: left out 5 files: 1 unknown format (cover.jpg), 4 hidden"


@pytest.fixture
def mixed(gtzan_folder: Path) -> Path:
    """Add files that are no clips to the hidden ones of a GTZAN."""
    for name in ("jazz/cover.jpg", "jazz/.DS_Store", "classical/notes.txt"):
        Path("genres", name).touch()
    return gtzan_folder


def test_a_dry_run_and_a_run_count_and_name_them(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--dry-run", "--limit=1") == 0
    assert JAZZ in capsys.readouterr().out
    assert run("--limit=1") == 0
    assert JAZZ in capsys.readouterr().err
    assert run("--limit=1", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert run("--limit=1", "--json") == 0
    plan = json.loads(capsys.readouterr().out.splitlines()[0])
    assert plan["left_out"] == {"hidden": 7, "unknown format": 2}
    with Path("out/skipped.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert table == plan["skipped"] and len(table) == 9
    assert {"path": "genres/classical/notes.txt", "reason": "unknown format"} in table


def test_the_table_of_an_earlier_run_does_not_stay(mixed: Path) -> None:
    one = ("genres/jazz/jazz.00000.wav", "genres/classical/classical.00000.wav")
    assert run(out="other", sides=one) == 0
    assert not Path("other/skipped.csv").exists()
    assert run("--limit=1") == 0
    assert run(sides=one) == 0
    assert Path("out/skipped.csv").read_text() == "path,reason\n"


def test_the_record_of_a_genre_names_them(mixed: Path) -> None:
    assert run("--by=genre", "--limit=1") == 0
    (name,) = rows()
    record = json.loads(Path("out", name + ".json").read_text())
    skipped = [Path(entry["path"]).name for entry in record["styles"][0]["skipped"]]
    assert skipped == [*(f"._classical.{i:05d}.wav" for i in range(3)), "notes.txt"]
    assert any("left out 4 files: 1 unknown format" in note for note in record["notes"])


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--json",)])
@pytest.mark.parametrize("how", ["product", "random:1"])
def test_exit_code_3_if_no_pair_is_left(
    how: str, more: tuple[str, ...], gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = ("genres/jazz/jazz.00000.wav", "genres/../genres/jazz/jazz.00000.wav")
    assert run(f"--pair={how}", *more, sides=same) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("audiostyle: error: no pair is left: genres/jazz/jazz.00000.wav and")
    assert not Path("out").exists()


def test_clips_of_one_name_and_long_names_are_computed(
    gtzan_folder: Path, fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("song.wav", "song.flac", "x" * 230 + ".wav", "y" * 230 + ".wav"):
        Path("in").mkdir(exist_ok=True)
        sf.write(f"in/{name}", make_noise(0.6, GTZAN_SR), GTZAN_SR)
    assert run(sides=("in", "in")) == 0
    assert "share their names with others" in capsys.readouterr().err
    table = rows()
    assert len(table) == 12
    assert all(Path("out", name).is_file() for name in table)
    assert run("--shuffle", "--limit=5", sides=("in", "in")) == 0
    assert set(rows()) < set(table)  # names do not depend on the limit
