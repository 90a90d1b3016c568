"""Ray engine: workers on a cluster, their jobs and results, and what happens when one dies.

Only the driver, the process that runs the batch, writes the journal.

Ray places the workers. It does not restart them or retry their calls (`max_restarts`,
`max_task_retries`), because the driver must record which pair a worker died on, give that pair to
another worker after all other pairs, and be sure that the old worker is dead before it does so:
Ray also reports workers as unavailable that still compute.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from audiostyle.batch.engine import (
    ENVIRONMENT,
    Abandoned,
    Done,
    Evaluated,
    Event,
    Failed,
    Lost,
    Note,
    Report,
    Started,
    Waiting,
)
from audiostyle.batch.plan import Job
from audiostyle.batch.ray import actor as ray_actor
from audiostyle.batch.ray import connection
from audiostyle.batch.ray.actor import find_versions
from audiostyle.batch.ray.cluster import Cluster, Layout
from audiostyle.batch.ray.file_transfer import FileSender
from audiostyle.batch.ray.job_queue import JobQueue
from audiostyle.batch.ray.worker import JobResult, WorkerSetup, make_pair_worker
from audiostyle.batch.request import BatchRequest
from audiostyle.errors import EngineError, Interrupted, OutputError
from audiostyle.utils.atomic_files import part_file

JOBS_PER_WORKER = 2  # the current job and the next one
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 30.0  # without any worker before a note says so
MAX_FAILED_STARTS = 3  # workers in a row that die before they are ready
CLOSE_SECONDS = 5.0


@dataclass
class _Worker:
    """What the driver knows of a worker; the number stays when the worker is replaced."""

    number: int
    actor: Any = None
    host: str = ""
    ready: bool = False
    failed_starts: int = 0
    jobs: dict[Any, Job] = field(default_factory=dict)  # by reference of the call, oldest first


class WorkerPool:
    """Runs jobs on workers. `ray` is the module, connected; every worker gets `setup`."""

    def __init__(self, ray: Any, layout: Layout, setup: WorkerSetup, jobs: Sequence[Job]) -> None:
        self._ray = ray
        self._setup = ray.put(setup)
        self._queue = JobQueue(jobs)
        self._sender = FileSender(ray, jobs) if setup.return_audio else None
        self._calls: dict[Any, _Worker] = {}  # by reference
        self._reported: set[str] = set()  # `Started` is not repeated for a job that was put back
        self._stopping = False
        ray.cloudpickle.register_pickle_by_value(ray_actor)
        self._actor_class = ray.remote(
            num_cpus=layout.cpus,
            num_gpus=layout.gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={"control": 1},
        )(ray_actor.WorkerActor)
        self._workers = [_Worker(number) for number in range(layout.workers)]

    def run(self, report: Report) -> Iterator[Event]:
        """Run all jobs; see `RayEngine.run`."""
        try:
            yield from self._run(report)
        except (Interrupted, KeyboardInterrupt, *ENVIRONMENT):
            self._close()
            for job in self._jobs():
                if job.compute:
                    yield Abandoned(job)
            raise
        finally:
            self._close()

    def _run(self, report: Report) -> Iterator[Event]:
        for worker in self._workers:
            self._start(worker)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._queue.empty or self._jobs():
            for worker in self._workers:
                yield from self._submit_jobs(worker)
            finished = self._wait()
            try:  # before the results: if a signal killed the workers too, no pair is to blame
                report(Waiting())
            except Interrupted:
                yield from self._stop()
                raise
            try:
                for reference in finished:
                    yield from self._receive(reference)
            except ENVIRONMENT:
                yield from self._stop()
                raise
            if any(worker.ready for worker in self._workers):
                deadline = float("inf")
            elif time.monotonic() > deadline:
                deadline = float("inf")
                report(Note("Ray: still no room for a worker; ray status says what is in use"))

    def _jobs(self) -> list[Job]:
        """List the jobs that workers have."""
        return [job for worker in self._workers for job in worker.jobs.values()]

    def _start(self, worker: _Worker) -> None:
        worker.actor = self._actor_class.remote()
        worker.host, worker.ready = "", False
        self._calls[worker.actor.start.remote(find_versions(), [self._setup])] = worker

    def _submit_jobs(self, worker: _Worker) -> Iterator[Event]:
        """Send a worker its next jobs."""
        while worker.ready and len(worker.jobs) < JOBS_PER_WORKER:
            others = [other.number for other in self._workers if other.ready]
            job = self._queue.next_job(worker.number, others)
            if job is None:
                return
            if job.compute and job.pair.id not in self._reported:
                self._reported.add(job.pair.id)
                yield Started(job, watched=True)
            try:
                sent = self._sender.collect(job) if self._sender else None
            except OSError as error:
                reason = f"{error.filename}: cannot be read ({error.strerror})"
                yield _failed(job, "unreadable", reason)
                continue
            reference = worker.actor.run.remote(job, sent)
            worker.jobs[reference] = job
            self._calls[reference] = worker

    def _wait(self) -> list[Any]:
        """Wait briefly for a call to end, and return its reference."""
        finished, _ = self._ray.wait(
            list(self._calls), num_returns=1, timeout=POLL_SECONDS, fetch_local=False
        )
        return list(finished)

    def _receive(self, reference: Any) -> Iterator[Event]:
        """Process the result of a call, or its failure."""
        worker, exceptions = self._calls[reference], self._ray.exceptions
        job = worker.jobs.get(reference)
        try:
            result = self._ray.get(reference)
        except exceptions.RayTaskError as error:  # a bug: expected errors are part of the result
            self._forget(reference)
            reason = " ".join(str(error).split())[-300:]
            if job is None:
                place = _address(error)
                raise EngineError(f"machine {place}: a worker cannot start ({reason})") from None
            reason = f"internal error on {worker.host}: {reason}"
            yield _failed(job, "internal", reason, str(error))
            return
        except exceptions.RayError as error:
            yield from self._replace(worker, error)
            return
        self._forget(reference)
        if job is not None:
            yield from self._publish(job, result)
            return
        worker.host, refusal = result
        if refusal:
            raise EngineError(f"machine {worker.host}: {refusal}")
        worker.ready, worker.failed_starts = True, 0

    def _forget(self, reference: Any) -> None:
        """Remove a call that has ended."""
        worker = self._calls.pop(reference)
        worker.jobs.pop(reference, None)

    def _publish(self, job: Job, result: JobResult) -> Iterator[Event]:
        """Publish a returned output, yield the events of a job, raise what ends the batch."""
        error: BaseException | None = result.error
        ended = False
        for event in result.events:
            if isinstance(event, Done) and result.returned is not None:
                try:
                    result.returned.publish(job.output)
                except ENVIRONMENT as failure:
                    error = failure
                    break
                except OutputError as failure:
                    yield Failed(job, "output", str(failure), event.seconds)
                    break
            ended = ended or isinstance(event, Done)
            yield dataclasses.replace(event, job=job)
        if self._sender:
            self._sender.release(job)
        self._reported.discard(job.pair.id)
        if (error or result.stopped) and job.compute and not ended:
            yield Abandoned(job)
        if error:
            raise error

    def _replace(self, worker: _Worker, error: Exception) -> Iterator[Event]:
        """Replace a worker that died. It died on its oldest job; the others were not begun."""
        self._kill(worker)
        reason, jobs = _cause(error), list(worker.jobs.values())
        for reference in [call for call, owner in self._calls.items() if owner is worker]:
            self._forget(reference)
        if self._stopping:
            yield from (Abandoned(job) for job in jobs if job.compute)
            return
        if not worker.ready:
            worker.failed_starts += 1
            if worker.failed_starts >= MAX_FAILED_STARTS:
                raise EngineError(
                    f"machine {_address(error)}: {worker.failed_starts} workers in a row died "
                    f"before they were ready ({reason})"
                )
        for job in jobs[1:]:
            self._queue.put_back(job)
        for job in jobs[:1]:
            self._reported.discard(job.pair.id)
            if not self._queue.mark_lost(job, worker.number):
                if job.compute:
                    reason += "; the worker died each time; use --retry-failed to try again"
                yield _failed(job, "crashed", reason)
            elif job.compute:
                yield Lost(job, reason)
        self._start(worker)

    def _stop(self) -> Iterator[Event]:
        """Let the workers stop as soon as they can do so cleanly, and process their results."""
        self._stopping = True
        for worker in self._workers:
            if worker.actor is not None:
                worker.actor.stop.options(concurrency_group="control").remote()
        while self._jobs():
            for reference in self._wait():
                with contextlib.suppress(*ENVIRONMENT):  # the first such error is being raised
                    yield from self._receive(reference)

    def _close(self) -> None:
        """End all workers; those that are idle remove their temporary files first."""
        closing = []
        for worker in self._workers:
            if worker.ready and worker.actor is not None and not worker.jobs:
                with contextlib.suppress(self._ray.exceptions.RayError):
                    closing.append(worker.actor.close.remote())
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        for worker in self._workers:
            self._kill(worker)

    def _kill(self, worker: _Worker) -> None:
        if worker.actor is not None:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.kill(worker.actor)
        worker.actor = None


class RayEngine:
    """Runs jobs on actors, each of which keeps the network, its traces and a style in memory."""

    make_worker: Callable[..., Any] = staticmethod(make_pair_worker)
    """Creates a `Worker` on its machine; sent there by name."""

    def __init__(self, request: BatchRequest, cluster: Cluster) -> None:
        self._request = request
        self._cluster = cluster

    def run(self, jobs: Sequence[Job], report: Report) -> Iterator[Event]:
        """Run jobs; see `audiostyle.batch.engine.Engine`.

        If `report` raises `Interrupted`, workers abandon their pairs at the next step, or finish
        those of which only the sound is left to synthesise; raised elsewhere, it abandons them now.
        """
        request, cluster = self._request, self._cluster
        with (
            connection.connected(cluster, request.threads, request.verbose) as ray,
            part_file(request.out_dir / "token") as token,
        ):
            nodes = connection.alive_nodes(ray)
            layout = cluster.lay_out(nodes, request.threads, request.device)
            report(Note(_describe(layout, len(nodes))))
            use_cpu = not layout.gpus and any(node.gpus for node in nodes)
            worker_request = dataclasses.replace(
                request,
                threads=request.threads or layout.cpus,
                device="cpu" if use_cpu else request.device,
            )
            setup = WorkerSetup(
                worker_request,
                type(self).make_worker,
                os.getcwd(),
                os.path.abspath(token),
                cluster.return_audio,
            )
            yield from WorkerPool(ray, layout, setup, jobs).run(report)


def _describe(layout: Layout, machines: int) -> str:
    each = f"{layout.cpus} CPU" + (f", {layout.gpus:g} GPU" if layout.gpus else "")
    text = f"Ray: {layout.workers} x ({each}) on {machines} machine{'s'[: machines > 1]}"
    if layout.workers > layout.capacity:
        text += f"; there is room for {layout.capacity} now, the others wait for more machines"
    return text


def _failed(job: Job, kind: str, reason: str, trace: str = "") -> Failed | Evaluated:
    """Return the failure of a job; an output that could only not be evaluated stays."""
    if not job.compute:
        return Evaluated(job, None, reason)
    return Failed(job, kind, reason, 0.0, trace)


def _cause(error: Exception) -> str:
    """Describe in one line why a worker died; Ray's message lists every possible cause."""
    name = type(error).__name__
    if name == "OutOfMemoryError":
        return "the worker died (its machine was short of memory)"
    if name == "NodeDiedError" or "its node has died" in str(error):
        return "the worker died (its machine was lost)"
    return f"the worker died ({name})"


def _address(error: Exception) -> str:
    """Return the address of the machine that an error of Ray names."""
    found = re.search(r"\bip[:=] ?([\w.:-]+\w)", str(error))
    return found[1] if found else "unknown"
