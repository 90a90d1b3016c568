"""Signals: SIGINT and SIGTERM end a batch cleanly, SIGKILL at any moment loses nothing.

AUDIOSTYLE_KILLS sets how many runs are killed; each starts Python twice.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.batch import plan
from audiostyle.cli.batch import BatchInterrupt
from audiostyle.errors import Interrupted
from audiostyle.utils.atomic_files import file_digest
from tests.support.fakes import (
    GTZAN_SR,
    SIDES,
    WORKER,
    journal_lines,
    make_gtzan,
    rounds,
    run,
    sounds,
)

ROUNDS = rounds(10)


def command(out: Path, pause: float = 0.0) -> list[str]:
    return [
        *(sys.executable, str(WORKER), str(pause)),
        *("batch", "genres/jazz", "genres/classical", "-o", str(out), "--quiet"),
    ]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kill")
    make_gtzan(root, 4, broken=False)
    done = subprocess.run(command(root / "whole"), cwd=root, check=False)
    assert done.returncode == 0
    assert len(sounds(root / "whole")) == 16
    return root


def kill_at(root: Path, out: Path, rng: random.Random) -> None:
    """Start a batch, and kill it a random moment after a random line of its journal."""
    process = subprocess.Popen(command(out, 0.003), cwd=root)
    journal, n_lines = out / "journal.jsonl", rng.randrange(1, 45)
    try:
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= n_lines:
                time.sleep(rng.random() * 0.02)
                break
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, ROUNDS))]
)
def test_a_killed_batch_resumes_with_the_same_outputs(
    seed: int, collection: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    kill_at(collection, out, random.Random(seed))
    for path in out.glob("*.wav"):  # half-written files would not open, or be short
        assert sf.info(path).frames == round(0.6 * GTZAN_SR)
    vouched = [line for line in journal_lines(out) if line["event"] == "done"]
    for line in vouched:
        assert file_digest(out / line["pair"]) == line["sha256"]
        record = json.loads((out / (line["pair"] + ".json")).read_text())
        assert record["output"]["sha256"] == line["sha256"]
    resumed = subprocess.run(command(out), cwd=collection, check=False)
    assert resumed.returncode == 0
    assert sounds(out) == sounds(collection / "whole")
    lines = journal_lines(out)
    ends = Counter(line["pair"] for line in lines if line["event"] == "done")
    assert set(ends.values()) == {1}, "a pair that was done was computed again"
    assert {p.name for p in out.iterdir()} == {p.name for p in (collection / "whole").iterdir()}
    starts = Counter(line["pair"] for line in lines if line["event"] == "started")
    assert sum(starts.values()) <= 16 + 1


def test_a_signal_during_planning_stops_at_once(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def planning(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(plan, "plan_pairs", planning)
    assert run() == 143
    assert capsys.readouterr().err == "audiostyle: error: interrupted; nothing was started\n"
    assert not Path("out").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_abandons_the_pair_and_the_next_run_resumes(
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


def test_the_second_signal_stops_at_once() -> None:
    said: list[str] = []
    interrupt = BatchInterrupt(said.append)
    with pytest.raises(Interrupted), interrupt:
        interrupt.stage = "pair"
        signal.raise_signal(signal.SIGINT)
        assert said == ["stopping; what is done stays done (interrupt again to stop now)"]
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)
        pytest.fail("it went on")
    assert interrupt.code == 130
