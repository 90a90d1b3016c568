"""The same batch on a Ray cluster: same bytes, and nothing lost, whoever dies.

One cluster serves most tests; those that kill or stop a driver with a cluster of its own start one.
"""

from __future__ import annotations

import functools
import json
import os
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
from audiostyle.batch.ray import actor, connection, pool
from audiostyle.batch.ray.cluster import Cluster
from audiostyle.batch.ray.engine import RayEngine
from audiostyle.errors import EngineError, Interrupted
from audiostyle.nn.device import count_cores
from tests.conftest import TINY_OPTIONS
from tests.support.fakes import SIDES, journal_lines, make_gtzan, rows, run, sounds
from tests.support.ray_fakes import Witness, make_fake, records, witnessed

ON_RAY = ("--engine=ray", "--workers=2", "--cpus-per-worker=1")
TWO = Cluster(workers=2, cpus_per_worker=1)
WORKER = Path(__file__).parents[1] / "support" / "ray_batch_worker.py"
ROOT = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
PATIENCE = 60.0  # seconds to wait at most for what takes one or two

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Ray on Windows is not supported here")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Run a cluster whose workers can import the tests, and say its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PYTHONPATH)
        with connection.connected(TWO, 1, False) as ray:
            yield ray.get_runtime_context().gcs_address


@pytest.fixture
def on_ray(cluster: str, gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a batch on the cluster, with workers that take no time."""

    def call(*options: str, pause: float = 0.0, out: str = "out") -> int:
        make = functools.partial(make_fake, pause)
        monkeypatch.setattr(RayEngine, "make_worker", staticmethod(make))
        return run(*ON_RAY, *options, out=out)

    return call


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} took more than {PATIENCE} s"
        time.sleep(0.01)


def events(out: Path | str = "out") -> list[tuple[str, str]]:
    return [(e["event"], e["pair"]) for e in journal_lines(Path(out)) if "fingerprint" in e]


def of_kind(kind: str, out: Path | str = "out") -> list[str]:
    return [pair for event, pair in events(out) if event == kind]


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
    monkeypatch.setattr(RayEngine, "make_worker", staticmethod(Witness))
    assert run(*ON_RAY, *options, *where, out="two") == 0
    assert one.wait() == 0
    assert sounds(Path("two")) == sounds(Path("one"))
    assert len(sounds(Path("one"))) == 3
    assert records("two") == records("one")
    threads = 2 if "--threads=2" in how else 1
    told = ("--deterministic" in how, [threads, threads], [min(threads, count_cores())])
    assert witnessed(Path()) == [told] * (1 if "--workers=1" in where else 2)


def test_a_batch_on_two_workers_is_as_one_here(on_ray: Callable[..., int]) -> None:
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
    assert len(journal_lines(Path("out"))) == lines, "one engine does again what the other did"


def test_a_worker_that_is_killed_costs_nothing(
    on_ray: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(out="one") == 0
    Path("genres/jazz/jazz.00001.kill-once").touch()
    assert on_ray() == 0
    (lost,) = of_kind("lost")
    assert lost.startswith("jazz.00001__")
    assert f"{lost}: is tried again: the worker died" in capsys.readouterr().err
    assert sounds(Path("out")) == sounds(Path("one"))
    assert Counter(of_kind("done")) == dict.fromkeys(sounds(Path("one")), 1)
    assert not list(Path("out").rglob("*.part"))


def test_a_pair_that_kills_is_marked_and_costs_no_other(on_ray: Callable[..., int]) -> None:
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


def test_a_full_disk_stops_the_batch(
    on_ray: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/jazz/jazz.00000.disk-full").touch()
    assert on_ray() == 4
    assert "No space left on device" in capsys.readouterr().err
    assert of_kind("interrupted") and not of_kind("failed")
    Path("genres/jazz/jazz.00000.disk-full").unlink()
    assert on_ray() == 0
    assert len(sounds(Path("out"))) == 9
    assert Counter(of_kind("done")) == dict.fromkeys(sounds(Path("out")), 1)


def test_what_workers_cannot_see_is_sent(
    on_ray: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the driver's is seen if it is said to be of another size."""
    from audiostyle.batch.ray import engine

    inputs = engine._inputs
    monkeypatch.setattr(engine, "_inputs", lambda jobs: [(path, -1) for path, _ in inputs(jobs)])
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


def test_a_changed_input_is_found_wherever_it_is_read(
    on_ray: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(event: Any) -> None:
        if isinstance(event, Note):  # all inputs were looked at, and no pair was begun
            Path("genres/jazz/jazz.00001.wav").replace("genres/jazz/jazz.00002.wav")

    make = functools.partial(make_fake, 0.0)
    monkeypatch.setattr(RayEngine, "make_worker", staticmethod(make))
    result = batch_run.run_batch(*SIDES, "out", callback=change, engine=TWO)
    found = {row["pair"][:10]: row["kind"] for row in result.rows}
    assert found == {"jazz.00000": "", "jazz.00001": "changed", "jazz.00002": "changed"}
    assert result.count("done") == 3


def test_other_versions_are_refused_before_any_pair(
    on_ray: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = actor.look()
    for name in ("Python", "audiostyle", "tensorflow"):
        monkeypatch.setattr(pool, "look", lambda name=name: {**theirs, name: "0.0.7"})
        assert on_ray() == 4
        err = capsys.readouterr().err
        assert f"has {name} {theirs[name]}, the driver has {name} 0.0.7" in err
        assert f"machine {os.uname().nodename}" in err
    assert not events()


def test_a_worker_that_does_not_share_the_folder_is_refused(
    on_ray: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from audiostyle.batch.ray import engine

    real = engine.Order
    monkeypatch.setattr(
        engine,
        "Order",
        lambda request, config, make, folder, token, *rest: real(
            request, config, make, folder, "/nowhere/token", *rest
        ),
    )
    assert on_ray() == 4
    assert "does not see /nowhere; mount that folder there, or use --return-audio" in (
        capsys.readouterr().err
    )


def test_events_for_programs(
    on_ray: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/jazz/jazz.00001.kill-once").touch()
    assert on_ray("--json", "--quiet") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counts = Counter(event["event"] for event in found)
    assert counts == {"plan": 1, "note": 1, "started": 10, "lost": 1, "done": 9, "end": 1}
    assert found[-1]["exit_code"] == 0


def test_a_first_signal_lets_workers_end_cleanly(
    on_ray: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `BatchInterrupt` does it: `Waiting` is where an engine can be stopped."""
    seen: list[Any] = []

    def callback(event: Any) -> None:
        seen.append(event)
        if isinstance(event, Waiting) and sum(isinstance(e, Done) for e in seen) >= 2:
            raise Interrupted(130)

    make = functools.partial(make_fake, 0.05)
    monkeypatch.setattr(RayEngine, "make_worker", staticmethod(make))
    with pytest.raises(Interrupted):
        batch_run.run_batch(*SIDES, "out", callback=callback, engine=TWO)
    begun, ended = of_kind("started"), of_kind("done") + of_kind("interrupted")
    assert sorted(begun) == sorted(ended)
    assert 2 <= len(of_kind("done")) < 9
    assert not list(Path("out").rglob("*.part")), "a worker was not allowed to tidy up"
    assert on_ray() == 0
    assert Counter(of_kind("done")) == dict.fromkeys(sounds(Path("out")), 1)
    assert not [event for event in seen if isinstance(event, Lost)]


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = connection.import_ray()

    def refuse(**_: Any) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n  Ray: 1.0 Python: 3.6"
        )

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(EngineError, match=r"Ray cluster auto: Version mismatch: .* Python: 3\.6"):
        with connection.connected(Cluster(address="auto"), 0, False):
            pass
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("nobody")))
    with pytest.raises(EngineError, match=r"nobody.*ray start --head"):
        with connection.connected(Cluster(address="10.0.0.1:6379"), 0, False):
            pass


class Driver:
    """A batch in a process that can be killed; whatever it started can be found."""

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
        """Wait until so many pairs are done, and the next is being made."""
        journal = self.out / "journal.jsonl"

        def enough() -> bool:
            assert self.process.poll() is None, self.process.communicate()[1]
            return journal.exists() and journal.read_bytes().count(b'"event": "done"') >= n

        wait_until(enough, f"{n} pairs")

    def end(self, but: str = "nothing") -> tuple[int, str]:
        """Wait for its end, and that of all it started, but for some."""
        err = self.process.communicate(timeout=PATIENCE)[1]
        deadline = time.monotonic() + PATIENCE
        while found := [line for line in self.orphans() if but not in line]:
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


@needs_proc
def test_a_driver_that_is_killed_again_and_again_loses_nothing(
    cluster: str, gtzan_folder: Path
) -> None:
    """Nor is a pair blamed for it: three deaths of the driver are none of a worker."""
    assert run(out="one") == 0
    address = f"--ray-address={cluster}"
    for kill in range(3):
        driver = Driver(gtzan_folder, 0.1, address, *ON_RAY[1:])
        driver.wait_for_done(kill + 1)
        driver.process.kill()
        driver.end()
    begun = Counter(of_kind("started")) - Counter(of_kind("done"))
    assert sum(begun.values()) >= 3
    assert not of_kind("failed")
    driver = Driver(gtzan_folder, 0.0, address, *ON_RAY[1:])
    code, err = driver.end()
    assert code == 0, err
    assert sounds(Path("out")) == sounds(Path("one"))
    assert Counter(of_kind("done")) == dict.fromkeys(sounds(Path("one")), 1)
    assert {path.name for path in Path("out").iterdir()} == {p.name for p in Path("one").iterdir()}


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_orphans_of_a_cluster_of_its_own(number: signal.Signals, gtzan_folder: Path) -> None:
    """Ctrl-C goes to all processes of a terminal, the other signals to the driver alone."""
    assert run(out="one") == 0
    driver = Driver(gtzan_folder, 0.1, *ON_RAY[1:])
    driver.wait_for_done(2)
    assert [line for line in driver.orphans() if "raylet" in line], "no cluster was found"
    if number == signal.SIGINT:
        os.killpg(driver.process.pid, number)
    else:
        driver.process.send_signal(number)
    # Nobody is left to tell two helpers of Ray's, which try to report to it for a minute.
    code, err = driver.end("Agent " if number == signal.SIGKILL else "nothing")
    assert not of_kind("lost") and not of_kind("failed")
    if number == signal.SIGKILL:
        assert code == -number
        return
    assert code == 128 + number, err
    assert "stopping; what is done stays done" in err
    assert sorted(of_kind("started")) == sorted(of_kind("done") + of_kind("interrupted"))
    assert not list(Path("out").rglob("*.part"))
    assert 2 <= len(of_kind("done")) < 9
