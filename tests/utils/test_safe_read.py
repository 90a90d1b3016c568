"""Safe reading of files and archives: every reader refuses pickles, path tricks and bombs."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError, AudioStyleError, WeightsError
from audiostyle.evaluation import tagger
from audiostyle.files import style_file
from audiostyle.nn import weights
from audiostyle.utils import npz, safe_read
from tests.support.mutations import archive, keras_file, musicnn_archive, style_archive

CONFIG = TransferConfig()
MAX_MEMORY = 64 << 20  # to refuse a bomb


class Mark:
    """Leaves a mark where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        """Call `os.mkdir`."""
        return os.mkdir, (str(self.path),)


def load_style(path: Path) -> None:
    style_file.load_style(path, CONFIG)


def load_weights(path: Path) -> None:
    weights.load_weights("musicnn-vgg", str(path))


READERS: dict[str, tuple[Callable[[Path], None], type[AudioStyleError]]] = {
    "x.style.npz": (load_style, AudioFileError),
    "x.npz": (load_weights, WeightsError),
}


def member(header: bytes, rest: bytes = b"") -> bytes:
    """Write an array in the format of NumPy."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + rest


def zipped(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return stream.getvalue()


def claiming(shape: str) -> bytes:
    return member(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode())


@pytest.fixture(params=READERS)
def refuses(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], str]:
    """Give bytes to a reader of archives, which refuses them in one line and leaves no trace."""
    read, kind = READERS[request.param]
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / request.param

    def check(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(kind) as error:
            read(path)
        assert [p.name for p in tmp_path.rglob("*")] == ["in", request.param]
        assert "\n" not in str(error.value)
        return str(error.value)

    return check


def test_nothing_is_unpickled(refuses: Callable[[bytes], str], tmp_path: Path) -> None:
    mark = np.array([Mark(tmp_path / "mark")], dtype=object)
    refuses(archive({"about": mark, "S": mark}))
    refuses(style_archive(CONFIG, S=mark))
    refuses(musicnn_archive(**{"conv1/bias": mark}))
    stream = io.BytesIO()
    np.save(stream, mark)
    refuses(stream.getvalue())
    np.load(io.BytesIO(stream.getvalue()), allow_pickle=True)
    assert (tmp_path / "mark").is_dir(), "it would have left a mark"


@pytest.mark.parametrize("name", ["../gone.npy", "/tmp/gone.npy", "..\\gone.npy", "a/../../gone"])
def test_no_path_of_a_member_is_written(name: str, refuses: Callable[[bytes], str]) -> None:
    refuses(
        zipped((name, member(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", b"x")))
    )


def resident() -> int:
    """Peak memory of this process, in bytes."""
    resource = pytest.importorskip("resource", reason="this system does not say")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Pack zeros that exceed the limit, and a hundred times the size of the archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("S.npy", "w", force_zip64=True) as array:
            for _ in range(npz.MAX_UNPACKED_BYTES // (1 << 24) + 1):
                array.write(bytes(1 << 24))
    assert len(stream.getvalue()) < npz.MAX_UNPACKED_BYTES // 100
    return stream.getvalue()


def test_a_bomb_is_refused_before_it_is_unpacked(
    refuses: Callable[[bytes], str], bomb: bytes
) -> None:
    before = resident()
    refuses(bomb)
    assert resident() < before + MAX_MEMORY


@pytest.fixture(scope="module")
def bomb_with_false_size() -> bytes:
    size = 2 * MAX_MEMORY
    data = bytearray(zipped(("S.npy", bytes(size))))
    while (at := data.find(struct.pack("<I", size))) >= 0:
        data[at : at + 4] = struct.pack("<I", 1000)
    return bytes(data)


def test_a_bomb_with_a_false_size_is_not_unpacked(
    refuses: Callable[[bytes], str], bomb_with_false_size: bytes
) -> None:
    before = resident()
    refuses(bomb_with_false_size)
    assert resident() < before + MAX_MEMORY


@pytest.mark.parametrize(
    "shape",
    ["(1 << 40,)", f"({1 << 40},)", "(-1,)", "(4, -4)", f"({1 << 62}, 4)", "(99,)", "('a',)", "3"],
)
def test_an_array_must_have_the_size_that_it_claims(
    shape: str, refuses: Callable[[bytes], str]
) -> None:
    before = resident()
    refuses(zipped(("S.npy", claiming(shape)), ("about.npy", claiming(shape))))
    assert resident() < before + MAX_MEMORY


def test_arrays_are_read_unchanged() -> None:
    arrays = {
        "a/b": np.arange(6.0).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "none": np.zeros((0, 3), np.float32),
        "scalar": np.float32(2.5),
        "text": np.array(["ab", "c"]),
    }
    for packed in (True, False):
        found = npz.read_npz(archive(arrays, packed))
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == np.asarray(array).dtype


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    with path.open("wb") as file:
        file.truncate(safe_read.MAX_FILE_BYTES + 1)
    with pytest.raises(OSError, match=r"at most \d+ are read"):
        safe_read.read_file(path)


def test_hdf5_weights_must_be_in_the_file_itself(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "other.h5").write_bytes(keras_file())
    (tmp_path / "secret").write_bytes(bytes(10_000))
    shape = (3, 3, 3, 64)

    def refused(fill: Callable[[Any], Any]) -> str:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            fill(file)
        before = resident()
        with pytest.raises(WeightsError) as error:
            weights.load_weights("vgg19", str(tmp_path / "x.h5"))
        assert resident() < before + MAX_MEMORY
        return str(error.value)

    def link(file: Any) -> None:
        file["block1_conv1"] = h5py.ExternalLink(
            str(tmp_path / "other.h5"), "/model_weights/block1_conv1"
        )

    assert "lacks block1_conv1/kernel" in refused(link)
    outside = [(str(tmp_path / "secret"), 0, 6912)]
    assert "lies in another file" in refused(
        lambda file: file.create_dataset("block1_conv1/kernel", shape, "f4", external=outside)
    )
    huge = (1 << 10, 1 << 10, 1 << 10, 1 << 5)
    assert "has the shape" in refused(
        lambda file: file.create_dataset("block1_conv1/kernel", huge, "f4")
    )


def test_every_reader_of_arrays_forbids_pickles() -> None:
    """Each call names `allow_pickle`: its default was another once."""
    root = Path(tagger.__file__).parent
    calls = [
        line
        for path in root.rglob("*.py")
        for line in path.read_text().splitlines()
        if "np.load(" in line or "format.read_array(" in line
    ]
    assert calls
    assert all("allow_pickle=False" in line for line in calls)
    words = ("import pickle", "cPickle", "joblib", "dill", "allow_pickle=True")
    text = "".join(path.read_text() for path in root.rglob("*.py"))
    assert not [word for word in words if word in text]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_is_read_in_every_encoding_of_unicode(encoding: str, tmp_path: Path) -> None:
    text = "caf\u00e9 \u97f3\u2028.wav\r\nx\x85y\r"
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    assert safe_read.read_text(tmp_path / "list.txt") == text


def test_other_bytes_keep_their_names_and_windows_is_a_guess(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("caf\u00e9 \u20ac".encode("cp1252"))
    text = safe_read.read_text(tmp_path / "list.txt")
    assert safe_read.readings(text) == ("caf\udce9 \udc80", "caf\u00e9 \u20ac")
    assert safe_read.readings("caf\u00e9") == ("caf\u00e9",)
    (tmp_path / "list.txt").write_bytes(b"odd\0")
    assert isinstance(safe_read.read_text(tmp_path / "list.txt"), str)
    (tmp_path / "list.txt").write_bytes(b"a\0odd")
    with pytest.raises(ValueError):
        safe_read.read_text(tmp_path / "list.txt")
