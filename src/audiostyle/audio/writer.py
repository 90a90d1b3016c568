"""Write audio files. The only rooms that touch soundfile are this and `audiostyle.audio.reader`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf

from audiostyle.audio.level import BLOCK_SAMPLES, pieces
from audiostyle.audio.reader import FORMATS
from audiostyle.audio.streams import resample_stream
from audiostyle.config.fields import check_choice
from audiostyle.errors import ConfigError, OutputError
from audiostyle.utils.atomic_files import part_file, publish, write_error
from audiostyle.utils.safe_read import system_name

Array = npt.NDArray[Any]

TRIAL_BYTES = 4096  # no output takes less, with its record
MAX_SAMPLE_BYTES = 8  # of any subtype
RIFF_LIMIT_BYTES = 2**32 - 2**16  # a WAV file cannot say that it is longer; RF64 can
UNCOMPRESSED = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_LEVEL = 0.6  # about 150 kbit/s at 44.1 kHz, 70 at 22.05 kHz
DEEP = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32")


def output_format(
    path: str | Path, subtype: str | None, source_subtype: str, size: int
) -> tuple[str, str]:
    """Choose the format of an output: by its extension, and as deep as the source.

    Parameters
    ----------
    path : str or Path
    subtype : str or None
        libsndfile's name, as ``PCM_24`` or ``FLOAT``; None follows the source where the format can.
    source_subtype : str
        libsndfile's name of what the source is stored as.
    size : int
        Samples times channels that will be written.

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
    if container == "WAV" and size * MAX_SAMPLE_BYTES > RIFF_LIMIT_BYTES:
        container = "RF64"
    if subtype is not None:
        names = sf.available_subtypes(container)
        upper = subtype.upper()
        return container, check_choice("subtype", upper if upper in names else subtype, names)
    if suffix == ".opus":
        return container, "OPUS"
    if source_subtype in UNCOMPRESSED and sf.check_format(container, source_subtype):
        return container, source_subtype
    if source_subtype in DEEP and sf.check_format(container, "PCM_24"):
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
        try:  # libsndfile does not tell a full disk from a format that it cannot write
            part.write_bytes(bytes(TRIAL_BYTES))
        except OSError as error:
            raise write_error(path, error, path.parent, TRIAL_BYTES) from None
        try:
            name = system_name(part)
            with sf.SoundFile(name, "w", sr, channels, subtype, format=container) as file:
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
        write_stream(part, [y], sr, len(y), container, subtype, name=path)
        publish(part, Path(path))


def write_stream(
    part: Path,
    blocks: Iterable[Array],
    sr: int,
    channels: int,
    container: str,
    subtype: str,
    name: str | Path,
) -> int:
    """Write a stream to a temporary file and read it back; as `save_audio`, but for the renaming.

    Parameters
    ----------
    part : Path
    blocks : iterable of np.ndarray [shape=(channels, n)]
    sr : int, in Hz
    channels : int
    container, subtype : str
    name : str or Path
        What to call the file in messages.

    Returns
    -------
    int
        Samples that were written.

    Raises
    ------
    OutputError
    """
    n = n_bytes = 0
    try:
        target = system_name(part)
        with sf.SoundFile(target, "w", sr, channels, subtype, format=container) as file:
            for block in blocks:
                for piece in pieces(block):
                    n_bytes = MAX_SAMPLE_BYTES * piece.size
                    file.write(piece.T)
                    n += piece.shape[1]
        _verify(part, name, n, channels, sr)
    except (sf.LibsndfileError, OSError) as error:
        raise write_error(Path(name), error, part.parent, n_bytes) from None
    return n


def _verify(part: Path, path: str | Path, n: int, channels: int, sr: int) -> None:
    n_read = 0
    with sf.SoundFile(system_name(part)) as file:
        if (file.samplerate, file.channels) != (sr, channels):
            raise OutputError(f"{path}: does not read back at {sr} Hz with {channels} channel(s)")
        while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            if not np.isfinite(block).all():
                raise OutputError(f"{path}: reads back with samples that are not finite")
            n_read += len(block)
    if n_read != n:
        raise OutputError(f"{path}: reads back with {n_read} samples in place of {n}")


def encode_compact(
    blocks: Iterable[Array], sr: int, channels: int, limit: int
) -> tuple[str, bytes] | None:
    """Encode a stream in memory, small and for any browser.

    MP3 at a constant rate: with a variable one browsers guess where a time lies in the file. Where
    libsndfile was built without it, Ogg Vorbis.

    Parameters
    ----------
    blocks : iterable of np.ndarray [shape=(channels, n), float32]
    sr : int, in Hz
        What has a rate that MP3 does not know is resampled.
    channels : int
        More than two are averaged.
    limit : int, in bytes

    Returns
    -------
    kind : str
        ``audio/mpeg`` or ``audio/ogg``.
    data : bytes
        Or None in place of both: it would be larger than `limit`.
    """
    rate = next((check_choice for check_choice in MP3_RATES if check_choice >= sr), MP3_RATES[-1])
    container = "MP3" if "MP3" in sf.available_formats() else "OGG"
    buffer = io.BytesIO()
    n = channels if channels <= 2 else 1
    with _open_encoder(buffer, rate, n, container) as file:
        for block in resample_stream(_at_most_two(blocks), sr, rate, n):
            for piece in pieces(block):
                file.write(np.clip(piece.T, -1.0, 1.0))
            if buffer.tell() > limit:
                return None
    data = buffer.getvalue()
    kind = "audio/mpeg" if container == "MP3" else "audio/ogg"
    return (kind, data) if len(data) <= limit else None


def _at_most_two(blocks: Iterable[Array]) -> Iterator[Array]:
    for block in blocks:
        yield block if len(block) <= 2 else block.mean(axis=0, keepdims=True)


def _open_encoder(buffer: io.BytesIO, rate: int, channels: int, container: str) -> Any:
    if container == "MP3":
        try:
            return sf.SoundFile(
                buffer,
                "w",
                rate,
                channels,
                format="MP3",
                bitrate_mode="CONSTANT",
                compression_level=MP3_LEVEL,
            )
        except TypeError:  # soundfile before 0.13 cannot say how
            pass
    return sf.SoundFile(buffer, "w", rate, channels, format=container)
