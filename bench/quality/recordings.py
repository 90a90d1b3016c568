"""Pairs of recordings: choose them by a fixed rule, load excerpts, evaluate.

The folder is laid out like GTZAN: one folder per genre, ``genres/jazz/jazz.00000.wav``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiostyle.audio.reader import load_audio
from audiostyle.errors import ConfigError
from audiostyle.evaluation.scores import PairEvaluator, make_baselines
from bench.quality.runs import Array, Method, Row, run_method

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".au"}
MIN_SECONDS = 2.0


@dataclass(frozen=True)
class RecordingPair:
    """A content and a style (paths in the folder), and where their excerpts start."""

    content: str
    style: str
    start_content: float | None = None  # in seconds; None takes the middle of the clip
    start_style: float | None = None

    kind = "recordings"

    @property
    def name(self) -> str:
        """Name of the pair in the tables."""
        return f"{Path(self.content).stem}>{Path(self.style).stem}"


def list_clips(folder: Path) -> dict[str, list[str]]:
    """List the clips of each genre: files named after their genre's folder, sorted."""
    clips: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/*")):
        named_after_genre = path.name.startswith(f"{path.parent.name}.")
        if named_after_genre and path.suffix.lower() in SUFFIXES:
            clips.setdefault(path.parent.name, []).append(path.relative_to(folder).as_posix())
    return clips


def choose_pairs(clips: dict[str, list[str]], which: str) -> list[RecordingPair]:
    """Choose ordered pairs of clips of different genres: ``held-out``, ``tuning`` or ``all``."""
    if which == "all":
        return [
            RecordingPair(content, style)
            for genre in clips
            for other in clips
            if genre != other
            for content in clips[genre]
            for style in clips[other]
        ]
    parity = 1 if which == "held-out" else 0
    half = {
        genre: [path for path in paths if _clip_number(path) % 2 == parity]
        for genre, paths in clips.items()
    }
    genres = [genre for genre, paths in half.items() if paths]
    pairs = []
    for i, genre in enumerate(genres):
        for j, other in enumerate(genres):
            if i != j:  # cycle through the clips, so that none is in every pair of its genre
                content = half[genre][j % len(half[genre])]
                style = half[other][i % len(half[other])]
                pairs.append(RecordingPair(content, style))
    return pairs


def _clip_number(path: str) -> int:
    """Read the number of a clip from its name, ``jazz.00012.wav``; 0 if there is none."""
    number = Path(path).stem.rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def read_pairs(path: Path) -> list[RecordingPair]:
    """Read lines of ``content,style[,start_content,start_style]``, with or without a header."""
    pairs = []
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.reader(file):
            if not line or line[0].startswith("#") or line[:2] == ["content", "style"]:
                continue
            try:
                starts = [float(text) if text.strip() else None for text in line[2:]]
                pairs.append(RecordingPair(line[0].strip(), line[1].strip(), *starts))
            except (ValueError, TypeError, IndexError):
                raise ConfigError(
                    f"{path}: {','.join(line)!r} must be content,style[,start_content,start_style]"
                ) from None
    return pairs


def load_excerpt(path: Path, start: float | None, seconds: float) -> tuple[Array, int]:
    """Load at most `seconds` of a clip, from `start` or from its middle, as mono audio.

    Returns
    -------
    y : np.ndarray [shape=(n,)]
    sr : int, in Hz

    Raises
    ------
    ConfigError
        If less than `MIN_SECONDS` is left.
    """
    audio = load_audio(path) if start is None else load_audio(path, start=start, duration=seconds)
    y = audio.y.mean(axis=0)
    size = int(seconds * audio.sr)
    first = max(0, (y.size - size) // 2) if start is None else 0
    y = y[first : first + size]
    if y.size < MIN_SECONDS * audio.sr:
        raise ConfigError(f"{path}: {y.size / audio.sr:.1f} s from {start} s; use an earlier start")
    return y, audio.sr


def evaluate_pair(
    folder: Path, pair: RecordingPair, methods: Sequence[Method], seconds: float, output: Path
) -> Iterator[Row]:
    """Evaluate the baselines and all methods on one pair."""
    import librosa

    content, sr = load_excerpt(folder / pair.content, pair.start_content, seconds)
    style, style_sr = load_excerpt(folder / pair.style, pair.start_style, seconds)
    style = librosa.resample(style, orig_sr=style_sr, target_sr=sr)
    evaluator = PairEvaluator(content, style, sr)
    for name, y in make_baselines(content, style, sr).items():
        yield Row(pair, name, {**evaluator.evaluate(y), "seconds": float("nan")})
    for method in methods:
        y, elapsed = run_method(method, pair, content, style, sr, output)
        measures = {**evaluator.evaluate(y), "seconds": elapsed}
        yield Row(pair, method.name, measures, method.strength, method.main)
