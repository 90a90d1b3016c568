"""Decoders of audio files: libsndfile for what it reads exactly, FFmpeg (PyAV) for the rest.

Both libraries have (samples, channels) or their own layouts, everything else (channels, samples):
this module transposes. No message of a decoder is printed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile as sf

from audiostyle.arrays import Array
from audiostyle.audio.sections import (
    Section,
    SectionFile,
    file_size,
    find_flac_streams,
    find_mpeg_streams,
    find_ogg_streams,
)
from audiostyle.audio.speakers import from_file_order
from audiostyle.errors import AudioFileError, MissingPackageError
from audiostyle.utils.safe_read import system_name
from audiostyle.utils.stderr_capture import CapturedStderr, capture_stderr

MIN_RATE, MAX_RATE = 1000, 768_000  # Hz; other rates are broken headers
SKIP_SAMPLES = 1 << 16  # read at a time to get to a position
# Programs that write to a pipe claim more bytes than this: they do not know the length.
STREAMED_BYTES = 2**31 - 2**16
# What versions of libsndfile report of a truncated compressed file.
DAMAGE = ("", "flac decoder lost sync", "Internal psf_fseek() failed")
# Files that libsndfile reads begin so; MPEG audio, which it reads too, is left to FFmpeg.
SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"dns.", b"riff", b"caff", b"fLaC",
                 b"OggS")  # fmt: skip
# Files of these begin so: if FFmpeg cannot open one, it is damaged.
MEDIA_MAGIC = re.compile(
    rb"....ftyp|\x1aE\xdf\xa3|0&\xb2u|FLV|wvpk|TTA1|tBaK|MAC |MP\+|MPCK|#!AMR|ID3", re.DOTALL
)
MPEG_TAGS = (b"P\x00", b"U\x00")  # of MPEG audio in a WAV file

# What FFmpeg may use: no playlists, which name other files, no images, and no formats of games.
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,dtshd,eac3,flac,flv,loas,matroska,webm,"
    "mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,ogg,rf64,tak,truehd,tta,w64,wav,wv"
)
CODECS = (
    "aac,aac_latm,ac3,ac3_fixed,eac3,alac,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,ape,dca,"
    "flac,gsm,gsm_ms,mlp,truehd,mp1,mp1float,mp2,mp2float,mp3,mp3float,mpc7,mpc8,nellymoser,opus,"
    "libopus,libspeex,speex,tak,tta,vorbis,libvorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,"
    "wmavoice,adpcm_ima_wav,adpcm_ima_qt,adpcm_ms,adpcm_swf,adpcm_yamaha,g722,g726,"
    "pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd"
)
OPTIONS = {"format_whitelist": DEMUXERS, "codec_whitelist": CODECS, "protocol_whitelist": ""}
# The lengths that these claim are those of the sound; others are estimates of FFmpeg.
TRUE_LENGTHS = ("mov", "matroska", "asf", "wav", "aiff", "caf", "w64", "tta", "tak", "ape", "wv")
LENGTH_TOLERANCE = 0.25  # s; containers round, and count the delay of an encoder
CUT_OFF = "was cut off"  # notes begin so of files that end before they should
LOSSLESS = ("alac", "ape", "flac", "mlp", "tak", "truehd", "tta", "wavpack", "wmalossless")
# Where FFmpeg would drop sound: the last frame of ALAC in CAF is short already, and WMA has only
# half the delay that it assumes.
UNTRIMMED = {"caf": LOSSLESS, "asf": ("wmav1", "wmav2")}
MAX_PLANES = 8  # channels in planes of their own; PyAV reads others from wrong addresses
# What iTunes writes of the samples: flags, delay, padding, length.
ITUNES = re.compile(r"\s*[0-9A-F]{8} [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{16})\b")
SKIP_MANUAL = 1 << 29  # AV_CODEC_FLAG2_SKIP_MANUAL
HELD_SAMPLES = 8192  # more than an encoder pads its last frame with
# libsndfile's names, where it has one.
FORMATS = {"mov": "MP4", "rf64": "RF64"}
SUBTYPES = {
    **{f"mp{layer}": f"MPEG_LAYER_{'I' * layer}" for layer in (1, 2, 3)},
    **{"pcm_u8": "PCM_U8", "pcm_s8": "PCM_S8", "pcm_mulaw": "ULAW", "pcm_alaw": "ALAW"},
    **{"adpcm_ms": "MS_ADPCM", "adpcm_ima_wav": "IMA_ADPCM", "gsm": "GSM610", "gsm_ms": "GSM610"},
}
DEPTHS = {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}


class Decoder(Protocol):
    """An open file from which samples are read in order."""

    sr: int  # Hz
    channels: int
    format: str  # libsndfile's names, such as WAV and PCM_16, or FFmpeg's, such as MP4 and AAC
    subtype: str
    frames: int  # length in samples, if it is certain; else 0

    def read(self, n: int) -> Array:
        """Read up to `n` samples [shape=(channels, n), float32]; none at the end."""

    def skip(self, n: int) -> int:
        """Skip up to `n` samples; return how many there were."""

    def skip_to_last(self, n: int) -> tuple[int, Array]:
        """Return how many samples are left, and up to `n` of the last if none must be decoded."""

    def notes(self, n: int | None) -> list[str]:
        """Tell what is odd about the file, of which `n` samples were read; None if not all."""

    def close(self) -> None:
        """Close the file."""


@contextmanager
def open_decoder(path: Path) -> Iterator[Decoder]:
    """Open a file that exists; any fault, while it is used too, is an `AudioFileError`."""
    with translate_errors(path), contextlib.closing(_choose_decoder(path)) as decoder:
        yield decoder


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn errors of decoders and memory errors into an `AudioFileError` of one line."""
    try:
        yield
    except sf.LibsndfileError as error:
        reason = str(error.error_string).removeprefix("Error :").strip().rstrip(".")
        if reason in DAMAGE:
            raise _damaged(path) from None
        raise _no_audio(path, reason) from None
    except MemoryError:
        raise AudioFileError(
            f"{path}: does not fit into memory; use --start and --duration", kind="out_of_memory"
        ) from None


def _damaged(path: Path) -> AudioFileError:
    return AudioFileError(f"{path}: is damaged or incomplete; copy or export it again")


def _no_audio(path: Path, reason: str) -> AudioFileError:
    return AudioFileError(
        f"{path}: is not an audio file that can be read ({reason}); convert it to WAV or FLAC, "
        "for example with ffmpeg"
    )


def _choose_decoder(path: Path) -> Decoder:
    if path.suffix.lower() == ".raw":
        raise AudioFileError(
            f"{path}: raw samples have no header with rate and sample format; convert it to WAV"
        )
    with path.open("rb") as file:
        head = file.read(32)
        streams = [Section(0, file_size(file))]
        if head.startswith(b"OggS"):
            streams = find_ogg_streams(file)
        elif head.startswith(b"fLaC"):
            streams = find_flac_streams(file)
    is_mpeg = head.startswith(b"RIFF") and head[20:22] in MPEG_TAGS
    if not head.startswith(SNDFILE_MAGIC) or is_mpeg:
        return _open_other(path)
    if len(streams) > 1:
        return ChainDecoder(path, streams, _open_section)
    if streams and streams[0].n_streams > 1:
        return AvDecoder(path)
    return _open_known(path)


def _open_known(path: Path) -> Decoder:
    """Open a file of a format of libsndfile; FFmpeg reads some that libsndfile does not."""
    try:
        decoder = SndfileDecoder(path)
    except sf.LibsndfileError:
        with contextlib.suppress(AudioFileError):
            return AvDecoder(path)
        raise
    # Programs that write to a pipe leave the length 0, which libsndfile takes for true.
    if decoder.frames == 0:
        with contextlib.suppress(AudioFileError):
            other = AvDecoder(path)
            decoder.close()
            return other
    return decoder


def _open_other(path: Path) -> Decoder:
    """Open a file of another format; libsndfile reads some that FFmpeg does not."""
    try:
        decoder = AvDecoder(path)
    except AudioFileError:
        with contextlib.suppress(sf.LibsndfileError):
            return SndfileDecoder(path, quiet=True)
        raise
    if not decoder.is_mpeg:
        return decoder
    decoder.close()
    with path.open("rb") as file:
        streams = find_mpeg_streams(file)
    if len(streams) < 2:
        return AvDecoder(path, *streams)
    return ChainDecoder(path, streams, AvDecoder)


def _open_section(path: Path, section: Section) -> Decoder:
    if section.n_streams == 1:
        with contextlib.suppress(sf.LibsndfileError):
            decoder = SndfileDecoder(path, section)
            if decoder.frames:
                return decoder
            decoder.close()
    return AvDecoder(path, section)


def _check_rate(sr: int, path: Path) -> None:
    if not MIN_RATE <= sr <= MAX_RATE:
        raise AudioFileError(
            f"{path}: a rate of {sr} Hz is not plausible ({MIN_RATE} to {MAX_RATE} Hz "
            "are supported); resample or repair it"
        )


def _skip_by_reading(decoder: Decoder, n: int) -> int:
    skipped = 0
    while skipped < n:
        length = decoder.read(min(n - skipped, SKIP_SAMPLES)).shape[1]
        if not length:
            break
        skipped += length
    return skipped


class SndfileDecoder:
    """Decoder of a file, or a section of one, by libsndfile.

    `quiet` is for what may be MPEG audio, whose decoder prints: that is captured call by call, so
    that other output is not.
    """

    def __init__(self, path: Path, section: Section | None = None, quiet: bool = False) -> None:
        self._path, self._quiet, self._warnings = path, quiet, ""
        self._base: BinaryIO | None = None
        source: Any = system_name(path)
        if section is not None:
            self._base = path.open("rb")
            source = SectionFile(self._base, section.start, section.stop)
        try:
            with self._captured():
                self._file = sf.SoundFile(source)
        except BaseException:
            self._close_base()
            raise
        file, self._position = self._file, 0
        self.sr, self.channels = int(file.samplerate), int(file.channels)
        self.format, self.subtype = str(file.format), str(file.subtype)
        # A FLAC file that was written to a pipe claims more samples than any file has.
        self.frames = int(file.frames) if file.frames < 2**62 else 0
        try:
            _check_rate(self.sr, path)
        except AudioFileError:
            self.close()
            raise

    @contextmanager
    def _captured(self) -> Iterator[None]:
        capturing: AbstractContextManager[CapturedStderr]
        capturing = capture_stderr() if self._quiet else nullcontext(CapturedStderr())
        with capturing as captured:
            yield
        self._warnings += captured.text

    def read(self, n: int) -> Array:
        """Read samples; see `Decoder.read`."""
        with self._captured():
            block = self._file.read(n, dtype="float32", always_2d=True)
        self._position += len(block)
        return from_file_order(np.asarray(block.T), self.subtype)

    def skip(self, n: int) -> int:
        """Skip samples; see `Decoder.skip`."""
        if not self._file.seekable() or self.subtype.startswith("MPEG"):
            return _skip_by_reading(self, n)  # a frame of MPEG audio needs those before it
        n = max(0, min(n, int(self._file.frames) - self._position))
        self._file.seek(self._position + n)
        self._position += n
        return n

    def skip_to_last(self, n: int) -> tuple[int, Array]:
        """Read the last block; see `Decoder.skip_to_last`."""
        skipped = self.skip(max(0, int(self._file.frames) - n - self._position))
        last = self.read(n)
        return skipped + last.shape[1], last

    def notes(self, n: int | None) -> list[str]:
        """Describe damage; see `Decoder.notes`."""
        notes = [_describe_damage(self._file, self._file.frames if n is None else n)]
        if warnings := self._warnings.strip():
            notes.append(f"the decoder warned: {warnings.splitlines()[0].strip()}")
        return [note for note in notes if note]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._close_base()

    def _close_base(self) -> None:
        if self._base is not None:
            self._base.close()


def _describe_damage(file: Any, n_frames: int) -> str:
    """Describe that a `soundfile.SoundFile` ended, at `n_frames`, before its header claims."""
    if n_frames != file.frames:
        return f"{CUT_OFF}: its header claims {file.frames} samples, it holds {n_frames}"
    # libsndfile corrects some headers silently, and reports that only in its log.
    claim = re.search(
        r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE
    )
    if claim and int(claim[2]) < int(claim[1]) < STREAMED_BYTES:
        return f"{CUT_OFF}: its header claims {claim[1]} bytes of audio, it holds {claim[2]}"
    if "Last page lacks an end-of-stream bit" in file.extra_info:
        return f"{CUT_OFF}: its last page is incomplete"
    return ""


class AvDecoder:
    """Decoder of a file, or a section of MPEG audio or Ogg, by FFmpeg.

    Lengths in headers are not trusted: packets are decoded until there are no more. FFmpeg drops
    the delay of an encoder, and here also what its last frame was padded with.
    """

    frames = 0

    def __init__(self, path: Path, section: Section | None = None) -> None:
        try:
            import av
        except ImportError as error:
            raise MissingPackageError(
                f"{path}: is read by PyAV, which cannot be loaded ({error}); "
                "pip install --force-reinstall av"
            ) from None
        self._path, self._section, self._av_error = path, section, av.error.FFmpegError
        self._resources = ExitStack()
        with contextlib.ExitStack() as stack:
            base = stack.enter_context(path.open("rb"))
            bounds = (section.start, section.stop) if section else (0, file_size(base))
            try:
                container = av.open(
                    SectionFile(base, *bounds),
                    format="mp3" if section and section.n_frames else None,
                    container_options=OPTIONS,
                    metadata_errors="replace",
                )
            except (av.error.FFmpegError, ValueError):
                base.seek(0)
                if MEDIA_MAGIC.match(base.read(16)):
                    raise _damaged(path) from None
                raise _no_audio(path, "Format not recognised") from None
            stack.enter_context(container)
            self._open_stream(container)
            self._resources = stack.pop_all()

    def _open_stream(self, container: Any) -> None:
        """Choose a track, and decode its first frame: only that tells its rate and channels."""
        tracks = container.streams.audio
        if not tracks:
            if container.streams.video:
                raise AudioFileError(f"{self._path}: holds pictures and no sound; use another file")
            raise _no_audio(self._path, "it holds no sound")
        self._n_tracks = len(tracks)
        defaults = [t for t in tracks if "default" in str(getattr(t, "disposition", "")).lower()]
        track = (defaults or tracks)[0]
        self._container, self._track, self._codec = container, track, track.codec_context
        self._number = 1 + list(tracks).index(track)
        name = container.format.name.split(",")[0]
        self.is_mpeg, self._container_name = name == "mp3", name
        if self._codec is None:
            raise _no_audio(self._path, "there is no decoder for its sound")
        if self._codec.name in UNTRIMMED.get(name, ()):
            self._codec.flags2 |= SKIP_MANUAL
        self._packets: Iterator[Any] = container.demux(track)
        self._waiting: list[Array] = []
        self._n_decoded = self._n_waiting = self._n_packets = self._n_bad = 0
        self._ended, self._broken, self.sr = False, "", 0
        self._padding = 0  # samples of the last frame that its packet does not count
        while not self._n_waiting and self._decode_packet():
            pass
        if not self._n_waiting:
            reason = "nothing could be decoded" if self._n_bad else "holds no sound"
            raise _no_audio(self._path, reason)
        self.format = FORMATS.get(name, name.upper())
        self.subtype = self._subtype()

    def _subtype(self) -> str:
        name = str(self._codec.name).removeprefix("lib").removesuffix("float")
        depth = re.match(r"pcm_([sf]\d\d)", name)
        if depth:
            return DEPTHS[depth[1]]
        if name in LOSSLESS:
            depths = {"s16": "PCM_16", "flt": "FLOAT"}
            return depths.get(self._sample_format, "PCM_24")
        return SUBTYPES.get(name, name.upper())

    def _decode_packet(self) -> bool:
        """Decode the next packet; return whether there may be more."""
        try:
            packet = next(self._packets, None)
        except (self._av_error, ValueError) as error:
            packet, self._broken = None, str(getattr(error, "strerror", None) or error)
        if packet is None:
            self._end()
            return False
        self._n_packets += bool(packet.size)
        try:
            frames = packet.decode()
        except (self._av_error, ValueError):
            self._n_bad += bool(packet.size)
            return True
        for frame in frames:
            self._add(frame)
        if frames and packet.duration:
            claimed = float(packet.duration * packet.time_base * self.sr)
            self._padding = max(0, round(frames[-1].samples - claimed))
        return True

    def _add(self, frame: Any) -> None:
        channels, sr = len(frame.layout.channels), int(frame.sample_rate)
        if frame.format.is_planar and channels > MAX_PLANES:
            raise AudioFileError(
                f"{self._path}: {channels} channels in one track; from 1 to {MAX_PLANES} are read"
            )
        if not self.sr:
            _check_rate(sr, self._path)
            self._n_dropped = _overlap(self._codec.name, sr)
            self._sample_format = str(frame.format.name).removesuffix("p")
            self.sr, self.channels = sr, channels
        if (sr, channels) != (self.sr, self.channels):
            raise changes_error(self._path, self, sr, channels)
        y = frame.to_ndarray()
        if not frame.format.is_planar:
            y = y.reshape(-1, channels).T
        if y.dtype == np.uint8:
            y = (y.astype(np.float32) - 128) / 128
        elif y.dtype.kind == "i":
            y = y / np.float64(2 ** (8 * y.dtype.itemsize - 1))
        self._frame_samples = y.shape[1]
        y = y[:, self._n_dropped :]
        self._n_dropped = max(0, self._n_dropped - int(frame.samples))
        self._waiting.append(np.asarray(y, np.float32))
        self._n_waiting += y.shape[1]
        self._n_decoded += y.shape[1]

    def _end(self) -> None:
        """Drop what the last frame was padded with, where the container tells."""
        self._ended = True
        padding = self._padding if self._container_name == "mov" else 0
        itunes = ITUNES.match(self._container.metadata.get("iTunSMPB", ""))
        if itunes:
            padding = self._n_decoded - int(itunes[1], 16)
        if 0 < padding < min(HELD_SAMPLES, self._n_waiting):
            self._waiting = [np.concatenate(self._waiting, axis=1)[:, :-padding]]
            self._n_waiting -= padding

    def read(self, n: int) -> Array:
        """Read samples; see `Decoder.read`."""
        while self._n_waiting < n + HELD_SAMPLES and not self._ended:
            self._decode_packet()
        waiting = np.concatenate(self._waiting, axis=1) if self._waiting else self._nothing()
        self._waiting = [waiting[:, n:].copy()]
        self._n_waiting = self._waiting[0].shape[1]
        return np.asarray(waiting[:, :n])

    def _nothing(self) -> Array:
        return np.zeros((self.channels, 0), np.float32)

    def skip(self, n: int) -> int:
        """Skip samples by decoding them: positions of FFmpeg are not exact."""
        return _skip_by_reading(self, n)

    def skip_to_last(self, n: int) -> tuple[int, Array]:
        """Count the samples by the durations of the packets; see `Decoder.skip_to_last`."""
        duration = n_unknown = 0
        try:
            for packet in self._packets if not self._ended else ():
                duration += packet.duration or 0
                n_unknown += not packet.duration and bool(packet.size)
        except (self._av_error, ValueError) as error:
            self._broken = str(getattr(error, "strerror", None) or error)
        self._ended = True
        left = round(float(duration * self._track.time_base * self.sr))
        return self._n_waiting + left + n_unknown * self._frame_samples, self._nothing()

    def notes(self, n: int | None) -> list[str]:
        """Describe damage, and the tracks that are left out; see `Decoder.notes`."""
        notes = []
        if n is not None:
            claimed = self._claimed_samples()
            if claimed - n > LENGTH_TOLERANCE * self.sr:
                notes.append(f"{CUT_OFF}: its header claims {claimed} samples, it holds {n}")
            elif self._broken:
                notes.append(f"{CUT_OFF} after {n / self.sr:.3f} s ({self._broken})")
        if self._section is not None and self._section.n_lost:
            notes.append(f"is damaged: {self._section.n_lost} bytes in it are no sound")
        if self._n_bad:
            notes.append(f"is damaged: {self._n_bad} of {self._n_packets} packets were left out")
        if self._n_tracks > 1:
            notes.append(f"holds {self._n_tracks} tracks of sound; number {self._number} is used")
        return notes

    def _claimed_samples(self) -> int:
        section = self._section
        if section is not None and section.claimed:
            samples = 1152 if self.sr >= 32_000 else 576
            cut = section.claimed > section.n_frames and not section.n_lost
            return section.claimed * samples if cut else 0
        if self._container_name not in TRUE_LENGTHS:
            return 0
        if self._track.duration:
            return round(float(self._track.duration * self._track.time_base * self.sr))
        alone = len(self._container.streams) == 1
        return round((self._container.duration or 0) / 1e6 * self.sr) if alone else 0

    def close(self) -> None:
        """Close the file."""
        self._resources.close()


def _overlap(codec: str, sr: int) -> int:
    """Return the length of the first block of WMA, which lacks the half that overlaps it."""
    if codec not in ("wmav1", "wmav2"):
        return 0
    if sr <= 16_000:
        return 512
    return 1024 if sr <= 22_050 or (sr <= 32_000 and codec == "wmav1") else 2048


def changes_error(path: Path, first: Decoder, sr: int, channels: int) -> AudioFileError:
    """Make the error of a file whose rate or channels change."""
    return AudioFileError(
        f"{path}: changes from {first.sr} Hz and {first.channels} channels to {sr} Hz and "
        f"{channels} channels; convert it to WAV or FLAC, for example with ffmpeg"
    )


class ChainDecoder:
    """Decoder of a file that holds several streams, one after another."""

    def __init__(
        self, path: Path, sections: list[Section], open_section: Callable[[Path, Section], Decoder]
    ) -> None:
        self._path, self._sections, self._open = path, sections, open_section
        self._n, self._number, self._next = 0, 1, 1  # samples; the current stream; those tried
        self._notes = [f"holds {len(sections)} streams, one after another"]
        self._decoder = open_section(path, sections[0])
        first = self._decoder
        self.sr, self.channels = first.sr, first.channels
        self.format, self.subtype, self.frames = first.format, first.subtype, 0

    def read(self, n: int) -> Array:
        """Read samples of the current stream, or the next; see `Decoder.read`."""
        while True:
            block = self._decoder.read(n)
            self._n += block.shape[1]
            if block.shape[1] or not self._advance():
                return block

    def _advance(self) -> bool:
        """Go to the next stream that can be read, if there is one."""
        while self._next < len(self._sections):
            self._next += 1
            try:
                following = self._open(self._path, self._sections[self._next - 1])
            except (AudioFileError, sf.LibsndfileError):
                self._notes.append(f"stream {self._next} is damaged and left out")
                continue
            self._notes += self._notes_of_stream(self._n)
            self._decoder.close()
            self._decoder, self._n, self._number = following, 0, self._next
            if (following.sr, following.channels) != (self.sr, self.channels):
                raise changes_error(self._path, self, following.sr, following.channels)
            return True
        return False

    def _notes_of_stream(self, n: int | None) -> list[str]:
        return [f"stream {self._number} {note}" for note in self._decoder.notes(n)]

    def skip(self, n: int) -> int:
        """Skip samples by decoding them; see `Decoder.skip`."""
        return _skip_by_reading(self, n)

    def skip_to_last(self, n: int) -> tuple[int, Array]:
        """Count the samples of each stream; see `Decoder.skip_to_last`."""
        total = 0
        while True:
            left, last = self._decoder.skip_to_last(n)
            total, self._n = total + left, self._n + left
            if not self._advance():
                return total, last

    def notes(self, n: int | None) -> list[str]:
        """Tell the number of streams, and their damage; see `Decoder.notes`."""
        return self._notes + self._notes_of_stream(None if n is None else self._n)

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()
