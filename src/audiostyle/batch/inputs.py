"""What stands on each side of a batch: clips found, and genres made of them.

A side is a folder, a glob, a list of files or a file. Patterns are expanded here and not by the
shell, so that they mean the same on every system, and no command line is too long for them.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiostyle.audio import reader
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.files.style_file import SUFFIX, is_style_file
from audiostyle.utils import safe_read
from audiostyle.utils.suggestions import check_choice

GTZAN_STEM = re.compile(r"(?P<genre>[^\W\d]+)\.\d{5}")


@dataclass(frozen=True)
class BatchInput:
    """A content or a style: a clip, or the clips of a genre, or a style file.

    Attributes
    ----------
    name : str
        What a name of an output calls it.
    genre : str
    key : str
        Where it lies below its side, with ``/``: the same on every system, whatever the current
        folder.
    path : Path
        The clip, the style file, or the folder of the genre.
    clips : tuple of Path
        What is read.
    """

    name: str
    genre: str
    key: str
    path: Path
    clips: tuple[Path, ...]


def find_inputs(
    side: str, *, styles: bool = False, genre: str | None = None, leave_out: Path | None = None
) -> list[BatchInput]:
    """Find the clips of a side, sorted by key.

    Parameters
    ----------
    side : str
        A folder, which is searched with all below it; a glob, as ``genres/*/*.wav``; ``@FILE``, a
        list of paths, one a line, relative to the list's own folder; or a file.
    styles : bool
        Whether style files count as well.
    genre : str, optional
        Take only this genre.
    leave_out : Path, optional
        A folder that is not searched, if it lies below the side: that of the outputs.

    Returns
    -------
    list of Source
        At least one.

    Raises
    ------
    AudioFileError
        If there is none; of the kind ``missing`` if what the side names is not there.
    ConfigError
        If there is no such genre.
    """
    root, paths = _expand(side)
    paths = [path for path in paths if styles or not is_style_file(path)]
    if leave_out is not None:
        inside = _real(leave_out)
        if _real(root) in inside.parents:
            paths = [path for path in paths if inside not in _real(path).parents]
    if not paths:
        raise AudioFileError(f"{side}: holds no audio files that can be used here")
    sources = [_source(path, root) for path in dict.fromkeys(paths)]
    if genre is not None:
        check_choice("genre", genre, sorted({source.genre for source in sources}))
        sources = [source for source in sources if source.genre == genre]
    return sorted(sources, key=lambda source: source.key)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises at a loop of links


def genre_of(path: Path) -> str:
    """Name the genre of a clip: as GTZAN names its clips, else the folder that it lies in.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str

    Examples
    --------
    >>> genre_of(Path("flat/jazz.00003.wav")), genre_of(Path("genres/bebop/donna lee.flac"))
    ('jazz', 'bebop')
    """
    match = GTZAN_STEM.fullmatch(path.stem)
    return match["genre"] if match else path.absolute().parent.name


def join_genres(sources: Iterable[BatchInput]) -> list[BatchInput]:
    """Make one style of all clips of a genre that lie in one folder; style files stay as they are.

    Parameters
    ----------
    sources : iterable of Source

    Returns
    -------
    list of Source
        Sorted by key.
    """
    groups: dict[tuple[Path, str], list[BatchInput]] = {}
    joined = []
    for source in sources:
        if is_style_file(source.path):
            joined.append(source)
        else:
            groups.setdefault((source.path.parent, source.genre), []).append(source)
    for (folder, genre), members in groups.items():
        members.sort(key=lambda source: source.key)
        parent = members[0].key.rpartition("/")[0]
        key = parent if parent.rpartition("/")[2] == genre else f"{parent}/{genre}".lstrip("/")
        clips = tuple(clip for source in members for clip in source.clips)
        joined.append(BatchInput(genre, genre, key, folder, clips))
    return sorted(joined, key=lambda source: source.key)


def find_input(sources: Sequence[BatchInput], wanted: str, where: str) -> BatchInput:
    """Find the one source that a table means.

    Parameters
    ----------
    sources : sequence of Source
    wanted : str
        A key, a file name, or a name without its extension.
    where : str
        For messages: file and line.

    Returns
    -------
    Source

    Raises
    ------
    ConfigError
        If none is meant, or more than one.
    """
    text = wanted.replace("\\", "/")
    for names in (
        lambda s: (s.key, str(s.path), s.path.as_posix()),
        lambda s: (s.path.name, s.name),
    ):
        found = [source for source in sources if text in names(source)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"{where}: {wanted!r} means {found[0].key} and {found[1].key}; name the folder too"
            )
    check_choice(f"{where}: clip", wanted, [source.key for source in sources])
    raise AssertionError("a key is found above")


def _source(path: Path, root: Path) -> BatchInput:
    absolute = path.absolute()
    key = Path(os.path.relpath(absolute, root)).as_posix()
    if is_style_file(path):
        name = path.name[: -len(SUFFIX)]
        return BatchInput(name, name, key, path, (path,))
    return BatchInput(path.stem, genre_of(path), key, path, (path,))


def _expand(side: str) -> tuple[Path, list[Path]]:
    """Return the folder that keys are relative to, and the paths."""
    if side.startswith("@") and not os.path.exists(side):
        paths = _read_list(Path(side[1:]))
    elif os.path.isdir(side):
        return Path(side).absolute(), reader.find_clips(side)
    elif os.path.exists(side) or not glob.has_magic(side):
        path = Path(side)
        if not path.exists():
            raise AudioFileError(f"{side}: no such file or folder; check the name", "missing")
        paths = [path]
    else:
        paths = _match(side)
    parents = {str(path.absolute().parent) for path in paths}
    return Path(os.path.commonpath(parents)) if parents else Path.cwd(), paths


def _match(pattern: str) -> list[Path]:
    """Expand a glob; folders stand for all clips in them, hidden files are skipped."""
    paths: list[Path] = []
    readable = {*reader.FORMATS, *reader.CLIP_EXTENSIONS}
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
