"""Inputs of a batch: the clips and style files named by CONTENT and STYLE, and their genres.

Globs are expanded here and not by the shell, so that they mean the same on every system and cannot
make a command line too long.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from audiostyle.audio.folder import (
    EXCLUDED,
    OUTPUT,
    OWN,
    STYLE,
    FolderFiles,
    SkippedFile,
    is_own_output,
    list_folder,
    no_clips_error,
    reason_to_skip,
    summarize_skipped,
)
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.files.style_file import SUFFIX, is_style_file
from audiostyle.utils.safe_read import read_text, readings
from audiostyle.utils.suggestions import check_choice


@dataclass(frozen=True)
class BatchInput:
    """A content or a style: one clip, all clips of a genre, or a style file."""

    name: str  # used in output names
    genre: str
    key: str  # path relative to CONTENT or STYLE, with "/": the same on every system
    path: Path  # the clip, the style file, or the folder of the genre
    clips: tuple[Path, ...]  # the files that are read
    # The other files in the folder of a genre, for records.
    skipped: tuple[SkippedFile, ...] = field(default=(), compare=False)


def find_inputs(
    source: str, *, styles: bool = False, genre: str | None = None, exclude: Path | None = None
) -> tuple[list[BatchInput], list[SkippedFile]]:
    """Find the clips named by CONTENT or STYLE, sorted by key, and the files that are left out.

    `source` is a folder, which is searched recursively; a glob, such as ``genres/*/*.wav``;
    ``@FILE``, a list with one path per line, relative to the list; or a file. Style files are
    included if `styles`; the output folder, `exclude`, is skipped if it lies below the source.
    Raises an `AudioFileError` if nothing is found, of kind ``missing`` if the source does not
    exist.
    """
    root, files = _expand(source, exclude)
    excluded = None if exclude is None else real_path(exclude)
    if excluded is not None and real_path(root) not in excluded.parents:
        excluded = None
    inputs: dict[str, BatchInput] = {}
    is_output = functools.cache(lambda folder: excluded in (at := real_path(folder), *at.parents))
    for path in files.clips:
        if excluded is not None and is_output(path.parent):
            files.add(path, OUTPUT)
        elif is_style_file(path) and not styles:
            files.add(path, STYLE)
        else:
            found = _make_input(path, root)
            inputs.setdefault(found.key, found)
    if not inputs:
        raise no_clips_error(source, files.skipped)
    chosen = list(inputs.values())
    if genre is not None:
        check_choice("genre", genre, sorted({found.genre for found in chosen}))
        chosen = [found for found in chosen if found.genre == genre]
    return sorted(chosen, key=lambda found: found.key), files.skipped


def exclude_inputs(
    inputs: Sequence[BatchInput],
    patterns: Sequence[str],
    source: str,
    skipped: list[SkippedFile],
) -> tuple[list[BatchInput], list[str]]:
    """Leave out the inputs whose key or file name matches a pattern, and add them to `skipped`.

    Also returns the patterns that match none. Raises an `AudioFileError` if nothing is left.
    """
    kept: list[BatchInput] = []
    used: set[str] = set()
    for found in inputs:
        names = found.key, found.path.name
        matching = {p for p in patterns if any(fnmatchcase(name, p) for name in names)}
        used |= matching
        if matching:
            skipped.append({"path": str(found.path), "reason": EXCLUDED})
        else:
            kept.append(found)
    if not kept:
        raise no_clips_error(source, skipped)
    return kept, [pattern for pattern in patterns if pattern not in used]


def real_path(path: str | Path) -> Path:
    """Resolve links; unlike `Path.resolve`, do not raise if they form a loop."""
    return Path(os.path.realpath(path))


def genre_of(path: Path) -> str:
    """Return the genre of a clip: from its name, if that is a GTZAN name, else its folder's name.

    Examples
    --------
    >>> genre_of(Path("flat/jazz.00003.wav")), genre_of(Path("genres/bebop/donna lee.flac"))
    ('jazz', 'bebop')
    """
    match = re.fullmatch(r"(?P<genre>[^\W\d]+)\.\d{5}", path.stem)
    return match["genre"] if match else path.absolute().parent.name


def join_genres(
    inputs: Iterable[BatchInput], skipped: Iterable[SkippedFile] = ()
) -> list[BatchInput]:
    """Join the clips of each genre within a folder to one style; keep style files separate."""
    beside: dict[Path, list[SkippedFile]] = {}
    for entry in skipped:
        beside.setdefault(Path(entry["path"]).parent, []).append(entry)
    groups: dict[tuple[Path, str], list[BatchInput]] = {}
    joined = []
    for found in inputs:
        if is_style_file(found.path):
            joined.append(found)
        else:
            groups.setdefault((found.path.parent, found.genre), []).append(found)
    for (folder, genre), members in groups.items():
        members.sort(key=lambda member: member.key)
        parent = members[0].key.rpartition("/")[0]
        key = parent if parent.rpartition("/")[2] == genre else f"{parent}/{genre}".lstrip("/")
        clips = tuple(clip for member in members for clip in member.clips)
        joined.append(BatchInput(genre, genre, key, folder, clips, tuple(beside.get(folder, ()))))
    return sorted(joined, key=lambda found: found.key)


class InputIndex:
    """Finds inputs by key, path, file name, or name without extension, the most exact first."""

    def __init__(self, inputs: Iterable[BatchInput]) -> None:
        self._levels: tuple[dict[str, list[BatchInput]], ...] = ({}, {}, {})
        for found in inputs:
            paths = {found.key, str(found.path), found.path.as_posix(), str(found.path.absolute())}
            names = {found.path.name, found.name}
            alike = {fold(name) for name in (found.key, *names)}
            for level, texts in zip(self._levels, (paths, names, alike), strict=True):
                for text in texts:
                    level.setdefault(text, []).append(found)

    def find(self, wanted: str, table: Path, row: int) -> BatchInput:
        """Find what a row of a table names; raise a `ConfigError` unless it is one input."""
        where = f"{table}, row {row}"
        if not wanted.strip():
            raise ConfigError(f"{where}: content or style is empty; name a clip in both columns")
        texts = [text.replace("\\", "/") for text in readings(wanted)]
        beside = [os.path.abspath(table.parent / text.strip()) for text in texts]
        alike = [fold(text) for text in texts]
        levels = zip(self._levels, ([*texts, *beside], texts, alike), strict=True)
        for level, candidates in levels:
            matches = next((level[text] for text in candidates if text in level), [])
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise ConfigError(
                    f"{where}: {wanted!r} matches {matches[0].key} and {matches[1].key}; give the "
                    "folder as well"
                )
        keys = sorted({found.key for level in self._levels[0].values() for found in level})
        check_choice(f"{where}: clip", wanted.strip(), keys)
        raise AssertionError("a key matches above")


def fold(name: str) -> str:
    """Return what names have in common that some file system, or a reader, takes for the same."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def _make_input(path: Path, root: Path) -> BatchInput:
    key = Path(os.path.relpath(path.absolute(), root)).as_posix()
    is_style = is_style_file(path)
    name = path.name[: -len(SUFFIX)] if is_style else path.stem
    return BatchInput(name, name if is_style else genre_of(path), key, path, (path,))


def _expand(source: str, exclude: Path | None) -> tuple[Path, FolderFiles]:
    """Return the folder that keys are relative to, and the files."""
    if source.startswith("@") and not os.path.exists(source):
        files = _read_list(Path(source[1:]), exclude)
    elif os.path.isdir(source):
        return Path(source).absolute(), list_folder(Path(source), exclude)
    elif os.path.exists(source) or not glob.has_magic(source):
        if not os.path.exists(source):
            raise AudioFileError(f"{source}: no such file or folder; check the name", "missing")
        files = FolderFiles([Path(source)])
    else:
        files = _expand_glob(source, exclude)
        # A name with brackets, used as a pattern, matches something else than itself.
        if not files.clips and "[" in source:
            files = _expand_glob(source.replace("[", "[[]"), exclude)
        if not files.clips:
            why = summarize_skipped(files.skipped)
            if not why and "[" in source:
                why = ["in a pattern [ab] stands for a or b, and [[] for a bracket"]
            raise AudioFileError(
                f"{source}: no audio file matches; {'; '.join(why) or 'check the pattern'}"
            )
    parents = {str(path.absolute().parent) for path in files.clips}
    return Path(os.path.commonpath(parents)) if parents else Path.cwd(), files


def _expand_glob(pattern: str, exclude: Path | None) -> FolderFiles:
    """Expand a glob; a folder stands for all clips in it, and ** for all folders."""
    files = FolderFiles()
    before, *below = re.split(r"(?:^|(?<=/))\*\*(?=/|$)", pattern.replace(os.sep, "/"), maxsplit=1)
    tail = ["**", *filter(None, below[0].split("/"))] if below else ["**"]
    for path in map(Path, sorted(glob.glob(before)) if before else [""]):
        if not os.path.isdir(path):
            reason = reason_to_skip(path.name) or (OWN if is_own_output(path) else "")
            files.add(path, reason, named=True)
            continue
        found = list_folder(path, exclude)
        listed = [(clip, "") for clip in found.clips]
        listed += [(Path(entry["path"]), entry["reason"]) for entry in found.skipped]
        for inner, reason in listed:
            if _matches(inner.relative_to(path).parts, tail):
                files.add(inner, reason, named=bool(below))
    return files


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Match the parts of a path with those of a pattern, in which ** is any number of folders."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_matches(parts[i:], patterns[1:]) for i in range(len(parts) + 1))
    matches = bool(parts) and fnmatch.fnmatch(parts[0], patterns[0])
    return matches and _matches(parts[1:], patterns[1:])


def _read_list(file: Path, exclude: Path | None) -> FolderFiles:
    """Read a list; a line that begins with # is a comment unless there is such a file."""
    try:
        text = read_text(file).replace("\r\n", "\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise AudioFileError(f"{file}: the list cannot be read ({reason})", "missing") from None
    files = FolderFiles()
    # Only line breaks end a name, not all that Python's splitlines knows.
    for line in filter(str.strip, text.split("\n" if "\n" in text else "\r")):
        path = _find_listed(file.parent, line)
        if path is None and line.lstrip().startswith("#"):
            continue
        if path is None:
            missing = file.parent / line.strip()
            raise AudioFileError(f"{missing}: no such file, though {file} lists it", "missing")
        if path.is_dir():
            found = list_folder(path, exclude)
            files.clips += found.clips
            files.skipped += found.skipped
        else:
            files.clips.append(path)
    if not files.clips and not files.skipped:
        raise AudioFileError(f"{file}: lists no files")
    return files


def _find_listed(folder: Path, line: str) -> Path | None:
    """Find the file that a line names as it is, without blanks or quotes, or with backslashes."""
    bare = line.strip()
    for name in (line, bare, bare.strip('"'), bare.strip('"').replace("\\", "/")):
        for reading in readings(name):
            if os.path.exists(folder / reading):
                return folder / reading
    return None
