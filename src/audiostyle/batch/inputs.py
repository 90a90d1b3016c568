"""Inputs of a batch: the clips and style files named by CONTENT and STYLE, and their genres.

Globs are expanded here and not by the shell, so that they mean the same on every system and cannot
make a command line too long.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from audiostyle.audio import reader
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.files.style_file import SUFFIX, is_style_file
from audiostyle.utils import safe_read
from audiostyle.utils.suggestions import check_choice


@dataclass(frozen=True)
class BatchInput:
    """A content or a style: one clip, all clips of a genre, or a style file."""

    name: str  # used in output names
    genre: str
    key: str  # path relative to CONTENT or STYLE, with "/": the same on every system
    path: Path  # the clip, the style file, or the folder of the genre
    clips: tuple[Path, ...]  # the files that are read


def find_inputs(
    source: str, *, styles: bool = False, genre: str | None = None, exclude: Path | None = None
) -> list[BatchInput]:
    """Find the clips named by CONTENT or STYLE, sorted by key.

    `source` is a folder, which is searched recursively; a glob, such as ``genres/*/*.wav``;
    ``@FILE``, a list with one path per line, relative to the list; or a file. Style files are
    included if `styles`; the output folder, `exclude`, is skipped if it lies below the source.
    Raises an `AudioFileError` if nothing is found, of kind ``missing`` if the source does not
    exist.
    """
    root, paths = _expand(source)
    paths = [path for path in paths if styles or not is_style_file(path)]
    if exclude is not None:
        excluded = real_path(exclude)
        if real_path(root) in excluded.parents:
            paths = [path for path in paths if excluded not in real_path(path).parents]
    if not paths:
        raise AudioFileError(f"{source}: holds no audio files that can be used here")
    inputs = [_make_input(path, root) for path in dict.fromkeys(paths)]
    if genre is not None:
        check_choice("genre", genre, sorted({found.genre for found in inputs}))
        inputs = [found for found in inputs if found.genre == genre]
    return sorted(inputs, key=lambda found: found.key)


def exclude_inputs(
    inputs: Sequence[BatchInput], patterns: Sequence[str], source: str
) -> tuple[list[BatchInput], dict[Path, str]]:
    """Leave out the inputs whose key or file name matches a pattern.

    Also returns the path of each that is left out, with the pattern. Raises an `AudioFileError` if
    nothing of `source` is left.
    """
    excluded = {
        found.path: pattern
        for found in inputs
        for pattern in reversed(patterns)  # the first that matches counts
        if fnmatchcase(found.key, pattern) or fnmatchcase(found.path.name, pattern)
    }
    if len(excluded) == len(inputs):
        raise AudioFileError(f"{source}: all {len(inputs)} files are excluded; change --exclude")
    return [found for found in inputs if found.path not in excluded], excluded


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


def join_genres(inputs: Iterable[BatchInput]) -> list[BatchInput]:
    """Join the clips of each genre within a folder to one style; keep style files separate."""
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
        joined.append(BatchInput(genre, genre, key, folder, clips))
    return sorted(joined, key=lambda found: found.key)


def match_input(inputs: Sequence[BatchInput], wanted: str, where: str) -> BatchInput:
    """Find the input that a table names by key, path, file name, or name without extension.

    `where` gives file and row for the `ConfigError` that is raised if no input matches, or several.
    """
    text = wanted.replace("\\", "/")
    for names in (
        lambda s: (s.key, str(s.path), s.path.as_posix()),
        lambda s: (s.path.name, s.name),
    ):
        matches = [found for found in inputs if text in names(found)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ConfigError(
                f"{where}: {wanted!r} matches {matches[0].key} and {matches[1].key}; give the "
                "folder as well"
            )
    check_choice(f"{where}: clip", wanted, [found.key for found in inputs])
    raise AssertionError("a key matches above")


def _make_input(path: Path, root: Path) -> BatchInput:
    key = Path(os.path.relpath(path.absolute(), root)).as_posix()
    is_style = is_style_file(path)
    name = path.name[: -len(SUFFIX)] if is_style else path.stem
    return BatchInput(name, name if is_style else genre_of(path), key, path, (path,))


def _expand(source: str) -> tuple[Path, list[Path]]:
    """Return the folder that keys are relative to, and the paths."""
    if source.startswith("@") and not os.path.exists(source):
        paths = _read_list(Path(source[1:]))
    elif os.path.isdir(source):
        return Path(source).absolute(), reader.find_clips(source)
    elif os.path.exists(source) or not glob.has_magic(source):
        path = Path(source)
        if not path.exists():
            raise AudioFileError(f"{source}: no such file or folder; check the name", "missing")
        paths = [path]
    else:
        paths = _expand_glob(source)
    parents = {str(path.absolute().parent) for path in paths}
    return Path(os.path.commonpath(parents)) if parents else Path.cwd(), paths


def _expand_glob(pattern: str) -> list[Path]:
    """Expand a glob; a folder stands for all clips in it, and hidden files are skipped."""
    paths: list[Path] = []
    readable = reader.CLIP_EXTENSIONS
    for name in sorted(glob.glob(pattern, recursive=True)):
        path = Path(name)
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if "**" not in pattern:
                with contextlib.suppress(AudioFileError):  # another match may hold clips
                    paths += reader.find_clips(path)
        elif path.suffix.lower() in readable or is_style_file(path):
            paths.append(path)
    if not paths:
        raise AudioFileError(f"{pattern}: no audio file matches; check the pattern")
    return paths


def _read_list(file: Path) -> list[Path]:
    try:
        lines = safe_read.read_file(file).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise AudioFileError(f"{file}: the list cannot be read ({reason})", "missing") from None
    paths = [file.parent / line.strip() for line in lines if line.strip() and line[0] != "#"]
    for path in paths:
        if not path.is_file():
            raise AudioFileError(f"{path}: no such file, though {file} lists it", "missing")
    if not paths:
        raise AudioFileError(f"{file}: lists no files")
    return paths
