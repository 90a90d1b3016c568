"""Locks: one process per folder or per shard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from audiostyle.batch import journal, locks
from audiostyle.batch.journal import Journal
from audiostyle.batch.shards import Shard
from audiostyle.errors import BusyError, DiskError
from tests.support.fakes import run

HOLD = """
import sys, pathlib
from audiostyle.batch.journal import Journal
with Journal(pathlib.Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["kill", "close"])
def test_one_process_per_folder_and_a_dead_one_holds_no_lock(end: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline().strip() == b"open"
        assert journal.is_busy(tmp_path)
        with pytest.raises(BusyError, match="another process works in this folder"):
            Journal(tmp_path).__enter__()
        if end == "kill":
            holder.kill()
        else:
            holder.stdin.close()
        holder.wait()
    assert not journal.is_busy(tmp_path)
    with Journal(tmp_path) as log:
        log.append({"event": "run"})


def refused(shard: Shard | None, folder: Path) -> str:
    with pytest.raises(BusyError) as info, Journal(folder, shard):
        pass
    return str(info.value)


def test_parts_that_may_run_at_the_same_time(tmp_path: Path) -> None:
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


def test_a_lock_that_cannot_be_written_is_a_disk_error(tmp_path: Path) -> None:
    message = r"\.journal\.guard: cannot be written \(No such file or directory\)$"
    with pytest.raises(DiskError, match=message), Journal(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()
    (tmp_path / locks.GUARD_NAME).mkdir()
    with pytest.raises(DiskError, match=r"\.journal\.guard: cannot be written \("):
        with Journal(tmp_path):
            pass


def test_a_guard_that_stays_locked_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "GUARD_SECONDS", 0.0)
    with locks.guard(tmp_path), pytest.raises(BusyError, match="has been starting or ending"):
        with Journal(tmp_path):
            pass


def test_the_whole_batch_beside_a_shard_exits_with_4(
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
