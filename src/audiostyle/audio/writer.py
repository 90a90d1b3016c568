"""Writing of audio files. Only this module and `audiostyle.audio.reader` use soundfile."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiostyle.arrays import Array
from audiostyle.audio.level import BLOCK_SAMPLES, split_blocks
from audiostyle.audio.reader import FORMATS
from audiostyle.audio.resampling import resample_stream
from audiostyle.audio.speakers import set_channel_mask, to_file_order
from audiostyle.errors import ConfigError, OutputError
from audiostyle.utils.atomic_files import part_file, write_error
from audiostyle.utils.safe_read import system_name
from audiostyle.utils.suggestions import check_choice

TRIAL_BYTES = 4096  # less than any output with its record
MAX_SAMPLE_BYTES = 8  # of any subtype
RIFF_LIMIT_BYTES = 2**32 - 2**16  # a longer WAV file needs the RF64 header
FLOAT = ("FLOAT", "DOUBLE")
UNCOMPRESSED = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", *FLOAT)
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_COMPRESSION = 0.6  # about 150 kbit/s at 44.1 kHz, 70 at 22.05 kHz
HIGH_RESOLUTION = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32")


def output_format(
    path: str | Path, subtype: str | None, source_subtype: str, size: int
) -> tuple[str, str]:
    """Choose container and subtype (libsndfile's names) by extension, as deep as the source.

    `subtype` None follows `source_subtype` where the container supports it; `size` is the number of
    samples times channels. Raises a `ConfigError` if extension and subtype do not fit.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        reason = f"cannot write files with extension {suffix}" if suffix else "has no extension"
        raise ConfigError(f"{path}: {reason}; use one of {', '.join(FORMATS)}")
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
    if source_subtype in HIGH_RESOLUTION and sf.check_format(container, "PCM_24"):
        return container, "PCM_24"
    return container, str(sf.default_subtype(container))


def check_writable(path: str | Path, sr: int, channels: int, container: str, subtype: str) -> None:
    """Check that an output can be written there in that format, before any work.

    Raises an `OutputError` if the folder does not exist or is not writable, or the format does not
    support this rate or number of channels.
    """
    path = Path(path)
    with part_file(path) as part:
        try:  # libsndfile does not distinguish a full disk from an unsupported format
            part.write_bytes(bytes(TRIAL_BYTES))
        except OSError as error:
            raise write_error(path, error, path.parent, TRIAL_BYTES) from None
        try:
            with _create(part, sr, channels, container, subtype) as file:
                file.write(np.zeros((1, channels), np.float32))
        except (sf.LibsndfileError, ValueError, TypeError):
            raise OutputError(
                f"{path}: {container} with {subtype} does not support {channels} channel(s) at "
                f"{sr} Hz; use .wav or .flac, or another --subtype"
            ) from None


def write_stream(
    part: Path,
    blocks: Iterable[Array],
    sr: int,
    channels: int,
    container: str,
    subtype: str,
    name: str | Path,
) -> int:
    """Write a stream to a temporary file, read it back, and return the number of samples.

    `name` is the name of the final file, for messages of the `OutputError` that is raised if the
    file cannot be written or does not read back correctly.
    """
    n = n_bytes = 0
    try:
        with _create(part, sr, channels, container, subtype) as file:
            for block in blocks:
                for part_block in split_blocks(block):
                    n_bytes = MAX_SAMPLE_BYTES * part_block.size
                    file.write(to_file_order(part_block, subtype).T)
                    n += part_block.shape[1]
        if container in ("WAV", "RF64") and channels > 2:
            set_channel_mask(part, channels)
        _verify(part, name, n, channels, sr)
    except (sf.LibsndfileError, OSError) as error:
        raise write_error(Path(name), error, part.parent, n_bytes) from None
    return n


def _create(part: Path, sr: int, channels: int, container: str, subtype: str) -> sf.SoundFile:
    """Open a file for writing; WAV of more than two channels gets a header with their speakers."""
    if container == "WAV" and channels > 2 and sf.check_format("WAVEX", subtype):
        container = "WAVEX"
    return sf.SoundFile(system_name(part), "w", sr, channels, subtype, format=container)


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
        raise OutputError(f"{path}: reads back with {n_read} samples instead of {n}")


def encode_compact(
    blocks: Iterable[Array], sr: int, channels: int, limit: int
) -> tuple[str, bytes] | None:
    """Encode a stream [shape=(channels, n)] in memory; return its media type and its bytes.

    MP3 at a constant rate, because browsers only estimate positions in files of variable rate; Ogg
    Vorbis if libsndfile was built without MP3. Rates that MP3 does not have are resampled, and more
    than two channels averaged. The result is None if it would exceed `limit` bytes.
    """
    rate = next((rate for rate in MP3_RATES if rate >= sr), MP3_RATES[-1])
    container = "MP3" if "MP3" in sf.available_formats() else "OGG"
    buffer = io.BytesIO()
    n = channels if channels <= 2 else 1
    mixed = blocks if channels <= 2 else (y.mean(axis=0, keepdims=True) for y in blocks)
    with _open_encoder(buffer, rate, n, container) as file:
        for block in resample_stream(iter(mixed), sr, rate, n):
            for part in split_blocks(block):
                file.write(np.clip(part.T, -1.0, 1.0))
            if buffer.tell() > limit:
                return None
    data = buffer.getvalue()
    kind = "audio/mpeg" if container == "MP3" else "audio/ogg"
    return (kind, data) if len(data) <= limit else None


def _open_encoder(buffer: io.BytesIO, rate: int, channels: int, container: str) -> Any:
    if container == "MP3":
        options = {"bitrate_mode": "CONSTANT", "compression_level": MP3_COMPRESSION}
        try:
            return sf.SoundFile(buffer, "w", rate, channels, format="MP3", **options)
        except TypeError:  # soundfile before 0.13 lacks these options
            pass
    return sf.SoundFile(buffer, "w", rate, channels, format=container)
