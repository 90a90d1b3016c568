"""What a batch has done, in an append-only file of JSON lines that survives any way to die.

Each line is on the disk before the work goes on. A line that was cut off by a crash is skipped, and
so is whatever else cannot be read: the worst that is lost is that a pair is computed again. One
process at a time may append; any may read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from audiostyle.errors import AudioFileError, BusyError, DiskError
from audiostyle.outputs import write_error

NAME = "journal.jsonl"
LOCK_NAME = ".journal.lock"
SCHEMA = 1
CRASHES = 2  # starts without an end after which a pair is left alone


@dataclass
class PairState:
    """What the journal knows of a pair.

    Attributes
    ----------
    fingerprint : str
        Of what the last event was about.
    status : str
        ``started``, ``done``, ``failed`` or ``interrupted``.
    starts : int
        How often it was started since it last ended.
    facts : dict
        The whole of its last ``done`` or ``failed`` line.
    scores : dict or None
        What ``--evaluate`` found of the output that is there.
    """

    fingerprint: str = ""
    status: str = ""
    starts: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one line of the journal."""
        kind = event["event"]
        if kind == "scored":
            self.scores = event["scores"]
            return
        if event["fingerprint"] != self.fingerprint or kind in ("done", "failed"):
            self.starts = 0
            self.facts, self.scores = {}, None
        if kind == "started":
            self.starts += 1
        else:
            self.starts = 0
        self.fingerprint, self.status = event["fingerprint"], kind
        if kind in ("done", "failed"):
            self.facts = dict(event)


@dataclass
class State:
    """All that a journal says.

    Attributes
    ----------
    inputs : dict of str to dict
        By path: ``size``, ``mtime_ns``, ``sha256`` and ``facts`` of a file as it was last seen.
    pairs : dict of str to PairState
    planned : list of str
        Pairs of the last plan.
    run : dict
        The last line that began a run.
    time : float
        When the last line was written, in seconds since the epoch.
    unreadable : int
        Lines that could not be read.
    """

    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pairs: dict[str, PairState] = field(default_factory=dict)
    planned: list[str] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    time: float = 0.0
    unreadable: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one line of the journal."""
        kind = event["event"]
        if kind == "input":
            self.inputs[event["path"]] = dict(event)
        elif kind == "plan":
            self.planned = list(event["pairs"])
        elif kind == "run":
            self.run = dict(event)
        elif kind in ("started", "done", "failed", "interrupted", "scored"):
            self.pairs.setdefault(event["pair"], PairState()).take(event)
        self.time = float(event["time"])


def read(folder: Path) -> State:
    """Read the journal of a batch; there need not be one yet.

    Parameters
    ----------
    folder : Path
        Of the outputs.

    Returns
    -------
    State

    Raises
    ------
    AudioFileError
        If it is there, and cannot be read.
    """
    state = State()
    try:
        data = (folder / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return state
    except OSError as error:
        raise AudioFileError(f"{folder / NAME}: cannot be read ({error.strerror})") from None
    for line in data.splitlines():
        try:
            state.take(json.loads(line))
        except (ValueError, LookupError, TypeError, AttributeError):
            state.unreadable += bool(line.strip())
    return state


def fingerprint(parameters: Mapping[str, Any], content: str, style: Sequence[str]) -> str:
    """Sum up all that decides what a pair sounds like.

    Parameters
    ----------
    parameters : mapping
        Of plain values.
    content : str
        Digest of the content.
    style : sequence of str
        Digests of the clips of the style, in the order in which they are read.

    Returns
    -------
    str
    """
    text = json.dumps([parameters, content, list(style)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Journal:
    """The journal of a folder, open for appending, and locked against other processes.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    state : State
        What it held when it was opened, and what was appended since.

    Raises
    ------
    BusyError
        On entering, if another process has it open.
    DiskError
        If it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.state = State()
        self._stack = contextlib.ExitStack()
        self._descriptor = -1

    def __enter__(self) -> Journal:
        """Lock it, read it, and open it."""
        with self._stack:
            self._stack.enter_context(_Lock(self.path.with_name(LOCK_NAME)))
            self.state = read(self.path.parent)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self.path, flags, 0o666)
                self._stack.callback(os.close, self._descriptor)
                if (size := os.fstat(self._descriptor).st_size) and not self._ends_a_line(size):
                    self._write(b"\n")
            except OSError as error:
                raise _disk_error(self.path, error) from None
            if not size:
                self.append({"event": "journal", "schema": SCHEMA})
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, and let others have it."""
        self._stack.close()

    def append(self, *events: Mapping[str, Any]) -> None:
        """Write lines, and wait until they are on the disk.

        Parameters
        ----------
        *events : mapping
            Of plain values, each with its ``event``; the time is added.

        Raises
        ------
        DiskError
        """
        stamped = [{**event, "time": round(time.time(), 3)} for event in events]
        lines = "".join(json.dumps(event, allow_nan=False) + "\n" for event in stamped)
        size = os.fstat(self._descriptor).st_size
        try:
            self._write(lines.encode())
        except OSError as error:
            with contextlib.suppress(OSError):  # half a line would spoil the next one
                os.ftruncate(self._descriptor, size)
            raise _disk_error(self.path, error) from None
        for event in stamped:
            self.state.take(event)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)

    def _ends_a_line(self, size: int) -> bool:
        os.lseek(self._descriptor, size - 1, os.SEEK_SET)
        return os.read(self._descriptor, 1) == b"\n"


def _disk_error(path: Path, error: OSError) -> DiskError:
    """Say that there is no journal: whatever the reason, no pair can be done without."""
    return DiskError(str(write_error(path, error, path.parent)))


def is_busy(folder: Path) -> bool:
    """Tell whether a process works in a folder at this moment."""
    path = folder / LOCK_NAME
    if not path.exists():
        return False
    try:
        with _Lock(path):
            return False
    except BusyError:
        return True


class _Lock:
    """A file that one process at a time may hold; it is free as soon as that process is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> _Lock:
        try:
            self._file = self._path.open("a+b")
        except OSError as error:
            raise _disk_error(self._path, error) from None
        try:
            _lock(self._file.fileno())
        except OSError:
            self._file.close()
            raise BusyError(
                f"{self._path.parent}: another process works in this folder; wait for it, or take "
                "another folder"
            ) from None
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._file.close()  # this gives the lock up, too


if os.name == "nt":

    def _lock(descriptor: int) -> None:
        import msvcrt

        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:

    def _lock(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def input_event(path: Path, sha256: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Make the line that remembers what an input is, so that it need not be read again."""
    found = path.stat()
    return {
        "event": "input",
        "path": os.path.abspath(path),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "sha256": sha256,
        "facts": dict(facts),
    }


def remembered(state: State, paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Say which files are what they were when the journal last saw them.

    Parameters
    ----------
    state : State
    paths : iterable of Path

    Returns
    -------
    dict of Path to dict
        What is known of them; files that are new, gone or changed are left out.
    """
    known: dict[Path, dict[str, Any]] = {}
    for path in paths:
        entry = state.inputs.get(os.path.abspath(path))
        with contextlib.suppress(OSError):
            found = path.stat()
            if entry and (found.st_size, found.st_mtime_ns) == (entry["size"], entry["mtime_ns"]):
                known[path] = entry
    return known
