"""Order in which workers get jobs, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiostyle.batch.inputs import BatchInput
from audiostyle.batch.pairing import Pair
from audiostyle.batch.plan import Job
from audiostyle.batch.ray.job_queue import JobQueue


def job(content: int, style: int) -> Job:
    sources = [
        BatchInput(f"{side}{i}", "", f"{side}{i}", Path(f"{side}{i}"), (Path(f"{side}{i}"),))
        for side, i in (("c", content), ("s", style))
    ]
    pair = Pair(f"c{content}__s{style}.wav", *sources)
    return Job(pair, Path(pair.id), "f", {}, True, False, 1.0, 1)


def style_of(given: Job | None) -> Any:
    assert given is not None
    return given.pair.style.name


def test_a_style_stays_with_a_worker_while_there_are_other_styles() -> None:
    queue = JobQueue([job(content, style) for style in range(3) for content in range(4)])
    taken = [(worker, style_of(queue.next_job(worker))) for _ in range(4) for worker in (0, 1)]
    assert [style for worker, style in taken if worker == 0] == ["s0"] * 4
    assert [style for worker, style in taken if worker == 1] == ["s1"] * 4
    assert [style_of(queue.next_job(worker)) for worker in (0, 1, 0, 1)] == ["s2"] * 4
    assert queue.empty and queue.next_job(0) is queue.next_job(1) is None


def test_every_job_is_given_once_even_if_some_are_put_back() -> None:
    jobs = [job(content, style) for style in range(5) for content in range(7)]
    queue = JobQueue(jobs)
    seen = []
    for turn in range(1000):
        given = queue.next_job(turn % 3)
        if given is None:
            break
        if turn % 5 == 4:
            queue.put_back(given)
        else:
            seen.append(given.pair.id)
    assert queue.empty
    assert sorted(seen) == sorted(entry.pair.id for entry in jobs)


def test_a_lost_job_is_retried_after_all_others_by_another_worker() -> None:
    bad, good = job(0, 0), job(1, 0)
    queue = JobQueue([bad, good])
    assert queue.next_job(0) is bad
    assert queue.mark_lost(bad, 0)
    assert queue.next_job(0, others=[0, 1]) is good
    assert queue.next_job(0, others=[0, 1]) is None
    assert not queue.empty
    assert queue.next_job(1, others=[0, 1]) is bad
    assert not queue.mark_lost(bad, 1), "two workers died on it"
    assert queue.empty


def test_a_single_worker_retries_its_own_lost_job() -> None:
    queue = JobQueue([job(0, 0)])
    lost = queue.next_job(0)
    assert lost is not None and queue.mark_lost(lost, 0)
    assert queue.next_job(0, others=[0]) is lost
