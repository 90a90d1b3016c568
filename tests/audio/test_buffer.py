"""Audio buffer in memory and on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostyle.audio import buffer as buffer_module
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.level import BLOCK_SAMPLES
from audiostyle.errors import DiskError, OutputError
from tests.audio.test_level import cut

BLOCK = BLOCK_SAMPLES
MEMORY_ONLY, FILE_ONLY, BOTH = None, 0, 2 * 2 * 4 * BLOCK  # two blocks of two channels


@pytest.mark.parametrize("memory_bytes", [MEMORY_ONLY, FILE_ONLY, BOTH])
@pytest.mark.parametrize("n", [0, 1, BLOCK, 3 * BLOCK + 17])
def test_a_buffer_returns_what_was_appended(
    memory_bytes: int | None, n: int, tmp_path: Path
) -> None:
    y = np.random.default_rng(0).standard_normal((2, n), np.float32)
    folder = None if memory_bytes is None else tmp_path
    with AudioBuffer(2, folder, memory_bytes or 0) as buffer:
        for block in cut(y, largest=300_000):
            buffer.append(block.copy())
        assert (buffer.n, buffer.channels) == (n, 2)
        for _ in range(2):
            blocks = list(buffer.blocks())
            assert all(block.shape[1] <= BLOCK for block in blocks)
            np.testing.assert_array_equal(np.concatenate([y[:, :0], *blocks], axis=1), y)
        assert os.listdir(tmp_path) == []  # the file has no name
    assert list(buffer.blocks()) == []


def test_a_buffer_copies_its_input(tmp_path: Path) -> None:
    block = np.ones((1, BLOCK), np.float32)
    for buffer in (AudioBuffer(1), AudioBuffer(1, tmp_path, 0)):
        for value in (1, 2):
            block[:] = value
            buffer.append(block)
        block[:] = 3
        assert [float(b[0, -1]) for b in buffer.blocks()] == [1.0, 2.0]
        buffer.close()


class FullFile:
    """A file on a full disk, which fails once more when it is closed."""

    closed = True

    def seek(self, *_: int) -> None: ...

    def write(self, _: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        self.write(b"")


def test_a_full_disk_is_a_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_module.tempfile, "TemporaryFile", lambda **_: FullFile())
    with (
        pytest.raises(DiskError, match=r"cannot be written \(No space left on device\); free"),
        AudioBuffer(1, tmp_path, 0) as buffer,
    ):
        buffer.append(np.zeros((1, BLOCK), np.float32))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    buffer = AudioBuffer(1, tmp_path / "none", 4 * BLOCK)
    buffer.append(np.zeros((1, BLOCK), np.float32))  # needs no file yet
    with pytest.raises(OutputError, match=r"none: cannot be written \(No such file"):
        buffer.append(np.zeros((1, 1), np.float32))
