"""Atomic file output."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from audiostyle.errors import OutputError
from audiostyle.utils import atomic_files
from tests.audio.test_writer import listing


def test_staged_files_appear_together(tmp_path: Path) -> None:
    with atomic_files.Staging() as staging:
        staging.add(tmp_path / "a").write_bytes(b"1")
        staging.write(tmp_path / "b", b"2")
        assert not (tmp_path / "a").exists()
        staging.publish()
    assert listing(tmp_path) == {"a": b"1", "b": b"2"}


def test_staged_files_that_are_not_published_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_files.Staging() as staging:
        staging.write(tmp_path / "a", b"1")
        staging.write(tmp_path / "b", b"2")
        raise KeyboardInterrupt
    assert listing(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none/o.wav", r"o\.wav: there is no folder .*none; create it first"),
        (250 * "x" + ".json.wav", r"cannot be created in .* \(File name too long\)"),
        ("file/o.wav", r"cannot be created in .*file \(Not a directory\)"),
    ],
)
def test_a_path_that_cannot_be_created_is_named(path: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=message), atomic_files.part_file(tmp_path / path):
        pass
    assert os.listdir(tmp_path) == ["file"]


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(data)
    assert atomic_files.file_digest(tmp_path / "a") == hashlib.sha256(data).hexdigest()
