"""What a batch has done, in an append-only file of JSON lines that survives any way to die.

Each line is on the disk before the work goes on. A line that was cut off by a crash is skipped, and
so is whatever else cannot be read: the worst that is lost is that a pair is computed again. One
process at a time may append; any may read.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from audiostyle.batch import locks
from audiostyle.batch.journal_lines import parse
from audiostyle.batch.shards import Shard
from audiostyle.errors import AudioFileError

NAME = "journal.jsonl"
SHARD_NAMES = "journal.*-of-*.jsonl"
SCHEMA = 2  # 2: journals of shards, starts that are watched, pairs that were lost
CRASHES = 2  # starts without an end after which a pair is left alone


_COMMON = ("event", "time", "pair", "fingerprint")  # kept elsewhere, or of no use
_TYPICAL = (  # what most lines share, so that it need not be kept with each
    b'{"kind": "unreadable", "reason": "", "size": , "seconds": 0.0, "content_seconds": 30.0, '
    b'"settings": "", "sha256": "", "steps": 20, "stopped": "iterations", "restarts": 0, "device": '
    b'"/CPU:0", "precision": "bfloat16", "inversion_convergence_db": -9., "loudness_gain_db": 0., '
    b'"limiter_reduction_db": 0.0, "notes": [], "start_loss_content": 0., "start_loss_style": 0., '
    b'"start_loss_texture": 0., "start_loss_energy": 0., "start_loss_total": 0., "loss_content": '
    b'0., "loss_style": 0., "loss_total": 0., "seconds_load": 0., "seconds_descent": 0., '
    b'"seconds_inversion": 0.}'
)


@dataclass(slots=True)
class PairState:
    """What the journal knows of a pair.

    Attributes
    ----------
    fingerprint : str
        Of what the last event was about.
    status : str
        ``started``, ``lost``, ``done``, ``failed`` or ``interrupted``.
    starts : int
        How often it was started since it last ended, and may have taken its process down with it.
        A start that is watched from outside does not count, as whoever watches survives, and says
        that the pair was lost; that does.
    packed : bytes
        `facts`, made small: there may be a hundred thousand of them.
    scores : dict or None
        What ``--evaluate`` found of the output that is there.
    """

    fingerprint: str = ""
    status: str = ""
    starts: int = 0
    packed: bytes = b""
    scores: dict[str, Any] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What its last ``done`` or ``failed`` line says; empty before there is one."""
        if not self.packed:
            return {}
        unpack = zlib.decompressobj(zdict=_TYPICAL)
        return dict(json.loads(unpack.decompress(self.packed) + unpack.flush()))

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one line of the journal.

        Parameters
        ----------
        event : dict of str to object
        """
        kind = event["event"]
        if kind == "scored":
            self.scores = event["scores"]
            return
        if event["fingerprint"] != self.fingerprint or kind in ("done", "failed"):
            self.starts = 0
            self.packed, self.scores = b"", None
        if kind == "lost" or (kind == "started" and not event.get("watched")):
            self.starts += 1
        elif kind != "started":
            self.starts = 0
        self.fingerprint, self.status = event["fingerprint"], kind
        if kind in ("done", "failed"):
            facts = {name: value for name, value in event.items() if name not in _COMMON}
            pack = zlib.compressobj(1, zdict=_TYPICAL)
            self.packed = pack.compress(json.dumps(facts).encode()) + pack.flush()


@dataclass
class JournalState:
    """All that the journals of a folder say.

    Attributes
    ----------
    inputs : dict of str to dict
        By path: ``size``, ``mtime_ns``, ``sha256`` and ``facts`` of a file as it was last seen.
    pairs : dict of str to PairState
    plans : dict of str to list of str
        Pairs of the last plan, by shard, as ``2/8``; the whole is the shard without a name.
    run : dict
        The last line that began a run.
    time : float
        When the last line was written, in seconds since the epoch.
    unreadable : int
        Lines that could not be read.
    """

    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pairs: dict[str, PairState] = field(default_factory=dict)
    plans: dict[str, list[str]] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    time: float = 0.0
    unreadable: int = 0

    @property
    def planned(self) -> list[str]:
        """Pairs of the last plan, be it of the whole or of the shards that were begun."""
        if len(self.plans) == 1:
            return next(iter(self.plans.values()))
        return sorted({name for names in self.plans.values() for name in names})

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one line of a journal.

        Parameters
        ----------
        event : dict of str to object
        """
        kind = event["event"]
        if kind == "input":
            self.inputs[event["path"]] = dict(event)
        elif kind == "plan":
            shard = event.get("shard", "")
            division = shard.partition("/")[2]
            kept = {s: names for s, names in self.plans.items() if s.partition("/")[2] == division}
            self.plans = {**kept, shard: list(event["pairs"])}
        elif kind == "run":
            self.run = dict(event)
        elif kind in ("started", "lost", "done", "failed", "interrupted", "scored"):
            self.pairs.setdefault(event["pair"], PairState()).take(event)
        self.time = max(self.time, float(event["time"]))


def read(folder: Path) -> JournalState:
    """Read the journals of a batch; there need not be one yet.

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
        If one is there, and cannot be read.
    """
    state = JournalState()
    lines = [_lines(path, state) for path in (folder / NAME, *sorted(folder.glob(SHARD_NAMES)))]
    for _, line in heapq.merge(*lines, key=lambda timed: timed[0]):
        state.take(line)
    return state


def _lines(path: Path, state: JournalState) -> Iterator[tuple[float, Any]]:
    """Yield the lines of a journal with their time, which is never less than that of another."""
    try:
        stream = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror})") from None
    latest = 0.0
    with stream:
        for line in stream:
            try:
                event = parse(line)
            except ValueError:
                state.unreadable += bool(line.strip())
                continue
            latest = max(latest, float(event["time"]))
            yield latest, event


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
    """The journal of a folder or a shard, open for appending, and locked against other processes.

    Parameters
    ----------
    folder : Path
    shard : Shard, optional
    tidy : callable, optional
        Called before anything else if no other process works in the folder.

    Attributes
    ----------
    state : State
        What all journals of the folder held when it was opened, and what was appended since.

    Raises
    ------
    BusyError
        On entering, if another process does the same work, or may.
    DiskError
        If it cannot be written.
    """

    def __init__(
        self, folder: Path, shard: Shard | None = None, tidy: Callable[[], None] | None = None
    ) -> None:
        self._tag = f"{shard.number}-of-{shard.of}" if shard else ""
        self.path = folder / (f"journal.{self._tag}.jsonl" if shard else NAME)
        self.state = JournalState()
        self._tidy = tidy
        self._stack = contextlib.ExitStack()
        self._descriptor = -1

    def __enter__(self) -> Journal:
        """Lock it, read it, and open it."""
        folder = self.path.parent
        with self._stack:
            with locks.gate(folder):
                self._stack.enter_context(locks.claim(folder, self._tag))
                if self._tidy is not None and locks.holders(folder) == [self._tag]:
                    self._tidy()
            self.state = read(folder)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self.path, flags, 0o666)
                self._stack.callback(os.close, self._descriptor)
                if (size := os.fstat(self._descriptor).st_size) and not self._ends_a_line(size):
                    self._write(b"\n")
            except OSError as error:
                raise locks.disk_error(self.path, error) from None
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

    @contextlib.contextmanager
    def last(self) -> Iterator[bool]:
        """Say whether no other process works in the folder; none begins or ends meanwhile.

        Yields
        ------
        bool
        """
        with locks.gate(self.path.parent):
            yield locks.holders(self.path.parent) == [self._tag]

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
        # Later than all that is there: which of two lines counts is told by their times, also after
        # the clock was set back.
        now = round(max(time.time(), self.state.time + 0.001), 3)
        stamped = [{**event, "time": now} for event in events]
        lines = "".join(json.dumps(event, allow_nan=False) + "\n" for event in stamped)
        size = os.fstat(self._descriptor).st_size
        try:
            self._write(lines.encode())
        except OSError as error:
            with contextlib.suppress(OSError):  # half a line would spoil the next one
                os.ftruncate(self._descriptor, size)
            raise locks.disk_error(self.path, error) from None
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


def is_busy(folder: Path) -> bool:
    """Tell whether a process works in a folder at this moment.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    if not (folder / locks.GATE_NAME).exists():
        return False
    with locks.gate(folder):
        return bool(locks.holders(folder))


def input_event(path: Path, sha256: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Make the line that remembers what an input is, so that it need not be read again.

    Parameters
    ----------
    path : Path
    sha256 : str
    facts : dict of str to object

    Returns
    -------
    dict of str to object
    """
    found = path.stat()
    return {
        "event": "input",
        "path": os.path.abspath(path),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "sha256": sha256,
        "facts": dict(facts),
    }


def known_digests(state: JournalState, paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
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
