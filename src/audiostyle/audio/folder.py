"""Files of a folder: the clips, and every other file with the reason why it is not used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audiostyle.audio.reader import CLIP_EXTENSIONS
from audiostyle.errors import AudioFileError
from audiostyle.utils import safe_read

HIDDEN, UNKNOWN, STYLE = "hidden", "unknown format", "style file"
OWN, OUTPUT, EXCLUDED = "written by audiostyle", "in the output folder", "excluded"
BROKEN, LOOP, SPECIAL = "broken link", "loop of links", "not a regular file"
LISTED, UNREADABLE = "link to a folder listed already", "unreadable"
REASONS = (UNKNOWN, HIDDEN, UNREADABLE, BROKEN, LOOP, LISTED, SPECIAL, STYLE, OWN, OUTPUT, EXCLUDED)
OWN_NAMES = ("journal.jsonl", "results.jsonl", "results.csv", "summary.csv", "skipped.csv")
SHOWN = 3  # names per reason in a message; records and tables hold all

SkippedFile = dict[str, str]  # path and reason


@dataclass
class FolderFiles:
    """Clips, sorted, and the files that are left out."""

    clips: list[Path] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)

    def add(self, path: Path, reason: str, *, named: bool = False) -> None:
        """Add a clip, or a file with a reason to leave it out; a style file counts if `named`."""
        if reason and not (named and reason == STYLE):
            self.skipped.append({"path": str(path), "reason": reason})
        else:
            self.clips.append(path)


def find_clips(folder: str | Path) -> FolderFiles:
    """List the files of a folder; raise an `AudioFileError` if no clip is among them."""
    found = list_folder(Path(folder))
    if not found.clips:
        raise no_clips_error(str(folder), found.skipped)
    return found


def no_clips_error(source: str, skipped: Sequence[SkippedFile]) -> AudioFileError:
    """Return the error of a source without clips."""
    why = "; ".join(summarize_skipped(skipped)) or "no files at all"
    return AudioFileError(f"{source}: holds no audio files that can be used here ({why})")


def list_folder(folder: Path, exclude: Path | None = None) -> FolderFiles:
    """List the files of a folder and its subfolders, through links, except those in `exclude`."""
    files = FolderFiles()
    for path, reason in _walk(folder, exclude):
        files.add(path, reason)
    files.clips.sort()
    files.skipped.sort(key=lambda entry: entry["path"])
    return files


def summarize_skipped(skipped: Sequence[SkippedFile], where: str = "") -> list[str]:
    """Describe files that are not used: one line that counts them, and one per unusable clip."""
    groups: dict[str, list[str]] = {}
    for entry in skipped:
        if entry["reason"] in REASONS:
            name = os.path.basename(entry["path"])
            shown = name if name.isprintable() else ascii(name)
            groups.setdefault(entry["reason"], []).append(shown)
    parts = []
    for reason, names in sorted(groups.items(), key=lambda group: REASONS.index(group[0])):
        more = ", ..." if len(names) > SHOWN else ""
        parts.append(f"{len(names)} {reason} ({', '.join(names[:SHOWN])}{more})")
    n = sum(map(len, groups.values()))
    counted = f"{where + ': ' if where else ''}left out {n} file{'s'[: n != 1]}: "
    lines = [counted + ", ".join(parts)] if parts else []
    return lines + [f"skipped {e['reason']}" for e in skipped if e["reason"] not in REASONS]


def reason_to_skip(name: str, beside: set[str] | frozenset[str] = frozenset()) -> str:
    """Tell by its name why a file is not read; empty for a clip. `beside` are names next to it."""
    if name.startswith("."):
        return HIDDEN
    if os.path.splitext(name)[1].lower() in CLIP_EXTENSIONS:
        return ""
    if name.lower().endswith(".style.npz"):
        return STYLE
    is_record = name.endswith(".json") and name[: -len(".json")] in beside
    return OWN if is_record or name in OWN_NAMES else UNKNOWN


def is_own_output(path: Path) -> bool:
    """Tell whether a clip was made by an earlier run, whose record lies beside it."""
    try:
        record = json.loads(safe_read.read_file(path.with_name(path.name + ".json")))
        return isinstance(record, dict) and {"audiostyle", "output", "parameters"} <= {*record}
    except (OSError, ValueError, RecursionError):
        return False


def _walk(folder: Path, exclude: Path | None) -> Iterator[tuple[Path, str]]:
    """Yield every file with the reason why it is left out; the reason is empty for a clip.

    A folder that contains the link to itself is a loop, which would have no end. Folders that link
    each other have a path for every order of them: a link behind a link is followed only if its
    folder is new.
    """
    top = Path(os.path.realpath(folder))
    excluded = None if exclude is None else _identity(exclude)
    listed: set[tuple[int, int] | None] = set()
    waiting = [(folder, frozenset(map(_identity, (top, *top.parents))), "", False)]
    while waiting:
        parent, chain, hidden, linked = waiting.pop()
        try:
            with os.scandir(parent) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            yield parent, UNREADABLE
            continue
        names = {entry.name for entry in found}
        for entry in found:
            path = parent / entry.name
            reason = hidden or reason_to_skip(entry.name, names)
            if not reason and f"{entry.name}.json" in names and is_own_output(path):
                reason = OWN
            if not _is_folder(entry):
                yield path, reason if reason == HIDDEN else _fault(entry) or reason
            elif (own := _identity(path)) in chain:
                yield path, LOOP
            elif own == excluded and own is not None:
                yield path, OUTPUT
            elif linked and entry.is_symlink() and own in listed:
                yield path, LISTED
            else:
                inherited = HIDDEN if reason == HIDDEN else ""
                if not inherited:
                    listed.add(own)
                waiting.append((path, chain | {own}, inherited, linked or entry.is_symlink()))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _fault(entry: os.DirEntry[str]) -> str:
    """Tell why a directory entry is not a file that can be read."""
    try:
        if entry.is_file():
            return ""
    except PermissionError:
        return ""  # not left out: reading it reports the error
    except OSError:
        return BROKEN
    return SPECIAL if os.path.exists(entry.path) else BROKEN


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what a folder is known by, through any link; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
