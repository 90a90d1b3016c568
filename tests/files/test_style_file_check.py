"""Style files with invalid arrays: each is refused in one line that names the array."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError
from audiostyle.files import style_file
from audiostyle.files.transfer import transfer_file

Change = Callable[[dict[str, Any]], None]
GRAMS, MEANS = "statistics/grams/block1_conv1", "statistics/means/block1_conv1"


def without(name: str) -> Change:
    return lambda arrays: arrays.pop(name)


def changed(name: str, change: Callable[[Any], Any]) -> Change:
    """Change an array, which keeps its type unless the change converts it."""
    return lambda arrays: arrays.update({name: change(arrays[name].copy())})


def put(name: str, value: float, index: Any = 0) -> Change:
    def change(array: Any) -> Any:
        array[index] = value
        return array

    return changed(name, change)


def saying(**changes: Any) -> Change:
    """Change entries of `about`."""

    def change(arrays: dict[str, Any]) -> None:
        about = {**json.loads(arrays["about"].tobytes()), **changes}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)

    return change


def repacked(genre: Path, folder: Path, *changes: Change) -> Path:
    with np.load(genre / "genre.style.npz") as archive:
        arrays = dict(archive)
    for change in changes:
        change(arrays)
    path = folder / "repacked.style.npz"
    np.savez(path, **arrays)
    return path


NO_STYLE = "is damaged or not a style file; make one with audiostyle style"
CLIP = {"path": "a.wav", "sr": 22050, "samples": 9}
DAMAGE: dict[str, tuple[Change, str]] = {
    "no header": (without("about"), NO_STYLE),
    "no clips": (saying(clips=5), NO_STYLE),
    "a clip that is none": (saying(clips=["a.wav"]), NO_STYLE),
    "a clip without a rate": (saying(clips=[{**CLIP, "sr": 0}]), NO_STYLE),
    "skipped without a path": (saying(skipped=[{"path": 1}]), NO_STYLE),
    "an older layout": (
        saying(schema=6),
        "has layout 6, but this audiostyle reads layout 7; make it again with audiostyle style",
    ),
    "a later layout": (saying(schema=99), "has layout 99, but this audiostyle reads layout 7"),
    "no S": (without("S"), "lacks S, as it was made by audiostyle"),
    "no peak": (without("statistics/peak"), "lacks statistics/peak, as it was made by audiostyle"),
    "no layer": (without(MEANS), f"lacks {MEANS}, as"),
    "a layer too many": (
        lambda arrays: arrays.update({"statistics/grams/block9_conv9": arrays[GRAMS]}),
        "holds 'statistics/grams/block9_conv9', which no style has",
    ),
    "S of NaN": (put("S", np.nan, (3, 4)), "S holds a value that is not finite, must be finite"),
    "infinite means": (put(MEANS, np.inf), f"{MEANS} holds a value that is not finite"),
    "S of text": (
        changed("S", lambda S: S.astype("U9")),
        "S is of type <U9, must be float32",
    ),
    "complex grams": (
        changed(GRAMS, lambda G: G.astype(np.complex64)),
        f"{GRAMS} is of type complex64, must be float32",
    ),
    "longer numbers": (
        changed(GRAMS, lambda G: G.astype(np.float64)),
        f"{GRAMS} is of type float64, must be float32",
    ),
    "bytes the other way": (
        changed("statistics/temporal", lambda t: t.astype(">f8")),
        "statistics/temporal is of type >f8, must be float64",
    ),
    "a broken count": (
        changed("statistics/n_frames", lambda n: np.float32(n)),
        "statistics/n_frames is of type float32, must be an integer",
    ),
    "counts": (
        changed("statistics/n_frames", lambda n: np.repeat(n, 2)),
        "statistics/n_frames has the shape (2,), must be ()",
    ),
    "count of nothing": (
        changed("statistics/n_frames", lambda n: 0 * n),
        "statistics/n_frames holds 0, must be at least 1",
    ),
    "S of other bands": (
        changed("S", lambda S: S[:60]),
        "S has the shape (60, ",
    ),
    "S of no frames": (changed("S", lambda S: S[:, :0]), "S has the shape (64, 0), must be (64"),
    "S of a row": (changed("S", lambda S: S[:, 0]), "S has the shape (64,), must be (64, 1 to"),
    "S too low": (put("S", -81.0, (0, 0)), "S holds -81 dB, must be at least -80 dB"),
    "peak of other bands": (
        changed("statistics/peak", lambda p: p[1:]),
        "statistics/peak has the shape (63,), must be (64)",
    ),
    "peak too low": (
        put("statistics/peak", -1e9),
        "statistics/peak holds -1e+09 dB, must be at least",
    ),
    "no envelope": (
        changed("statistics/temporal", lambda t: t[:0]),
        "statistics/temporal has the shape (0,), must be (1 or more)",
    ),
    "negative power": (
        put("statistics/mel_mean", -1.5),
        "statistics/mel_mean holds -1.5, must be at least 0",
    ),
    "no levels": (without("levels/features"), "lacks levels/features, as it was made by"),
    "levels of other features": (
        changed("levels/features", lambda A: A[:, 1:, 1:]),
        "levels/features has the shape (64, 14, 14), must be (64, 15, 15)",
    ),
    "levels of other classes": (
        changed("levels/class_levels", lambda w: w[:, 1:]),
        "levels/class_levels has the shape (3, 9, 64), must be (3, 10, 64)",
    ),
    "shorter levels": (
        changed("levels/levels", lambda b: b.astype(np.float32)),
        "levels/levels is of type float32, must be float64",
    ),
    "levels of NaN": (put("levels/power", np.nan), "levels/power holds a value that is not"),
    "negative weights": (
        put("levels/class_weights", -1.0),
        "levels/class_weights holds -1, must be at least 0",
    ),
    "a sound of two channels": (
        changed("y", lambda y: np.concatenate([y, y])),
        "y has the shape (2, ",
    ),
    "no sound": (
        changed("y", lambda y: y[:, :0]),
        "y has the shape (1, 0), must be (1, 1 to 1323000)",
    ),
    "grams not square": (
        changed(GRAMS, lambda G: G[:, :, :-1]),
        f"{GRAMS} has the shape (4, 64, 63), must be square",
    ),
    "grams of one band": (
        changed(GRAMS, lambda G: G[0]),
        f"{GRAMS} has the shape (64, 64), must be (1 to 4, 1 or more, 1 or more)",
    ),
    "grams of more bands than asked for": (
        changed(GRAMS, lambda G: np.concatenate([G, G])),
        f"{GRAMS} has the shape (8, 64, 64), must be (1 to 4, ",
    ),
    "means of fewer channels": (
        changed(MEANS, lambda m: m[:, :-1]),
        f"{MEANS} has the shape (4, 63), must be (4, 64)",
    ),
    "means of fewer bands": (
        changed(MEANS, lambda m: m[:-1]),
        f"{MEANS} has the shape (3, 64), must be (4, 64)",
    ),
    "not symmetric": (
        put(GRAMS, 1e6, (0, 0, 1)),
        f"{GRAMS} is not symmetric, must be equal to its transpose",
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
def test_an_invalid_file_is_refused_in_one_line(
    damage: str, genre: Path, tmp_path: Path, tiny: TransferConfig
) -> None:
    change, message = DAMAGE[damage]
    path = repacked(genre, tmp_path, change)
    with pytest.raises(AudioFileError, match=re.escape(message)) as error:
        style_file.load_style(path, tiny)
    said = str(error.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < 400
    assert said.endswith("with audiostyle style")


def every(*changes: Change) -> Change:
    def change(arrays: dict[str, Any]) -> None:
        for one in changes:
            one(arrays)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            every(changed(GRAMS, lambda G: G[:, :9, :9]), changed(MEANS, lambda m: m[:, :9])),
            f"{GRAMS} has the shape (4, 9, 9), the networks give (4, 64, 64)",
        ),
        (
            every(changed(GRAMS, lambda G: G[:3]), changed(MEANS, lambda m: m[:3])),
            f"{GRAMS} has the shape (3, 64, 64), the networks give (4, 64, 64)",
        ),
        (
            changed("statistics/temporal", lambda t: t[:5]),
            "statistics/temporal has the shape (5,), the networks give (64,)",
        ),
    ],
    ids=["channels", "bands", "envelope"],
)
def test_shapes_that_only_the_networks_know_are_checked_before_the_optimization(
    change: Change, message: str, genre: Path, tmp_path: Path, tiny: TransferConfig
) -> None:
    path = repacked(genre, tmp_path, change)
    with pytest.raises(AudioFileError, match=re.escape(f"{path}: {message}; ")):
        transfer_file(genre / "content0.wav", path, tmp_path / "o.wav", tiny)
    assert [p.name for p in tmp_path.iterdir()] == ["repacked.style.npz"]


def test_a_file_that_was_only_repacked_is_accepted(
    genre: Path, tmp_path: Path, tiny: TransferConfig
) -> None:
    saved = style_file.load_style(repacked(genre, tmp_path), tiny)
    for name, array in style_file.load_style(genre / "genre.style.npz", tiny).arrays.items():
        np.testing.assert_array_equal(saved.arrays[name], array)
