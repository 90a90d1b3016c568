"""Journal of a batch: append-only JSON lines.

Each line is on the disk before the work goes on. A line that was cut off or damaged is skipped: at
worst, a pair is computed again. One process at a time may append; any process may read.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiostyle.batch import locks
from audiostyle.batch.shards import Shard
from audiostyle.errors import AudioFileError

NAME = "journal.jsonl"
SHARD_NAMES = "journal.*-of-*.jsonl"
SCHEMA = 2  # 2: journals of shards, watched starts, lost pairs
CRASHES = 2  # starts without an end after which a pair is not tried again
LATEST_TIME = 1e11  # in seconds since the epoch; a later time is damage


@dataclass(slots=True)
class PairState:
    """What the journal holds about a pair."""

    fingerprint: str = ""  # of the last event
    status: str = ""  # started, lost, done, failed or interrupted
    # Starts since it last ended that may have crashed the process. A watched start does not count:
    # the watching process survives and reports a lost pair, which does count.
    starts: int = 0
    facts: dict[str, Any] = field(default_factory=dict)  # of the last done or failed line
    scores: dict[str, Any] | None = None  # of the output that exists

    def apply(self, event: Mapping[str, Any]) -> None:
        """Apply a line of the journal."""
        kind = event["event"]
        if kind == "scored":
            self.scores = event["scores"]
            return
        if event["fingerprint"] != self.fingerprint or kind in ("done", "failed"):
            self.starts, self.facts, self.scores = 0, {}, None
        if kind == "lost" or (kind == "started" and not event.get("watched")):
            self.starts += 1
        elif kind != "started":
            self.starts = 0
        self.fingerprint, self.status = event["fingerprint"], kind
        if kind in ("done", "failed"):
            # There may be 100,000 pairs: they share their keys.
            self.facts = {sys.intern(k): v for k, v in event.items() if k not in _COMMON}


_COMMON = ("event", "time", "pair", "fingerprint")  # not among the facts of a pair
_PAIR_EVENTS = ("started", "lost", "done", "failed", "interrupted", "scored")


@dataclass
class JournalState:
    """What all journals of a folder hold."""

    # By path: size, mtime_ns, sha256 and facts of a file when it was last seen.
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pairs: dict[str, PairState] = field(default_factory=dict)
    # Pair names of the last plan by shard, such as "2/8"; the key of the whole batch is empty.
    plans: dict[str, list[str]] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)  # the last line that started a run
    time: float = 0.0  # of the last line, in seconds since the epoch
    unreadable: int = 0  # lines that could not be read

    @property
    def planned(self) -> list[str]:
        """Names of the pairs in the last plan: of the whole batch, or of all started shards."""
        return sorted({name for names in self.plans.values() for name in names})

    def apply(self, event: Mapping[str, Any]) -> None:
        """Apply a line of a journal."""
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
        elif kind in _PAIR_EVENTS:
            self.pairs.setdefault(event["pair"], PairState()).apply(event)
        self.time = max(self.time, float(event["time"]))


def read(folder: Path) -> JournalState:
    """Read the journals of an output folder; without any, the state is empty.

    Raises an `AudioFileError` if a journal exists and cannot be read.
    """
    state = JournalState()
    paths = (folder / NAME, *sorted(folder.glob(SHARD_NAMES)))
    lines = [_read_lines(path, state) for path in paths]
    for _, event in heapq.merge(*lines, key=lambda timed: timed[0]):
        state.apply(event)
    return state


def _read_lines(path: Path, state: JournalState) -> Iterator[tuple[float, Any]]:
    """Yield the lines of a journal with times that never decrease."""
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
                event = parse_line(line)
            except ValueError:
                state.unreadable += bool(line.strip())
                continue
            latest = max(latest, float(event["time"]))
            yield latest, event


class Journal:
    """The journal of a folder or a shard, open for appending and locked against other processes.

    Entering it raises a `BusyError` if another process may work on the same pairs, and a
    `DiskError` if the journal cannot be written.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self._part = f"{shard.number}-of-{shard.of}" if shard else ""
        self.path = folder / (f"journal.{self._part}.jsonl" if shard else NAME)
        self.state = JournalState()  # of all journals of the folder, kept up to date by `append`
        self._stack = contextlib.ExitStack()
        self._descriptor = -1

    def __enter__(self) -> Journal:
        """Lock the journal, read it, and open it."""
        folder = self.path.parent
        with self._stack:
            with locks.guard(folder):
                self._stack.callback(locks.acquire_part(folder, self._part).release)
            self.state = read(folder)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self.path, flags, 0o666)
                self._stack.callback(os.close, self._descriptor)
                size = os.lseek(self._descriptor, 0, os.SEEK_END)
                os.lseek(self._descriptor, max(size - 1, 0), os.SEEK_SET)
                if os.read(self._descriptor, 1) not in (b"", b"\n"):  # the last line was cut off
                    self._write(b"\n")
            except OSError as error:
                raise locks.disk_error(self.path, error) from None
            if not size:
                self.append({"event": "journal", "schema": SCHEMA})
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Close and unlock the journal."""
        self._stack.close()

    @contextlib.contextmanager
    def check_alone(self) -> Iterator[bool]:
        """Yield whether no other process works in the folder; none starts or ends meanwhile."""
        with locks.guard(self.path.parent):
            yield locks.active_parts(self.path.parent) == [self._part]

    def append(self, *events: Mapping[str, Any]) -> None:
        """Append a line per event, with the time added, and wait until they are on the disk."""
        # Of two lines the later one counts, so the time increases even if the clock is set back.
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
            self.state.apply(event)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)


def is_busy(folder: Path) -> bool:
    """Tell whether a process works in a folder at this moment."""
    if not (folder / locks.LOCK_NAME).exists() and not any(folder.glob(locks.SHARD_LOCKS)):
        return False
    with locks.guard(folder):
        return bool(locks.active_parts(folder))


def fingerprint(parameters: Mapping[str, Any], content: str, style: Sequence[str]) -> str:
    """Hash all that determines the sound of a pair: parameters and digests of its inputs."""
    text = json.dumps([parameters, content, list(style)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def inputs_digest(digests: Iterable[str]) -> str:
    """Hash the digests of the inputs of a pair."""
    return fingerprint({}, "", sorted(digests))[:12]


def input_event(path: Path, sha256: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Make the line that describes an input, so that it need not be read again."""
    found = path.stat()
    return {
        "event": "input",
        "path": os.path.abspath(path),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "sha256": sha256,
        "facts": dict(facts),
    }


def find_input(state: JournalState, path: Path) -> dict[str, Any] | None:
    """Return the `input_event` of a file unless the file has changed since."""
    entry = state.inputs.get(os.path.abspath(path))
    with contextlib.suppress(OSError):
        found = path.stat()
        if entry and (found.st_size, found.st_mtime_ns) == (entry["size"], entry["mtime_ns"]):
            return entry
    return None


def parse_line(line: bytes) -> dict[str, Any]:
    """Parse a line of a journal, and check all fields that are used.

    Raises a `ValueError` if it was cut off or damaged; an event of a later version is valid.
    """
    try:
        event = json.loads(line, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not (isinstance(event, dict) and isinstance(event.get("event"), str)):
        raise ValueError("has no event")
    required = _REQUIRED.get(event["event"])
    checked = ["time"] if required is None else [*_CHECKS]
    missing = {"time", *(required or ())} - set(event)
    wrong = [name for name in checked if name in event and not _CHECKS[name](event[name])]
    if missing or wrong:
        raise ValueError(f"lacks {sorted(missing)}, or has no valid {wrong}")
    return event


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not finite")
    return number


def _is_name(value: Any) -> bool:
    """Tell whether a value can be part of a path."""
    try:
        return bool(isinstance(value, str) and os.fsencode(value)) and "\0" not in value
    except UnicodeEncodeError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e300


_SHARD = re.compile(r"([1-9]\d{0,8}/[1-9]\d{0,8})?", re.ASCII)
_PAIR = ("pair", "fingerprint")
_REQUIRED: dict[str, tuple[str, ...]] = {
    "input": ("path", "size", "mtime_ns", "sha256", "facts"),
    "plan": ("pairs",),
    **dict.fromkeys(("started", "lost", "interrupted"), _PAIR),
    "done": (*_PAIR, "size"),
    "failed": (*_PAIR, "kind", "reason"),
    "scored": ("pair", "scores"),
}
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "time": lambda value: _is_number(value) and value <= LATEST_TIME,
    **dict.fromkeys(("path", "pair"), _is_name),
    **dict.fromkeys(("fingerprint", "settings", "kind", "reason", "sha256"), _is_text),
    **dict.fromkeys(("seconds", "content_seconds"), _is_number),
    "pairs": lambda value: isinstance(value, list) and all(map(_is_name, value)),
    "shard": lambda value: _is_text(value) and _SHARD.fullmatch(value) is not None,
    "size": lambda value: type(value) is int and 0 <= value < 1 << 63,
    "mtime_ns": lambda value: isinstance(value, int),
    "scores": lambda value: value is None or isinstance(value, dict),
    "facts": lambda value: isinstance(value, dict),
}
