"""Workers of a Ray cluster for tests: transfers that take no time, and contents with a fate."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from audiostyle.batch.request import BatchRequest
from audiostyle.batch.worker import PairWorker
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import DiskError
from tests.support.fakes import install

FATES = ("kill-once", "kill-always", "disk-full")
"""A file with such an extension beside a content says what becomes of its worker."""


class FatefulWorkshop(PairWorker):
    """Dies in the middle of a pair as of a fault in native code, or finds the disk full."""

    busy = False

    def transfer(self, job: Any, callback: Any) -> dict[str, Any]:
        assert not self.busy, "a worker makes one pair at a time"
        self.busy = True
        try:
            return self._transfer(job, callback)
        finally:
            self.busy = False

    def _transfer(self, job: Any, callback: Any) -> dict[str, Any]:
        once, always, full = (job.pair.content.path.with_suffix(f".{fate}") for fate in FATES)

        def watch(event: Any) -> Any:
            if getattr(event, "step", None) == 1:
                if full.exists():
                    raise DiskError("out: cannot be written (No space left on device)")
                if once.exists() or always.exists():
                    once.unlink(missing_ok=True)
                    os.kill(os.getpid(), signal.SIGKILL)
            return callback(event)

        return super().transfer(job, watch)

    def evaluate(self, job: Any) -> dict[str, Any]:
        return {"size": float(Path(job.output).stat().st_size)}


def make_fake(pause: float, request: BatchRequest, config: TransferConfig) -> PairWorker:
    """Make a worker whose transfers take three times `pause` seconds."""
    assert "tensorflow" not in sys.modules
    request.threads = 0  # any other number would load it
    install(setattr).pause = pause
    return FatefulWorkshop(request, config)


class Witness(PairWorker):
    """A real one, which writes down how TensorFlow computed."""

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


def witnessed(folder: Path) -> list[tuple[Any, ...]]:
    """Read whether sums were in order, and the threads, of every `Witness` in a folder."""
    return [tuple(json.loads(p.read_text()).values()) for p in folder.glob("computed-*.json")]


def records(out: str) -> dict[str, Any]:
    """Read the records of a folder, but for what differs from run to run."""
    found = {}
    for path in sorted(Path(out).glob("*.wav.json")):
        record = json.loads(path.read_text())
        found[path.name] = {k: v for k, v in record.items() if k != "timings"}
        record["output"]["path"] = Path(record["output"]["path"]).name
        # Told where it was imported: by tests before these, but not by workers that only pretend.
        record["versions"].pop("tensorflow")
        for step in record["losses"]:
            step.pop("seconds", None)
    return found
