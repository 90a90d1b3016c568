"""A batch as a person runs it: what it shows, what status says, and what a signal does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch import plan
from audiostyle.cli.batch import BatchInterrupt
from tests.support.fakes import GTZAN_SR, SIDES, WORKER, call, journal_lines, make_gtzan, run


def test_a_dry_run_names_all_and_makes_nothing(
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
    assert "9 pairs: 0 done, 6 to compute, 3 that cannot be done" in out
    needed = 6 * (round(0.6 * GTZAN_SR) * 2 + plan.RECORD_BYTES)
    assert f"disk: about {needed / 1e6:.1f} MB needed" in out
    assert "a rule of thumb" in out
    assert run("--limit=1") == 0
    capsys.readouterr()
    assert run("--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["to_compute"], planned["measured"], len(planned["names"])) == (5, True, 5)


def test_a_folder_in_use_is_4_and_untouched(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--limit=1") == 0
    before = Path("out/journal.jsonl").read_bytes()
    from audiostyle.batch.journal import Journal

    with Journal(Path("out")):
        assert run() == 4
        assert json.loads(status_json(capsys))["running"]
    assert Path("out/journal.jsonl").read_bytes() == before
    assert not json.loads(status_json(capsys))["running"]


def status_json(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert call("status", "out", "--json") == 0
    return capsys.readouterr().out


def test_status_counts_what_is_there(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_events_are_a_document_a_line(
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
    assert events[-1] == {"event": "end", "done": 1, "failed": 1, "pending": 0, "exit_code": 1}
    assert events[0]["failed"][0]["kind"] == "unreadable"
    assert len(err.splitlines()) == 2  # what failed, and the end


def test_a_line_a_pair_without_a_terminal_and_nothing_when_quiet(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--limit=3") == 0
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "3 pairs: 0 done before, 3 to compute, 0 that cannot be done"
    assert [line.split()[0] for line in lines if line.startswith("[")] == [
        f"[{i}/3]" for i in (1, 2, 3)
    ]
    assert lines[-1] == f"{gtzan_folder / 'out'}: 3 done (3 now), 0 failed"
    assert run("--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_two_bars_on_a_terminal(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run("--limit=2") == 0
    err = capsys.readouterr().err
    assert "2/2" in err and "pair" in err and "step" in err
    assert err.splitlines()[-1].endswith("2 done (2 now), 0 failed")


def test_a_signal_while_it_plans_stops_it_now(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def planning(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(plan, "plan_pairs", planning)
    assert run() == 143
    assert capsys.readouterr().err == "audiostyle: error: interrupted; nothing was started\n"
    assert not Path("out").exists()


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
    interrupt = BatchInterrupt(said.append)
    with pytest.raises(Interrupted), interrupt:
        interrupt.stage = "pair"
        signal.raise_signal(signal.SIGINT)
        assert said == ["stopping; what is done stays done (once more to stop now)"]
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)
        pytest.fail("it went on")
    assert interrupt.code == 130
