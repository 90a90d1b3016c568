"""What carries out the jobs of a batch. An engine tells what happens; the batch keeps the journal.

An engine takes jobs and yields events. It goes on after the first only when it is asked for the
second, so a batch can have `Started` on the disk before the work begins.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from audiostyle.batch.plan import Job
from audiostyle.batch.results import summarize
from audiostyle.errors import (
    AudioFileError,
    AudioStyleError,
    ConfigError,
    DeviceError,
    DiskError,
    EngineError,
    Interrupted,
    MissingPackageError,
    OptimizationError,
    OutputError,
    WeightsError,
    is_memory_error,
)
from audiostyle.events import Callback

ENVIRONMENT = (DiskError, DeviceError, EngineError, MissingPackageError, WeightsError)
"""Errors that no other pair would escape: the batch stops, and can be taken up again."""


@dataclass(frozen=True)
class Started:
    """A pair is about to be computed.

    If it is `watched`, by a process that outlives the one that computes it, a start without an end
    is no sign that the pair is to blame: whoever watches says `Lost`.
    """

    job: Job
    watched: bool = False


@dataclass(frozen=True)
class Done:
    """An output was published. `summary` says how it was made; see `audiostyle.batch.results`.

    `size` is what the one who wrote it found, in bytes: on a shared folder, others may
    see it later.
    """

    job: Job
    summary: dict[str, Any]
    seconds: float
    size: int


@dataclass(frozen=True)
class Failed:
    """A pair has no output. `kind` sorts the reasons; `trace` is there if nobody expected it."""

    job: Job
    kind: str
    reason: str
    seconds: float
    trace: str = ""


@dataclass(frozen=True)
class Abandoned:
    """A pair was given up for a reason that is not its own."""

    job: Job


@dataclass(frozen=True)
class Lost:
    """What computed a pair died meanwhile; it will be tried again."""

    job: Job
    reason: str


@dataclass(frozen=True)
class Evaluated:
    """An output was evaluated, or could not be: `scores` is None then."""

    job: Job
    scores: dict[str, Any] | None
    reason: str = ""


@dataclass(frozen=True)
class Waiting:
    """An engine that works elsewhere looks for news: the moment to stop it cleanly."""


@dataclass(frozen=True)
class Note:
    """Something that people should know of the engine."""

    text: str


Report = Callable[[Any], Any]
"""Gets what happens within a pair and around it: `Stage`, `Iteration`, `Waiting` and `Note`."""

Event = Started | Done | Failed | Abandoned | Lost | Evaluated


class Worker(Protocol):
    """What computes one pair at a time, as `audiostyle.batch.worker.PairWorker`."""

    def transfer(self, job: Job, callback: Callback) -> dict[str, Any]:
        """Compute a pair, publish its output, return the record beside it.

        Parameters
        ----------
        job : Job
        callback : callable

        Returns
        -------
        dict of str to object
        """

    def evaluate(self, job: Job) -> dict[str, Any]:
        """Evaluate an output that is there.

        Parameters
        ----------
        job : Job

        Returns
        -------
        dict of str to object
        """

    def clear(self) -> None:
        """Give memory back."""


class Engine(Protocol):
    """What carries out jobs, here or elsewhere."""

    def run(self, jobs: Sequence[Job], report: Report) -> Iterator[Event]:
        """Carry out jobs, and yield what happens to them.

        Parameters
        ----------
        jobs : sequence of Job
        report : callable
            Gets every `Stage` and `Iteration`, if they can be had, or else `Waiting`, and every
            `Note`. May raise `Interrupted`.

        Yields
        ------
        Event
        """


class InProcess:
    """Carries out jobs one after the other, in this process.

    Parameters
    ----------
    worker : Worker
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, jobs: Sequence[Job], report: Report) -> Iterator[Event]:
        """Carry out jobs; see `Engine`."""
        for job in jobs:
            if job.compute:
                yield Started(job)
                try:
                    outcome = self._make(job, report)
                except (Interrupted, KeyboardInterrupt, *ENVIRONMENT):
                    yield Abandoned(job)
                    raise
                yield outcome
                if isinstance(outcome, Failed):
                    continue
            if job.evaluate:
                yield self._evaluate(job)

    def _make(self, job: Job, report: Report) -> Done | Failed:
        began = time.perf_counter()
        try:
            record = self._worker.transfer(job, report)
            size = os.path.getsize(job.output)
        except ENVIRONMENT:
            raise
        except Exception as error:
            kind, reason = classify(error)
            if kind == "out_of_memory":
                self._worker.clear()
            trace = traceback.format_exc() if kind == "internal" else ""
            return Failed(job, kind, reason, time.perf_counter() - began, trace)
        return Done(job, summarize(record), time.perf_counter() - began, size)

    def _evaluate(self, job: Job) -> Evaluated:
        try:
            return Evaluated(job, self._worker.evaluate(job))
        except ENVIRONMENT:
            raise
        except Exception as error:
            return Evaluated(job, None, classify(error)[1])


def classify(error: Exception) -> tuple[str, str]:
    """Sort an error that cost a pair.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    kind : str
        ``unreadable``, ``truncated``, ``too_short``, ``silent``, ``not_finite``, ``changed``,
        ``out_of_memory``, ``diverged``, ``parameters``, ``output`` or ``internal``.
    reason : str
        One line.
    """
    name = type(error).__name__
    if is_memory_error(error):
        return "out_of_memory", "out of memory; use --duration, or a device with more of it"
    reason = " ".join(str(error).split())
    if isinstance(error, AudioFileError):
        # It was there when the batch was planned.
        return "changed" if error.kind == "missing" else error.kind, reason
    kinds = {OptimizationError: "diverged", ConfigError: "parameters", OutputError: "output"}
    for kind, word in kinds.items():
        if isinstance(error, kind):
            return word, reason
    if isinstance(error, AudioStyleError):
        return "internal", reason
    return "internal", f"internal error ({name}: {reason})"
