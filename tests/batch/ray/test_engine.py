"""Batches on a Ray cluster give the bytes of one process and lose no pair, whichever process dies.

Most tests run twice: on a Ray in this process, and (slow) on a real cluster that they share.
Some that kill or stop a driver let it start its own cluster.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs Ray: pip install 'audiostyle[ray]'")

from audiostyle.batch import run as batch_run
from audiostyle.batch.engine import Done, Lost, Note, Waiting
from audiostyle.batch.ray import actor, engine
from audiostyle.batch.ray.cluster import Cluster
from audiostyle.batch.ray.connection import connected
from audiostyle.batch.ray.engine import RayEngine
from audiostyle.errors import Interrupted
from audiostyle.nn.device import count_cores
from tests.conftest import TINY_OPTIONS
from tests.support import ray_fakes
from tests.support.fakes import SIDES, journal_lines, make_gtzan, rows, run, sounds
from tests.support.ray_fakes import (
    FakeRay,
    RecordingWorker,
    WorkerDied,
    make_dying,
    make_fake,
    make_faulty,
    make_impossible,
    records,
    settings_of_workers,
)

ON_RAY = ("--engine=ray", "--workers=2", "--cpus-per-worker=1")
TWO = Cluster(workers=2, cpus_per_worker=1)
WORKER = Path(__file__).parents[2] / "support" / "ray_batch_worker.py"
ROOT = Path(__file__).parents[3]
PYTHONPATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
PATIENCE = 60.0  # seconds to wait at most for what takes one or two

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Ray on Windows is not supported here")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Run a cluster whose workers can import the tests, and return its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PYTHONPATH)
        with connected(TWO, 1, False) as ray:
            yield ray.get_runtime_context().gcs_address


class Batch:
    """Runs batches on two workers whose transfers take no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, make_worker: Any) -> None:
        self._monkeypatch = monkeypatch
        self._make_worker = make_worker

    def set_pause(self, pause: float) -> None:
        """Let a transfer take three times `pause` seconds."""
        self.set_worker(functools.partial(self._make_worker, pause))

    def set_worker(self, make_worker: Any) -> None:
        self._monkeypatch.setattr(RayEngine, "make_worker", staticmethod(make_worker))

    def __call__(self, *options: str, out: str = "out") -> int:
        return run(*ON_RAY, *options, out=out)


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """Put a `FakeRay` in the place of the module."""
    fake = FakeRay()

    def die() -> None:
        raise WorkerDied

    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(ray_fakes, "die", die)
    return fake


@pytest.fixture
def fake_batch(fake_ray: FakeRay, gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    batch = Batch(monkeypatch, make_faulty)
    batch.set_pause(0.0)
    return batch


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.slow)])
def on_ray(
    request: pytest.FixtureRequest, gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Batch:
    if request.param == "fake":
        batch: Batch = request.getfixturevalue("fake_batch")
        return batch
    request.getfixturevalue("cluster")
    batch = Batch(monkeypatch, make_fake)
    batch.set_pause(0.0)
    return batch


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} took more than {PATIENCE} s"
        time.sleep(0.01)


def events(out: Path | str = "out") -> list[tuple[str, str]]:
    return [(e["event"], e["pair"]) for e in journal_lines(Path(out)) if "fingerprint" in e]


def of_kind(kind: str, out: Path | str = "out") -> list[str]:
    return [pair for event, pair in events(out) if event == kind]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "where"),
    [
        (("--threads=1",), ()),
        (("--threads=1",), ("--return-audio",)),
        # One thread, though the worker may have more.
        (("--deterministic",), ("--workers=1", "--cpus-per-worker=2")),
        (("--deterministic", "--threads=2"), ("--workers=1", "--cpus-per-worker=1")),
    ],
    ids=["shared", "sent", "deterministic", "two threads"],
)
def test_real_transfers_give_the_bytes_of_one_process(
    how: tuple[str, ...],
    where: tuple[str, ...],
    cluster: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_gtzan(tmp_path, 2, broken=False)
    monkeypatch.chdir(tmp_path)
    options = [*TINY_OPTIONS, *how, "--device=cpu", "--quiet", "--limit=3"]
    command = [sys.executable, "-m", "audiostyle", "batch", *SIDES, "-o", "one", *options]
    one = subprocess.Popen(command)
    monkeypatch.setattr(RayEngine, "make_worker", staticmethod(RecordingWorker))
    assert run(*ON_RAY, *options, *where, out="two") == 0
    assert one.wait() == 0
    assert sounds(Path("two")) == sounds(Path("one"))
    assert len(sounds(Path("one"))) == 3
    assert records("two") == records("one")
    threads = 2 if "--threads=2" in how else 1
    expected = ("--deterministic" in how, [threads, threads], [min(threads, count_cores())])
    assert settings_of_workers(Path()) == [expected] * (1 if "--workers=1" in where else 2)


def test_a_real_cluster_of_two_workers_gives_the_results_of_one_process(
    cluster: str, gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--limit=4", out="one") == 0
    Path("genres/jazz/jazz.00001.kill-once").touch()
    batch = Batch(monkeypatch, make_fake)
    batch.set_pause(0.0)
    assert batch("--limit=4") == 0
    assert sounds(Path("out")) == sounds(Path("one"))
    assert records("out") == records("one")
    assert not Path("genres/jazz/jazz.00001.kill-once").exists() and of_kind("lost")


def test_two_workers_give_the_results_of_one_process(on_ray: Batch) -> None:
    assert run(out="one") == 0
    assert on_ray() == 0
    assert sounds(Path("out")) == sounds(Path("one"))
    assert records("out") == records("one")
    assert Counter(event for event, _ in events()) == {"started": 9, "done": 9}
    assert {name: row["sha256"] for name, row in rows().items()} == {
        name: row["sha256"] for name, row in rows("one").items()
    }
    lines = len(journal_lines(Path("out")))
    assert on_ray() == run() == 0
    assert len(journal_lines(Path("out"))) == lines, "an engine repeats what another one did"


@pytest.mark.parametrize("where", [(), ("--return-audio",)])
def test_a_sweep_gives_the_results_of_one_process(where: tuple[str, ...], on_ray: Batch) -> None:
    vary = ("--vary=strength=.4,.7,1", "--vary=preset=fast,balanced", "--pair=random:1")
    assert run(*vary, out="one") == 0
    assert on_ray(*vary, *where) == 0
    assert len(sounds(Path("out"))) == 18
    assert sounds(Path("out")) == sounds(Path("one"))
    assert records("out") == records("one")


def test_a_killed_worker_costs_no_pair(on_ray: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(out="one") == 0
    Path("genres/jazz/jazz.00001.kill-once").touch()
    assert on_ray() == 0
    assert not Path("genres/jazz/jazz.00001.kill-once").exists()
    # A result on its way is lost with its worker, so it may be that of the pair before.
    (lost,) = of_kind("lost")
    assert f"{lost}: is tried again: the worker died" in capsys.readouterr().err
    assert sounds(Path("out")) == sounds(Path("one"))
    assert Counter(of_kind("done")) == dict.fromkeys(sounds(Path("one")), 1)
    assert not list(Path("out").rglob("*.part"))


def test_a_pair_that_kills_its_workers_fails_alone(on_ray: Batch) -> None:
    Path("genres/jazz/jazz.00001.kill-always").touch()
    assert on_ray("--pair=zip") == 1
    table = rows()
    (bad,) = (name for name, row in table.items() if row["status"] == "failed")
    assert bad.startswith("jazz.00001__") and table[bad]["kind"] == "crashed"
    assert "--retry-failed" in table[bad]["reason"]
    assert sorted(of_kind("done")) == sorted(set(table) - {bad})
    assert [event for event, pair in events() if pair == bad] == [
        *("started", "lost"),
        *("started", "failed"),
    ]
    assert on_ray("--pair=zip") == 1
    assert of_kind("started").count(bad) == 2, "it was tried again"
    Path("genres/jazz/jazz.00001.kill-always").unlink()
    assert on_ray("--pair=zip", "--retry-failed") == 0


@pytest.mark.parametrize("options", [(), ("--return-audio",)])
def test_a_full_disk_stops_the_batch(
    on_ray: Batch, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/jazz/jazz.00000.disk-full").touch()
    assert on_ray(*options) == 4
    err = capsys.readouterr().err
    assert re.search(r": out/jazz\.00000__.*: cannot be written \(No space left on device", err)
    assert of_kind("interrupted") and not of_kind("failed")
    Path("genres/jazz/jazz.00000.disk-full").unlink()
    assert on_ray() == 0
    assert len(sounds(Path("out"))) == 9
    assert Counter(of_kind("done")) == dict.fromkeys(sounds(Path("out")), 1)


def test_inputs_are_sent_and_outputs_returned(
    on_ray: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, by in enumerate(("--by=clip", "--by=genre")):
        one, two = f"one{number}", f"two{number}"
        assert run(by, out=one) == 0
        assert on_ray(by, "--return-audio", out=two) == 0
        assert sounds(Path(two)) == sounds(Path(one))
        assert len(sounds(Path(one))) == (9, 3)[number]
        assert records(two) == records(one)
    monkeypatch.setattr("audiostyle.evaluation.content_metrics.require_mir_eval", lambda: None)
    assert on_ray("--return-audio", "--evaluate", out="two0") == 0
    sizes = {name: float(len(data)) for name, data in sounds(Path("two0")).items()}
    assert {name: row["score_size"] for name, row in rows("two0").items()} == sizes
    assert len(of_kind("done", "two0")) == 9


def test_each_input_is_stored_once_and_read_only_as_a_copy(
    fake_batch: Batch, fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_batch.set_worker(make_reading)
    assert fake_batch("--return-audio") == 0
    assert sum(isinstance(value, bytes) for value in fake_ray.stored) == 6
    folders = {Path(line).parents[2] for line in Path("read.txt").read_text().splitlines()}
    assert len(folders) == 2, "each worker has one folder"
    assert all(folder.name.startswith("audiostyle-") for folder in folders)
    assert not any(folder.exists() for folder in folders)


class ReadingWorker(ray_fakes.FaultyWorker):
    """Writes down where its inputs lie."""

    def transfer(self, job: Any, callback: Any) -> dict[str, Any]:
        with Path("read.txt").open("a") as file:
            file.write("".join(f"{path}\n" for path in job.pair.inputs))
        return super().transfer(job, callback)


def make_reading(request: Any) -> ReadingWorker:
    request.threads = 0
    return ReadingWorker(request)


def test_a_changed_input_is_found_by_the_worker(on_ray: Batch) -> None:
    def change(event: Any) -> None:
        if isinstance(event, Note):  # all inputs were probed, and no pair was begun
            Path("genres/jazz/jazz.00001.wav").replace("genres/jazz/jazz.00002.wav")

    result = batch_run.run_batch(*SIDES, "out", callback=change, engine=TWO)
    found = {row["pair"][:10]: row["kind"] for row in result.rows}
    assert found == {"jazz.00000": "", "jazz.00001": "changed", "jazz.00002": "changed"}
    assert result.count("done") == 3


def test_an_input_that_cannot_be_sent_fails_its_pairs(fake_batch: Batch) -> None:
    def remove(event: Any) -> None:
        if isinstance(event, Note):
            Path("genres/jazz/jazz.00001.wav").unlink()

    sending = Cluster(workers=2, cpus_per_worker=1, return_audio=True)
    result = batch_run.run_batch(*SIDES, "out", callback=remove, engine=sending)
    failed = [row for row in result.rows if row["status"] == "failed"]
    assert {row["kind"] for row in failed} == {"unreadable"}
    assert len(failed) == 3 and "jazz.00001.wav: cannot be read (No such" in failed[0]["reason"]
    assert result.count("done") == 6


def test_other_versions_are_refused_before_any_pair(
    on_ray: Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = actor.find_versions()
    for name in ("Python", "audiostyle", "tensorflow"):
        monkeypatch.setattr(engine, "find_versions", lambda name=name: {**theirs, name: "0.0.7"})
        assert on_ray() == 4
        err = capsys.readouterr().err
        assert f"has {name} {theirs[name]}, the driver has {name} 0.0.7" in err
        assert f"machine {os.uname().nodename}" in err
    assert not events()


def test_a_worker_that_does_not_share_the_folder_is_refused(
    on_ray: Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "part_file", lambda _: contextlib.nullcontext("/nowhere/token"))
    assert on_ray() == 4
    assert "does not see /nowhere; mount that folder there, or use --return-audio" in (
        capsys.readouterr().err
    )


def test_workers_that_die_at_the_start_end_the_batch(
    on_ray: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_ray.set_worker(make_dying)
    assert on_ray() == 4
    err = capsys.readouterr().err
    assert re.search(r"machine [\d.]+: 3 workers in a row died before they were ready \(", err)
    assert not events()


def test_a_worker_that_cannot_start_ends_the_batch(
    on_ray: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_ray.set_worker(make_impossible)
    assert on_ray() == 4
    err = capsys.readouterr().err
    assert re.search(r"machine [\d.]+: a worker cannot start \(.*no such thing", err)
    assert not events()


@pytest.mark.parametrize(
    ("make_worker", "code"),
    [(functools.partial(make_faulty, 0.0), 0), (make_dying, 4), (make_impossible, 4)],
)
def test_no_worker_is_left_at_the_end(
    fake_batch: Batch, fake_ray: FakeRay, make_worker: Any, code: int
) -> None:
    fake_batch.set_worker(make_worker)
    assert fake_batch() == code
    assert fake_ray.actors and not any(each.alive for each in fake_ray.actors)


def test_an_unexpected_exception_costs_one_pair(
    fake_batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = actor.WorkerActor.run

    def run_or_fail(self: Any, job: Any, sent: Any = None) -> Any:
        if job.pair.id.startswith("jazz.00001__classical.00000"):
            raise ValueError("no such thing")
        return original(self, job, sent)

    monkeypatch.setattr(actor.WorkerActor, "run", run_or_fail)
    assert fake_batch() == 1
    (failed,) = (row for row in rows().values() if row["status"] == "failed")
    assert failed["kind"] == "internal"
    assert failed["reason"].startswith(f"internal error on {os.uname().nodename}: ")
    assert failed["reason"].endswith("no such thing")


def test_a_worker_that_dies_while_it_evaluates_costs_no_output(
    fake_batch: Batch, fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fake_batch() == 0
    n_actors = len(fake_ray.actors)
    monkeypatch.setattr("audiostyle.evaluation.content_metrics.require_mir_eval", lambda: None)
    original = ray_fakes.FaultyWorker.evaluate

    def evaluate(self: Any, job: Any) -> dict[str, Any]:
        if job.pair.id.startswith("jazz.00001__classical.00000"):
            ray_fakes.die()
        return original(self, job)

    monkeypatch.setattr(ray_fakes.FaultyWorker, "evaluate", evaluate)
    assert fake_batch("--evaluate") == 1
    table = rows()
    assert {row["status"] for row in table.values()} == {"done"}
    assert sum("score_size" in row for row in table.values()) == 8
    assert not of_kind("lost") and len(of_kind("done")) == 9
    assert len(fake_ray.actors) == n_actors + 4, "two workers, and two in their places"


def test_a_note_says_that_no_worker_starts(
    fake_batch: Batch,
    fake_ray: FakeRay,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_ray.idle_waits = 3
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 0.0)
    assert fake_batch() == 0
    assert capsys.readouterr().err.count("still no room for a worker") == 1


def test_events_for_programs(on_ray: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("genres/jazz/jazz.00001.kill-once").touch()
    assert on_ray("--json", "--quiet") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counts = Counter(event["event"] for event in found)
    assert counts == {"plan": 1, "note": 1, "started": 10, "lost": 1, "done": 9, "end": 1}
    assert found[-1]["exit_code"] == 0


def test_a_first_signal_lets_workers_stop_cleanly(on_ray: Batch) -> None:
    """Raise `Interrupted` where `BatchInterrupt` does, at the event `Waiting`."""
    seen: list[Any] = []

    def callback(event: Any) -> None:
        seen.append(event)
        if isinstance(event, Waiting) and sum(isinstance(e, Done) for e in seen) >= 2:
            raise Interrupted(130)

    on_ray.set_pause(0.05)
    with pytest.raises(Interrupted):
        batch_run.run_batch(*SIDES, "out", callback=callback, engine=TWO)
    begun, ended = of_kind("started"), of_kind("done") + of_kind("interrupted")
    assert sorted(begun) == sorted(ended)
    assert 2 <= len(of_kind("done")) < 9
    assert not list(Path("out").rglob("*.part")), "a worker did not clean up"
    assert on_ray() == 0
    assert Counter(of_kind("done")) == dict.fromkeys(sounds(Path("out")), 1)
    assert not [event for event in seen if isinstance(event, Lost)]


class Driver:
    """A batch in a process of its own; the processes that it starts can be found."""

    def __init__(self, folder: Path, pause: float, *options: str) -> None:
        self.mark = uuid.uuid4().hex
        self.out = folder / "out"
        command = [sys.executable, str(WORKER), str(pause), "batch", *SIDES, "-o", "out"]
        self.process = subprocess.Popen(
            [*command, "--engine=ray", *options],
            cwd=folder,
            env={**os.environ, "AUDIOSTYLE_TEST_MARK": self.mark, "PYTHONPATH": PYTHONPATH},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_done(self, n: int) -> None:
        """Wait until `n` pairs are done, and the next is being computed."""
        journal = self.out / "journal.jsonl"

        def enough() -> bool:
            assert self.process.poll() is None, self.process.communicate()[1]
            return journal.exists() and journal.read_bytes().count(b'"event": "done"') >= n

        wait_until(enough, f"{n} pairs")

    def wait(self, ignore: str = "nothing") -> tuple[int, str]:
        """Wait until it and all that it started have ended, except commands with `ignore`."""
        err = self.process.communicate(timeout=PATIENCE)[1]
        deadline = time.monotonic() + PATIENCE
        while found := [line for line in self.orphans() if ignore not in line]:
            assert time.monotonic() < deadline, f"left over: {found}"
            time.sleep(0.05)
        return self.process.returncode, err

    def orphans(self) -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes():
                    found.append((path / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.mark.slow
@needs_proc
def test_a_driver_that_is_killed_repeatedly_loses_nothing(cluster: str, gtzan_folder: Path) -> None:
    """No pair fails for it: three deaths of the driver are none of a worker."""
    assert run(out="one") == 0
    address = f"--ray-address={cluster}"
    for kill in range(3):
        driver = Driver(gtzan_folder, 0.1, address, *ON_RAY[1:])
        driver.wait_for_done(kill + 1)
        driver.process.kill()
        driver.wait()
    begun = Counter(of_kind("started")) - Counter(of_kind("done"))
    assert sum(begun.values()) >= 3
    assert not of_kind("failed")
    driver = Driver(gtzan_folder, 0.0, address, *ON_RAY[1:])
    code, err = driver.wait()
    assert code == 0, err
    assert sounds(Path("out")) == sounds(Path("one"))
    assert Counter(of_kind("done")) == dict.fromkeys(sounds(Path("one")), 1)
    assert {path.name for path in Path("out").iterdir()} == {p.name for p in Path("one").iterdir()}


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_process_of_its_own_cluster(
    number: signal.Signals, gtzan_folder: Path
) -> None:
    """Ctrl-C goes to all processes of a terminal, the other signals to the driver alone."""
    assert run(out="one") == 0
    driver = Driver(gtzan_folder, 0.1, *ON_RAY[1:])
    driver.wait_for_done(2)
    assert [line for line in driver.orphans() if "raylet" in line], "no cluster was found"
    if number == signal.SIGINT:
        os.killpg(driver.process.pid, number)
    else:
        driver.process.send_signal(number)
    # Two helpers of Ray do not notice a SIGKILL, and try to report to the driver for a minute.
    code, err = driver.wait("Agent " if number == signal.SIGKILL else "nothing")
    assert not of_kind("lost") and not of_kind("failed")
    if number == signal.SIGKILL:
        assert code == -number
        return
    assert code == 128 + number, err
    assert "stopping; what is done stays done" in err
    assert sorted(of_kind("started")) == sorted(of_kind("done") + of_kind("interrupted"))
    assert not list(Path("out").rglob("*.part"))
    assert 2 <= len(of_kind("done")) < 9
