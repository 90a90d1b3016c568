"""Shipped weights are the published ones; broken files are refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from audiostyle.config.registry import VGG19_LAYERS
from audiostyle.errors import WeightsError
from audiostyle.nn import weights as nn_weights
from tests.conftest import Array

MANIFEST = json.loads((nn_weights.WEIGHTS_DIR / "MANIFEST.json").read_text())
# Simonyan & Zisserman 2015, table 1, configuration E: channels of the first thirteen convolutions
VGG19_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512)


def musicnn(**changes: Any) -> dict[str, Array]:
    """Return weights of the right shapes with random values."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Array] = {"input/scale": np.ones(1), "input/shift": np.zeros(1)}
    for i in range(1, 6):
        arrays[f"conv{i}/kernel"] = rng.standard_normal((3, 3, 1 if i == 1 else 128, 128))
        for part in ("bias", "scale", "shift"):
            arrays[f"conv{i}/{part}"] = rng.standard_normal(128)
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return {name: a for name, a in {**arrays, **changes}.items() if a is not None}


def save(path: Path, **arrays: Array) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("name", MANIFEST)
def test_the_files_that_ship_are_those_of_the_manifest(name: str) -> None:
    data = (nn_weights.WEIGHTS_DIR / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == MANIFEST[name]["sha256"]
    assert MANIFEST[name]["licence"]
    assert MANIFEST[name]["source"]


def test_vgg19_has_the_published_layers() -> None:
    weights = nn_weights.load_weights("vgg19")
    n_in = 3
    for layer, n_out in zip(VGG19_LAYERS, VGG19_CHANNELS, strict=True):
        assert weights[f"{layer}/kernel"].shape == (3, 3, n_in, n_out)
        assert weights[f"{layer}/bias"].shape == (n_out,)
        n_in = n_out
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    assert len(weights) == 2 * len(VGG19_LAYERS)


@pytest.mark.parametrize("network", nn_weights.SHIPPED)
def test_the_layers_that_are_asked_for_are_loaded_alone(network: str) -> None:
    everything = nn_weights.load_weights(network)
    layer = next(reversed(everything)).partition("/")[0]
    loaded = nn_weights.load_weights(network, None, [layer])
    assert list(loaded) == [name for name in everything if name.startswith(f"{layer}/")]
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, everything[name])


def test_random_filters_have_no_weights() -> None:
    assert nn_weights.load_weights("random-1d") == {}
    with pytest.raises(WeightsError, match=r"x\.npz: random-1d has a seed instead of weights"):
        nn_weights.load_weights("random-1d", "x.npz")


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the folder of weights by a copy."""
    folder = tmp_path / "weights"
    shutil.copytree(nn_weights.WEIGHTS_DIR, folder)
    monkeypatch.setattr(nn_weights, "WEIGHTS_DIR", folder)
    return folder


@pytest.mark.parametrize("check", [nn_weights.load_weights, nn_weights.check_weights])
@pytest.mark.parametrize("network", nn_weights.SHIPPED)
def test_a_single_flipped_bit_is_found(network: str, check: Any, copied: Path) -> None:
    file = copied / nn_weights.SHIPPED[network]
    check(network)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(WeightsError, match=rf"{file.name} is corrupt .*: reinstall audiostyle"):
        check(network)


def test_a_flipped_bit_in_the_weights_of_the_transcriber_is_found(copied: Path) -> None:
    assert len(nn_weights.load_shipped("basic-pitch")) == 14
    file = copied / "basic-pitch.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(WeightsError, match=r"basic-pitch\.npz is corrupt .*: reinstall audiostyle"):
        nn_weights.load_shipped("basic-pitch")


def test_a_missing_weights_file_is_named(copied: Path) -> None:
    (copied / "vgg19.npz").unlink()
    with pytest.raises(WeightsError, match=r"vgg19\.npz cannot be read \(No such file"):
        nn_weights.load_weights("vgg19")


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read"), ("{", "cannot be read"), ("{}", r"does not name vgg19\.npz")],
)
def test_an_unusable_manifest_is_refused(text: str | None, message: str, copied: Path) -> None:
    manifest = copied / "MANIFEST.json"
    manifest.unlink() if text is None else manifest.write_text(text)
    with pytest.raises(WeightsError, match=rf"MANIFEST\.json {message}.*: reinstall audiostyle"):
        nn_weights.load_weights("vgg19")


def test_provenance_of_what_ships_and_of_a_file(tmp_path: Path) -> None:
    assert nn_weights.provenance("vgg19") == MANIFEST["vgg19.npz"]
    assert "seed" in nn_weights.provenance("random-1d")["source"]
    path = save(tmp_path / "mine.npz", **musicnn())
    assert nn_weights.provenance("musicnn-vgg", str(path)) == {
        "source": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def test_a_users_file_is_loaded_unchanged(tmp_path: Path) -> None:
    arrays = musicnn()
    arrays["conv2/bias"] = arrays["conv2/bias"].astype(np.float64)
    loaded = nn_weights.load_weights("musicnn-vgg", str(save(tmp_path / "w.npz", **arrays)))
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array.astype(np.float32))
        assert loaded[name].dtype == np.float32


def test_eight_bit_codes_are_looked_up_in_their_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 256, (3, 3, 128, 128)).astype(np.uint8)
    table = np.sort(rng.standard_normal(256)).astype(np.float32)
    arrays = musicnn(**{"conv2/kernel": None, "conv2/codes": codes, "conv2/table": table})
    loaded = nn_weights.load_weights("musicnn-vgg", str(save(tmp_path / "w.npz", **arrays)))
    for index in np.ndindex(3, 3, 2, 2):
        assert loaded["conv2/kernel"][index] == table[codes[index]]


NOT_FINITE = np.full(128, np.nan, np.float32)
OBJECTS = np.array([{"a": 1}] * 128, dtype=object)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv3/kernel": None}, "lacks conv3/kernel: it is not made for musicnn-vgg"),
        (
            {"conv3/bias": np.zeros(64, np.float32)},
            r"conv3/bias has shape \(64,\), .* needs \(128,",
        ),
        ({"conv3/bias": NOT_FINITE}, "conv3/bias holds values that are not finite"),
        ({"conv3/bias": np.full(128, 1e300)}, "conv3/bias holds values that are not finite"),
        ({"conv3/bias": np.zeros(128, np.int64)}, "conv3/bias is int64, not floating-point"),
        ({"conv3/bias": np.array(["a"] * 128)}, "conv3/bias is <U1, not floating-point"),
        ({"conv3/bias": OBJECTS}, "is neither a converted"),  # only a pickle can hold it
        (
            {"conv3/kernel": None, "conv3/codes": np.zeros((3, 3, 128, 128), np.uint8)},
            "conv3 has 8-bit codes without a table",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_users_file_that_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "w.npz", **musicnn(**changes))
    with pytest.raises(WeightsError, match=rf"weights file .*w\.npz.* {message}"):
        nn_weights.load_weights("musicnn-vgg", str(path))
    with pytest.raises(WeightsError, match=message):
        nn_weights.check_weights("musicnn-vgg", str(path))


def test_weights_of_another_network_are_refused() -> None:
    file = nn_weights.WEIGHTS_DIR / "musicnn-vgg.npz"
    with pytest.raises(WeightsError, match="lacks block1_conv1/kernel: it is not made for vgg19"):
        nn_weights.load_weights("vgg19", str(file))


@pytest.mark.parametrize("where", np.linspace(0, 0.999, 12).tolist())
def test_a_damaged_archive_is_refused_and_nothing_else_is_raised(
    where: float, tmp_path: Path
) -> None:
    path = tmp_path / "w.npz"
    np.savez_compressed(path, **musicnn())  # type: ignore[arg-type]
    data = bytearray(path.read_bytes())
    at = int(where * len(data))
    data[at : at + 64] = bytes(byte ^ 0xA5 for byte in data[at : at + 64])
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"w\.npz"):
        nn_weights.load_weights("musicnn-vgg", str(path))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x93NUMPY\x01\x00", b"\x89HDF\r\n\x1a\n rest"])
def test_a_file_of_another_kind_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"w\.npz is (neither a converted|a damaged HDF5 file)"):
        nn_weights.load_weights("vgg19", str(path))


def test_an_array_alone_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros(3))
    with pytest.raises(WeightsError, match="is neither a converted"):
        nn_weights.load_weights("vgg19", str(tmp_path / "w.npy"))


def keras_arrays() -> dict[str, Array]:
    values = np.random.default_rng(2).standard_normal(10_007).astype(np.float32)
    arrays = {}
    n_in = 3
    for layer, n_out in zip(VGG19_LAYERS, VGG19_CHANNELS, strict=True):
        arrays[f"{layer}/kernel"] = np.resize(values, (3, 3, n_in, n_out))
        arrays[f"{layer}/bias"] = np.resize(values[5:], n_out)
        n_in = n_out
    return arrays


@pytest.mark.parametrize(
    ("kernel", "bias"),
    [
        ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0"),  # the published file
        ("model_weights/{0}/{0}/kernel:0", "model_weights/{0}/{0}/bias:0"),  # Keras 2, a model
    ],
)
def test_the_files_of_keras_are_read(kernel: str, bias: str, tmp_path: Path) -> None:
    path, arrays = tmp_path / "vgg19.h5", keras_arrays()
    with h5py.File(path, "w") as file:
        for layer in VGG19_LAYERS:
            file[kernel.format(layer)] = arrays[f"{layer}/kernel"]
            file[bias.format(layer)] = arrays[f"{layer}/bias"]
        file.require_group(kernel.format("block5_conv4"))  # layers that are not used
    loaded = nn_weights.load_weights("vgg19", str(path))
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_a_file_of_keras_with_theano_kernels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "th.h5"
    with h5py.File(path, "w") as file:
        for layer in VGG19_LAYERS[:2]:
            file[f"{layer}/{layer}_W"] = np.zeros((64, 3, 3, 3), np.float32)
            file[f"{layer}/{layer}_b"] = np.zeros(64, np.float32)
    with pytest.raises(WeightsError, match=r"block1_conv1/kernel has shape \(64, 3, 3, 3\)"):
        nn_weights.load_weights("vgg19", str(path))
