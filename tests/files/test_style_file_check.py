"""Style files that are whole and cannot be right: every damage has its line."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import tensorflow as tf

from audiostyle.dsp import spectrogram
from audiostyle.errors import AudioFileError
from audiostyle.files import style_file
from audiostyle.files.transfer import make_style_file, transfer_file
from audiostyle.nn.backbones import build_network
from audiostyle.nn.features import FeatureAnalyzer
from tests.conftest import SR, make_noise, make_tones
from tests.files.test_style_file import TINY


@pytest.fixture(scope="module")
def genre(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a style beside a content."""
    root = tmp_path_factory.mktemp("style")
    sf.write(root / "style.wav", make_noise(1.2), SR)
    sf.write(root / "content0.wav", make_tones(1.0), SR)
    make_style_file(root / "style.wav", root / "genre.style.npz", TINY)
    return root


Spoil = Callable[[dict[str, Any]], None]
GRAMS, MEANS = "statistics/grams/block1_conv1", "statistics/means/block1_conv1"


def without(name: str) -> Spoil:
    return lambda arrays: arrays.pop(name)


def changed(name: str, change: Callable[[Any], Any]) -> Spoil:
    """Spoil an array, which keeps its type unless the change says otherwise."""
    return lambda arrays: arrays.update({name: change(arrays[name].copy())})


def put(name: str, value: float, index: Any = 0) -> Spoil:
    def change(array: Any) -> Any:
        array[index] = value
        return array

    return changed(name, change)


def saying(**changes: Any) -> Spoil:
    """Spoil what a file says about itself."""

    def spoil(arrays: dict[str, Any]) -> None:
        about = {**json.loads(arrays["about"].tobytes()), **changes}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)

    return spoil


def spoilt(genre: Path, folder: Path, *spoils: Spoil) -> Path:
    with np.load(genre / "genre.style.npz") as archive:
        arrays = dict(archive)
    for spoil in spoils:
        spoil(arrays)
    path = folder / "spoilt.style.npz"
    np.savez(path, **arrays)
    return path


NO_STYLE = "is no style file, or is damaged; make it with: audiostyle style"
CLIP = {"path": "a.wav", "sr": 22050, "samples": 9}
DAMAGE: dict[str, tuple[Spoil, str]] = {
    "no header": (without("about"), NO_STYLE),
    "no clips": (saying(clips=5), NO_STYLE),
    "a clip that is none": (saying(clips=["a.wav"]), NO_STYLE),
    "a clip without a rate": (saying(clips=[{**CLIP, "sr": 0}]), NO_STYLE),
    "skipped without a path": (saying(skipped=[{"path": 1}]), NO_STYLE),
    "older statistics": (saying(schema=2), "has layout 2, this audiostyle reads 3; make it anew"),
    "a later layout": (saying(schema=99), "has layout 99, this audiostyle reads 3"),
    "no S": (without("S"), "lacks S, as it was made by audiostyle"),
    "no peak": (without("statistics/peak"), "lacks statistics/peak, as it was made by audiostyle"),
    "no layer": (without(MEANS), f"lacks {MEANS}, as"),
    "a layer too many": (
        lambda arrays: arrays.update({"statistics/grams/block9_conv9": arrays[GRAMS]}),
        "holds 'statistics/grams/block9_conv9', which no style has",
    ),
    "S of NaN": (put("S", np.nan, (3, 4)), "S holds a value that is not finite, it must be finite"),
    "infinite means": (put(MEANS, np.inf), f"{MEANS} holds a value that is not finite"),
    "S of text": (
        changed("S", lambda S: S.astype("U9")),
        "S is of type <U9, it must be float32",
    ),
    "complex grams": (
        changed(GRAMS, lambda G: G.astype(np.complex64)),
        f"{GRAMS} is of type complex64, it must be float32",
    ),
    "longer numbers": (
        changed(GRAMS, lambda G: G.astype(np.float64)),
        f"{GRAMS} is of type float64, it must be float32",
    ),
    "bytes the other way": (
        changed("statistics/temporal", lambda t: t.astype(">f8")),
        "statistics/temporal is of type >f8, it must be float64",
    ),
    "a broken count": (
        changed("statistics/n_frames", lambda n: np.float32(n)),
        "statistics/n_frames is of type float32, it must be a whole number",
    ),
    "counts": (
        changed("statistics/n_frames", lambda n: np.repeat(n, 2)),
        "statistics/n_frames has the shape (2,), it must be ()",
    ),
    "count of nothing": (
        changed("statistics/n_frames", lambda n: 0 * n),
        "statistics/n_frames is 0, it must be at least 1",
    ),
    "S of other bands": (
        changed("S", lambda S: S[:60]),
        "S has the shape (60, ",
    ),
    "S of no frames": (changed("S", lambda S: S[:, :0]), "S has the shape (64, 0), it must be (64"),
    "S of a row": (changed("S", lambda S: S[:, 0]), "S has the shape (64,), it must be (64, 1 to"),
    "S too low": (put("S", -81.0, (0, 0)), "S holds -81 dB, it must be at least -80 dB"),
    "peak of other bands": (
        changed("statistics/peak", lambda p: p[1:]),
        "statistics/peak has the shape (63,), it must be (64)",
    ),
    "peak too low": (
        put("statistics/peak", -1e9),
        "statistics/peak holds -1e+09 dB, it must be at least",
    ),
    "no envelope": (
        changed("statistics/temporal", lambda t: t[:0]),
        "statistics/temporal has the shape (0,), it must be (1 or more)",
    ),
    "negative power": (
        put("statistics/mel_mean", -1.5),
        "statistics/mel_mean holds the power -1.5, it must be at least 0",
    ),
    "other bands of the sound": (
        changed("samples/mel_mean", lambda m: m[:-1]),
        "samples/mel_mean has the shape (63,), it must be (64)",
    ),
    "frames of another n_fft": (
        changed("samples/frames", lambda f: f[:-1]),
        "samples/frames has the shape (512, ",
    ),
    "no frames": (
        changed("samples/frames", lambda f: f[:, :0]),
        "samples/frames has the shape (513, 0), it must be (513, 1 to 300)",
    ),
    "negative frames": (
        put("samples/frames", -1.0, (0, 0)),
        "samples/frames holds the power -1, it",
    ),
    "a sound of two channels": (
        changed("samples/y", lambda y: np.concatenate([y, y])),
        "samples/y has the shape (2, ",
    ),
    "no sound": (
        changed("samples/y", lambda y: y[:, :0]),
        "samples/y has the shape (1, 0), it must be (1, 1 to 1323000)",
    ),
    "grams not square": (
        changed(GRAMS, lambda G: G[:, :, :-1]),
        f"{GRAMS} has the shape (4, 64, 63), it must be square",
    ),
    "grams of one band": (
        changed(GRAMS, lambda G: G[0]),
        f"{GRAMS} has the shape (64, 64), it must be (1 to 4, 1 or more, 1 or more)",
    ),
    "grams of more bands than asked for": (
        changed(GRAMS, lambda G: np.concatenate([G, G])),
        f"{GRAMS} has the shape (8, 64, 64), it must be (1 to 4, ",
    ),
    "means of fewer channels": (
        changed(MEANS, lambda m: m[:, :-1]),
        f"{MEANS} has the shape (4, 63), it must be (4, 64)",
    ),
    "means of fewer bands": (
        changed(MEANS, lambda m: m[:-1]),
        f"{MEANS} has the shape (3, 64), it must be (4, 64)",
    ),
    "not symmetric": (
        put(GRAMS, 1e6, (0, 0, 1)),
        f"{GRAMS} is not symmetric, it must be equal to its transpose",
    ),
    "a negative variance": (
        changed(GRAMS, lambda G: -G),
        f"{GRAMS} and {MEANS} make a negative variance",
    ),
    "means above all values": (
        changed(MEANS, lambda m: m + 1e4),
        f"{GRAMS} and {MEANS} make a negative variance",
    ),
    "means beyond any square": (
        changed(MEANS, lambda m: m + np.float32(1e30)),
        f"{GRAMS} and {MEANS} make a negative variance",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_spoilt_file_is_refused(damage: str, genre: Path, tmp_path: Path) -> None:
    """In one line that says the file, the array, what was found and what must be there."""
    spoil, message = DAMAGE[damage]
    path = spoilt(genre, tmp_path, spoil)
    with pytest.raises(AudioFileError, match=re.escape(message)) as error:
        style_file.load_style(path, TINY)
    said = str(error.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < 400
    assert "; make it " in said


def every(*spoils: Spoil) -> Spoil:
    def spoil(arrays: dict[str, Any]) -> None:
        for one in spoils:
            one(arrays)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            every(changed(GRAMS, lambda G: G[:, :9, :9]), changed(MEANS, lambda m: m[:, :9])),
            "statistics/grams/block1_conv1 has the shape (4, 9, 9), the networks give (4, 64, 64)",
        ),
        (
            every(changed(GRAMS, lambda G: G[:3]), changed(MEANS, lambda m: m[:3])),
            "statistics/grams/block1_conv1 has the shape (3, 64, 64), the networks give (4, 64, 64)",
        ),
        (
            changed("statistics/temporal", lambda t: t[:5]),
            "statistics/temporal has the shape (5,), the networks give (64,)",
        ),
    ],
    ids=["channels", "bands", "envelope"],
)
def test_what_only_the_networks_know_is_refused_before_the_descent(
    spoil: Spoil, message: str, genre: Path, tmp_path: Path
) -> None:
    path = spoilt(genre, tmp_path, spoil)
    with pytest.raises(AudioFileError, match=re.escape(f"{path}: {message}; make it anew")):
        transfer_file(genre / "content0.wav", path, tmp_path / "o.wav", TINY)
    assert [p.name for p in tmp_path.iterdir()] == ["spoilt.style.npz"]


def test_an_intact_file_that_was_packed_anew_is_taken(genre: Path, tmp_path: Path) -> None:
    """The checks of the tests above refuse the damage, and not what writes it."""
    saved = style_file.load_style(spoilt(genre, tmp_path), TINY)
    for name, array in style_file.load_style(genre / "genre.style.npz", TINY).arrays.items():
        np.testing.assert_array_equal(saved.arrays[name], array)


@pytest.mark.parametrize("changes", [
    {},
    {"bands": 60},  # more than there are rows
    {"music_weight": 0.0, "texture_weight": 0.0, "bands": 1},
    {"network": "random-1d", "style_layers": (("width11", 1.0),), "content_layers":
     (("width11", 1.0),), "bands": 1, "music_weight": 0.0},
])  # fmt: skip
def test_the_shapes_that_are_asked_for_are_those_that_are_given(changes: dict[str, Any]) -> None:
    config = dataclasses.replace(TINY, **changes)
    analyzer = FeatureAnalyzer(build_network(config), config)
    y = make_noise(1.0)[None]
    target = analyzer.window_statistics(spectrogram.mel_spectrogram(y, config))
    found = {"temporal": target.temporal.shape}
    for kind in ("grams", "means"):
        found |= {f"{kind}/{name}": a.shape for name, a in getattr(target, kind).items()}
    assert analyzer.statistics_shapes() == found


def test_to_ask_for_the_shapes_traces_nothing_that_is_not_needed_anyway() -> None:
    analyzer = FeatureAnalyzer(build_network(TINY), TINY)
    traces = []
    compute = analyzer._analyze.python_function
    analyzer._analyze = tf.function(
        lambda S: traces.append(1) or compute(S),
        input_signature=analyzer._analyze.input_signature,
        autograph=False,
    )
    S = spectrogram.mel_spectrogram(make_noise(1.0)[None], TINY)
    for _ in range(2):
        analyzer.statistics_shapes()
        analyzer.window_statistics(S)
    assert len(traces) == 1
