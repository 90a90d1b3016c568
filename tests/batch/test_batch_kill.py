"""SIGKILL at random moments: what a batch promises when it gets no chance to tidy up.

AUDIOSTYLE_KILLS says how many runs are killed, 50 in a long run (see `tests.files.test_fuzz`); each costs
two starts of Python.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import soundfile as sf

from audiostyle.utils.atomic_files import file_digest
from tests.support.fakes import GTZAN_SR, journal_lines, make_gtzan, rounds, sounds

ROUNDS = rounds(10)
WORKER = Path(__file__).parents[1] / "support" / "batch_worker.py"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


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


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killed_and_resumed_is_as_if_nothing_had_happened(
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
