"""Broken files: each gives a result or one line, and never a crash, a hang or another error.

AUDIOSTYLE_FUZZ is the number of broken clips, all formats together; of each other kind there are a
quarter as many. They are read in separate processes, as libraries written in C may crash or
hang. A case that does so is kept and named.
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

from tests.support.mutations import FORMATS, MEDIA

SOUNDS = (*FORMATS, *MEDIA)
CLIPS = int(os.environ.get("AUDIOSTYLE_FUZZ", "2000"))
FEW = 10
CHUNK = 1000
CHUNK_SECONDS = 600  # a single case may take 20, see `tests.support.fuzz_worker`
WORKER = Path(__file__).parents[1] / "support" / "fuzz_worker.py"

EXPECTED = {
    "toml": "ConfigError",
    "style": "AudioFileError unreadable",
    "weights": "WeightsError",
    "journal": "unreadable 1",
}
# Of clips that can be read, but not used; `probe: ` if only the input check of a batch finds them.
OTHER_FAULTS = {
    f"{found_by} {kind}"
    for found_by in ("AudioFileError", "probe:")
    for kind in ("too_short", "silent", "not_finite", "truncated")
}


def run_worker(kinds: str, number: int, count: int, folder: Path) -> dict[str, Counter[str]]:
    command = [sys.executable, str(WORKER), kinds, str(number), str(count), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHUNK_SECONDS)
        code, errors = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        code, errors = -1, f"took more than {CHUNK_SECONDS} s"
    if code:
        kept = Path(tempfile.mkdtemp(prefix="audiostyle-fuzz-"))
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        pytest.fail(f"{kinds}, seed {number}: code {code}; the case is in {kept}\n{errors[-3000:]}")
    return {kind: Counter(found) for kind, found in json.loads(done.stdout).items()}


def run_all(kind: str, count: int, folder: Path) -> Counter[str]:
    total: Counter[str] = Counter()
    for number, first in enumerate(range(0, count, CHUNK)):
        (folder / str(number)).mkdir()
        n = min(CHUNK, count - first)
        total += run_worker(kind, number, n, folder / str(number))[kind]
    print(f"{kind}: {total.total()} cases: {dict(total)}")
    return total


def test_a_few_broken_files_of_each_kind(tmp_path: Path) -> None:
    found = run_worker(",".join([*SOUNDS, *EXPECTED]), 0, FEW, tmp_path)
    assert all(outcomes.total() >= FEW for outcomes in found.values())
    clips = sum((found[kind] for kind in SOUNDS), Counter())
    assert clips["taken"] and clips["AudioFileError unreadable"], found
    assert all(found[kind][outcome] for kind, outcome in EXPECTED.items()), found


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOUNDS)
def test_broken_clips(kind: str, tmp_path: Path) -> None:
    found = run_all(kind, CLIPS // len(SOUNDS), tmp_path)
    assert found.total() >= CLIPS // len(SOUNDS)
    # Some formats are refused after almost any damage: that both outcomes occur is asserted above.
    assert found["AudioFileError unreadable"], found
    assert found.keys() <= {"taken", "AudioFileError unreadable", *OTHER_FAULTS}, found


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPECTED)
def test_other_broken_files(kind: str, tmp_path: Path) -> None:
    found = run_all(kind, CLIPS // 4, tmp_path)
    assert found.total() >= CLIPS // 4
    assert found[EXPECTED[kind]] and len(found) > 1, "expected more than one outcome"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_worker_that_crashes_names_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "case").mkdir()
    with pytest.raises(pytest.fail.Exception, match=r"crash, seed 0: code -\d+; the case is in"):
        run_worker("crash", 0, 1, tmp_path / "case")
    (kept,) = tmp_path.glob("audiostyle-fuzz-*/case.crash")
    assert kept.read_bytes() == (tmp_path / "case" / "case.crash").read_bytes()
