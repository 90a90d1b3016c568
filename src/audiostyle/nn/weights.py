"""Network weights: those that ship with audiostyle or a user's file, checked before use."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.registry import VGG19_LAYERS, network_provenance
from audiostyle.errors import WeightsError
from audiostyle.utils import npz, safe_read

WEIGHTS_DIR = Path(__file__).parents[1] / "weights"
SHIPPED = {"vgg19": "vgg19.npz", "musicnn-vgg": "musicnn-vgg.npz"}
MAX_ARRAY_BYTES = 1 << 26  # well above the largest layer
HDF5 = b"\x89HDF\r\n\x1a\n"  # first bytes of a file
SEEDED = ("random-1d",)  # networks with a seed instead of weights


def load_weights(
    network: str, path: str | None = None, layers: Sequence[str] | None = None
) -> dict[str, Array]:
    """Load the weights of a network that ships, from its file or from `path`.

    `path` is an ``.npz`` of the same layout or, for `vgg19`, Keras' own ``.h5``. With `layers`,
    others of the shipped file are not unpacked, which takes most of the time; a file of the user is
    checked as a whole.

    Returns
    -------
    dict of str to np.ndarray
        ``{layer}/kernel`` [shape=(h, w, in, out)] and ``{layer}/bias`` for every convolution.

    Raises
    ------
    WeightsError
        If the file is missing, corrupt, not finite, or does not fit the network.
    """
    if network in SEEDED:
        if path is not None:
            raise WeightsError(f"{path}: {network} has a seed instead of weights; omit --weights")
        return {}
    shapes = _expected_shapes(network)
    if path is None:
        file = WEIGHTS_DIR / SHIPPED[network]
        prefixes = tuple(f"{layer}/" for layer in layers) if layers else ("",)
        shapes = {name: shape for name, shape in shapes.items() if name.startswith(prefixes)}
        arrays = _load_npz(file, _read_shipped(file), prefixes)
    else:
        file = Path(path)
        data = _read(file)
        arrays = _load_keras(file, data) if data.startswith(HDF5) else _load_npz(file, data)
    return _check(shapes, network, _dequantize(arrays, file), file)


def load_shipped(name: str) -> dict[str, Array]:
    """Load ``{name}.npz`` of the package, or raise a WeightsError if it is missing or corrupt."""
    file = WEIGHTS_DIR / f"{name}.npz"
    return _load_npz(file, _read_shipped(file))


def check_weights(network: str, path: str | None = None) -> None:
    """Raise the WeightsError of `load_weights`; for shipped weights, only by their SHA-256."""
    if network in SHIPPED and path is None:
        _read_shipped(WEIGHTS_DIR / SHIPPED[network])
    elif network in (*SHIPPED, *SEEDED):
        load_weights(network, path)
    elif path is not None:  # only the plugin network can check its content
        _read(Path(path))


def check_shipped() -> dict[str, str]:
    """Compare the SHA-256 of every file in the manifest; return errors by name, "" if correct."""
    found = {}
    for name in _manifest():
        try:
            _read_shipped(WEIGHTS_DIR / name)
            found[name] = ""
        except WeightsError as error:
            found[name] = str(error)
    return found


def provenance(network: str, path: str | None = None) -> dict[str, str]:
    """Return source, licence and SHA-256 of the weights of a network, as far as they are known."""
    if network in SEEDED:
        return {"source": "seeded random filters"}
    if network in SHIPPED and path is None:
        return dict(_manifest()[SHIPPED[network]])
    if network in SHIPPED:
        return {"source": str(path), "sha256": hashlib.sha256(_read(Path(str(path)))).hexdigest()}
    found = network_provenance(network)
    if path is None:
        return found
    both = found.get("sha256", "").encode() + _read(Path(path))  # code and weights
    return {**found, "weights": str(path), "sha256": hashlib.sha256(both).hexdigest()}


def _manifest() -> dict[str, dict[str, str]]:
    file = WEIGHTS_DIR / "MANIFEST.json"
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{file} cannot be read ({error}): reinstall audiostyle") from None


def _read_shipped(file: Path) -> bytes:
    data = _read(file)
    try:
        expected = _manifest()[file.name]["sha256"]
    except (KeyError, TypeError):
        raise WeightsError(
            f"{WEIGHTS_DIR / 'MANIFEST.json'} does not name {file.name}: reinstall audiostyle"
        ) from None
    if hashlib.sha256(data).hexdigest() != expected:
        raise WeightsError(
            f"weights file {file} is corrupt (its SHA-256 is not the published one): reinstall "
            "audiostyle"
        )
    return data


def _read(file: Path) -> bytes:
    try:
        return safe_read.read_file(file)
    except OSError as error:
        raise WeightsError(
            f"weights file {file} cannot be read ({error.strerror}); check its path"
        ) from None


def _load_npz(file: Path, data: bytes, prefixes: tuple[str, ...] = ("",)) -> dict[str, Array]:
    try:
        return npz.read_npz(data, prefixes)
    except Exception:  # on broken bytes, NumPy and zipfile raise a dozen kinds
        raise WeightsError(
            f"weights file {file} is neither a converted .npz nor a Keras .h5 file, or is damaged"
        ) from None


def _load_keras(file: Path, data: bytes) -> dict[str, Array]:
    import h5py  # which TensorFlow requires

    arrays: dict[str, Array] = {}
    try:
        with h5py.File(io.BytesIO(data), "r") as archive:
            root = archive.get("model_weights", archive)
            for layer in VGG19_LAYERS:
                # A soft or external link could lead out of the file.
                if isinstance(root.get(layer, getlink=True), h5py.HardLink):
                    root[layer].visititems(
                        lambda _, item, layer=layer: _keras_item(arrays, layer, item)
                    )
    except Exception as error:  # on broken bytes, HDF5 raises a dozen kinds
        reason = " ".join(str(error).split())
        raise WeightsError(f"weights file {file} is a damaged HDF5 file ({reason})") from None
    return arrays


def _keras_item(arrays: dict[str, Array], layer: str, item: Any) -> None:
    """Add a kernel or a bias; the names below the layer differ between versions of Keras."""
    ndim = getattr(item, "ndim", None)
    if ndim in (1, 4):
        # HDF5 would read external data from other files, and fill in any amount of missing data.
        if item.external is not None or item.is_virtual:
            raise ValueError(f"{layer} lies in another file")
        if math.prod(item.shape) * item.dtype.itemsize > MAX_ARRAY_BYTES:
            raise ValueError(f"{layer} has the shape {item.shape}, which is too large")
        arrays[f"{layer}/{'kernel' if ndim == 4 else 'bias'}"] = np.asarray(item)


def _dequantize(arrays: dict[str, Array], file: Path) -> dict[str, Array]:
    result = {}
    for name, array in arrays.items():
        layer, _, part = name.rpartition("/")
        if part == "codes":
            table = arrays.get(f"{layer}/table")
            if table is None or table.shape != (256,) or array.dtype != np.uint8:
                raise WeightsError(
                    f"weights file {file}: {layer} has 8-bit codes without a table of 256 values"
                )
            result[f"{layer}/kernel"] = table[array]
        elif part != "table":
            result[name] = array
    return result


def _expected_shapes(network: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    if network == "vgg19":
        channels = (3, 64, 64, 128, 128, 256, 256, 256, 256, *(5 * [512]))
        for layer, sizes in zip(VGG19_LAYERS, pairwise(channels), strict=True):
            shapes |= {f"{layer}/kernel": (3, 3, *sizes), f"{layer}/bias": sizes[1:]}
        return shapes
    shapes |= {"input/scale": (1,), "input/shift": (1,)}
    for i in range(1, 6):
        shapes[f"conv{i}/kernel"] = (3, 3, 1 if i == 1 else 128, 128)
        shapes |= {f"conv{i}/{part}": (128,) for part in ("bias", "scale", "shift")}
    return shapes


def _check(
    shapes: dict[str, tuple[int, ...]], network: str, arrays: dict[str, Array], file: Path
) -> dict[str, Array]:
    checked = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise WeightsError(f"weights file {file} lacks {name}: it is not made for {network}")
        array = arrays[name]
        if array.shape != shape:
            fault = f"has shape {array.shape}, {network} needs {shape}"
        elif array.dtype.kind != "f":
            fault = f"is {array.dtype}, not floating-point"
        elif not np.isfinite(array := array.astype(np.float32, copy=False)).all():
            fault = "holds values that are not finite"
        else:
            checked[name] = array
            continue
        raise WeightsError(f"weights file {file}: {name} {fault}")
    return checked
