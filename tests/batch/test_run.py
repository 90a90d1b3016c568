"""Batch run: what is recorded and reported for the events of an engine."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import audiostyle
from audiostyle.batch import engine as batch_engine
from audiostyle.batch import journal
from audiostyle.batch import run as batch_run
from audiostyle.batch.engine import Abandoned, Done, Evaluated, Failed, Lost, Started
from audiostyle.batch.plan import BatchPlan, Job
from audiostyle.batch.ray import cluster
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError, DiskError, Interrupted
from tests.support.fakes import SIDES, journal_lines, rows

Script = Callable[[Job], Sequence[Any]]
JAZZ = "genres/jazz/jazz.00001.wav"


class Scripted:
    """An engine that yields the events of a script for each job, and computes nothing."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.jobs: list[Job] = []

    def run(self, jobs: Sequence[Job], report: Any) -> Iterator[Any]:
        for job in jobs:
            self.jobs.append(job)
            yield from self.script(job)


def done(job: Job) -> list[Any]:
    return [Started(job), Done(job, {"steps": 7}, 1.23456, 99)]


def abandoned(job: Job) -> list[Any]:
    return [Started(job), Abandoned(job)]


def raise_not_found(path: Path) -> None:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def run_script(script: Script, **options: Any) -> tuple[batch_run.BatchResult, list[Any]]:
    """Run a batch; return its result and the events that its callback received."""
    events: list[Any] = []
    result = batch_run.run_batch(
        *SIDES, "out", callback=events.append, engine=Scripted(script), **options
    )
    return result, events


def pair_states() -> dict[str, journal.PairState]:
    return journal.read(Path("out")).pairs


@pytest.mark.parametrize(
    ("script", "status", "starts"),
    [
        (lambda job: [Started(job)], "started", 1),
        (lambda job: [Started(job, watched=True)], "started", 0),
        (lambda job: [Started(job, watched=True), Lost(job, "its machine is gone")], "lost", 1),
        (abandoned, "interrupted", 0),
        (lambda job: [Started(job), Failed(job, "odd", "who knows", 0.5)], "failed", 0),
        (done, "done", 0),
    ],
)
def test_every_event_is_recorded_and_reported(
    script: Script, status: str, starts: int, gtzan_folder: Path
) -> None:
    result, events = run_script(script, limit=1)
    (state,) = pair_states().values()
    assert (state.status, state.starts) == (status, starts)
    lost = [line["reason"] for line in journal_lines(Path("out")) if line["event"] == "lost"]
    assert lost == (["its machine is gone"] if status == "lost" else [])
    # The callback receives the same events in the same order: the plan first, the result last.
    assert isinstance(events[0], BatchPlan) and events[-1] is result
    assert events[1:-1] == script(events[0].jobs[0])
    assert state.fingerprint == events[0].jobs[0].fingerprint
    ends = {"done": "done", "failed": "failed"}
    assert result.count(ends.get(status, "pending")) == 1
    assert result.computed == (status == "done")
    assert [row["status"] for row in rows().values()] == [ends.get(status, "pending")]
    assert result.exit_code == (0 if status == "done" else 3)


def test_facts_of_finished_and_failed_pairs_are_recorded(
    gtzan_folder: Path,
) -> None:
    """Estimates of later runs depend on these facts."""

    def script(job: Job) -> list[Any]:
        if JAZZ in map(str, job.pair.inputs):
            return [Started(job), Failed(job, "odd", "who knows", 2.34567)]
        return done(job)

    _, events = run_script(script, limit=3)
    facts = {state.status: state.facts for state in pair_states().values()}
    assert facts["failed"] == {"kind": "odd", "reason": "who knows", "seconds": 2.346}
    kept = facts["done"]
    settings = kept.pop("settings")
    assert len(kept.pop("inputs")) == 12
    length = events[0].jobs[0].seconds
    assert kept == {"size": 99, "seconds": 1.235, "content_seconds": length, "steps": 7}
    assert length == pytest.approx(0.6)
    again = batch_run.run_batch(*SIDES, "again", engine=Scripted(done), limit=1)
    other = batch_run.run_batch(*SIDES, "other", engine=Scripted(done), limit=1, device="cpu")
    assert again.computed == other.computed == 1
    of = {out: next(iter(journal.read(Path(out)).pairs.values())) for out in ("again", "other")}
    assert of["again"].facts["settings"] == settings != of["other"].facts["settings"]


def test_scores_and_failed_evaluations_are_recorded(
    gtzan_folder: Path,
) -> None:
    def script(job: Job) -> list[Any]:
        if JAZZ in map(str, job.pair.inputs):
            return [*done(job), Evaluated(job, None, "no scores")]
        return [*done(job), Evaluated(job, {"style": 0.5})]

    result, _ = run_script(script, limit=3)
    scores = {name: state.scores for name, state in pair_states().items()}
    unevaluated = [name for name, found in scores.items() if found is None]
    assert len(scores) == 3 and len(unevaluated) == 1
    assert [found for found in scores.values() if found] == [{"style": 0.5}] * 2
    assert result.unevaluated == [f"{unevaluated[0]}: no scores"]
    assert (result.count("done"), result.exit_code) == (3, 1)
    lines = [line for line in journal_lines(Path("out")) if line["event"] == "scored"]
    assert sorted(line["reason"] for line in lines) == ["", "", "no scores"]


def test_the_journal_starts_with_run_and_plan(gtzan_folder: Path) -> None:
    config = TransferConfig(iterations=3, strength=0.5)
    events: list[Any] = []
    batch_run.run_batch(
        *SIDES, Path("out"), config, events.append, Scripted(done), limit=4, threads=2
    )
    state = journal.read(Path("out"))
    assert state.plans == {"": sorted(pair.id for pair in events[0].pairs)}
    assert state.run["version"] == audiostyle.__version__
    assert state.run["parameters"] == json.loads(json.dumps(config.to_dict()))
    asked = BatchRequest(**state.run["request"])
    asked.out_dir, asked.only = Path(asked.out_dir), tuple(asked.only)
    assert asked == BatchRequest(*SIDES, Path("out"), limit=4, threads=2)
    lines = [line["event"] for line in journal_lines(Path("out"))]
    assert lines[:3] == ["journal", "run", "plan"]
    assert lines.index("input") < lines.index("started")


def test_a_plan_is_recorded_if_it_changed_and_a_run_if_it_has_jobs(
    gtzan_folder: Path,
) -> None:
    def count() -> tuple[int, int]:
        lines = [line["event"] for line in journal_lines(Path("out"))]
        return lines.count("plan"), lines.count("run")

    run_script(abandoned, limit=2)
    assert count() == (1, 1)
    run_script(abandoned, limit=2)
    assert count() == (1, 2)
    run_script(abandoned, limit=3)
    assert count() == (2, 3)
    _, events = run_script(abandoned, shard="1/2")
    names = sorted(pair.id for pair in events[0].pairs)
    assert journal.read(Path("out")).plans == {"1/2": names} and 0 < len(names) < 9


def test_impossible_pairs_are_recorded_once_per_reason(gtzan_folder: Path) -> None:
    def failures() -> list[dict[str, Any]]:
        return [line for line in journal_lines(Path("out")) if line["event"] == "failed"]

    Path(JAZZ).write_bytes(b"")
    result, _ = run_script(done, style_genre="classical", pair="zip")
    assert result.count("failed") == 1 and result.exit_code == 1
    first = failures()
    assert [(line["kind"], line["seconds"]) for line in first] == [("unreadable", 0.0)]
    assert first[0]["pair"] in result.failures[("unreadable", first[0]["reason"])]
    run_script(done, style_genre="classical", pair="zip")
    assert failures() == first
    Path(JAZZ).write_bytes(b"no sound")
    run_script(done, style_genre="classical", pair="zip")
    assert len(failures()) == 2 and failures()[1]["fingerprint"] != first[0]["fingerprint"]


def test_an_error_of_the_engine_is_raised_after_results_are_written(
    gtzan_folder: Path,
) -> None:
    def script(job: Job) -> Iterator[Any]:
        yield from done(job)
        raise Interrupted(143)

    events: list[Any] = []
    with pytest.raises(Interrupted):
        batch_run.run_batch(*SIDES, "out", callback=events.append, engine=Scripted(script))
    assert isinstance(events[-1], batch_run.BatchResult)
    assert (events[-1].computed, events[-1].count("done"), events[-1].count("pending")) == (1, 1, 8)
    assert [row["status"] for row in rows().values()].count("done") == 1


def test_a_callback_that_raises_at_a_start_prevents_it(gtzan_folder: Path) -> None:
    def callback(event: Any) -> None:
        if isinstance(event, Started):
            raise Interrupted(130)

    with pytest.raises(Interrupted):
        batch_run.run_batch(*SIDES, "out", callback=callback, engine=Scripted(done))
    assert pair_states() == {}


def test_run_batch_takes_every_field_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "run_batch_request", lambda request, *_: request)
    given = {field.name: field.name for field in dataclasses.fields(BatchRequest)}
    given["out_dir"] = Path("out_dir")
    run_batch: Any = batch_run.run_batch
    assert run_batch(**given) == BatchRequest(**given)
    assert run_batch(*SIDES, "out") == BatchRequest(*SIDES, Path("out"))


@pytest.mark.parametrize("out", ["new", "new/and/deep", "."])
def test_the_output_folder_is_created(out: str, gtzan_folder: Path) -> None:
    result = batch_run.run_batch(*SIDES, out, engine=Scripted(done), limit=1)
    assert result.out_dir == Path(out)
    assert Path(out, "results.csv").exists()


def test_partial_files_of_killed_runs_are_removed(gtzan_folder: Path) -> None:
    left = [Path("out/.audiostyle-1.part"), Path("out/jazz/.audiostyle-2.part")]
    kept = [Path("out/mine.part"), Path("out/jazz/.audiostyle-notes.txt")]
    Path("out/jazz").mkdir(parents=True)
    for path in (*left, *kept):
        path.write_text("x")
    during = Path("out/.audiostyle-3.part")

    def script(job: Job) -> list[Any]:
        assert not any(path.exists() for path in left)
        during.write_text("of a worker that was killed")
        return done(job)

    run_script(script, limit=1)
    assert not during.exists()
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize(
    ("spare", "message"), [(4 * 2**20, None), (4 * 2**20 - 1, "disk is full"), (None, "^out: ")]
)
def test_a_pair_is_started_if_it_leaves_4_mib_on_the_disk(
    spare: int | None, message: str | None, gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=10**9)
    monkeypatch.setattr(batch_run.shutil, "disk_usage", lambda path: usage)

    def script(job: Job) -> Iterator[Any]:
        if spare is None:  # it is not there any more, or may not be entered
            monkeypatch.setattr(batch_run.shutil, "disk_usage", raise_not_found)
        else:
            usage.free = job.n_bytes + spare
        yield from abandoned(job)

    if message is None:
        run_script(script, limit=1)
    else:
        with pytest.raises(DiskError, match=message):
            run_script(script, limit=1)
    lines = [line["event"] for line in journal_lines(Path("out"))]
    assert lines.count("started") == (message is None)


def test_a_folder_that_cannot_be_created_is_named_with_the_reason(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", forbid)
    with pytest.raises(DiskError, match=r"^out: cannot be written \(Permission denied\)$"):
        run_script(done)


def test_results_that_cannot_be_written_are_a_disk_error(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise batch_run.OutputError("out/results.csv: cannot be written")

    monkeypatch.setattr(batch_run.results, "write_results", refuse)
    events: list[Any] = []
    with pytest.raises(DiskError, match=r"results\.csv"):
        batch_run.run_batch(*SIDES, "out", callback=events.append, engine=Scripted(done), limit=1)
    assert events[-1].exit_code == 0


def test_invalid_requests_are_refused_before_files_are_read(gtzan_folder: Path) -> None:
    for wrong in ({"shard": "3/2"}, {"start": -1.0}, {"threads": -1}, {"by": "folder"}):
        with pytest.raises(ConfigError):
            batch_run.run_batch("none", "none", "out", engine=Scripted(done), **wrong)
    assert not Path("out").exists()


def test_a_cluster_is_checked_and_runs_on_ray(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    class Fake(Scripted):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(done)
            given.extend(arguments)

    monkeypatch.setattr("audiostyle.batch.ray.engine.RayEngine", Fake)
    two, config = cluster.Cluster(workers=2), TransferConfig(iterations=3)
    result = batch_run.run_batch(*SIDES, "out", config, engine=two, limit=2)
    assert result.computed == 2
    assert given == [BatchRequest(*SIDES, Path("out"), limit=2), two]
    with pytest.raises(ConfigError, match="workers=0"):
        batch_run.run_batch(*SIDES, "other", config, engine=cluster.Cluster(workers=0))

    def refuse(asked: Any) -> None:
        raise ConfigError("what is asked for is in a file")

    monkeypatch.setattr(batch_run, "check_portable", refuse)
    with pytest.raises(ConfigError, match="is in a file"):
        batch_run.run_batch(*SIDES, "other", config, engine=two)
    assert not Path("other").exists()


def test_failures_are_listed_one_line_per_reason() -> None:
    table = [
        {"pair": "c", "kind": "unreadable", "reason": "is empty"},
        {"pair": "a", "kind": "odd", "reason": "who knows"},
        {"pair": "d", "kind": "unreadable", "reason": "is empty"},
        {"pair": "b", "kind": "silent", "reason": "says nothing"},
        {"pair": "e", "kind": "silent", "reason": "says nothing"},
        {"pair": "f", "kind": "silent", "reason": "says nothing"},
    ]
    rows: Any = SimpleNamespace(failed=lambda: table)
    assert batch_run.failed_lines(batch_run.BatchResult(Path("out"), rows, 0, [])) == [
        "odd: who knows (a)",
        "silent: says nothing (3 pairs, such as b)",
        "unreadable: is empty (2 pairs, such as c)",
    ]


@pytest.mark.parametrize(
    ("n_done", "n_pairs", "unevaluated", "code"),
    [
        (2, 2, [], 0),
        (0, 0, [], 0),
        (2, 2, ["x: no scores"], 1),
        (1, 2, [], 1),
        (1, 2, ["x: no scores"], 1),
        (0, 2, [], 3),
    ],
)
def test_exit_codes(n_done: int, n_pairs: int, unevaluated: list[str], code: int) -> None:
    class Table(list[Any]):
        def count_status(self) -> dict[str, int]:
            return {"done": n_done}

    rows: Any = Table([{}] * n_pairs)
    assert batch_run.BatchResult(Path("out"), rows, 0, unevaluated).exit_code == code


class Recorder:
    """An engine that computes nothing, and keeps its jobs."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def run(self, jobs: Any, report: Any) -> Iterator[Any]:
        for job in jobs:
            self.jobs.append(job)
            yield batch_engine.Started(job)
            lines = journal_lines(Path("out"))
            assert (lines[-1]["event"], lines[-1]["pair"]) == ("started", job.pair.id)
            yield batch_engine.Failed(job, "internal", "it is a test", 0.0)


def test_a_start_is_in_the_journal_before_the_engine_continues(gtzan_folder: Path) -> None:
    engine = Recorder()
    result = audiostyle.run_batch(*SIDES, "out", engine=engine, limit=4)
    assert (result.exit_code, result.count("failed"), result.computed) == (3, 4, 0)
    assert [job.pair.id for job in engine.jobs] == sorted(
        (job.pair.id for job in engine.jobs), key=lambda name: name.split("__")[::-1]
    )
    assert result.failures == {
        ("internal", "it is a test"): sorted(job.pair.id for job in engine.jobs)
    }
