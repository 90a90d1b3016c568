"""Shards: their union is the whole, nobody is in another's way, and Slurm is understood."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch import journal, locks
from audiostyle.batch import run as batch_run
from audiostyle.batch.journal import Journal
from audiostyle.batch.shards import Shard, parse_shard, shard_of_slurm
from audiostyle.errors import BusyError, ConfigError
from tests.support.fakes import SIDES, WORKER, call, computed, make_gtzan, rows, run, sounds

TIMES = ("seconds", "seconds_descent")


def journal_names(out: str = "out") -> list[str]:
    return sorted(path.name for path in Path(out).glob("journal*"))


def done_in(path: Path) -> list[str]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["pair"] for line in lines if line["event"] == "done"]


def without_times(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in row.items() if key not in TIMES}
        for name, row in table.items()
    }


def read_csv(out: str) -> list[dict[str, str]]:
    with Path(out, "results.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]


@pytest.mark.parametrize("of", [2, 3])
def test_shards_equal_one_run_byte_for_byte(of: int, gtzan_folder: Path) -> None:
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    assert run(out="whole") == 1
    for number in range(1, of + 1):
        assert run(f"--shard={number}/{of}") in (0, 1)
    assert sounds(Path("out")) == sounds(Path("whole"))
    assert without_times(rows()) == without_times(rows("whole"))
    assert read_csv("out") == read_csv("whole")
    parts = [done_in(Path(f"out/journal.{number}-of-{of}.jsonl")) for number in range(1, of + 1)]
    assert sorted(name for part in parts for name in part) == sorted(sounds(Path("whole")))
    assert sum(bool(part) for part in parts) > 1, "all pairs fell into one shard"


def test_the_whole_and_other_divisions_see_what_shards_did(gtzan_folder: Path, fake: Any) -> None:
    for number in (1, 2):
        assert run(f"--shard={number}/2") == 0
    heard = dict(fake.heard)
    assert run() == 0
    assert run("--shard=3/3") == 0
    assert dict(fake.heard) == heard
    table = rows()
    assert len(table) == 9 and {row["status"] for row in table.values()} == {"done"}


def test_a_shard_sees_what_the_whole_did(gtzan_folder: Path) -> None:
    assert run("--limit=4") == 0
    before = set(computed())
    for number in (1, 2):
        assert run(f"--shard={number}/2") == 0
        assert before.isdisjoint(done_in(Path(f"out/journal.{number}-of-2.jsonl")))
    assert len(rows()) == len(sounds(Path("out"))) == 9


def test_the_latest_line_counts_in_whatever_journal_it_is(gtzan_folder: Path) -> None:
    assert run("--shard=1/2", "--strength=0.5") == 0
    assert run() == 0
    whole = sounds(Path("out"))
    n_lines = len(computed())
    assert n_lines == 9, "what shards made with other parameters was taken for done"
    assert run("--shard=1/2") == run("--shard=2/2") == 0
    assert sounds(Path("out")) == whole
    assert len(done_in(Path("out/journal.1-of-2.jsonl"))) < 9
    assert journal_names() == ["journal.1-of-2.jsonl", "journal.2-of-2.jsonl", "journal.jsonl"]


def test_shards_at_the_same_time_are_one_run(tmp_path: Path) -> None:
    make_gtzan(tmp_path, 4, broken=False)
    command = [sys.executable, str(WORKER), "0.01", "batch", *SIDES, "--quiet"]
    assert subprocess.run([*command, "-o", "whole"], cwd=tmp_path, check=False).returncode == 0
    running = [
        subprocess.Popen([*command, "-o", "out", "--shard", f"{i}/3"], cwd=tmp_path)
        for i in (1, 2, 3)
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sounds(tmp_path / "out") == sounds(tmp_path / "whole")
    found, expected = (
        [json.loads(line) for line in (tmp_path / out / "results.jsonl").read_text().splitlines()]
        for out in ("out", "whole")
    )
    assert [row["pair"] for row in found] == [row["pair"] for row in expected]
    assert {row["status"] for row in found} == {"done"}
    assert not list((tmp_path / "out").rglob("*.part"))


def refused(shard: Shard | None, folder: Path) -> str:
    with pytest.raises(BusyError) as info, Journal(folder, shard):
        pass
    return str(info.value)


def test_who_may_work_beside_whom(tmp_path: Path) -> None:
    with Journal(tmp_path):
        assert "another process works in this folder" in refused(None, tmp_path)
        assert "another process works in this folder" in refused(Shard(1, 2), tmp_path)
    with Journal(tmp_path, Shard(1, 2)), Journal(tmp_path, Shard(2, 2)):
        assert "another process runs --shard 1/2" in refused(Shard(1, 2), tmp_path)
        assert "shard 1/2 is running; the whole batch cannot" in refused(None, tmp_path)
        assert "shard 1/2 is running; --shard 1/3 cannot" in refused(Shard(1, 3), tmp_path)
        assert journal.is_busy(tmp_path)
    assert not journal.is_busy(tmp_path)
    with Journal(tmp_path, Shard(1, 3)), Journal(tmp_path, Shard(3, 3)):
        pass
    with Journal(tmp_path):
        pass


def test_a_process_knows_whether_it_is_alone(tmp_path: Path) -> None:
    with Journal(tmp_path, Shard(1, 2)) as first:
        with Journal(tmp_path, Shard(2, 2)) as second:
            for log in (first, second):
                with log.check_alone() as alone:
                    assert not alone
        with first.check_alone() as alone:
            assert alone


def test_a_gate_that_stays_shut_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "GUARD_SECONDS", 0.0)
    with locks.guard(tmp_path), pytest.raises(BusyError, match="has been starting or ending"):
        with Journal(tmp_path):
            pass


def test_an_unsharded_run_beside_a_shard_is_4(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    with Journal(Path("out"), Shard(2, 4)):
        assert run() == 4
        assert run("--shard=1/3") == 4
        assert run("--shard=2/4") == 4
        assert run("--shard=1/4") == 0
        assert not Path("out/results.csv").exists(), "the last to end writes it, for all"
    assert capsys.readouterr().err.count("audiostyle: error: out: ") == 3


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


def test_the_assignment_never_changes() -> None:
    """Outputs of earlier runs depend on it: these are from the definition, by sha256sum."""
    for name in ("jazz.00000__classical.00001.wav", "a/ä.flac"):
        head = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16)
        assert [Shard(i + 1, 7).contains(name) for i in range(7)] == [
            head % 7 == i for i in range(7)
        ]
    sizes = [0] * 8
    for i in range(4000):
        (taken,) = (k for k in range(8) if Shard(k + 1, 8).contains(f"{i}.wav"))
        sizes[taken] += 1
    assert min(sizes) > 400 and max(sizes) < 600  # 500 +- 21 is one standard deviation


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "1", "a/b", "1/2/3", "-1/2", "1/100001", ""])
def test_a_shard_that_cannot_be_is_a_usage_error(
    text: str, gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"--shard={text}") == 2
    assert f"shard={text!r}" in capsys.readouterr().err
    assert not Path("out").exists()


def test_what_a_shard_is_written_as() -> None:
    assert parse_shard("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"
    assert parse_shard(None) is parse_shard("1/1") is None


def slurm(task: int, count: int, low: int, high: int, step: int | None = None) -> dict[str, str]:
    values = {"ID": task, "COUNT": count, "MIN": low, "MAX": high, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{k}": str(v) for k, v in values.items() if v is not None}


def test_slurm_arrays_are_mapped_whatever_they_begin_with() -> None:
    assert [shard_of_slurm(slurm(i, 4, 0, 3)) for i in range(4)] == ["1/4", "2/4", "3/4", "4/4"]
    assert shard_of_slurm(slurm(1, 4, 1, 4, 1)) == "1/4"
    assert shard_of_slurm(slurm(14, 3, 10, 18, 4)) == "2/3"
    assert shard_of_slurm(slurm(5, 1, 5, 5)) == "1/1"
    assert shard_of_slurm({}) is None


@pytest.mark.parametrize(
    "environment",
    [
        slurm(3, 3, 1, 7),  # --array=1,3,7
        slurm(9, 4, 0, 3),
        slurm(1, 4, 0, 3, 0),
        {"SLURM_ARRAY_TASK_ID": "3"},
        {**slurm(1, 4, 0, 3), "SLURM_ARRAY_TASK_COUNT": "many"},
    ],
)
def test_an_array_that_cannot_be_mapped_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="--shard I/N"):
        shard_of_slurm(environment)


def test_a_task_of_an_array_says_which_shard_it_runs(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(out="whole") == 0
    for task in range(2):
        for name, value in slurm(task, 2, 0, 1).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        assert run() == 0
        first = capsys.readouterr().err.splitlines()[0]
        assert first.startswith(f"shard {task + 1}/2, as SLURM_ARRAY_TASK_ID says")
    assert sounds(Path("out")) == sounds(Path("whole"))
    assert journal_names() == ["journal.1-of-2.jsonl", "journal.2-of-2.jsonl"]
    assert run("--shard=1/1", out="again") == 0
    assert len(sounds(Path("again"))) == 9
    monkeypatch.delenv("SLURM_ARRAY_TASK_MAX")
    assert run(out="third") == 2
    assert not Path("third").exists()


def test_a_dry_run_of_a_shard_names_its_pairs(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = []
    for number in (1, 2):
        assert run(f"--shard={number}/2", "--dry-run") == 0
        out = capsys.readouterr().out
        named += [line for line in out.splitlines() if line.endswith(".wav")]
    assert len(named) == len(set(named)) == 9


def test_from_python_a_result_is_about_the_shard(gtzan_folder: Path, fake: Any) -> None:
    results = [batch_run.run_batch(*SIDES, "out", shard=f"{i}/2") for i in (1, 2)]
    assert [result.exit_code for result in results] == [0, 0]
    assert sum(len(result.rows) for result in results) == 9
    assert sum(result.computed for result in results) == 9


def test_the_runner_reads_the_environment_and_the_library_does_not(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in slurm(0, 2, 0, 1).items():
        monkeypatch.setenv(name, value)
    assert len(batch_run.run_batch(*SIDES, "out").rows) == 9
