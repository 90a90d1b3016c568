"""The workers of a Ray cluster: begun, fed, followed, and replaced when they die."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiostyle import errors
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
from audiostyle.batch.ray.actor import look
from audiostyle.batch.ray.cluster import Layout
from audiostyle.batch.ray.file_transfer import SentFiles
from audiostyle.batch.ray.job_queue import JobQueue
from audiostyle.batch.ray.worker import JobResult, WorkerSetup
from audiostyle.errors import AudioStyleError, EngineError, Interrupted, OutputError
from audiostyle.utils import atomic_files

WINDOW = 2  # pairs that a worker has at a time: the one it makes, and the next
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 30.0  # without any worker before people are told that there is no room
START_DEATHS = 3  # in a row, of workers that were not ready yet
CLOSE_SECONDS = 5.0


@dataclass
class _Slot:
    """A place for a worker; when one dies, another takes it."""

    number: int
    actor: Any = None
    node: str = ""
    step: str = "look"  # then begin, then ready
    pending: Any = None
    flight: deque[tuple[Any, Job]] = field(default_factory=deque)
    deaths: int = 0
    missing: frozenset[str] = frozenset()
    has: set[str] = field(default_factory=set)


class _Parcels:
    """Inputs in the object store: each once, and no longer than a job may need it."""

    def __init__(self, ray: Any, jobs: Sequence[Job]) -> None:
        self._ray = ray
        self._uses = Counter(path for job in jobs for path in job.digests)
        self._held: dict[str, Any] = {}

    def pack(self, job: Job, slot: _Slot) -> SentFiles:
        """Gather what a worker lacks for a job."""
        sent = SentFiles()
        for path in job.digests:
            if path in slot.missing and path not in slot.has:
                if path not in self._held:
                    self._held[path] = self._ray.put(Path(path).read_bytes())
                sent.inputs[path] = self._held[path]
        if not job.compute:
            sent.output = job.output.read_bytes()
            with contextlib.suppress(OSError):
                sent.record = atomic_files.record_path(job.output).read_bytes()
        slot.has.update(sent.inputs)
        return sent

    def drop(self, job: Job) -> None:
        """Forget what only this job needed, as it has ended."""
        for path in job.digests:
            self._uses[path] -= 1
            if self._uses[path] <= 0:
                self._held.pop(path, None)


class WorkerPool:
    """Workers, what they are at, and what is left for them.

    Parameters
    ----------
    ray : module
        Connected.
    layout : Layout
    order : Order
        For every worker.
    jobs : sequence of Job
    """

    def __init__(self, ray: Any, layout: Layout, order: WorkerSetup, jobs: Sequence[Job]) -> None:
        self._ray = ray
        self._order = ray.put(order)
        self._return_audio = order.return_audio
        self._dealer = JobQueue(jobs)
        self._parcels = _Parcels(ray, jobs if order.return_audio else [])
        self._waiting: dict[Any, _Slot] = {}
        self._versions = look()
        self._begun: set[str] = set()  # a job that is taken back is not begun again
        ray.cloudpickle.register_pickle_by_value(ray_actor)
        self._shell = ray.remote(
            num_cpus=layout.cpus,
            num_gpus=layout.gpus,
            max_restarts=0,  # who restarts must know which pair was lost
            max_task_retries=0,
            concurrency_groups={"control": 1},
        )(ray_actor.WorkerActor)
        self._slots = [_Slot(number) for number in range(layout.workers)]
        self._closed = False

    def in_flight(self) -> list[Job]:
        """List the jobs that workers have.

        Returns
        -------
        list of Job
        """
        return [job for slot in self._slots for _, job in slot.flight]

    def run(self, report: Report) -> Iterator[Event]:
        """Carry out all jobs; see `audiostyle.batch.ray.engine.RayEngine.run`."""
        for slot in self._slots:
            self._start(slot)
        patience = time.monotonic() + PATIENCE_SECONDS
        while not self._dealer.empty or self.in_flight():
            for slot in self._slots:
                yield from self._fill(slot)
            news = self._news()
            try:  # first: a signal to all processes is no pair's fault
                report(Waiting())
            except Interrupted:
                yield from self._drain()
                raise
            for slot, reference in news:
                try:
                    yield from self._take(slot, reference)
                except ENVIRONMENT:
                    yield from self._drain()
                    raise
            if any(slot.step == "ready" for slot in self._slots):
                patience = float("inf")
            elif time.monotonic() > patience:
                patience = float("inf")
                report(Note("Ray: still no room for a worker; ray status says what is in use"))

    def close(self) -> None:
        """End the workers."""
        if self._closed:
            return
        self._closed = True
        closing = []
        for slot in self._slots:
            if slot.actor is not None and not slot.flight and slot.step == "ready":
                with contextlib.suppress(self._ray.exceptions.RayError):
                    closing.append(slot.actor.close.remote())
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        for slot in self._slots:
            self._kill(slot)

    def _kill(self, slot: _Slot) -> None:
        if slot.actor is not None:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.kill(slot.actor)
        slot.actor = None

    def _start(self, slot: _Slot) -> None:
        slot.actor = self._shell.remote()
        slot.step, slot.node = "look", ""
        slot.missing, slot.has = frozenset(), set()
        self._expect(slot, slot.actor.look.remote())

    def _expect(self, slot: _Slot, reference: Any) -> None:
        slot.pending = reference
        self._waiting[reference] = slot

    def _news(self) -> list[tuple[_Slot, Any]]:
        """Wait a moment for answers; the earliest of a worker come first."""
        ready, _ = self._ray.wait(
            list(self._waiting), num_returns=1, timeout=POLL_SECONDS, fetch_local=False
        )
        return [(self._waiting[reference], reference) for reference in ready]

    def _fill(self, slot: _Slot) -> Iterator[Event]:
        """Give a worker enough to do."""
        while slot.step == "ready" and len(slot.flight) < WINDOW:
            others = [s.number for s in self._slots if s.step == "ready"]
            job = self._dealer.deal(slot.number, others)
            if job is None:
                return
            if job.compute and job.pair.id not in self._begun:
                self._begun.add(job.pair.id)
                yield Started(job, watched=True)
            try:
                sent = self._parcels.pack(job, slot) if self._return_audio else None
            except OSError as error:
                reason = f"{error.filename}: cannot be read ({error.strerror})"
                yield Failed(job, "unreadable", reason, 0.0)
                continue
            reference = slot.actor.make.remote(job, sent)
            slot.flight.append((reference, job))
            self._waiting[reference] = slot

    def _take(self, slot: _Slot, reference: Any) -> Iterator[Event]:
        """Follow an answer, or the lack of one."""
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            yield from self._blunder(slot, reference, error)
            return
        except self._ray.exceptions.RayError as error:
            yield from self._bury(slot, error)
            return
        del self._waiting[reference]
        if slot.step == "ready":
            yield from self._follow(slot, reference, answer)
        elif slot.step == "look":
            slot.node, versions = answer
            self._check(slot.node, versions)
            slot.step = "begin"
            self._expect(slot, slot.actor.begin.remote(self._order))
        else:
            reason, missing = answer
            if reason:
                raise EngineError(f"machine {slot.node}: {reason}")
            slot.step, slot.deaths, slot.pending = "ready", 0, None
            slot.missing = frozenset(missing)

    def _check(self, node: str, versions: dict[str, str]) -> None:
        """Refuse a worker that would compute something else."""
        for name, ours in self._versions.items():
            if versions.get(name) != ours:
                raise EngineError(
                    f"machine {node}: has {name} {versions.get(name)}, the driver has {name} "
                    f"{ours}; install the same version on all machines"
                )

    def _follow(self, slot: _Slot, reference: Any, answer: JobResult) -> Iterator[Event]:
        job = next(job for ref, job in slot.flight if ref == reference)
        error, done = _rebuild(answer.error), False
        for event in answer.events:
            if isinstance(event, Done) and answer.returned is not None:
                try:
                    answer.returned.publish(job.output)
                except ENVIRONMENT as trouble:
                    error = trouble
                    break
                except OutputError as trouble:
                    yield Failed(job, "output", str(trouble), event.seconds)
                    break
            done = done or isinstance(event, Done)
            if isinstance(event, (Done, Failed, Evaluated)):
                yield dataclasses.replace(event, job=job)
        slot.flight = deque(entry for entry in slot.flight if entry[1] is not job)
        self._parcels.drop(job)
        self._begun.discard(job.pair.id)
        if error is None:
            return
        if job.compute and not done:
            yield Abandoned(job)
        if not isinstance(error, Interrupted):
            raise error

    def _blunder(self, slot: _Slot, reference: Any, error: Exception) -> Iterator[Event]:
        """Follow an exception that no worker of ours lets out."""
        reason = " ".join(str(error).split())[-300:]
        del self._waiting[reference]
        if slot.step != "ready":
            raise EngineError(f"machine {slot.node or 'unknown'}: no worker begins ({reason})")
        job = next(job for ref, job in slot.flight if ref == reference)
        slot.flight = deque(entry for entry in slot.flight if entry[1] is not job)
        yield Failed(job, "internal", f"internal error on {slot.node}: {reason}", 0.0, str(error))

    def _bury(self, slot: _Slot, error: Exception, restart: bool = True) -> Iterator[Event]:
        """Put another worker in the place of one that died. Only its oldest job is to blame."""
        reason = _cause(error)
        self._kill(slot)
        lost, slot.flight = slot.flight, deque()
        for reference in (slot.pending, *(reference for reference, _ in lost)):
            self._waiting.pop(reference, None)
        if slot.step != "ready":
            slot.deaths += 1
            if slot.deaths >= START_DEATHS:
                raise EngineError(
                    f"machine {slot.node or 'unknown'}: {slot.deaths} workers in a row died before "
                    f"they were ready ({reason})"
                )
        slot.step = "look"
        for i, (_, job) in enumerate(lost):
            if not restart:
                if job.compute:
                    yield Abandoned(job)
                continue
            if i:
                self._dealer.back(job)
                continue
            self._begun.discard(job.pair.id)
            if self._dealer.lose(job, slot.number):
                if job.compute:  # else its output is there, and stays what it is
                    yield Lost(job, reason)
            elif job.compute:
                again = "the worker died each time; use --retry-failed to try again"
                yield Failed(job, "crashed", f"{reason}; {again}", 0.0)
            else:
                yield Evaluated(job, None, reason)
        if restart:
            self._start(slot)

    def _drain(self) -> Iterator[Event]:
        """Let the workers stop as soon as that is clean, and take what they have."""
        for slot in self._slots:
            if slot.actor is not None:
                slot.actor.stop.options(concurrency_group="control").remote()
        while self.in_flight():
            for slot, reference in self._news():
                if not any(ref == reference for ref, _ in slot.flight):
                    del self._waiting[reference]  # of one that had not begun
                    continue
                try:
                    answer = self._ray.get(reference)
                    del self._waiting[reference]
                    yield from self._follow(slot, reference, answer)
                except self._ray.exceptions.RayError as error:
                    yield from self._bury(slot, error, restart=False)
                except ENVIRONMENT:
                    continue  # the first of them is on its way


def _rebuild(error: tuple[str, str] | None) -> BaseException | None:
    """Make an error of what came over the wire; anything that nobody expected stops the batch."""
    if error is None:
        return None
    name, message = error
    if name == Interrupted.__name__:
        return Interrupted(0)
    kind = getattr(errors, name, EngineError)
    found: AudioStyleError = kind(message)
    return found


def _cause(error: Exception) -> str:
    """Say in one line why a worker died."""
    name = type(error).__name__  # Ray's message names every cause that there might have been
    if name == "OutOfMemoryError":
        return "the worker died (its machine was short of memory)"
    if name == "NodeDiedError" or "its node has died" in str(error):
        return "the worker died (its machine was lost)"
    return f"the worker died ({name})"
