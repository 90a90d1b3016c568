"""File transfer between the driver and workers that share no folder.

A worker keeps inputs in a temporary folder and runs a copy of the job with local paths. Whatever it
reports has the driver's paths again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiostyle.batch.inputs import BatchInput
from audiostyle.batch.plan import Job
from audiostyle.utils import atomic_files


@dataclass
class SentFiles:
    """What the driver sends with a job."""

    inputs: dict[str, Any] = field(default_factory=dict)  # references to bytes, by absolute path
    output: bytes | None = None  # output and record of a pair that is only evaluated
    record: bytes | None = None


@dataclass
class ReturnedOutput:
    """What a worker returns: the sound, and the record with the driver's paths."""

    sound: bytes
    record: bytes

    def publish(self, output: Path) -> None:
        """Write both files, whole or not at all, or raise an `OutputError`."""
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_files.Staging() as staging:
            staging.write(output, self.sound)
            staging.write(atomic_files.record_path(output), self.record)
            staging.publish()


class FileSender:
    """Puts each input into Ray's object store once, and drops it when no job needs it any more."""

    def __init__(self, ray: Any, jobs: Sequence[Job]) -> None:
        self._ray = ray
        self._uses = Counter(path for job in jobs for path in job.digests)
        self._references: dict[str, Any] = {}

    def collect(self, job: Job) -> SentFiles:
        """Collect what a worker needs for a job; it fetches only the inputs it lacks."""
        sent = SentFiles()
        for path in job.digests:
            if path not in self._references:
                self._references[path] = self._ray.put(Path(path).read_bytes())
            sent.inputs[path] = self._references[path]
        if not job.compute:
            sent.output = job.output.read_bytes()
            with contextlib.suppress(OSError):
                sent.record = atomic_files.record_path(job.output).read_bytes()
        return sent

    def release(self, job: Job) -> None:
        """Drop the inputs that only this job needed; it has ended."""
        for path in job.digests:
            self._uses[path] -= 1
            if self._uses[path] <= 0:
                self._references.pop(path, None)


class WorkerFolder:
    """Temporary folder of a worker. Inputs stay in it, as later pairs need them again."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="audiostyle-")
        self._root = Path(self._folder.name)
        self._folders: dict[str, Path] = {}

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    def local_path(self, path: str) -> Path:
        """Return the local path of an input; inputs of one folder stay in one folder."""
        parent, name = os.path.split(path)
        folder = self._folders.get(parent)
        if folder is None:
            folder = self._folders[parent] = self._root / "in" / str(len(self._folders))
            folder.mkdir(parents=True)
        return folder / name

    def store(self, inputs: Mapping[str, Any]) -> None:
        """Fetch the inputs that are not in the folder yet from the object store."""
        for path, reference in inputs.items():
            local = self.local_path(path)
            if not local.exists():
                import ray

                part = local.with_name(local.name + ".part")
                part.write_bytes(ray.get(reference))
                part.replace(local)

    def localize(self, job: Job) -> tuple[Job, dict[str, str]]:
        """Return a copy of the job with local paths, and the driver's paths by local path."""
        names: dict[str, str] = {}

        def localize_path(path: Path) -> Path:
            local = self.local_path(os.path.abspath(path))
            names[str(local)] = str(path)
            return local

        def localize_input(source: BatchInput) -> BatchInput:
            clips = tuple(localize_path(clip) for clip in source.clips)
            if source.path in source.clips:
                return dataclasses.replace(source, path=localize_path(source.path), clips=clips)
            folder = clips[0].parent  # of a genre
            names[str(folder)] = str(source.path)
            return dataclasses.replace(source, path=folder, clips=clips)

        content, style = localize_input(job.pair.content), localize_input(job.pair.style)
        output = self._root / "out" / job.pair.id
        names[str(output)] = str(job.output)
        digests = {str(self.local_path(path)): digest for path, digest in job.digests.items()}
        pair = dataclasses.replace(job.pair, content=content, style=style)
        return dataclasses.replace(job, pair=pair, output=output, digests=digests), names


def rename(value: Any, names: Mapping[str, str]) -> Any:
    """Replace the keys of `names` in all strings of a JSON-like value; none may occur by chance."""
    if isinstance(value, dict):
        return {name: rename(entry, names) for name, entry in value.items()}
    if isinstance(value, list):
        return [rename(entry, names) for entry in value]
    if isinstance(value, str):
        for local in sorted(names, key=len, reverse=True):
            value = value.replace(local, names[local])
    return value
