"""Read and write audio files. The only room that touches soundfile.

soundfile has (samples, channels); everywhere else a clip is (channels, samples): it is transposed
here, and nowhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf

from audiostyle.config import known
from audiostyle.errors import AudioFileError, ConfigError, OutputError

Array = npt.NDArray[Any]

BLOCK_FRAMES = 1 << 18
MAX_RATE = 768_000
RIFF_LIMIT_BYTES = 2**32 - 2**16  # a WAV file cannot say that it is longer; RF64 can

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
LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_III")


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


def load_audio(
    path: str | Path, *, start: float = 0.0, duration: float | None = None
) -> Audio:
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
    path = Path(path)
    _check_readable(path)
    try:
        with sf.SoundFile(path) as file:
            return _read(file, path, start, duration)
    except sf.LibsndfileError as error:
        reason = str(error.error_string).strip().rstrip(".")
        raise AudioFileError(
            f"{path}: is not an audio file that can be read ({reason}); convert it to WAV or FLAC"
        ) from None
    except MemoryError:
        raise AudioFileError(f"{path}: does not fit into memory; use --start and --duration") from None


def _check_readable(path: Path) -> None:
    if not path.exists():
        raise AudioFileError(f"{path}: no such file{_similar(path)}")
    if path.is_dir():
        raise AudioFileError(f"{path}: is a folder, where an audio file is needed")
    if not path.is_file():
        raise AudioFileError(f"{path}: is not a regular file")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioFileError(f"{path}: is empty (0 bytes)")
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror})") from None


def _similar(path: Path) -> str:
    import difflib

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else ""


def _read(file: Any, path: Path, start: float, duration: float | None) -> Audio:
    if not 0 < file.samplerate <= MAX_RATE:
        raise AudioFileError(f"{path}: a rate of {file.samplerate} Hz is not plausible")
    first = round(start * file.samplerate)
    if first:
        if first >= file.frames:
            raise AudioFileError(
                f"{path}: start={start:g} s lies beyond its end at "
                f"{file.frames / file.samplerate:.3f} s"
            )
        file.seek(first)
    wanted = None if duration is None else max(1, round(duration * file.samplerate))
    blocks = []
    n_read = 0
    # In blocks: a header may claim any number of frames, and an array for them is not allocated.
    while wanted is None or n_read < wanted:
        size = BLOCK_FRAMES if wanted is None else min(BLOCK_FRAMES, wanted - n_read)
        block = file.read(size, dtype="float32", always_2d=True)
        if not len(block):
            break
        blocks.append(block.T)
        n_read += len(block)
    if not blocks:
        raise AudioFileError(f"{path}: holds no samples")
    notes = []
    if wanted is None and first + n_read != file.frames:
        notes.append(f"{path}: its header says {file.frames} samples, {first + n_read} are there")
    y = np.ascontiguousarray(np.concatenate(blocks, axis=1))
    return Audio(y, int(file.samplerate), file.format, file.subtype, first, notes)


def output_format(path: str | Path, subtype: str | None, source: Audio) -> tuple[str, str]:
    """Choose the format of an output: by its extension, and as deep as the source.

    Parameters
    ----------
    path : str or Path
    subtype : str or None
        libsndfile's name, as ``PCM_24`` or ``FLOAT``; None follows the source where the format can.
    source : Audio

    Returns
    -------
    format, subtype : str

    Raises
    ------
    ConfigError
        If the extension or the subtype is not known, or they do not go together.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        shown = f"extension {suffix!r}" if suffix else "no extension"
        raise ConfigError(
            f"{path}: {shown} says no format that can be written: use " + ", ".join(FORMATS)
        )
    container = FORMATS[suffix]
    if container == "WAV" and source.y.size * 8 > RIFF_LIMIT_BYTES:
        container = "RF64"
    if subtype is not None:
        subtype = known("subtype", subtype.upper(), sf.available_subtypes(container))
        return container, subtype
    if suffix == ".opus":
        return container, "OPUS"
    if sf.check_format(container, source.subtype):
        return container, source.subtype
    if source.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE") and sf.check_format(
        container, "PCM_24"
    ):
        return container, "PCM_24"
    return container, str(sf.default_subtype(container))


def check_writable(path: str | Path, sr: int, channels: int, container: str, subtype: str) -> None:
    """Make sure, before any work, that the output can be written where and as it is wanted.

    Parameters
    ----------
    path : str or Path
    sr : int, in Hz
    channels : int
    container, subtype : str

    Raises
    ------
    OutputError
        If the folder is missing or cannot be written, or the format does not take this rate or this
        many channels.
    """
    path = Path(path)
    with _part_file(path) as part:
        try:
            with sf.SoundFile(part, "w", sr, channels, subtype, format=container) as file:
                file.write(np.zeros((1, channels), np.float32))
        except (sf.LibsndfileError, ValueError, TypeError):
            raise OutputError(
                f"{path}: {container} with {subtype} does not take {channels} channel(s) at {sr} Hz; "
                "use .wav or .flac, or another --subtype"
            ) from None


def save_audio(path: str | Path, y: Array, sr: int, container: str, subtype: str) -> str:
    """Write a clip under a temporary name, read it back, and move it into place.

    Parameters
    ----------
    path : str or Path
    y : np.ndarray [shape=(channels, n), float32]
    sr : int, in Hz
    container, subtype : str

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    OutputError
        If it cannot be written, or does not read back as it should. Nothing is left behind then.
    """
    path = Path(path)
    with _part_file(path) as part:
        try:
            with sf.SoundFile(part, "w", sr, y.shape[0], subtype, format=container) as file:
                for i in range(0, y.shape[1], BLOCK_FRAMES):
                    file.write(y[:, i : i + BLOCK_FRAMES].T)
            _verify(part, path, y.shape, sr)
            digest = publish(part, path)
        except (sf.LibsndfileError, OSError) as error:
            raise OutputError(f"{path}: cannot be written ({_reason(error)})") from None
    return digest


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(getattr(error, "error_string", error)).strip()


def _verify(part: Path, path: Path, shape: tuple[int, ...], sr: int) -> None:
    n_read = 0
    with sf.SoundFile(part) as file:
        if (file.samplerate, file.channels) != (sr, shape[0]):
            raise OutputError(f"{path}: does not read back at {sr} Hz with {shape[0]} channel(s)")
        while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
            if not np.isfinite(block).all():
                raise OutputError(f"{path}: reads back with samples that are not finite")
            n_read += len(block)
    if n_read != shape[1]:
        raise OutputError(f"{path}: reads back with {n_read} samples in place of {shape[1]}")


@contextlib.contextmanager
def _part_file(path: Path) -> Iterator[Path]:
    """Make a temporary file beside `path`, and remove it unless it was moved away."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".audiostyle-", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OutputError(
            f"{path}: the folder {path.parent} cannot be written ({error.strerror}); create it, or "
            "choose another"
        ) from None
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def publish(part: Path, path: Path) -> str:
    """Flush a finished temporary file to disk and rename it to its final name.

    Parameters
    ----------
    part, path : Path

    Returns
    -------
    str
        SHA-256 of the file.
    """
    with part.open("rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
        os.fsync(file.fileno())
    umask = os.umask(0)
    os.umask(umask)
    part.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
    part.replace(path)
    return digest


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a small file under a temporary name and move it into place.

    Parameters
    ----------
    path : str or Path
    data : bytes

    Raises
    ------
    OutputError
        If it cannot be written. Nothing is left behind then.
    """
    path = Path(path)
    with _part_file(path) as part:
        try:
            part.write_bytes(data)
            publish(part, path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    extensions = {*FORMATS, ".snd", ".rf64"}
    clips = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in extensions
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not clips:
        raise AudioFileError(f"{folder}: holds no audio files ({', '.join(sorted(extensions))})")
    return clips
