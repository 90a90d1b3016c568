"""Read audio files. The only rooms that touch soundfile are this and `audiostyle.audio.writer`.

soundfile has (samples, channels); everywhere else a clip is (channels, samples): it is transposed
in these two, and nowhere else.
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
import numpy.typing as npt
import soundfile as sf

from audiostyle.audio.level import BLOCK_SAMPLES
from audiostyle.audio.streams import AudioSource
from audiostyle.errors import AudioFileError
from audiostyle.utils import safe_read
from audiostyle.utils.stderr_capture import CapturedStderr, capture_stderr

Array = npt.NDArray[Any]

MIN_RATE, MAX_RATE = 1000, 768_000  # beyond that a header is broken
STREAMED_BYTES = (
    2**31 - 2**16
)  # what programs that write to a pipe claim is more, and means nothing

DAMAGE = ("", "flac decoder lost sync", "Internal psf_fseek() failed")
"""What versions of libsndfile say of a compressed file that is broken off."""

CLIP_EXTENSIONS = {".wave", ".aifc", ".snd", ".rf64"}  # read, but not written under these names

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


@dataclass
class Audio:
    """A clip as it was read.

    Attributes
    ----------
    y : np.ndarray [shape=(channels, n), float32]
    sr : int, in Hz
    format, subtype : str
        libsndfile's names, as ``WAV`` and ``PCM_16``.
    start : int, in samples
        Where in the file `y` begins.
    notes : list of str
        What is odd about the file.
    """

    y: Array
    sr: int
    format: str
    subtype: str
    start: int
    notes: list[str]


def load_audio(path: str | Path, *, start: float = 0.0, duration: float | None = None) -> Audio:
    """Read a clip, or a part of it.

    Parameters
    ----------
    path : str or Path
        Anything that libsndfile reads.
    start : float >= 0, in seconds
    duration : float > 0, in seconds, optional
        To the end of the file if it is not given.

    Returns
    -------
    Audio

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, or ends before `start`.
    """
    source = FileSource(path, start, duration)
    with _plainly(source.path):
        blocks = [np.ascontiguousarray(block) for block in source.blocks()]
        y = np.concatenate(blocks, axis=1)
    return Audio(y, source.sr, source.format, source.subtype, source.start, source.notes)


class FileSource:
    """A sound file, or a part of it, as an `audiostyle.audio.streams.AudioSource`: never held as a whole.

    Parameters
    ----------
    path : str or Path
        Anything that libsndfile reads.
    start : float >= 0, in seconds
    duration : float > 0, in seconds, optional
        To the end of the file if it is not given.
    first, n : int, in samples, optional
        In place of `start` and `duration`.

    Attributes
    ----------
    path : Path
    name : str
    sr : int, in Hz
    channels : int
    format, subtype : str
        libsndfile's names, as ``WAV`` and ``PCM_16``.
    start : int, in samples
        Where in the file the part begins.
    notes : list of str
        What is odd about the file, as soon as it was read to the end once.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, or ends before its part begins; while it is read,
        if there is nothing in it, or damage that cannot be passed over.
    """

    def __init__(
        self,
        path: str | Path,
        start: float = 0.0,
        duration: float | None = None,
        first: int | None = None,
        n: int | None = None,
    ) -> None:
        self.path, self.name = Path(path), str(path)
        with open_audio(self.path) as file:
            self.sr, self.channels = int(file.samplerate), int(file.channels)
            self.format, self.subtype = str(file.format), str(file.subtype)
            frames = int(file.frames)
        self.start = round(start * self.sr) if first is None else first
        self.notes: list[str] = []
        self._begin = start if first is None else first / self.sr
        self._wanted = n
        if n is None and duration is not None:
            self._wanted = max(1, round(duration * self.sr))
        if self.start >= frames > 0:
            raise AudioFileError(
                f"{path}: start={self._begin:g} s lies beyond its end at {frames / self.sr:.3f} s"
            )

    def blocks(self) -> Iterator[Array]:
        """Read the part from its beginning.

        Yields
        ------
        np.ndarray [shape=(channels, n), float32]
        """
        _check_readable(self.path)
        with _plainly(self.path):
            # The decoder's messages are caught call by call: between them, what uses the blocks
            # has its own to print.
            with _decoding(self.path) as capture:
                file = _open(self.path)
            warned = capture.text
            with file:
                n_read = 0
                # A header may claim any number of samples, and no array for them is allocated.
                while self._wanted is None or n_read < self._wanted:
                    left = BLOCK_SAMPLES if self._wanted is None else self._wanted - n_read
                    with _decoding(self.path) as capture:
                        if self.start and not n_read:
                            file.seek(self.start)
                        block = file.read(min(BLOCK_SAMPLES, left), dtype="float32", always_2d=True)
                    warned += capture.text
                    if not len(block):
                        break
                    n_read += len(block)
                    yield block.T
                self._finish(file, n_read, warned.strip())

    def _finish(self, file: Any, n_read: int, warned: str) -> None:
        if not n_read:
            where = f" after start={self._begin:g} s" if self.start else ""
            raise AudioFileError(f"{self.path}: holds no samples{where}")
        to_end = self._wanted is None or n_read < self._wanted
        notes = describe_damage(file, self.start + n_read if to_end else file.frames)
        if warned:
            notes.append(f"the decoder warned: {warned.splitlines()[0].strip()}")
        self.notes = [f"{self.path}: {note}" for note in notes]


@contextmanager
def open_audio(path: Path) -> Iterator[Any]:
    """Open a file for a short look at it, and say in one line what is wrong with it.

    Parameters
    ----------
    path : Path

    Yields
    ------
    soundfile.SoundFile

    Raises
    ------
    AudioFileError
        If the file is missing, empty, or not audio, or the block meets damage in it.
    """
    _check_readable(path)
    with _plainly(path), _decoding(path), _open(path) as file:
        yield file


def _open(path: Path) -> Any:
    if path.suffix.lower() == ".raw":
        raise AudioFileError(f"{path}: bare samples say neither rate nor width; convert it to WAV")
    file = sf.SoundFile(safe_read.system_name(path))
    if not MIN_RATE <= file.samplerate <= MAX_RATE:
        file.close()
        raise AudioFileError(
            f"{path}: a rate of {file.samplerate} Hz is not plausible ({MIN_RATE} to {MAX_RATE} Hz "
            "are taken); resample or repair it"
        )
    return file


def _decoding(path: Path) -> AbstractContextManager[CapturedStderr]:
    """Keep what the MP3 decoder prints: it becomes a note that names the file."""
    return capture_stderr() if path.suffix.lower() == ".mp3" else nullcontext(CapturedStderr())


@contextmanager
def _plainly(path: Path) -> Iterator[None]:
    """Say what is wrong with a file in one line that names it."""
    try:
        yield
    except sf.LibsndfileError as error:
        reason = str(error.error_string).removeprefix("Error :").strip().rstrip(".")
        if reason in DAMAGE:
            raise AudioFileError(f"{path}: is damaged or incomplete; make it anew") from None
        raise AudioFileError(
            f"{path}: is not an audio file that can be read ({reason}); convert it to WAV or FLAC, "
            "as with ffmpeg"
        ) from None
    except MemoryError:
        raise AudioFileError(
            f"{path}: does not fit into memory; use --start and --duration", kind="out_of_memory"
        ) from None


def _check_readable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioFileError(f"{path}: is a folder, where an audio file is needed")
        if not stat.S_ISREG(mode):
            raise AudioFileError(f"{path}: is not a regular file; save its sound to one")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioFileError(f"{path}: is empty (0 bytes); was it copied to the end?")
    except (FileNotFoundError, NotADirectoryError):
        raise AudioFileError(f"{path}: no such file{_similar(path)}", kind="missing") from None
    except OSError as error:
        raise AudioFileError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def _similar(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"; there is no folder {path.parent} either"
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else "; check the name"


def _may_be_clip(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return True  # not to be passed over in silence: whoever reads it says what is wrong


def describe_damage(file: Any, n_frames: int) -> list[str]:
    """Say whether a file holds less than its header claims.

    Parameters
    ----------
    file : soundfile.SoundFile
    n_frames : int
        Where its samples ended.

    Returns
    -------
    list of str
    """
    if n_frames != file.frames:
        return [f"was cut off: its header says {file.frames} samples, {n_frames} are there"]
    # libsndfile corrects some headers by itself, and tells only its log.
    claim = re.search(
        r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE
    )
    if claim and int(claim[2]) < int(claim[1]) < STREAMED_BYTES:
        return [f"was cut off: its header says {claim[1]} bytes of sound, {claim[2]} are there"]
    if "Last page lacks an end-of-stream bit" in file.extra_info:
        return ["was cut off: its last page is incomplete"]
    return []


def loudest_excerpt(
    source: AudioSource, seconds: float, offset: Array | None = None
) -> tuple[int, int]:
    """Where the excerpt with the most energy begins, to a tenth of its length.

    Parameters
    ----------
    source : Source
    seconds : float > 0
    offset : np.ndarray [shape=(channels,)], optional
        That is no energy.

    Returns
    -------
    first, n : int, in samples
        The whole where it is shorter than `seconds`.
    """
    n = max(round(seconds * source.sr), 1)
    step = max(1, n // 10)
    total, energy = 0, 0.0
    # Energy up to where an excerpt may begin, and up to where it would end.
    begins: list[Array] = []
    ends: list[Array] = []
    for block in source.blocks():
        y = block if offset is None else block - offset[:, None]
        power = np.square(y, dtype=np.float64).sum(axis=0)
        cumulative = np.cumsum(np.concatenate([[energy], power]))
        begins.append(cumulative[-total % step : -1 : step].copy())
        ends.append(cumulative[max(n - total, (n - total) % step) : -1 : step].copy())
        energy = float(cumulative[-1])
        total += block.shape[1]
    if total <= n:
        return 0, total
    if (total - n) % step == 0:
        ends.append(np.array([energy]))
    gained = np.concatenate(ends)
    gained -= np.concatenate(begins)[: len(gained)]
    return step * int(np.argmax(gained)), n


def find_clips(folder: str | Path) -> list[Path]:
    """All audio files of a folder and its sub-folders, sorted; hidden files are skipped.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of Path

    Raises
    ------
    AudioFileError
        If there is none.
    """
    folder = Path(folder)
    extensions = {*FORMATS, *CLIP_EXTENSIONS}
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
