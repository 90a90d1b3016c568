"""What the batch command prints: dry runs, events as JSON, lines and bars."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from audiostyle.batch import plan
from tests.support.fakes import GTZAN_SR, run


def test_a_dry_run_lists_pairs_and_writes_nothing(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    assert run("--dry-run") == 0
    out = capsys.readouterr().out
    assert not Path("out").exists()
    names = [line for line in out.splitlines() if line.endswith(".wav")]
    assert sorted(names) == sorted(
        f"jazz.0000{c}__classical.0000{s}.wav" for c in (0, 2) for s in range(3)
    )
    assert "9 pairs: 6 to compute, 3 that cannot be done" in out
    needed = 6 * (round(0.6 * GTZAN_SR) * 2 + plan.RECORD_BYTES)
    assert f"disk: about {needed / 1e3:.1f} kB needed" in out
    assert "a rule of thumb" in out
    assert run("--limit=1") == 0
    capsys.readouterr()
    assert run("--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["to_compute"], planned["measured"], len(planned["names"])) == (5, True, 5)


def test_json_prints_one_event_per_line(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    assert run("--json", "--style-genre=classical", "--limit=2") == 1
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "plan" and names[-1] == "end"
    assert names.count("started") == names.count("done") == 1
    assert names.index("started") < names.index("step") < names.index("done")
    counts = {"done": 1, "failed": 1, "pending": 0, "kept": 0}
    assert events[-1] == {"event": "end", **counts, "exit_code": 1}
    assert events[0]["failed"][0]["kind"] == "unreadable"
    assert len(err.splitlines()) == 2  # what failed, and the end


def test_progress_is_one_line_per_pair_and_quiet_prints_nothing(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--limit=3") == 0
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.partition(" (")[0] for line in lines[:2]] == [
        f"genres/{genre}: left out 3 files: 3 hidden" for genre in ("jazz", "classical")
    ]
    assert lines[2] == "3 pairs: 3 to compute"
    assert [line.split()[0] for line in lines if line.startswith("[")] == [
        f"[{i}/3]" for i in (1, 2, 3)
    ]
    hint = "; compare by ear: audiostyle report out -o out.html"
    assert lines[-1] == f"{gtzan_folder / 'out'}: 3 done (3 now), 0 failed{hint}"
    assert run("--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_two_bars(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run("--limit=2") == 0
    err = capsys.readouterr().err
    assert "2/2" in err and "pair" in err and "iteration" in err
    assert "2 done (2 now), 0 failed; compare by ear:" in err.splitlines()[-1]
