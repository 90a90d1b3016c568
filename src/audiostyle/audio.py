"""Read and write audio files. The only room that touches soundfile.

soundfile has (samples, channels); everywhere else a clip is (channels, samples): it is transposed
here, and nowhere else.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf

from audiostyle.errors import AudioFileError, ConfigError, OutputError
from audiostyle.native import Capture, captured_stderr
from audiostyle.options import known
from audiostyle.outputs import part_file, publish, write_error

Array = npt.NDArray[Any]

BLOCK_FRAMES = 1 << 18
MAX_RATE = 768_000
RIFF_LIMIT_BYTES = 2**32 - 2**16  # a WAV file cannot say that it is longer; RF64 can
STREAMED_BYTES = (
    2**31 - 2**16
)  # what programs that write to a pipe claim is more, and means nothing

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
UNCOMPRESSED = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
DEEP = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32")


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
    path = Path(path)
    with open_audio(path) as (file, captured):
        clip = _read(file, path, start, duration)
    if warned := captured.text.strip():
        clip.notes.append(f"{path}: the decoder warned: {warned.splitlines()[0].strip()}")
    return clip


@contextmanager
def open_audio(path: Path) -> Iterator[tuple[Any, Capture]]:
    """Open a file to read from it, and say in one line what is wrong with it.

    Parameters
    ----------
    path : Path

    Yields
    ------
    file : soundfile.SoundFile
    captured : Capture
        What the decoder printed, as soon as the block has ended.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, or not audio, or the block meets damage in it.
    """
    _check_readable(path)
    # What the MP3 decoder prints becomes a note that names the file.
    capture = captured_stderr() if path.suffix.lower() == ".mp3" else nullcontext(Capture())
    try:
        with capture as captured, sf.SoundFile(path) as file:
            if not 0 < file.samplerate <= MAX_RATE:
                raise AudioFileError(f"{path}: a rate of {file.samplerate} Hz is not plausible")
            yield file, captured
    except sf.LibsndfileError as error:
        reason = str(error.error_string).removeprefix("Error :").strip().rstrip(".")
        if reason in ("", "flac decoder lost sync"):
            raise AudioFileError(f"{path}: is damaged or incomplete; make it anew") from None
        raise AudioFileError(
            f"{path}: is not an audio file that can be read ({reason}); convert it to WAV or FLAC, "
            "as with ffmpeg"
        ) from None
    except MemoryError:
        raise AudioFileError(
            f"{path}: does not fit into memory; use --start and --duration"
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
        raise AudioFileError(f"{path}: no such file{_similar(path)}") from None
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


def _read(file: Any, path: Path, start: float, duration: float | None) -> Audio:
    first = round(start * file.samplerate)
    if first >= file.frames > 0:
        seconds = file.frames / file.samplerate
        raise AudioFileError(f"{path}: start={start:g} s lies beyond its end at {seconds:.3f} s")
    if first:
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
        where = f" after start={start:g} s" if first else ""
        raise AudioFileError(f"{path}: holds no samples{where}")
    to_end = wanted is None or n_read < wanted
    notes = damage(file, first + n_read if to_end else file.frames)
    y = np.ascontiguousarray(np.concatenate(blocks, axis=1))
    return Audio(
        y, int(file.samplerate), file.format, file.subtype, first, [f"{path}: {n}" for n in notes]
    )


def damage(file: Any, n_frames: int) -> list[str]:
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
        shown = f"the extension {suffix} is not of" if suffix else "has no extension to name"
        raise ConfigError(
            f"{path}: {shown} a format that can be written: use " + ", ".join(FORMATS)
        )
    container = FORMATS[suffix]
    if container == "WAV" and source.y.size * 8 > RIFF_LIMIT_BYTES:
        container = "RF64"
    if subtype is not None:
        names = sf.available_subtypes(container)
        upper = subtype.upper()
        return container, known("subtype", upper if upper in names else subtype, names)
    if suffix == ".opus":
        return container, "OPUS"
    if source.subtype in UNCOMPRESSED and sf.check_format(container, source.subtype):
        return container, source.subtype
    if source.subtype in DEEP and sf.check_format(container, "PCM_24"):
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
    with part_file(path) as part:
        try:
            with sf.SoundFile(part, "w", sr, channels, subtype, format=container) as file:
                file.write(np.zeros((1, channels), np.float32))
        except (sf.LibsndfileError, ValueError, TypeError):
            raise OutputError(
                f"{path}: {container} with {subtype} does not take {channels} channel(s) at {sr} "
                "Hz; use .wav or .flac, or another --subtype"
            ) from None


def save_audio(path: str | Path, y: Array, sr: int, container: str, subtype: str) -> None:
    """Write a clip under a temporary name, read it back, and move it into place.

    Parameters
    ----------
    path : str or Path
    y : np.ndarray [shape=(channels, n), float32]
    sr : int, in Hz
    container, subtype : str

    Raises
    ------
    OutputError
        If it cannot be written, or does not read back as it should. Nothing is left behind then.
    """
    with part_file(Path(path)) as part:
        write_clip(part, y, sr, container, subtype, name=path)
        publish(part, Path(path))


def write_clip(
    part: Path, y: Array, sr: int, container: str, subtype: str, name: str | Path
) -> None:
    """Write a clip to a temporary file and read it back; as `save_audio`, but for the renaming.

    Parameters
    ----------
    part : Path
    y : np.ndarray [shape=(channels, n), float32]
    sr : int, in Hz
    container, subtype : str
    name : str or Path
        What to call the file in messages.

    Raises
    ------
    OutputError
    """
    try:
        with sf.SoundFile(part, "w", sr, y.shape[0], subtype, format=container) as file:
            for i in range(0, y.shape[1], BLOCK_FRAMES):
                file.write(y[:, i : i + BLOCK_FRAMES].T)
        _verify(part, name, y.shape, sr)
    except (sf.LibsndfileError, OSError) as error:
        raise write_error(Path(name), error, part.parent, y.nbytes) from None


def _verify(part: Path, path: str | Path, shape: tuple[int, ...], sr: int) -> None:
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
        and path.is_file()
    )
    if not clips:
        raise AudioFileError(f"{folder}: holds no audio files ({', '.join(sorted(extensions))})")
    return clips
