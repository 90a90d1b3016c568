"""Buffer for an audio stream, in memory and then on disk, that can be read several times."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import BLOCK_SAMPLES
from audiostyle.utils.atomic_files import write_error

BUFFER_BYTES = 64 << 20


class AudioBuffer:
    """Audio that is appended block by block: in memory first, then in an unnamed temporary file.

    Without a `folder` for the file, everything stays in memory. An `OutputError` is raised if the
    file cannot be created or written.

    Examples
    --------
    >>> with AudioBuffer(2, Path("/tmp")) as buffer:
    ...     for block in source.blocks():
    ...         buffer.append(block)
    ...     means = [block.mean() for block in buffer.blocks()]
    """

    def __init__(
        self,
        channels: int,
        folder: Path | None = None,
        memory_bytes: int = BUFFER_BYTES,
        block_size: int = BLOCK_SAMPLES,
    ) -> None:
        self.channels = channels
        self.n = 0  # samples
        self.folder = folder
        self._block_size = block_size
        # A size of 0 is unlimited.
        in_memory = 0 if folder is None else max(memory_bytes, 1)
        self._file = tempfile.SpooledTemporaryFile(
            in_memory, prefix=".audiostyle-", dir=None if folder is None else str(folder)
        )

    def __enter__(self) -> AudioBuffer:
        """Return the buffer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the buffer."""
        self.close()

    def append(self, block: Array) -> None:
        """Append a copy of the next samples [shape=(channels, n)]."""
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(np.ascontiguousarray(block.T, np.float32).data)
            self._file.flush()  # a full disk is reported here
        except OSError as error:
            folder = self.folder or Path()
            raise write_error(folder, error, folder) from None
        self.n += block.shape[1]

    def blocks(self) -> Iterator[Array]:
        """Yield all blocks [shape=(channels, at most `block_size`), float32] from the beginning."""
        n_bytes = 4 * self.channels * self._block_size
        for first in range(0, self.n, self._block_size):
            self._file.seek(4 * self.channels * first)
            samples = np.frombuffer(self._file.read(n_bytes), np.float32)
            yield np.ascontiguousarray(samples.reshape(-1, self.channels).T)

    def close(self) -> None:
        """Drop all samples, and remove the file."""
        self.n = 0
        with contextlib.suppress(OSError):  # the disk may have been full before
            self._file.close()
