"""Check of a style file: types, shapes and values of its arrays.

A file can be undamaged and still be made up, or be made for something else. Without this check it
would fail much later, in an error that names no file, or give a meaningless result.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.style import EXCERPT_SECONDS, STATISTICS
from audiostyle.dsp.level_model import ONSET_CLASSES, PROMINENCE_CLASSES
from audiostyle.dsp.notes import N_FEATURES
from audiostyle.errors import AudioFileError
from audiostyle.nn.style_statistics import style_terms

BY_LAYER = tuple(f"statistics/{kind}" for kind in STATISTICS)
# Sums in float32 differ by 1e-6 of the largest, the shorter ones of a GPU (TF32) by 1e-3.
ROUNDING = 1e-2
REMEDY = "make it again with audiostyle style"
ANY_SIZE = range(1, 1 << 40)


class _Expected(NamedTuple):
    """What an array of a style file must be."""

    shape: tuple[range, ...]  # allowed sizes of each axis
    dtype: str = "float32"  # TensorFlow takes no other type, and no other byte order
    least: float = -np.inf
    unit: str = ""  # of `least`


def check_arrays(
    path: Path, arrays: Mapping[str, Array], config: TransferConfig, made_by: str
) -> None:
    """Raise an `AudioFileError` if an array is missing, unknown or invalid. Needs no TensorFlow.

    Only the networks know how many channels and bands their layers have: `audiostyle.core.style`
    checks these. `made_by` is the version of audiostyle that wrote the file.
    """
    layers = {name: term.bands for term in style_terms(config) for name, _ in term.layers}
    table = _expected_arrays(config, layers)
    for name, expected in table.items():
        if name not in arrays:
            raise AudioFileError(
                f"{path}: lacks {name}, as it was made by audiostyle {made_by}; {REMEDY}"
            )
        _check_array(path, name, arrays[name], expected)
    for name in sorted(arrays.keys() - table.keys()):
        raise AudioFileError(f"{path}: holds {name[:99]!r}, which no style has; {REMEDY}")
    for layer in layers:
        _check_statistics(path, layer, *(arrays[f"{kind}/{layer}"] for kind in BY_LAYER))


def _expected_arrays(config: TransferConfig, layers: Mapping[str, int]) -> dict[str, _Expected]:
    """Return the arrays that a style file must hold; `layers` gives the bands of each layer."""

    def exactly(n: int) -> range:
        return range(n, n + 1)

    seconds = int(EXCERPT_SECONDS * config.sr)
    mel, silence = exactly(config.n_mels), -config.top_db
    table = {
        "S": _Expected(
            (mel, range(1, 2 + seconds // config.hop_length)), least=silence, unit=" dB"
        ),
        "statistics/mel_mean": _Expected((mel,), "float64", 0.0),
        "statistics/temporal": _Expected((ANY_SIZE,), "float64"),
        "statistics/peak": _Expected((mel,), least=silence, unit=" dB"),
        "statistics/n_frames": _Expected((), "an integer", 1),
        "y": _Expected((exactly(1), range(1, 1 + seconds))),
    }
    if config.init == "notes":
        k, classes = (
            exactly(N_FEATURES),
            (exactly(len(PROMINENCE_CLASSES)), exactly(len(ONSET_CLASSES))),
        )
        table |= {
            "levels/features": _Expected((mel, k, k), "float64"),
            "levels/levels": _Expected((mel, k), "float64"),
            "levels/power": _Expected((mel,), "float64", 0.0),
            "levels/squares": _Expected((mel,), "float64", 0.0),
            "levels/class_weights": _Expected((*classes, mel), "float64", 0.0),
            "levels/class_levels": _Expected((*classes, mel), "float64"),
            "levels/quiet": _Expected((exactly(2),), "float64", 0.0),
        }
    for layer, bands in layers.items():
        few = range(1, bands + 1)  # a layer with few rows has fewer bands
        table[f"statistics/grams/{layer}"] = _Expected((few, ANY_SIZE, ANY_SIZE))
        table[f"statistics/means/{layer}"] = _Expected((few, ANY_SIZE))
    return table


def _wrong(path: Path, name: str, found: str, expected: str) -> AudioFileError:
    return AudioFileError(f"{path}: {name} {found}, must {expected}; {REMEDY}")


def _check_array(path: Path, name: str, array: Array, expected: _Expected) -> None:
    dtype, shape, unit = array.dtype, array.shape, expected.unit
    if not (dtype.kind in "iu" if expected.dtype == "an integer" else dtype == expected.dtype):
        raise _wrong(path, name, f"is of type {dtype}", f"be {expected.dtype}")
    if not np.isfinite(array).all():
        raise _wrong(path, name, "holds a value that is not finite", "be finite")
    fits = [n in sizes for n, sizes in zip(shape, expected.shape, strict=False)]
    if len(shape) != len(expected.shape) or not all(fits):
        sizes = ", ".join(_shown(sizes) for sizes in expected.shape)
        raise _wrong(path, name, f"has the shape {shape}", f"be ({sizes})")
    if (low := array.min()) < expected.least - (ROUNDING if unit else 0.0):
        raise _wrong(path, name, f"holds {low:.4g}{unit}", f"be at least {expected.least:g}{unit}")


def _shown(sizes: range) -> str:
    if len(sizes) == 1:
        return str(sizes.start)
    return "1 or more" if sizes == ANY_SIZE else f"{sizes.start} to {sizes.stop - 1}"


def _check_statistics(path: Path, layer: str, gram: Array, mean: Array) -> None:
    """Check that there can be activations with these statistics: no variance is negative."""
    grams, means = (f"{kind}/{layer}" for kind in BY_LAYER)
    if gram.shape[1] != gram.shape[2]:
        raise _wrong(path, grams, f"has the shape {gram.shape}", "be square")
    if mean.shape != gram.shape[:2]:
        raise _wrong(path, means, f"has the shape {mean.shape}", f"be {gram.shape[:2]}")
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is refused below
        energy = np.trace(gram, axis1=1, axis2=2)[:, None, None]
        slack = ROUNDING * np.abs(energy) + np.finfo(np.float32).tiny ** 0.5
        odd = np.abs(gram - gram.transpose(0, 2, 1)).max(axis=(1, 2), keepdims=True)
        if not (odd <= slack).all():
            raise _wrong(path, grams, "is not symmetric", "be equal to its transpose")
        covariance = gram - mean[:, :, None] * mean[:, None, :]
        try:
            np.linalg.cholesky(covariance + slack * np.eye(gram.shape[1], dtype=gram.dtype))
        except np.linalg.LinAlgError:
            raise _wrong(
                path, grams, f"and {means} make a negative variance", "be no less than its square"
            ) from None
