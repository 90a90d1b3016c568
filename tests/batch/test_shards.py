"""Shards: together they are the whole batch; Slurm arrays are mapped to them."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch import run as batch_run
from audiostyle.batch.shards import Shard, parse_shard, shard_of_slurm
from audiostyle.errors import ConfigError
from tests.support.fakes import SIDES, WORKER, computed, make_gtzan, rows, run, sounds

TIMES = ("seconds", "seconds_optimization")


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
def test_shards_give_the_same_bytes_as_one_run(of: int, gtzan_folder: Path) -> None:
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


def test_pairs_of_shards_are_known_to_the_whole_and_other_divisions(
    gtzan_folder: Path, fake: Any
) -> None:
    for number in (1, 2):
        assert run(f"--shard={number}/2") == 0
    analyzed = dict(fake.analyzed)
    assert run() == 0
    assert run("--shard=3/3") == 0
    assert dict(fake.analyzed) == analyzed
    table = rows()
    assert len(table) == 9 and {row["status"] for row in table.values()} == {"done"}


def test_pairs_of_the_whole_are_known_to_shards(gtzan_folder: Path) -> None:
    assert run("--limit=4") == 0
    before = set(computed())
    for number in (1, 2):
        assert run(f"--shard={number}/2") == 0
        assert before.isdisjoint(done_in(Path(f"out/journal.{number}-of-2.jsonl")))
    assert len(rows()) == len(sounds(Path("out"))) == 9


def test_the_latest_line_of_all_journals_counts(gtzan_folder: Path) -> None:
    assert run("--shard=1/2", "--strength=0.5") == 0
    assert run() == 1, "what shards made with other parameters was taken for done"
    n_kept = len(done_in(Path("out/journal.1-of-2.jsonl")))
    assert len(computed()) == 9 - n_kept
    assert run("--force") == 0
    whole = sounds(Path("out"))
    assert len(computed()) == 9 - n_kept + 9
    assert run("--shard=1/2") == run("--shard=2/2") == 0
    assert sounds(Path("out")) == whole
    assert len(done_in(Path("out/journal.1-of-2.jsonl"))) < 9
    assert journal_names() == ["journal.1-of-2.jsonl", "journal.2-of-2.jsonl", "journal.jsonl"]


@pytest.mark.slow
def test_shards_at_the_same_time_give_the_results_of_one_run(tmp_path: Path) -> None:
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


def test_the_assignment_never_changes() -> None:
    """Outputs of earlier runs depend on it."""
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
def test_invalid_shards_are_usage_errors(
    text: str, gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"--shard={text}") == 2
    assert f"shard={text!r}" in capsys.readouterr().err
    assert not Path("out").exists()


def test_shards_are_parsed_and_formatted() -> None:
    assert parse_shard("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"
    assert parse_shard(None) is parse_shard("1/1") is None


def slurm(task: int, count: int, low: int, high: int, step: int | None = None) -> dict[str, str]:
    values = {"ID": task, "COUNT": count, "MIN": low, "MAX": high, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{k}": str(v) for k, v in values.items() if v is not None}


def test_slurm_arrays_are_mapped_from_any_first_index() -> None:
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
def test_unevenly_spaced_slurm_arrays_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="--shard I/N"):
        shard_of_slurm(environment)


def test_a_slurm_task_runs_its_shard(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(out="whole") == 0
    for task in range(2):
        for name, value in slurm(task, 2, 0, 1).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        assert run() == 0
        first = capsys.readouterr().err.splitlines()[0]
        assert first.startswith(f"shard {task + 1}/2, from SLURM_ARRAY_TASK_ID")
    assert sounds(Path("out")) == sounds(Path("whole"))
    assert journal_names() == ["journal.1-of-2.jsonl", "journal.2-of-2.jsonl"]
    assert run("--shard=1/1", out="again") == 0
    assert len(sounds(Path("again"))) == 9
    monkeypatch.delenv("SLURM_ARRAY_TASK_MAX")
    assert run(out="third") == 2
    assert not Path("third").exists()


def test_a_dry_run_of_a_shard_lists_its_pairs(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = []
    for number in (1, 2):
        assert run(f"--shard={number}/2", "--dry-run") == 0
        out = capsys.readouterr().out
        named += [line for line in out.splitlines() if line.endswith(".wav")]
    assert len(named) == len(set(named)) == 9


def test_the_result_of_a_shard_holds_its_pairs(gtzan_folder: Path, fake: Any) -> None:
    results = [batch_run.run_batch(*SIDES, "out", shard=f"{i}/2") for i in (1, 2)]
    assert [result.exit_code for result in results] == [0, 0]
    assert sum(len(result.rows) for result in results) == 9
    assert sum(result.computed for result in results) == 9


def test_the_library_ignores_the_environment_of_slurm(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in slurm(0, 2, 0, 1).items():
        monkeypatch.setenv(name, value)
    assert len(batch_run.run_batch(*SIDES, "out").rows) == 9
