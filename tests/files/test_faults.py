"""Faults of the machine during a run: full disks, lost permissions, no memory, kills, clocks.

Nothing is lost, nothing is half-written, and no input is touched (see `untouched`).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.batch import journal
from audiostyle.files import transfer
from tests.conftest import make_tones
from tests.support.fakes import (
    SIDES,
    call,
    computed,
    fill_folder,
    install,
    journal_lines,
    rounds,
    rows,
    run,
    sounds,
)

WORKER = Path(__file__).parents[1] / "support" / "fault_worker.py"
SR = 16_000
TRANSFER = ("transfer", "content.wav", "style.wav", "-o", "out/out.wav")
BATCH = ("batch", *SIDES, "-o", "out", "--quiet")
LITTLE = (2 << 30) - 1  # bytes
LONG = int(os.environ.get("AUDIOSTYLE_FUZZ", "0")) >= 20_000

slow = pytest.mark.slow
needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
needs_rights = pytest.mark.skipif(
    os.name == "nt" or (os.geteuid() == 0 and sys.platform != "linux"),
    reason="permissions do not stop root here",
)
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="this system has no limit of memory that holds"
)


def start(folder: Path, fault: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), fault, *arguments]
    # A process that may not write cannot write its coverage data either.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    out, err = subprocess.DEVNULL, subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err, text=True)


def finish(folder: Path, fault: str, *arguments: str) -> tuple[int, list[str]]:
    """Run a command with a fault; return its exit code and the lines of standard error."""
    process = start(folder, fault, *arguments)
    said = process.communicate(timeout=120)[1]
    assert "Traceback" not in said and "internal error" not in said, said
    return process.returncode, said.splitlines()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder that other users may enter."""
    root = Path(tempfile.mkdtemp(prefix="audiostyle-faults-"))
    root.chmod(0o755)
    yield fill_folder(root, SR)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(autouse=True)
def untouched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check that no input is changed."""
    if "folder" not in request.fixturenames:
        yield
        return
    root: Path = request.getfixturevalue("folder")
    inputs = [root / "content.wav", root / "style.wav", *(root / "genres").rglob("*.wav")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in inputs]
    yield
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in inputs] == before


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Make the outputs of the transfer and of the batch without a fault."""
    root = fill_folder(tmp_path_factory.mktemp("undisturbed"), SR)
    with pytest.MonkeyPatch.context() as patch:
        fake = install(patch.setattr)
        patch.setattr(transfer, "StyleTransfer", fake)
        patch.chdir(root)
        assert call(*TRANSFER, "--quiet") == 0
        made = sounds(root / "out")
        shutil.rmtree(root / "out")
        assert call(*BATCH) == 0
    return {**made, **sounds(root / "out")}


def resumes(folder: Path, undisturbed: dict[str, bytes]) -> None:
    """Run the batch again without a fault, and expect what it makes without any."""
    code, said = finish(folder, "none", *BATCH)
    assert code == 0, said
    made = sounds(folder / "out")
    assert made == {name: undisturbed[name] for name in made} and len(made) == 9
    assert not list((folder / "out").rglob(".audiostyle-*"))
    ends = [e["pair"] for e in journal_lines(folder / "out") if e["event"] == "done"]
    assert len(ends) == len(set(ends)) == 9, "a finished pair was computed again"


def is_complete(folder: Path, undisturbed: dict[str, bytes]) -> None:
    """Expect that each sound that exists is the right one."""
    made = sounds(folder / "out")
    assert made == {name: undisturbed[name] for name in made}


@needs_posix
@pytest.mark.parametrize(
    "size", [1500, *(pytest.param(n, marks=slow) for n in (0, 100, 5000, 19_000, 19_243, 1 << 20))]
)
def test_a_transfer_at_the_limit_of_file_sizes(
    size: int, folder: Path, undisturbed: dict[str, bytes]
) -> None:
    code, said = finish(folder, f"fsize={size}", *TRANSFER, "--quiet")
    left = {path.name for path in (folder / "out").iterdir()}
    if code == 0:
        assert left == {"out.wav", "out.wav.json"} and size > 19_243
        return is_complete(folder, undisturbed)
    assert (code, left) == (1, set())
    (line,) = said
    assert "File too large" in line or "cannot be written" in line or "reads back" in line


@slow
@needs_posix
@pytest.mark.parametrize("extension", ["flac", "ogg", "mp3", "caf"])
def test_no_format_is_published_incomplete(extension: str, folder: Path) -> None:
    output = f"out/out.{extension}"
    assert finish(folder, "none", *TRANSFER[:3], "-o", output, "--quiet") == (0, [])
    size = (folder / output).stat().st_size
    for file in (folder / "out").iterdir():
        file.unlink()
    for limit in (100, size // 2, size - 1):
        code, said = finish(folder, f"fsize={limit}", *TRANSFER[:3], "-o", output, "--quiet")
        assert code == 1 and len(said) == 1, said
        assert not list((folder / "out").iterdir())


@slow
@needs_posix
@pytest.mark.parametrize("size", [0, 600, 3000, 8000, 20_000, 26_503])
def test_a_batch_at_the_limit_of_file_sizes(
    size: int, folder: Path, undisturbed: dict[str, bytes]
) -> None:
    code, said = finish(folder, f"fsize={size}", *BATCH)
    assert code in (1, 3, 4), said
    is_complete(folder, undisturbed)
    resumes(folder, undisturbed)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of 8 MB on the folder for outputs."""
    out = folder / "out"
    if os.name == "nt" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small file system")
    options = ["-t", "tmpfs", "-o", "size=8m,mode=777"]
    done = subprocess.run(["mount", *options, "none", out], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield out
    subprocess.run(["umount", out], check=True)


@slow
def test_a_disk_that_others_fill_stops_a_batch_and_loses_nothing(
    folder: Path, small_disk: Path, undisturbed: dict[str, bytes]
) -> None:
    code, said = finish(folder, f"fill={small_disk}/ballast", *BATCH)
    assert code == 4, said
    assert sum("No space left" in line or "disk is full" in line for line in said) == 1
    is_complete(folder, undisturbed)
    code, said = finish(folder, "none", *BATCH)  # while it is full
    assert code == 4 and len(said) == 1
    (small_disk / "ballast").unlink()
    resumes(folder, undisturbed)


@slow
def test_a_full_disk_stops_a_transfer(folder: Path, small_disk: Path) -> None:
    sf.write(folder / "long.wav", make_tones(600, SR), SR, subtype="FLOAT")
    code, said = finish(folder, "none", "transfer", "long.wav", *TRANSFER[2:], "--quiet")
    assert code == 1
    (line,) = said
    assert "out.wav" in line or "out:" in line
    assert "free space on the disk" in line
    assert list(small_disk.iterdir()) == []


@slow
@needs_rights
def test_a_folder_without_write_permission(folder: Path) -> None:
    (folder / "out").chmod(0o555)
    code, said = finish(folder, "stopped", *TRANSFER, "--quiet")
    assert code == 1 and len(said) == 1
    assert "out/out.wav: cannot be created in out (Permission denied); choose another" in said[0]
    code, said = finish(folder, "stopped", *BATCH)
    assert code == 4 and len(said) == 1 and "Permission denied" in said[0]
    assert list((folder / "out").iterdir()) == []


@slow
@needs_rights
def test_permissions_that_are_lost_during_a_batch(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    code, said = finish(folder, "lock=out", *BATCH)
    assert code == 4, said
    assert any("out" in line and "Permission denied" in line for line in said)
    is_complete(folder, undisturbed)
    assert len(sounds(folder / "out")) < 9
    (folder / "out").chmod(0o777)
    resumes(folder, undisturbed)


@slow
@needs_proc
def test_the_system_refuses_memory(folder: Path, undisturbed: dict[str, bytes]) -> None:
    code, said = finish(folder, "memory=1", *TRANSFER, "--quiet")
    assert code == 1
    assert said == [
        "audiostyle: error: out of memory: use --start and --duration, or a shorter clip"
    ]
    assert list((folder / "out").iterdir()) == []
    code, said = finish(folder, "memory=3", *BATCH)
    assert code == 1 and "out_of_memory" in said[0]
    assert len(sounds(folder / "out")) == 8
    resumes(folder, undisturbed)


@needs_posix
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=slow) for n in range(1, rounds(6)))])
def test_a_killed_transfer_leaves_a_complete_output_or_none(
    seed: int, folder: Path, undisturbed: dict[str, bytes]
) -> None:
    rng = random.Random(seed)
    process = start(folder, "pause=0.02", *TRANSFER)
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(rng.random() * 0.12)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    is_complete(folder, undisturbed)
    code, said = finish(folder, "none", *TRANSFER, "--force", "--quiet")
    assert (code, said) == (0, [])
    assert sounds(folder / "out") == {"out.wav": undisturbed["out.wav"]}
    record = json.loads((folder / "out" / "out.wav.json").read_text())
    assert record["status"] == "complete"


@slow
@needs_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_end_a_transfer_in_the_same_way(number: int, folder: Path) -> None:
    process = start(folder, "pause=0.3", *TRANSFER)
    assert process.stderr is not None
    assert "style.wav" in process.stderr.readline()
    assert process.stderr.readline()  # of the optimisation
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert "stopping; the best result so far will be written" in said
    assert {path.name for path in (folder / "out").iterdir()} == {"out.wav", "out.wav.json"}


@slow
def test_the_second_of_two_batches_in_a_folder_stops(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    runs = [start(folder, "pause=0.05", *BATCH) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in runs]
    assert sorted(process.returncode for process in runs) == [0, 4]
    assert sum("another process works in this folder" in text for text in said) == 1
    resumes(folder, undisturbed)


@slow
def test_two_transfers_to_one_output_at_once(folder: Path, undisturbed: dict[str, bytes]) -> None:
    runs = [start(folder, "pause=0.05", *TRANSFER, "--force", "--quiet") for _ in range(2)]
    assert [process.wait(timeout=120) for process in runs] == [0, 0]
    assert sounds(folder / "out") == {"out.wav": undisturbed["out.wav"]}
    assert not list((folder / "out").glob(".audiostyle-*"))


def test_a_clock_that_is_set_back_changes_nothing(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of runs is that of the journal: later outputs of a shard do not count for all."""
    now = [2e9]
    monkeypatch.setattr(journal.time, "time", lambda: now[0])
    assert run("--strength=0.5") == 0
    first = sounds(Path("out"))
    now[0] = 1e9
    assert run("--strength=1", "--shard=1/2", "--force") == 0
    assert sounds(Path("out")) != first
    now[0] = 5e8
    assert run("--strength=0.5") == 1
    assert run("--strength=0.5", "--force") == 0
    assert sounds(Path("out")) == first
    before = len(computed())
    now[0] = 0.0
    assert run("--strength=0.5") == 0
    assert len(computed()) == before
    times = [line["time"] for line in journal_lines(Path("out"))]
    assert times == sorted(times)


def test_a_clock_that_runs_backwards_all_the_time(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(10**9, 0, -10_000))
    monkeypatch.setattr(journal.time, "time", lambda: float(next(now)))
    assert run("--limit=4") == 0
    assert run() == 0
    assert len(computed()) == len(set(computed())) == 9
    assert {row["status"] for row in rows().values()} == {"done"}


@pytest.mark.parametrize("cut_everywhere", [False, pytest.param(True, marks=slow)])
def test_a_batch_resumes_from_a_journal_that_is_cut_at_any_byte(
    cut_everywhere: bool, gtzan_folder: Path, tmp_path: Path
) -> None:
    assert run("--limit=2") == 0
    whole = sounds(Path("out"))
    data = Path("out/journal.jsonl").read_bytes()
    shutil.copytree("out", "kept")
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    near = {min(max(end + off, 0), len(data)) for end in [0, *ends] for off in (-1, 0, 1, 5)}
    rng = random.Random(0)
    cuts = range(len(data) + 1) if LONG else near | {rng.randrange(len(data)) for _ in range(40)}
    if not cut_everywhere:
        cuts = {0, ends[0], *rng.sample(range(len(data)), 2)}
    for cut in sorted(cuts):
        shutil.rmtree("out")
        shutil.copytree("kept", "out")
        Path("out/journal.jsonl").write_bytes(data[:cut])
        done = data[:cut].count(b'"event": "done"')
        lost = rng.random() < 0.5
        if lost:
            next(Path("out").glob("*.wav")).unlink()
        assert run("--limit=2", "--quiet") == 0, cut
        assert sounds(Path("out")) == whole, cut
        again = data[:cut].count(b"\n") and len(computed()) - done
        assert again <= 2 - done + lost + 1
        assert run("--limit=2", "--quiet") == 0, cut


def test_an_input_that_disappears_between_plan_and_run(gtzan_folder: Path, fake: Any) -> None:
    """Its pairs fail, and are made by the next run after it is restored."""
    clip = Path("genres/jazz/jazz.00002.wav")

    def remove(content: Any) -> None:
        if not Path("kept").exists():
            clip.rename("kept")

    fake.fail = remove
    assert run() == 1
    failed = [row for row in rows().values() if row["status"] == "failed"]
    assert [row["kind"] for row in failed] == ["changed"] * 3
    assert all("jazz.00002.wav" in row["reason"] for row in failed)
    assert len(sounds(Path("out"))) == 6
    Path("kept").rename(clip)
    fake.fail = None
    assert run() == 0
    assert len(computed()) == len(set(computed())) == 9


def test_an_input_that_disappears_while_it_is_used(gtzan_folder: Path, fake: Any) -> None:
    clip = Path("genres/jazz/jazz.00000.wav")
    fake.watch = staticmethod(lambda result: clip.unlink(missing_ok=True))
    assert run("--limit=1") == 3
    (row,) = rows().values()
    assert row["kind"] == "changed" and "jazz.00000.wav" in row["reason"]
    assert sounds(Path("out")) == {}
    assert not list(Path("out").glob(".audiostyle-*"))


def test_an_output_folder_that_is_removed_during_a_batch(gtzan_folder: Path, fake: Any) -> None:
    if os.name == "nt":
        pytest.skip("Windows does not remove what is open")
    fake.watch = staticmethod(lambda result: shutil.rmtree("out", ignore_errors=True))
    assert run() == 4
    fake.watch = None
    assert run() == 0
    assert len(sounds(Path("out"))) == 9


@needs_proc
@pytest.mark.parametrize(
    ("command", "code"), [(TRANSFER, 1), pytest.param(BATCH[:-1], 4, marks=slow)]
)
def test_a_memory_limit_that_tensorflow_does_not_survive_is_reported_before(
    command: tuple[str, ...], code: int, folder: Path
) -> None:
    import resource

    done = subprocess.run(
        [sys.executable, "-m", "audiostyle", *command, "--quiet"],
        cwd=folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LITTLE, LITTLE)),
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == code
    assert line.startswith(
        "audiostyle: error: out of memory: this process may use 2.15 GB of addresses"
    )
    assert not sounds(folder / "out") and not list((folder / "out").glob(".audiostyle-*"))
