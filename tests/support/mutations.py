"""Valid files, and Hypothesis strategies that break them."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile as sf
from hypothesis import strategies as st

from audiostyle.audio.probe import ClipInfo
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp.level_model import ONSET_CLASSES, PROMINENCE_CLASSES
from audiostyle.dsp.notes import N_FEATURES
from audiostyle.files import style_file
from audiostyle.nn import style_statistics
from tests.conftest import make_tones
from tests.support import media

FORMATS = {
    **{"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"},
    **{"aiff": "PCM_24", "au": "ULAW", "w64": "FLOAT", "caf": "ALAC_16"},
}
"""Formats of libsndfile, and their subtypes."""

MEDIA = {
    "m4a": ("ipod", "aac"),
    "mp4": ("mp4", "alac"),
    "webm": ("webm", "libopus"),
    "mkv": ("matroska", "flac"),
    "wma": ("asf", "wmav2"),
    "aac": ("adts", "aac"),
    "opus": ("ogg", "libopus"),
    "ac3": ("ac3", "ac3"),
    "mp2": ("mp2", "mp2"),
    "ts": ("mpegts", "mp2"),
    "mpg": ("mpeg", "mp2"),
    "avi": ("avi", "libmp3lame"),
    "flv": ("flv", "libmp3lame"),
    "wv": ("wv", "wavpack"),
    "tta": ("tta", "tta"),
    "amr": ("amr", "amr_nb"),
}
"""Formats of FFmpeg: its names of container and encoder."""

Edit = Callable[[bytes], bytes]


def sound(extension: str) -> bytes:
    """Encode a valid clip of 0.6 s."""
    if extension in MEDIA:
        sr = {"amr": 8000, "ac3": 32_000, "flv": 22_050}.get(extension, 16_000)
        sr = 48_000 if "opus" in MEDIA[extension][1] else sr
        picture = extension in ("mp4", "avi", "ts")
        return media.encode(make_tones(0.6, sr), sr, *MEDIA[extension], picture=picture)
    stream = io.BytesIO()
    y = make_tones(0.6, 16_000)
    sf.write(stream, y, 16_000, format=extension.upper(), subtype=FORMATS[extension])
    return stream.getvalue()


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    """Draw a change of some bytes; one in four begins in the first 128, where the header is."""
    kind = draw(st.sampled_from(("flip", "flip", "set", "cut", "zero", "insert", "repeat", "drop")))
    anywhere = st.integers(0, (1 << 20) - 1)
    at = draw(st.one_of(st.integers(0, 127), anywhere, anywhere, anywhere))
    size = draw(st.integers(1, 64))
    value = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)) if kind == "set" else st.integers(0, 7))

    def change(data: bytes) -> bytes:
        i = at % (len(data) + 1)
        head, tail = data[:i], data[i:]
        if kind == "flip" and tail:
            return head + bytes([tail[0] ^ (1 << value)]) + tail[1:]
        if kind == "set":
            n = min(len(tail), 1 + size % 8)
            return head + bytes([value]) * n + tail[n:]
        if kind == "zero":
            return head + bytes(min(size, len(tail))) + tail[size:]
        if kind == "insert":
            return head + bytes([value]) * size + tail
        if kind == "repeat":
            return head + tail[:size] * 2 + tail[size:]
        return head if kind == "cut" else head + tail[size:]

    return change


def broken(*originals: bytes) -> st.SearchStrategy[bytes]:
    """Damage one of some files by one to four changes."""

    def apply(original: bytes, changes: list[Edit]) -> bytes:
        for change in changes:
            original = change(original)
        return original

    return st.builds(apply, st.sampled_from(originals), st.lists(edits(), min_size=1, max_size=4))


numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from((0, -1, 10**400, -(10**18), 1 << 63, 1e308, 1e-308)),
)
scalars = st.one_of(
    st.none(), st.booleans(), numbers, st.text(), st.sampled_from(("", "\0", "\ud800", "..", "/"))
)
plain = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def to_toml(value: Any) -> str:
    """Write a value as TOML; one that TOML cannot hold makes the file invalid."""
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(k)} = {to_toml(v)}" for k, v in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, default=str)


def settings_files() -> st.SearchStrategy[bytes]:
    """Make configurations: a valid one damaged, valid keys with odd values, deep nesting."""
    fields = dataclasses.fields(TransferConfig)
    names = st.sampled_from([field.name for field in fields] + ["preset", "nonsense"])
    layers = st.dictionaries(st.sampled_from(("block1_conv1", "width²", "width11", "")), numbers)
    tables = st.dictionaries(names, st.one_of(plain, layers), max_size=5)
    written = tables.map(lambda t: "\n".join(f"{k} = {to_toml(v)}" for k, v in t.items()))
    good = (
        'preset = "fast"\niterations = 7\nstyle_layers = { block1_conv1 = 1.0, block2_conv1 = 0.5 }'
        '\ncontent_layers = "block2_conv1=1"\nseed = 0x10\nstrength = 5e-1\n'
    )
    depths = st.integers(1, 3000).map(lambda n: "seed = " + "[" * n + "]" * n)
    digits = st.integers(1, 9000).map(lambda n: "seed = 0x" + "f" * n + "\niterations = " + "9" * n)
    odd = st.one_of(written, depths, digits).map(lambda t: t.encode("utf-8", "surrogatepass"))
    return st.one_of(broken(good.encode()), odd)


def about_style(config: TransferConfig) -> dict[str, Any]:
    """Return the `about` of a style file without clips."""
    made_with = style_file.essentials(config)
    rest = {"clips": [], "skipped": [], "notes": [], "audiostyle": "0"}
    return {"schema": style_file.SCHEMA, "made_with": made_with, **rest}


def archive(arrays: dict[str, Any], compressed: bool = True) -> bytes:
    """Write arrays as ``.npz``."""
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def style_archive(config: TransferConfig, compressed: bool = True, **arrays: Any) -> bytes:
    """Make a valid style file, or one with changed arrays."""
    about = np.frombuffer(json.dumps(about_style(config)).encode(), np.uint8)
    return archive({"about": about, **style_arrays(config), **arrays}, compressed)


def style_arrays(config: TransferConfig) -> dict[str, Any]:
    """Make consistent arrays, of layers with three channels."""
    mel = np.zeros(config.n_mels)
    made: dict[str, Any] = {
        "S": np.zeros((config.n_mels, 4), np.float32),
        "statistics/mel_mean": mel,
        "statistics/temporal": np.zeros(64),
        "statistics/peak": mel.astype(np.float32),
        "statistics/n_frames": np.int64(4),
        "y": np.zeros((1, 999), np.float32),
    }
    if config.init == "notes":
        k = N_FEATURES
        classes = len(PROMINENCE_CLASSES), len(ONSET_CLASSES), config.n_mels
        shapes: dict[str, tuple[int, ...]] = {
            **{"features": (config.n_mels, k, k), "levels": (config.n_mels, k), "quiet": (2,)},
            **{"squares": mel.shape, "power": mel.shape},
            **{"class_weights": classes, "class_levels": classes},
        }
        made |= {f"levels/{name}": np.zeros(shape) for name, shape in shapes.items()}
    for source in style_statistics.style_terms(config):
        for layer, _ in source.layers:
            made[f"statistics/grams/{layer}"] = np.stack(
                [np.eye(3, dtype=np.float32)] * source.bands
            )
            made[f"statistics/means/{layer}"] = np.zeros((source.bands, 3), np.float32)
    return made


arrays = st.builds(
    lambda kind, shape: np.zeros(shape, kind),
    st.sampled_from(("f4", "f8", "u1", "i8", "c8", "U3", "S2", "?", "M8[s]", "i4,f4")),
    st.lists(st.integers(0, 5), max_size=4).map(tuple),
)


def style_files(config: TransferConfig) -> st.SearchStrategy[bytes]:
    """Make style files: valid ones damaged, compressed and not, and archives of anything."""
    abouts = st.one_of(plain, st.fixed_dictionaries(dict.fromkeys(about_style(config), plain)))
    odd = st.builds(
        lambda about, S, rest: style_archive(
            config,
            about=np.frombuffer(json.dumps(about).encode() or b" ", np.uint8),
            S=S,
            **rest,
        ),
        abouts,
        arrays,
        st.dictionaries(st.sampled_from(("statistics/peak", "levels/x", "../x", "/x")), arrays),
    )
    return st.one_of(broken(style_archive(config), style_archive(config, False)), odd)


def musicnn_archive(compressed: bool = True, **changes: Any) -> bytes:
    """Make weights of zeros for `musicnn-vgg`, with some arrays changed."""
    from audiostyle.nn.weights import _expected_shapes

    shapes = _expected_shapes("musicnn-vgg")
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return archive({**zeros, **changes}, compressed)


def keras_file() -> bytes:
    """Make weights of two layers in the layout of Keras."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for layer, n_in in (("block1_conv1", 3), ("block1_conv2", 64)):
            group = file.create_group(f"model_weights/{layer}/{layer}")
            group.create_dataset("kernel:0", data=np.zeros((3, 3, n_in, 64), np.float32),
                                 compression="gzip")  # fmt: skip
            group.create_dataset("bias:0", data=np.zeros(64, np.float32))
    return stream.getvalue()


def weights_files() -> st.SearchStrategy[bytes]:
    """Make weights: valid ones damaged, and archives of anything."""
    odd = st.builds(
        lambda changes: musicnn_archive(**changes),
        st.dictionaries(
            st.sampled_from(("conv1/kernel", "conv1/codes", "conv1/table", "x")), arrays
        ),
    )
    return st.one_of(broken(musicnn_archive(), keras_file()), broken(keras_file()), odd)


EVENTS = ("input", "plan", "run", "started", "lost", "done", "failed", "interrupted", "scored", "?")
KEYS = (
    *("path", "pair", "pairs", "shard", "fingerprint", "settings", "kind", "reason", "sha256"),
    *("size", "mtime_ns", "seconds", "content_seconds", "scores", "facts", "notes", "watched"),
)


def journals(real: bytes) -> st.SearchStrategy[bytes]:
    """Make journals: a real one damaged, its lines with odd values, and lines of anything."""
    lines = [json.loads(line) for line in real.splitlines()]
    values = st.one_of(
        plain, st.fixed_dictionaries(dict.fromkeys(dataclasses.asdict(ClipInfo()), scalars))
    )
    changed = st.builds(
        lambda line, changes: {**line, **changes},
        st.sampled_from(lines),
        st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=2),
    )
    made = st.fixed_dictionaries(
        {"event": st.sampled_from(EVENTS), "time": numbers},
        optional=dict.fromkeys(KEYS, values),
    )
    texts = st.one_of(changed, made, plain).map(lambda line: json.dumps(line).encode())
    depths = st.integers(1, 5000).map(lambda n: b"[" * n)
    odd = st.lists(st.one_of(texts, texts, depths), max_size=6).map(b"\n".join)
    return st.one_of(broken(real), odd.map(lambda more: real + more + b"\n"))
