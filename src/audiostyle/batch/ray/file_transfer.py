"""Inputs and outputs of a worker that shares no folder with the driver.

What the worker lacks is put into a folder of its own; a job is rewritten to what lies there, and
whatever is said about it is rewritten to the driver's names.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiostyle.batch.inputs import BatchInput
from audiostyle.batch.plan import Job
from audiostyle.utils import atomic_files


@dataclass
class SentFiles:
    """What the driver sends along with a job.

    Attributes
    ----------
    inputs : dict of str to object
        References to the bytes of inputs, by absolute path.
    output, record : bytes or None
        Of a pair that is only to be judged.
    """

    inputs: dict[str, Any] = field(default_factory=dict)
    output: bytes | None = None
    record: bytes | None = None


@dataclass
class ReturnedOutput:
    """What a worker made: the sound, and the record with the driver's names."""

    sound: bytes
    record: bytes

    def publish(self, output: Path) -> None:
        """Write both to where they belong, whole or not at all.

        Parameters
        ----------
        output : Path

        Raises
        ------
        OutputError
        """
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_files.Staging() as staging:
            staging.write(output, self.sound)
            staging.write(atomic_files.record_path(output), self.record)
            staging.publish()


class WorkerFolder:
    """A folder of a worker's own. Inputs stay in it, as the next pairs need them again."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="audiostyle-")
        self._root = Path(self._folder.name)
        self._folders: dict[str, Path] = {}

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()

    def place(self, path: str) -> Path:
        """Say where an input lies here; those of one folder lie in one folder.

        Parameters
        ----------
        path : str

        Returns
        -------
        Path
        """
        parent, name = os.path.split(path)
        folder = self._folders.get(parent)
        if folder is None:
            folder = self._folders[parent] = self._root / "in" / str(len(self._folders))
            folder.mkdir(parents=True)
        return folder / name

    def rewrite(self, job: Job, missing: frozenset[str]) -> tuple[Job, dict[str, str]]:
        """Make a job about the files that lie here.

        Parameters
        ----------
        job : Job
        missing : frozenset of str
            Inputs that only lie here, by absolute path.

        Returns
        -------
        job : Job
        names : dict of str to str
            The driver's names, by those here.
        """
        names: dict[str, str] = {}

        def moved(path: Path) -> Path:
            absolute = os.path.abspath(path)
            if absolute not in missing:
                return path
            here = self.place(absolute)
            names[str(here)] = str(path)
            return here

        def moved_source(source: BatchInput) -> BatchInput:
            clips = tuple(moved(clip) for clip in source.clips)
            if source.path in source.clips:
                return dataclasses.replace(source, path=moved(source.path), clips=clips)
            path = source.path  # the folder of a genre
            for here, clip in zip(clips, source.clips, strict=True):
                if here != clip:
                    path = here.parent
                    names[str(path)] = str(source.path)
                    break
            return dataclasses.replace(source, path=path, clips=clips)

        pair = dataclasses.replace(
            job.pair, content=moved_source(job.pair.content), style=moved_source(job.pair.style)
        )
        output = self._root / "out" / job.pair.id
        names[str(output)] = str(job.output)
        digests = {
            os.path.abspath(self.place(path) if path in missing else path): digest
            for path, digest in job.digests.items()
        }
        return dataclasses.replace(job, pair=pair, output=output, digests=digests), names


def rename(value: Any, names: Mapping[str, str]) -> Any:
    """Replace names wherever they stand in plain values.

    Parameters
    ----------
    value : Any
        Made of dictionaries, lists, strings and the like.
    names : mapping of str to str
        None of them occurs by chance.

    Returns
    -------
    Any
    """
    if isinstance(value, dict):
        return {name: rename(entry, names) for name, entry in value.items()}
    if isinstance(value, list):
        return [rename(entry, names) for entry in value]
    if isinstance(value, str):
        for here in sorted(names, key=len, reverse=True):
            value = value.replace(here, names[here])
    return value
