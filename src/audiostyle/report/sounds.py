"""The sounds of a page: read in a stream, drawn small, and embedded or linked."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np
import numpy.typing as npt

from audiostyle.audio import reader, writer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.preview import SpectrogramPreview
from audiostyle.errors import AudioFileError
from audiostyle.report.records import ROLES, PairRecord, SoundFile
from audiostyle.utils import atomic_files

Array = npt.NDArray[Any]

PICTURE_COLUMNS = 1000  # at least, where there are as many frames; at most twice as many
WAVE_BINS = 1000


@dataclass
class LoadedSound:
    """A sound as a page shows it.

    Attributes
    ----------
    sound : Sound
    seconds : float
        That are shown; 0 where nothing could be read.
    S : np.ndarray [shape=(n_mels, t), dB]
    S_seconds : float
        That `S` covers.
    wave : np.ndarray [shape=(2, n)]
        Smallest and largest sample of each bin, in [-1, 1].
    about : str
        Rate, channels and length of the file.
    reason : str
        Why there is nothing to see, if there is nothing.
    notes : list of str
    """

    sound: SoundFile
    seconds: float = 0.0
    S: Array = field(default_factory=lambda: np.zeros((1, 0), np.float32))
    S_seconds: float = 0.0
    wave: Array = field(default_factory=lambda: np.zeros((2, 0), np.float32))
    about: str = ""
    reason: str = ""
    notes: list[str] = field(default_factory=list)


def load_sound(
    sound: SoundFile,
    config: TransferConfig,
    *,
    limit: float | None = None,
    columns: int = PICTURE_COLUMNS,
    check: bool = True,
) -> LoadedSound:
    """Read a sound once or twice, in memory that does not depend on its length.

    Parameters
    ----------
    sound : Sound
    config : TransferConfig
        Of the spectrogram.
    limit : float, in seconds, optional
        Show no more of it.
    columns : int
        See `PICTURE_COLUMNS`.
    check : bool
        Compare its SHA-256 to that of the record.

    Returns
    -------
    Heard
        Whatever is wrong with the file is a `Heard.reason`, and raises nothing.
    """
    heard = LoadedSound(sound, reason=sound.reason)
    if sound.path is None:
        return heard
    try:
        source = _source(sound, limit)
        recording = NormalizedStream(source, config)
    except AudioFileError as error:
        heard.reason = str(error)
        return heard
    except (OSError, ValueError) as error:  # a name that libsndfile cannot be told is a ValueError
        reason = getattr(error, "strerror", None) or type(error).__name__
        heard.reason = f"{sound.path}: cannot be read ({reason})"
        return heard
    picture = SpectrogramPreview(config, recording.channels, columns)
    for block in recording.normalized_blocks():
        picture.add_audio(block)
    picture.end()
    heard.S = picture.S()
    heard.S_seconds = heard.S.shape[1] * picture.fold * config.hop_length / config.sr
    heard.seconds = recording.n / recording.sr
    heard.wave = _wave(source.blocks(), recording.n)
    channels = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels} channels")
    heard.about = f"{source.sr / 1000:g} kHz, {channels}, {source.format} {source.subtype}"
    heard.notes = list(source.notes)
    if check and sound.sha256 and atomic_files.file_digest(sound.path) != sound.sha256:
        heard.notes.append(f"{sound.path}: has changed since (its SHA-256 is another)")
    return heard


def _source(sound: SoundFile, limit: float | None) -> reader.FileSource:
    assert sound.path is not None
    lengths = [seconds for seconds in (sound.seconds, limit) if seconds is not None]
    return reader.FileSource(sound.path, sound.start, min(lengths) if lengths else None)


def _wave(blocks: Iterator[Array], n: int) -> Array:
    """Find the extremes of equal parts of a stream of `n` samples [shape=(2, bins)]."""
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


@dataclass(frozen=True)
class PlayerSource:
    """What a player plays.

    Attributes
    ----------
    url : str
        A data URI, or a relative one.
    offset : float, in seconds
        Where in it the part begins that is shown.
    embedded : bool
    n_bytes : int
        That it takes on the page.
    """

    url: str
    offset: float
    embedded: bool
    n_bytes: int


def embed(heard: LoadedSound, limit: int) -> PlayerSource | None:
    """Encode what is shown of a sound into a data URI.

    Parameters
    ----------
    heard : Heard
    limit : int, in bytes
        Of the URI.

    Returns
    -------
    Source or None
        None if it would be larger, or there is nothing to hear.
    """
    sound = heard.sound
    if heard.reason or sound.path is None:
        return None
    # A constant rate makes a bound that spares the encoding of an hour.
    if heard.seconds * 1000 > limit:
        return None
    source = _source(sound, heard.seconds)
    found = writer.encode_compact(
        source.blocks(), source.sr, source.channels, max(0, (limit - 40) // 4 * 3)
    )
    if found is None:
        return None
    url = data_uri(*found)
    return PlayerSource(url, 0.0, True, len(url))


def link(heard: LoadedSound, page: Path) -> PlayerSource | None:
    """Name a sound as seen from a page.

    Parameters
    ----------
    heard : Heard
    page : Path
        Where the page will lie.

    Returns
    -------
    Source or None
        None if there is nothing to hear.
    """
    path = heard.sound.path
    if heard.reason or path is None:
        return None
    url = relative_url(path, page)
    return PlayerSource(url, heard.sound.start, False, len(url))


def relative_url(path: Path, page: Path) -> str:
    """Write the way from a page to a file so that no name can be taken for something else.

    Parameters
    ----------
    path, page : Path

    Returns
    -------
    str
        Percent-encoded bytes; ``./`` in front where it could begin with a scheme. A whole
        ``file:`` URL where no relative way leads there.
    """
    target, start = os.path.realpath(path), os.path.realpath(page.parent)
    try:
        way = os.path.relpath(target, start)
    except ValueError:  # another drive
        return Path(target).as_uri()
    url = quote_from_bytes(os.fsencode(way.replace(os.sep, "/")), safe="/")
    return url if url.startswith("../") else f"./{url}"


def data_uri(kind: str, data: bytes) -> str:
    """Write bytes into a URI.

    Parameters
    ----------
    kind : str
        Media type.
    data : bytes

    Returns
    -------
    str
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def load_sounds(
    case: PairRecord, config: TransferConfig, columns: int, check: bool = True
) -> dict[str, LoadedSound]:
    """Listen to the sounds of a case, to no more of the style than the others last.

    Parameters
    ----------
    case : Case
    config : TransferConfig
    columns : int
    check : bool

    Returns
    -------
    dict of str to Heard
    """
    heard = {
        role: load_sound(case.sounds[role], config, columns=columns, check=check)
        for role in ("content", "result")
    }
    length = max(one.seconds for one in heard.values()) or None
    heard["style"] = load_sound(
        case.sounds["style"], config, limit=length, columns=columns, check=check
    )
    return {role: heard[role] for role in ROLES}


def make_player_sources(
    heard: Mapping[str, LoadedSound], page: Path, limit: int
) -> dict[str, PlayerSource | None]:
    """Embed all sounds of a pair if together they fit, or link all of them.

    Parameters
    ----------
    heard : dict of str to Heard
    page : Path
    limit : int

    Returns
    -------
    dict of str to Source or None
    """
    embedded: dict[str, PlayerSource | None] = {}
    left = limit
    for role, one in heard.items():
        if one.reason:
            embedded[role] = None
            continue
        source = embed(one, left)
        if source is None:
            return {role: link(one, page) for role, one in heard.items()}
        embedded[role] = source
        left -= source.n_bytes
    return embedded
