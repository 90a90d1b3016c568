"""A worker of a cluster: pairs come in, events go out; the rest is as in one process."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostyle.batch.engine import Done, Evaluated, Event, Failed, InProcess, Started, Worker
from audiostyle.batch.plan import Job
from audiostyle.batch.ray.file_transfer import ReturnedOutput, SentFiles, WorkerFolder, rename
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioStyleError, EngineError, Interrupted
from audiostyle.events import Iteration, Stage
from audiostyle.files import record as files_record
from audiostyle.utils import atomic_files

MakeWorker = Callable[[BatchRequest, TransferConfig], Worker]


def make_pair_worker(request: BatchRequest, config: TransferConfig) -> Worker:
    """Make what computes pairs; imports what is large.

    Parameters
    ----------
    request : BatchRequest
    config : TransferConfig

    Returns
    -------
    Worker
    """
    from audiostyle.batch.worker import PairWorker

    return PairWorker(request, config)


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker has to know before its first job.

    Attributes
    ----------
    request : BatchRequest
        With the number of threads that a worker shall use.
    config : TransferConfig
    make_worker : callable
    folder : str
        The driver's current folder, which relative paths begin at.
    token : str
        Path of a file that whoever shares the folder of the outputs can see.
    inputs : sequence of (str, int)
        Absolute paths and sizes, if those are to be sent that cannot be seen.
    return_audio : bool
    """

    request: BatchRequest
    config: TransferConfig
    make_worker: MakeWorker
    folder: str
    token: str
    inputs: Sequence[tuple[str, int]]
    return_audio: bool


@dataclass(frozen=True)
class JobResult:
    """What became of a job.

    Attributes
    ----------
    events : list of Event
        Without their job, which the driver has.
    error : tuple of (str, str) or None
        Class and message of what stops the whole batch; ``Interrupted`` if it was told to stop.
    returned : Returned or None
    """

    events: list[Event]
    error: tuple[str, str] | None = None
    returned: ReturnedOutput | None = None


class ClusterWorker:
    """Computes one pair at a time.

    Parameters
    ----------
    order : Order
    """

    def __init__(self, order: WorkerSetup) -> None:
        self._order = order
        self._stop = threading.Event()
        self._store = WorkerFolder() if order.return_audio else None
        self._missing: frozenset[str] = frozenset()
        self._engine: InProcess | None = None

    def missing(self) -> tuple[str, Any]:
        """Make ready.

        Returns
        -------
        error : str
            Why this worker is of no use; empty if it is ready.
        missing : list of str
            Inputs that have to be sent.
        """
        try:
            return "", self._begin()
        except AudioStyleError as error:
            return str(error), []

    def _begin(self) -> list[str]:
        order = self._order
        if self._store is None:
            if not os.path.exists(order.token):
                raise EngineError(
                    f"does not see {os.path.dirname(order.token)}; mount that folder there, or use "
                    "--return-audio"
                )
            try:
                os.chdir(order.folder)
            except OSError as error:
                raise EngineError(
                    f"has no folder {order.folder} ({error.strerror}), where the driver was "
                    "started; mount it there, or use --return-audio"
                ) from None
        else:
            self._missing = frozenset(p for p, size in order.inputs if not _is_there(p, size))
            if os.path.isdir(order.folder):
                os.chdir(order.folder)
        self._engine = InProcess(order.make_worker(order.request, order.config))
        return sorted(self._missing)

    def stop(self) -> None:
        """Give up what is being made at its next step, unless only its sound is left to make."""
        self._stop.set()

    def close(self) -> None:
        """Remove the temporary folder, if there is one."""
        if self._store is not None:
            self._store.close()

    def make(self, job: Job, sent: SentFiles | None = None) -> JobResult:
        """Carry out a job; errors are part of the answer.

        Parameters
        ----------
        job : Job
        sent : Sent, optional

        Returns
        -------
        Answer
        """
        if self._store is None:
            return self._carry_out(job)
        inputs = sent.inputs if sent is not None else {}
        for path, reference in inputs.items():
            self._keep(self._store.place(path), reference)
        local, names = self._store.rewrite(job, self._missing)
        local.output.parent.mkdir(parents=True, exist_ok=True)
        record = atomic_files.record_path(local.output)
        try:
            if sent is not None and sent.output is not None:
                local.output.write_bytes(sent.output)
                record.write_bytes(sent.record or b"{}")
            answer = self._carry_out(local)
            events = [_rename_event(event, names) for event in answer.events]
            error = answer.error and (answer.error[0], rename(answer.error[1], names))
            returned = None
            if any(isinstance(event, Done) for event in events):
                text = files_record.to_json(rename(json.loads(record.read_text("utf-8")), names))
                returned = ReturnedOutput(local.output.read_bytes(), text.encode())
            return JobResult(events, error, returned)
        finally:
            local.output.unlink(missing_ok=True)
            record.unlink(missing_ok=True)

    @staticmethod
    def _keep(place: Path, reference: Any) -> None:
        if not place.exists():
            import ray

            part = place.with_name(place.name + ".part")
            part.write_bytes(ray.get(reference))
            part.replace(place)

    def _carry_out(self, job: Job) -> JobResult:
        assert self._engine is not None
        events: list[Event] = []
        bare: Any = None  # a job is large, and the driver has it
        try:
            for event in self._engine.run([job], self._watch):
                if isinstance(event, (Done, Failed, Evaluated)):
                    events.append(dataclasses.replace(event, job=bare))
                elif isinstance(event, Started):
                    self._watch(event)
        except (AudioStyleError, Interrupted) as error:
            return JobResult(events, (type(error).__name__, str(error)))
        return JobResult(events)

    def _watch(self, event: Any) -> None:
        gives_up = isinstance(event, (Iteration, Started)) or (
            isinstance(event, Stage) and event.name != "inversion"
        )
        if gives_up and self._stop.is_set():
            raise Interrupted(0)


def _is_there(path: str, size: int) -> bool:
    try:
        return os.path.getsize(path) == size
    except OSError:
        return False


def _rename_event(event: Event, names: dict[str, str]) -> Event:
    if isinstance(event, Failed):
        return dataclasses.replace(
            event, reason=rename(event.reason, names), trace=rename(event.trace, names)
        )
    if isinstance(event, Done):
        return dataclasses.replace(event, summary=rename(event.summary, names))
    if isinstance(event, Evaluated):
        return dataclasses.replace(event, reason=rename(event.reason, names))
    return event
