"""Choose pairs of clips for a benchmark, and load them.

The folder is laid out like GTZAN: a folder for each genre, ``genres/jazz/jazz.00000.wav``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from audiostyle.audio.reader import load_audio
from audiostyle.errors import ConfigError

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".au"}
AnyKind = TypeVar("AnyKind")  # of pair: recordings or synthetic

MIN_SECONDS = 2.0  # a clip that ends before is no excerpt


@dataclass(frozen=True)
class Pair:
    """A content and a style, and where their excerpts start.

    Attributes
    ----------
    content, style : str
        Paths in the folder.
    start_content, start_style : float or None
        Seconds; None takes the middle of the clip.
    """

    content: str
    style: str
    start_content: float | None = None
    start_style: float | None = None

    @property
    def name(self) -> str:
        """Name of the pair in the tables."""
        return f"{Path(self.content).stem}>{Path(self.style).stem}"


def list_clips(folder: Path) -> dict[str, list[str]]:
    """List the clips of each genre.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    clips : dict of str to list of str
        Sorted paths in the folder under each genre's name. What is not named after its genre is
        not a clip.
    """
    clips: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/*")):
        named_after_genre = path.name.startswith(f"{path.parent.name}.")
        if named_after_genre and path.suffix.lower() in SUFFIXES:
            clips.setdefault(path.parent.name, []).append(path.relative_to(folder).as_posix())
    return clips


def clip_number(path: str) -> int:
    """Read the number of a clip from its name, ``jazz.00012.wav``; 0 where there is none.

    Parameters
    ----------
    path : str

    Returns
    -------
    number : int
    """
    number = Path(path).stem.rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def choose_pairs(clips: dict[str, list[str]], which: str) -> list[Pair]:
    """Choose ordered pairs of clips of different genres by a fixed rule.

    Parameters
    ----------
    clips : dict of str to list of str
        As from `list_clips`.
    which : {"held-out", "tune", "all"}

    Returns
    -------
    pairs : list of Pair
    """
    if which == "all":
        return [
            Pair(content, style)
            for genre in clips
            for other in clips
            if genre != other
            for content in clips[genre]
            for style in clips[other]
        ]
    parity = 1 if which == "held-out" else 0
    half = {
        genre: [p for p in paths if clip_number(p) % 2 == parity] for genre, paths in clips.items()
    }
    genres = [genre for genre, paths in half.items() if paths]
    pairs = []
    for i, genre in enumerate(genres):
        for j, other in enumerate(genres):
            if i != j:  # walk through the clips, so that no one is in every pair of its genre
                content = half[genre][j % len(half[genre])]
                style = half[other][i % len(half[other])]
                pairs.append(Pair(content, style))
    return pairs


def read_pairs(path: Path) -> list[Pair]:
    """Read ``content,style[,start_content,start_style]``, with or without a header.

    Parameters
    ----------
    path : Path

    Returns
    -------
    pairs : list of Pair

    Raises
    ------
    ConfigError
        If a line has another number of fields, or a start is not a number.
    """
    pairs = []
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.reader(file):
            if not line or line[0].startswith("#") or line[:2] == ["content", "style"]:
                continue
            try:
                starts = [float(text) if text.strip() else None for text in line[2:]]
                pairs.append(Pair(line[0].strip(), line[1].strip(), *starts))
            except (ValueError, TypeError, IndexError):
                raise ConfigError(
                    f"{path}: {','.join(line)!r} must be content,style[,start_content,start_style]"
                ) from None
    return pairs


def spread(pairs: list[AnyKind], limit: int | None) -> list[AnyKind]:
    """Keep at most `limit` pairs, evenly spread.

    Parameters
    ----------
    pairs : list
    limit : int > 0 or None

    Returns
    -------
    pairs : list
    """
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).astype(int)]


def load_excerpt(path: Path, start: float | None, seconds: float) -> tuple[np.ndarray, int]:
    """Load an excerpt as mono audio.

    Parameters
    ----------
    path : Path
    start : float >= 0 or None
        Seconds; None takes the middle of the clip.
    seconds : float > 0
        Most that is taken.

    Returns
    -------
    y : np.ndarray [shape=(n,)]
    sr : int
        In Hz.
    """
    audio = load_audio(path) if start is None else load_audio(path, start=start, duration=seconds)
    y = audio.y.mean(axis=0)
    size = int(seconds * audio.sr)
    first = max(0, (y.size - size) // 2) if start is None else 0
    y = y[first : first + size]
    if y.size < MIN_SECONDS * audio.sr:
        raise ConfigError(f"{path}: {y.size / audio.sr:.1f} s from {start} s; use an earlier start")
    return y, audio.sr
