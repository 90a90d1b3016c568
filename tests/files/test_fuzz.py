"""Thousands of broken files: a result or one line, and never a crash, a hang or another error.

AUDIOSTYLE_FUZZ says how many clips are broken, all formats together; other kinds get a quarter of
that each. They run in processes of their own, as libraries written in C may crash on them, or never
come back; what such a process had before it then is kept and named.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.support.mutations import FORMATS

CLIPS = int(os.environ.get("AUDIOSTYLE_FUZZ", "2000"))
CHUNK = 1000
CHUNK_SECONDS = 600  # a single case gets 20, see `tests.support.fuzz_worker`
WORKER = Path(__file__).parents[1] / "support" / "fuzz_worker.py"

EXPECTED = {
    "toml": "ConfigError",
    "style": "AudioFileError unreadable",
    "weights": "WeightsError",
    "journal": "unreadable 1",
}


def run_chunk(kind: str, number: int, count: int, folder: Path) -> Counter[str]:
    command = [sys.executable, str(WORKER), kind, str(number), str(count), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHUNK_SECONDS)
        code, said = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        code, said = -1, f"took more than {CHUNK_SECONDS} s"
    if code:
        kept = Path(tempfile.mkdtemp(prefix="audiostyle-fuzz-"))
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        pytest.fail(f"{kind}, seed {number}: code {code}; the case is in {kept}\n{said[-3000:]}")
    return Counter(json.loads(done.stdout))


def run_all(kind: str, count: int, folder: Path) -> Counter[str]:
    total: Counter[str] = Counter()
    for number, first in enumerate(range(0, count, CHUNK)):
        (folder / str(number)).mkdir()
        total += run_chunk(kind, number, min(CHUNK, count - first), folder / str(number))
    print(f"{kind}: {total.total()} cases: {dict(total)}")
    return total


@pytest.mark.parametrize("kind", FORMATS)
def test_broken_clips(kind: str, tmp_path: Path) -> None:
    found = run_all(kind, CLIPS // len(FORMATS), tmp_path)
    assert found.total() >= CLIPS // len(FORMATS)
    assert found["taken"] and found["AudioFileError unreadable"], "both were to be met"


@pytest.mark.parametrize("kind", EXPECTED)
def test_other_broken_files(kind: str, tmp_path: Path) -> None:
    found = run_all(kind, CLIPS // 4, tmp_path)
    assert found.total() >= CLIPS // 4
    assert found[EXPECTED[kind]] and len(found) > 1, "more than one outcome was to be met"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_worker_that_dies_names_its_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The net itself: a process that crashes leaves what it crashed on."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "case").mkdir()
    with pytest.raises(pytest.fail.Exception, match=r"crash, seed 0: code -\d+; the case is in"):
        run_chunk("crash", 0, 1, tmp_path / "case")
    (kept,) = tmp_path.glob("audiostyle-fuzz-*/case.crash")
    assert kept.read_bytes() == (tmp_path / "case" / "case.crash").read_bytes()
