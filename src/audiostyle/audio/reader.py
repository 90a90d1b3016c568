"""Reading of audio files, whole or in blocks."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.decoder import Decoder, open_decoder, translate_errors
from audiostyle.audio.level import BLOCK_SAMPLES
from audiostyle.errors import AudioFileError

FORMATS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".w64": "W64",
    ".caf": "CAF",
    ".au": "AU",
}
"""Formats that are written, by their extensions."""

CLIP_EXTENSIONS = {
    *FORMATS,
    *(".wave", ".bwf", ".rf64", ".aifc", ".snd", ".spx", ".mp2", ".mp1", ".mpga"),
    *(".m4a", ".m4b", ".m4r", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2"),
    *(".aac", ".ac3", ".eac3", ".dts", ".amr", ".gsm", ".weba", ".webm", ".mka", ".mkv"),
    *(".wma", ".asf", ".wmv", ".avi", ".flv", ".ogv", ".ogm", ".ogx", ".ts", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".vob", ".wv", ".ape", ".tta", ".tak", ".mpc", ".voc", ".sph", ".nist"),
}
"""Extensions of all files that are read."""


@dataclass
class Audio:
    """Audio that was read from a file."""

    y: Array  # [shape=(channels, n), float32]
    sr: int  # Hz
    format: str  # libsndfile's names, such as WAV and PCM_16, or FFmpeg's, such as MP4 and AAC
    subtype: str
    start: int  # position of the first sample in the file
    notes: list[str]  # irregularities of the file


def load_audio(path: str | Path, *, start: float = 0.0, duration: float | None = None) -> Audio:
    """Read a file, or a part of it; see `FileSource`."""
    source = FileSource(path, start, duration)
    with translate_errors(source.path):
        blocks = [np.ascontiguousarray(block) for block in source.blocks()]
        y = np.concatenate(blocks, axis=1)
    return Audio(y, source.sr, source.format, source.subtype, source.start, source.notes)


class FileSource:
    """An audio file, or a part of it, as an `AudioSource` that is read block by block.

    `start` and `duration` are in seconds; without a duration, it is read to its end. An
    `AudioFileError` is raised if the file is missing, empty, not audio, or ends before `start`;
    while it is read, if it holds no samples, or is damaged beyond repair.
    """

    def __init__(self, path: str | Path, start: float = 0.0, duration: float | None = None) -> None:
        self.path, self.name = Path(path), str(path)
        with open_audio(self.path) as decoder:
            self.sr, self.channels = decoder.sr, decoder.channels
            self.format, self.subtype = decoder.format, decoder.subtype
            frames = decoder.frames
        self.start = round(start * self.sr)  # in samples
        self.notes: list[str] = []  # irregularities, known after the first complete pass
        self._start_seconds = start
        self._n = None if duration is None else max(1, round(duration * self.sr))
        if self.start >= frames > 0:
            raise self._beyond_end(frames)

    def blocks(self) -> Iterator[Array]:
        """Yield the blocks of the part [shape=(channels, n), float32], from the beginning."""
        with open_audio(self.path) as decoder:
            skipped = decoder.skip(self.start) if self.start else 0
            if skipped < self.start:
                raise self._beyond_end(skipped)
            n_read = 0
            # A header may claim any number of samples, so no array is allocated for them.
            while self._n is None or n_read < self._n:
                left = BLOCK_SAMPLES if self._n is None else self._n - n_read
                block = decoder.read(min(BLOCK_SAMPLES, left))
                if not block.shape[1]:
                    break
                n_read += block.shape[1]
                yield block
            self._finish(decoder, n_read)

    def _beyond_end(self, frames: int) -> AudioFileError:
        return AudioFileError(
            f"{self.path}: start={self._start_seconds:g} s lies beyond its end at "
            f"{frames / self.sr:.3f} s"
        )

    def _finish(self, decoder: Decoder, n_read: int) -> None:
        if not n_read:
            where = f" after start={self._start_seconds:g} s" if self.start else ""
            raise AudioFileError(f"{self.path}: holds no samples{where}")
        to_end = self._n is None or n_read < self._n
        found = decoder.notes(self.start + n_read if to_end else None)
        self.notes = [f"{self.path}: {note}" for note in found]


@contextmanager
def open_audio(path: Path) -> Iterator[Decoder]:
    """Open a decoder; any fault is an `AudioFileError` of one line."""
    _check_readable(path)
    with open_decoder(path) as decoder:
        yield decoder


def _check_readable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioFileError(f"{path}: is a folder; name an audio file")
        if not stat.S_ISREG(mode):
            raise AudioFileError(f"{path}: is not a regular file; save its audio to one")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioFileError(f"{path}: is empty (0 bytes); copy or export it again")
    except (FileNotFoundError, NotADirectoryError):
        raise AudioFileError(f"{path}: no such file{_suggest(path)}", kind="missing") from None
    except OSError as error:
        raise AudioFileError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def _suggest(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"; there is no folder {path.parent} either"
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else "; check the name"
