"""Reading of audio files. Only this module and `audiostyle.audio.writer` use soundfile.

soundfile has (samples, channels), everything else (channels, samples): these modules transpose.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiostyle.arrays import Array
from audiostyle.audio.level import BLOCK_SAMPLES
from audiostyle.errors import AudioFileError
from audiostyle.utils.safe_read import system_name
from audiostyle.utils.stderr_capture import CapturedStderr, capture_stderr

MIN_RATE, MAX_RATE = 1000, 768_000  # Hz; other rates are broken headers
# Programs that write to a pipe claim more bytes than this: they do not know the length.
STREAMED_BYTES = 2**31 - 2**16
# What versions of libsndfile report of a truncated compressed file.
DAMAGE = ("", "flac decoder lost sync", "Internal psf_fseek() failed")

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
    *(".mpg", ".mpeg", ".vob", ".wv", ".ape", ".tta", ".tak", ".mpc"),
}
"""Extensions of all files that are read."""


@dataclass
class Audio:
    """Audio that was read from a file."""

    y: Array  # [shape=(channels, n), float32]
    sr: int  # Hz
    format: str  # libsndfile's names, such as WAV and PCM_16
    subtype: str
    start: int  # position of the first sample in the file
    notes: list[str]  # irregularities of the file


def load_audio(path: str | Path, *, start: float = 0.0, duration: float | None = None) -> Audio:
    """Read a file, or a part of it; see `FileSource`."""
    source = FileSource(path, start, duration)
    with _translate_errors(source.path):
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
        with open_audio(self.path) as file:
            self.sr, self.channels = int(file.samplerate), int(file.channels)
            self.format, self.subtype = str(file.format), str(file.subtype)
            frames = int(file.frames)
        self.start = round(start * self.sr)  # in samples
        self.notes: list[str] = []  # irregularities, known after the first complete pass
        self._start_seconds = start
        self._n = None if duration is None else max(1, round(duration * self.sr))
        if self.start >= frames > 0:
            raise AudioFileError(
                f"{path}: start={start:g} s lies beyond its end at {frames / self.sr:.3f} s"
            )

    def blocks(self) -> Iterator[Array]:
        """Yield the blocks of the part [shape=(channels, n), float32], from the beginning."""
        _check_readable(self.path)
        with _translate_errors(self.path):
            # The decoder's messages are captured call by call, so that other output between the
            # blocks is not.
            with _capture_decoder(self.path) as capture:
                file = _open(self.path)
            warnings = capture.text
            with file:
                n_read = 0
                # A header may claim any number of samples, so no array is allocated for them.
                while self._n is None or n_read < self._n:
                    left = BLOCK_SAMPLES if self._n is None else self._n - n_read
                    with _capture_decoder(self.path) as capture:
                        if self.start and not n_read:
                            file.seek(self.start)
                        block = file.read(min(BLOCK_SAMPLES, left), dtype="float32", always_2d=True)
                    warnings += capture.text
                    if not len(block):
                        break
                    n_read += len(block)
                    yield block.T
                self._finish(file, n_read, warnings.strip())

    def _finish(self, file: Any, n_read: int, warnings: str) -> None:
        if not n_read:
            where = f" after start={self._start_seconds:g} s" if self.start else ""
            raise AudioFileError(f"{self.path}: holds no samples{where}")
        to_end = self._n is None or n_read < self._n
        damage = describe_damage(file, self.start + n_read if to_end else file.frames)
        warned = f"the decoder warned: {warnings.splitlines()[0].strip()}" if warnings else ""
        self.notes = [f"{self.path}: {note}" for note in (damage, warned) if note]


@contextmanager
def open_audio(path: Path) -> Iterator[Any]:
    """Open a `soundfile.SoundFile`; any fault is an `AudioFileError` of one line."""
    _check_readable(path)
    with _translate_errors(path), _capture_decoder(path), _open(path) as file:
        yield file


def _open(path: Path) -> Any:
    if path.suffix.lower() == ".raw":
        raise AudioFileError(
            f"{path}: raw samples have no header with rate and sample format; convert it to WAV"
        )
    file = sf.SoundFile(system_name(path))
    if not MIN_RATE <= file.samplerate <= MAX_RATE:
        file.close()
        raise AudioFileError(
            f"{path}: a rate of {file.samplerate} Hz is not plausible ({MIN_RATE} to {MAX_RATE} Hz "
            "are supported); resample or repair it"
        )
    return file


def _capture_decoder(path: Path) -> AbstractContextManager[CapturedStderr]:
    """Capture what the MP3 decoder prints: it becomes a note that names the file."""
    return capture_stderr() if path.suffix.lower() == ".mp3" else nullcontext(CapturedStderr())


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Turn errors of libsndfile and memory errors into an `AudioFileError` of one line."""
    try:
        yield
    except sf.LibsndfileError as error:
        reason = str(error.error_string).removeprefix("Error :").strip().rstrip(".")
        if reason in DAMAGE:
            raise AudioFileError(
                f"{path}: is damaged or incomplete; copy or export it again"
            ) from None
        raise AudioFileError(
            f"{path}: is not an audio file that can be read ({reason}); convert it to WAV or FLAC, "
            "for example with ffmpeg"
        ) from None
    except MemoryError:
        raise AudioFileError(
            f"{path}: does not fit into memory; use --start and --duration", kind="out_of_memory"
        ) from None


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


def describe_damage(file: Any, n_frames: int) -> str:
    """Describe that a `soundfile.SoundFile` ended, at `n_frames`, before its header claims."""
    if n_frames != file.frames:
        return f"was cut off: its header claims {file.frames} samples, it holds {n_frames}"
    # libsndfile corrects some headers silently, and reports that only in its log.
    claim = re.search(
        r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE
    )
    if claim and int(claim[2]) < int(claim[1]) < STREAMED_BYTES:
        return f"was cut off: its header claims {claim[1]} bytes of audio, it holds {claim[2]}"
    if "Last page lacks an end-of-stream bit" in file.extra_info:
        return "was cut off: its last page is incomplete"
    return ""


def find_clips(folder: str | Path) -> list[Path]:
    """List all audio files in a folder and its subfolders, sorted, without hidden ones.

    Raises an `AudioFileError` if there are none.
    """
    folder = Path(folder)
    extensions = CLIP_EXTENSIONS
    clips = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in extensions
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and _may_be_clip(path)
    )
    if not clips:
        raise AudioFileError(f"{folder}: holds no audio files ({', '.join(sorted(extensions))})")
    return clips


def _may_be_clip(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return True  # not skipped silently: reading it reports the error
