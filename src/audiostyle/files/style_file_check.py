"""Check of a style file: types, shapes and values of its arrays.

A file can be undamaged and still be made up, or be made for something else. Without this check it
would fail much later, in an error that names no file, or give a meaningless result.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.style import EXCERPT_SECONDS, STATISTICS
from audiostyle.dsp import mosaic
from audiostyle.errors import AudioFileError
from audiostyle.nn.style_statistics import style_terms

Array = npt.NDArray[Any]

BY_LAYER = tuple(f"statistics/{kind}" for kind in STATISTICS)
FLOAT64 = ("statistics/mel_mean", "statistics/temporal", "samples/mel_mean")  # others: float32
# Sums in float32 differ by 1e-6 of the largest, the shorter ones of a GPU (TF32) by 1e-3.
ROUNDING = 1e-2
REMEDY = "make it again with audiostyle style"


def check_arrays(
    path: Path, arrays: Mapping[str, Array], config: TransferConfig, made_by: str
) -> None:
    """Raise an `AudioFileError` if an array is missing, unknown or invalid. Needs no TensorFlow.

    Only the networks know how many channels and bands their layers have: `audiostyle.core.style`
    checks these. `made_by` is the version of audiostyle that wrote the file.
    """
    layers = {name: term.bands for term in style_terms(config) for name, _ in term.layers}
    shapes = _shapes(config, layers)
    for name, shape in shapes.items():
        if name not in arrays:
            raise AudioFileError(
                f"{path}: lacks {name}, as it was made by audiostyle {made_by}; {REMEDY}"
            )
        _check_kind(path, name, arrays[name])
        _check_shape(path, name, arrays[name], shape)
    for name in sorted(arrays.keys() - shapes.keys()):
        raise AudioFileError(f"{path}: holds {name[:99]!r}, which no style has; {REMEDY}")
    _check_ranges(path, arrays, config)
    for layer in layers:
        _check_statistics(path, layer, *(arrays[f"{kind}/{layer}"] for kind in BY_LAYER))


def _shapes(config: TransferConfig, layers: Mapping[str, int]) -> dict[str, tuple[range, ...]]:
    """Return the allowed sizes of each axis of each array; `layers` gives the bands of a layer."""

    def exactly(n: int) -> range:
        return range(n, n + 1)

    seconds = int(EXCERPT_SECONDS * config.sr)
    mel, any_size = exactly(config.n_mels), range(1, 1 << 40)
    shapes = {
        "S": (mel, range(1, 2 + seconds // config.hop_length)),
        "statistics/mel_mean": (mel,),
        "statistics/temporal": (any_size,),
        "statistics/peak": (mel,),
        "statistics/n_frames": (),
        "samples/mel_mean": (mel,),
        "samples/frames": (exactly(config.n_fft // 2 + 1), range(1, mosaic.MAX_FRAMES + 1)),
        "samples/y": (exactly(1), range(1, 1 + seconds)),
    }
    for layer, bands in layers.items():
        few = range(1, bands + 1)  # a layer with few rows has fewer bands
        shapes[f"statistics/grams/{layer}"] = few, any_size, any_size
        shapes[f"statistics/means/{layer}"] = few, any_size
    return shapes


def _wrong(path: Path, name: str, found: str, expected: str) -> AudioFileError:
    return AudioFileError(f"{path}: {name} {found}, must {expected}; {REMEDY}")


def _check_kind(path: Path, name: str, array: Array) -> None:
    dtype = array.dtype
    if name == "statistics/n_frames":
        if dtype.kind not in "iu":
            raise _wrong(path, name, f"is of type {dtype}", "be an integer")
        return
    expected = np.dtype(np.float64 if name in FLOAT64 else np.float32)
    if dtype != expected:  # TensorFlow takes no other type, and no other byte order
        raise _wrong(path, name, f"is of type {dtype}", f"be {expected}")
    if not np.isfinite(array).all():
        raise _wrong(path, name, "holds a value that is not finite", "be finite")


def _check_shape(path: Path, name: str, array: Array, axes: tuple[range, ...]) -> None:
    if len(array.shape) != len(axes) or any(
        n not in sizes for n, sizes in zip(array.shape, axes, strict=True)
    ):
        expected = ", ".join(_shown(sizes) for sizes in axes)
        raise _wrong(path, name, f"has the shape {array.shape}", f"be ({expected})")


def _shown(sizes: range) -> str:
    if len(sizes) == 1:
        return str(sizes.start)
    return f"{sizes.start} to {sizes.stop - 1}" if sizes.stop < 1 << 40 else "1 or more"


def _check_ranges(path: Path, arrays: Mapping[str, Array], config: TransferConfig) -> None:
    for name in ("statistics/mel_mean", "samples/mel_mean", "samples/frames"):
        if (low := arrays[name].min()) < 0:
            raise _wrong(path, name, f"holds the power {low:.4g}", "be at least 0")
    for name in ("S", "statistics/peak"):
        if (low := arrays[name].min()) < -config.top_db - ROUNDING:
            raise _wrong(path, name, f"holds {low:.4g} dB", f"be at least {-config.top_db:g} dB")
    if (count := int(arrays["statistics/n_frames"])) < 1:
        raise _wrong(path, "statistics/n_frames", f"is {count}", "be at least 1")


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
