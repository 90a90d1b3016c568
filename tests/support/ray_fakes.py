"""Ray workers whose transfers take no time, and a Ray that runs them in this process."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from audiostyle.batch.request import BatchRequest
from audiostyle.batch.worker import PairWorker
from audiostyle.errors import DiskError
from tests.support.fakes import install

FAULTS = ("kill-once", "kill-always", "disk-full")
"""A file with such an extension beside a content decides what happens to its worker."""


def die() -> None:
    """End the process as a fault in native code does."""
    os.kill(os.getpid(), signal.SIGKILL)


class FaultyWorker(PairWorker):
    """Dies in the middle of a pair, or finds the disk full."""

    busy = False

    def transfer(self, job: Any, callback: Any) -> dict[str, Any]:
        assert not self.busy, "a worker computes one pair at a time"
        self.busy = True
        try:
            return self._transfer(job, callback)
        finally:
            self.busy = False

    def _transfer(self, job: Any, callback: Any) -> dict[str, Any]:
        # Files that were sent lie elsewhere, without the file of the fault.
        content = Path("genres/jazz") / job.pair.content.path.name
        once, always, full = (content.with_suffix(f".{fault}") for fault in FAULTS)

        def watch(event: Any) -> Any:
            if getattr(event, "step", None) == 1:
                if full.exists():
                    raise DiskError(f"{job.output}: cannot be written (No space left on device)")
                if once.exists() or always.exists():
                    once.unlink(missing_ok=True)
                    die()
            return callback(event)

        return super().transfer(job, watch)

    def evaluate(self, job: Any) -> dict[str, Any]:
        return {"size": float(Path(job.output).stat().st_size)}


def make_faulty(pause: float, request: BatchRequest) -> PairWorker:
    """Create a worker whose transfers take three times `pause` seconds."""
    request.threads = 0  # any other number would load TensorFlow
    install(setattr).pause = pause
    return FaultyWorker(request)


def make_fake(pause: float, request: BatchRequest) -> PairWorker:
    """Create a `FaultyWorker` in a process of its own, which imports nothing large."""
    assert "tensorflow" not in sys.modules
    return make_faulty(pause, request)


def make_dying(request: BatchRequest) -> Any:
    """Die before the worker is ready."""
    die()


def make_impossible(request: BatchRequest) -> Any:
    """Raise an error that no worker expects."""
    raise ValueError("no such thing")


class RecordingWorker(PairWorker):
    """A real worker that writes down how TensorFlow computed."""

    def transfer(self, job: Any, callback: Any) -> dict[str, Any]:
        record = super().transfer(job, callback)
        import tensorflow as tf
        from tensorflow.python.framework.config import is_op_determinism_enabled
        from threadpoolctl import threadpool_info

        threading = tf.config.threading
        found = {
            "deterministic": is_op_determinism_enabled(),
            "threads": [
                threading.get_intra_op_parallelism_threads(),
                threading.get_inter_op_parallelism_threads(),
            ],
            "blas": sorted({library["num_threads"] for library in threadpool_info()}),
        }
        Path(f"computed-{os.getpid()}.json").write_text(json.dumps(found))
        return record


def settings_of_workers(folder: Path) -> list[tuple[Any, ...]]:
    """Read determinism and threads of every `RecordingWorker` in a folder."""
    return [tuple(json.loads(p.read_text()).values()) for p in folder.glob("computed-*.json")]


def records(out: str) -> dict[str, Any]:
    """Read the records of a folder, without what differs from run to run."""
    found = {}
    for path in sorted(Path(out).glob("*.wav.json")):
        record = json.loads(path.read_text())
        of_run = ("timings", "time", "command")
        found[path.name] = {k: v for k, v in record.items() if k not in of_run}
        record["output"]["path"] = Path(record["output"]["path"]).name
        # Only known where it was imported: by earlier tests, but not by workers that only pretend.
        record["versions"].pop("tensorflow")
        for step in record["losses"]:
            step.pop("seconds", None)
    return found


class WorkerDied(BaseException):
    """Stands for the death of the process, where a worker has none."""


class RayError(Exception):
    """As `ray.exceptions.RayError`."""


class RayTaskError(RayError):
    """As `ray.exceptions.RayTaskError`: a call raised an exception."""


class ActorDiedError(RayError):
    """As `ray.exceptions.ActorDiedError`."""


class FakeRay:
    """The part of Ray that audiostyle uses, with actors in this process.

    A call runs when it is waited for. What is passed is pickled.
    """

    __spec__ = "found"
    cloudpickle = SimpleNamespace(register_pickle_by_value=lambda module: None)
    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self) -> None:
        self.idle_waits = 0  # so often nothing has ended
        self.actors: list[FakeActor] = []
        self.objects: dict[int, bytes] = {}
        self.stored: list[Any] = []

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 2.0}}]

    def put(self, value: Any) -> int:
        self.stored.append(value)
        self.objects[len(self.stored)] = pickle.dumps(value)
        return len(self.stored)

    def remote(self, **options: Any) -> Any:
        assert options["max_restarts"] == options["max_task_retries"] == 0
        return lambda cls: SimpleNamespace(remote=lambda: FakeActor(self, cls))

    def wait(self, calls: list[Call], **options: Any) -> tuple[list[Call], list[Call]]:
        assert calls, "nothing to wait for"
        if self.idle_waits:
            self.idle_waits -= 1
            return [], calls
        first = min(calls, key=lambda call: call.number)
        first.run()
        return [first], [call for call in calls if call is not first]

    def get(self, reference: Any) -> Any:
        if not isinstance(reference, Call):
            return pickle.loads(self.objects[reference])
        if isinstance(reference.result, Exception):
            raise reference.result
        return reference.result

    def kill(self, actor: FakeActor) -> None:
        actor.alive = False


class FakeActor:
    """An actor in this process."""

    def __init__(self, ray: FakeRay, cls: Any) -> None:
        handler = signal.getsignal(signal.SIGINT)
        self.target = cls()
        signal.signal(signal.SIGINT, handler)
        self.alive = True
        self.n_calls = 0
        ray.actors.append(self)

    def __getattr__(self, name: str) -> Any:
        """Return a method that is called by `remote`."""

        def remote(*arguments: Any) -> Call:
            self.n_calls += 1
            call = Call(self, name, self.n_calls, pickle.dumps(arguments))
            if name in ("stop", "close"):
                call.run()
            return call

        method = SimpleNamespace(remote=remote)
        method.options = lambda concurrency_group: method
        return method


class Call:
    """A call of an actor, and its reference. `number` counts the calls of one actor."""

    def __init__(self, actor: FakeActor, name: str, number: int, arguments: bytes) -> None:
        self.actor, self.name, self.number, self.arguments = actor, name, number, arguments
        self.result: Any = None

    def run(self) -> None:
        try:
            if not self.actor.alive:
                raise ActorDiedError
            method = getattr(self.actor.target, self.name)
            self.result = pickle.loads(pickle.dumps(method(*pickle.loads(self.arguments))))
        except (WorkerDied, ActorDiedError):
            self.actor.alive = False
            self.result = ActorDiedError("The actor died unexpectedly.\n\tip: 10.0.0.7\nand so on")
        except Exception as error:
            self.result = RayTaskError(f"ray::WorkerActor.{self.name}() (ip=10.0.0.7): {error}")
