"""Worker of a Ray cluster: runs one job at a time, as one process does, and returns its events."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from audiostyle.batch.engine import Done, Evaluated, Failed, InProcess, Worker, can_stop
from audiostyle.batch.plan import Job
from audiostyle.batch.ray.file_transfer import ReturnedOutput, SentFiles, WorkerFolder, rename
from audiostyle.batch.request import BatchRequest
from audiostyle.errors import AudioStyleError, EngineError, Interrupted
from audiostyle.files.record import to_json
from audiostyle.utils import atomic_files

MakeWorker = Callable[[BatchRequest], Worker]


def make_pair_worker(request: BatchRequest) -> Worker:
    """Create a `PairWorker`; its large imports happen here, on the machine of the worker."""
    from audiostyle.batch.worker import PairWorker

    return PairWorker(request)


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs to know before its first job."""

    request: BatchRequest  # with the threads of a worker
    make_worker: MakeWorker
    folder: str  # current folder of the driver, which relative paths start at
    token: str  # file that a worker sees if it shares the folder of the outputs
    return_audio: bool


@dataclass
class JobResult:
    """Result of a job; its events lack their job, which is large and known to the driver."""

    events: list[Done | Failed | Evaluated]
    error: AudioStyleError | None = None  # ends the batch
    stopped: bool = False  # before the end of the job, by `ClusterWorker.stop`
    returned: ReturnedOutput | None = None


class ClusterWorker:
    """Runs the jobs that the driver sends, one at a time."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._stop = threading.Event()
        self._folder = WorkerFolder() if setup.return_audio else None
        self._engine: InProcess | None = None

    def start(self) -> str:
        """Prepare for jobs; return why this machine cannot run them, or an empty string."""
        try:
            self._find_files()
            self._engine = InProcess(self._setup.make_worker(self._setup.request))
        except AudioStyleError as error:
            return str(error)
        return ""

    def _find_files(self) -> None:
        """Change to the driver's folder, and check that this machine shares it if it has to."""
        setup = self._setup
        if setup.return_audio:
            if os.path.isdir(setup.folder):
                os.chdir(setup.folder)
            return
        if not os.path.exists(setup.token):
            raise EngineError(
                f"does not see {os.path.dirname(setup.token)}; mount that folder there, or use "
                "--return-audio"
            )
        try:
            os.chdir(setup.folder)
        except OSError as error:
            raise EngineError(
                f"has no folder {setup.folder} ({error.strerror}), where the driver was started; "
                "mount it there, or use --return-audio"
            ) from None

    def stop(self) -> None:
        """Abandon the current pair at its next step, unless only its sound is left to make."""
        self._stop.set()

    def close(self) -> None:
        """Remove the temporary folder, if there is one."""
        if self._folder is not None:
            self._folder.close()

    def run(self, job: Job, sent: SentFiles | None = None) -> JobResult:
        """Run a job; errors are part of the result."""
        if self._folder is None or sent is None:
            return self._run_here(job)
        self._folder.store(sent.inputs)
        local, names = self._folder.localize(job)
        local.output.parent.mkdir(parents=True, exist_ok=True)
        record = atomic_files.record_path(local.output)
        try:
            if sent.output is not None:
                local.output.write_bytes(sent.output)
                record.write_bytes(sent.record or b"{}")
            result = self._run_here(local)
            result.events = [_rename_event(event, names) for event in result.events]
            if result.error is not None:
                result.error.args = tuple(rename(list(result.error.args), names))
            if any(isinstance(event, Done) for event in result.events):
                text = to_json(rename(json.loads(record.read_text("utf-8")), names))
                result.returned = ReturnedOutput(local.output.read_bytes(), text.encode())
            return result
        finally:
            local.output.unlink(missing_ok=True)
            record.unlink(missing_ok=True)

    def _run_here(self, job: Job) -> JobResult:
        assert self._engine is not None
        result, no_job = JobResult([]), cast("Job", None)
        try:
            for event in self._engine.run([job], self._check_stop):
                self._check_stop(event)
                if isinstance(event, (Done, Failed, Evaluated)):
                    result.events.append(dataclasses.replace(event, job=no_job))
        except Interrupted:
            result.stopped = True
        except AudioStyleError as error:
            result.error = error
        return result

    def _check_stop(self, event: Any) -> None:
        if can_stop(event) and self._stop.is_set():
            raise Interrupted(0)


def _rename_event(
    event: Done | Failed | Evaluated, names: dict[str, str]
) -> Done | Failed | Evaluated:
    fields = ("reason", "trace", "summary")
    changes = {name: rename(getattr(event, name), names) for name in fields if hasattr(event, name)}
    return dataclasses.replace(event, **changes)
