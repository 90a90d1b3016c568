"""Engines: what runs the jobs of a batch, in this process or elsewhere.

An engine takes jobs and yields events, from which the batch writes its journal. It continues after
an event only when the next one is asked for, so `Started` is on the disk before the work begins.
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
from audiostyle.events import Callback, Iteration, Stage

ENVIRONMENT = (DiskError, DeviceError, EngineError, MissingPackageError, WeightsError)
"""Errors that every other pair would meet too: the batch stops, and can be resumed."""


@dataclass(frozen=True)
class Started:
    """A pair is about to be computed.

    If a process that outlives the worker has `watched` it, a start without an end does not mean
    that the pair crashed the worker: that process reports `Lost`.
    """

    job: Job
    watched: bool = False


@dataclass(frozen=True)
class Done:
    """An output was published."""

    job: Job
    summary: dict[str, Any]  # from `audiostyle.batch.results.summarize`
    seconds: float
    size: int  # in bytes, as its writer saw it: in a shared folder others may see it later


@dataclass(frozen=True)
class Failed:
    """A pair has no output."""

    job: Job
    kind: str  # from `classify`
    reason: str
    seconds: float
    trace: str = ""  # of an internal error


@dataclass(frozen=True)
class Abandoned:
    """A pair was given up for a reason that lies outside of it."""

    job: Job


@dataclass(frozen=True)
class Lost:
    """The worker of a pair died; the pair will be tried again."""

    job: Job
    reason: str


@dataclass(frozen=True)
class Evaluated:
    """An output was evaluated; `scores` is None if that failed for the given reason."""

    job: Job
    scores: dict[str, Any] | None
    reason: str = ""


@dataclass(frozen=True)
class Waiting:
    """An engine with workers elsewhere polls them: the moment to stop it cleanly."""


@dataclass(frozen=True)
class Note:
    """A message about the engine for the user."""

    text: str


Report = Callable[[Any], Any]
"""Receives every `Stage` and `Iteration`, or from workers elsewhere `Waiting` and `Note`."""

Event = Started | Done | Failed | Abandoned | Lost | Evaluated


def can_stop(event: Any) -> bool:
    """Tell whether a batch may stop at an event: not while a finished optimisation is inverted."""
    return (
        isinstance(event, (Iteration, Waiting))
        or (isinstance(event, Started) and not event.watched)
        or (isinstance(event, Stage) and event.name != "inversion")
    )


class Worker(Protocol):
    """Computes one pair at a time, such as `audiostyle.batch.worker.PairWorker`."""

    def transfer(self, job: Job, callback: Callback) -> dict[str, Any]:
        """Compute a pair, publish its output, and return its record."""

    def evaluate(self, job: Job) -> dict[str, Any]:
        """Return the scores of an existing output."""

    def clear(self) -> None:
        """Free memory."""


class Engine(Protocol):
    """Runs jobs, here or elsewhere."""

    def run(self, jobs: Sequence[Job], report: Report) -> Iterator[Event]:
        """Run jobs, and yield what happens to them.

        `report` receives every `Stage` and `Iteration`, or `Waiting` if the engine does not know
        them, and every `Note`. It may raise `Interrupted`.
        """


class InProcess:
    """An engine that runs jobs one after the other in this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, jobs: Sequence[Job], report: Report) -> Iterator[Event]:
        """Run jobs; see `Engine`."""
        for job in jobs:
            if job.compute:
                yield Started(job)
                try:
                    outcome = self._transfer(job, report)
                except (Interrupted, KeyboardInterrupt, *ENVIRONMENT):
                    yield Abandoned(job)
                    raise
                yield outcome
                if isinstance(outcome, Failed):
                    continue
            if job.evaluate:
                yield self._evaluate(job)

    def _transfer(self, job: Job, report: Report) -> Done | Failed:
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
    """Return kind and reason of an error that cost a pair; docs/batch.md lists the kinds."""
    if is_memory_error(error):
        return "out_of_memory", "out of memory; use --duration, or a device with more memory"
    reason = " ".join(str(error).split())
    if isinstance(error, AudioFileError):
        # A file that is missing now existed when the batch was planned.
        return "changed" if error.kind == "missing" else error.kind, reason
    kinds = {OptimizationError: "diverged", ConfigError: "parameters", OutputError: "output"}
    for error_class, kind in kinds.items():
        if isinstance(error, error_class):
            return kind, reason
    if isinstance(error, AudioStyleError):
        return "internal", reason
    return "internal", f"internal error ({type(error).__name__}: {reason})"
