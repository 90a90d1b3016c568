"""Sounds of a page: read as a stream, drawn with few columns, and embedded or linked."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio import reader, writer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.preview import SpectrogramPreview
from audiostyle.errors import AudioFileError
from audiostyle.report.charts import format_time
from audiostyle.report.records import ROLES, PairRecord, SoundFile
from audiostyle.utils.atomic_files import file_digest

SPECTROGRAM_COLUMNS = 1000  # at least, if there are as many frames; at most twice as many
WAVE_BINS = 1000


@dataclass
class LoadedSound:
    """A sound as a page shows it."""

    sound: SoundFile
    seconds: float = 0.0  # length of what is shown; 0 if nothing could be read
    S: Array = field(default_factory=lambda: np.zeros((1, 0), np.float32))  # (n_mels, t), dB
    S_seconds: float = 0.0  # that S covers
    wave: Array = field(default_factory=lambda: np.zeros((2, 0), np.float32))  # extremes per bin
    about: str = ""  # rate, channels, format and length, and the remark of the sound
    reason: str = ""  # why there is nothing to show
    notes: list[str] = field(default_factory=list)


class PlayerSource(NamedTuple):
    """What a player plays."""

    url: str  # a data URI, or a relative URL
    offset: float  # in seconds; where the excerpt begins in the file


def load_sound(
    sound: SoundFile,
    config: TransferConfig,
    *,
    max_seconds: float | None = None,
    columns: int = SPECTROGRAM_COLUMNS,
    check_digest: bool = True,
) -> LoadedSound:
    """Read and draw a sound, in memory that does not depend on its length.

    A file that cannot be read gives a `LoadedSound.reason` instead of an exception.
    """
    loaded = LoadedSound(sound, reason=sound.reason, about=sound.about)
    if sound.path is None:
        return loaded
    try:
        source = _open(sound, max_seconds)
        stream = NormalizedStream(source, config)
    except AudioFileError as error:
        loaded.reason = str(error)
        return loaded
    except (OSError, ValueError) as error:  # libsndfile rejects some names with a ValueError
        reason = getattr(error, "strerror", None) or type(error).__name__
        loaded.reason = f"{sound.path}: cannot be read ({reason})"
        return loaded
    preview = SpectrogramPreview(config, stream.channels, columns)
    for block in stream.normalized_blocks():
        preview.add_audio(block)
    preview.end()
    loaded.S = preview.S()
    loaded.S_seconds = loaded.S.shape[1] * preview.fold * config.hop_length / config.sr
    loaded.seconds = stream.n / stream.sr
    loaded.wave = wave_extremes(source.blocks(), stream.n)
    channels = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels} channels")
    length = format_time(loaded.seconds, exact=True)
    about = f"{source.sr / 1000:g} kHz, {channels}, {source.format} {source.subtype}, {length}"
    loaded.about = f"{about}, {sound.about}" if sound.about else about
    loaded.notes = list(source.notes)
    if check_digest and sound.sha256 and file_digest(sound.path) != sound.sha256:
        loaded.notes.append(f"{sound.path}: has changed since (its SHA-256 differs)")
    return loaded


def load_sounds(pair: PairRecord, config: TransferConfig) -> dict[str, LoadedSound]:
    """Load the sounds of a pair; the style is cut to the length of the longer of the others."""
    loaded = {role: load_sound(pair.sounds[role], config) for role in ("content", "result")}
    length = max(one.seconds for one in loaded.values()) or None
    loaded["style"] = load_sound(pair.sounds["style"], config, max_seconds=length)
    return {role: loaded[role] for role in ROLES}


def _open(sound: SoundFile, max_seconds: float | None) -> reader.FileSource:
    assert sound.path is not None
    lengths = [seconds for seconds in (sound.seconds, max_seconds) if seconds is not None]
    return reader.FileSource(sound.path, sound.start, min(lengths) if lengths else None)


def wave_extremes(blocks: Iterator[Array], n: int) -> Array:
    """Find the extremes of equal parts of a stream.

    Parameters
    ----------
    blocks : iterator of np.ndarray [shape=(channels, samples)]
    n : int
        Samples of the stream that count.

    Returns
    -------
    np.ndarray [shape=(2, bins)]
        Smallest and largest sample of each bin, in [-1, 1]; at most `WAVE_BINS` bins.
    """
    size = max(1, -(-n // WAVE_BINS))
    low = np.zeros(-(-n // size), np.float32)
    high = np.zeros_like(low)
    first = 0
    for block in blocks:
        stop = min(block.shape[1], n - first)
        if stop <= 0:
            break
        edges = np.arange(first // size, (first + stop - 1) // size + 1)
        starts = np.maximum(edges * size - first, 0)
        part = block[:, :stop]
        low[edges] = np.minimum(low[edges], np.minimum.reduceat(part.min(axis=0), starts))
        high[edges] = np.maximum(high[edges], np.maximum.reduceat(part.max(axis=0), starts))
        first += stop
    return np.clip(np.nan_to_num(np.stack([low, high])), -1.0, 1.0)


def make_player_sources(
    loaded: Sequence[LoadedSound], page: Path, max_bytes: int
) -> list[PlayerSource | None]:
    """Embed all sounds if they fit into `max_bytes` together, else link all of them."""
    sources: list[PlayerSource | None] = []
    for one in loaded:
        url = None if one.reason else _embed(one, max_bytes)
        if url is None and not one.reason:
            return [link(one, page) for one in loaded]
        sources.append(PlayerSource(url, 0.0) if url else None)
        max_bytes -= len(url or "")
    return sources


def _embed(loaded: LoadedSound, max_bytes: int) -> str | None:
    """Encode a sound into a data URI; None if that would be larger than `max_bytes`."""
    if loaded.seconds * 1000 > max_bytes:  # a constant bit rate: no need to encode an hour first
        return None
    source = _open(loaded.sound, loaded.seconds)
    encoded = writer.encode_compact(
        source.blocks(), source.sr, source.channels, max(0, (max_bytes - 40) // 4 * 3)
    )
    return None if encoded is None else data_uri(*encoded)


def link(loaded: LoadedSound, page: Path) -> PlayerSource | None:
    """Link a sound relative to a page; None if there is no sound."""
    path = loaded.sound.path
    if loaded.reason or path is None:
        return None
    return PlayerSource(relative_url(path, page), loaded.sound.start)


def relative_url(path: Path, page: Path) -> str:
    """Return the percent-encoded URL from a page to a file.

    It starts with ``./`` or ``../``, so that no name is taken for a scheme; on another drive it is
    a ``file:`` URL.
    """
    target, start = os.path.realpath(path), os.path.realpath(page.parent)
    try:
        relative = os.path.relpath(target, start)
    except ValueError:  # another drive
        return Path(target).as_uri()
    url = quote_from_bytes(os.fsencode(relative.replace(os.sep, "/")), safe="/")
    return url if url.startswith("../") else f"./{url}"


def data_uri(media_type: str, data: bytes) -> str:
    """Return bytes as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
