"""Buffer for an audio stream, in memory and then on disk, that can be read several times."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio.level import BLOCK_SAMPLES
from audiostyle.utils.atomic_files import write_error

Array = npt.NDArray[Any]

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
        block_size: int | None = None,
    ) -> None:
        self.channels = channels
        self.n = 0  # samples
        self.folder = folder
        self._block_size = block_size or BLOCK_SAMPLES
        self._max_kept = memory_bytes // (4 * channels * self._block_size)  # blocks in memory
        self._kept: list[Array] = []
        self._file: IO[bytes] | None = None
        self._written = 0  # blocks in the file
        self._current = self._empty()  # the block that is being filled

    def __enter__(self) -> AudioBuffer:
        """Return the buffer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the buffer."""
        self.close()

    def append(self, block: Array) -> None:
        """Append a copy of the next samples [shape=(channels, n)]."""
        first = 0
        while first < block.shape[1]:
            filled = self.n % self._block_size
            taken = min(block.shape[1] - first, self._block_size - filled)
            self._current[:, filled : filled + taken] = block[:, first : first + taken]
            self.n += taken
            first += taken
            if self.n % self._block_size == 0:
                self._store()

    def blocks(self) -> Iterator[Array]:
        """Yield all blocks [shape=(channels, at most BLOCK_SAMPLES), float32] from the beginning.

        They may be views of the buffer: do not change them.
        """
        yield from self._kept
        for i in range(self._written):
            yield self._read(i)
        rest = self.n % self._block_size
        if rest:
            yield self._current[:, :rest]

    def close(self) -> None:
        """Drop all samples, and remove the file."""
        self._kept.clear()
        self.n = self._written = 0
        if self._file is not None:
            with contextlib.suppress(OSError):  # the disk may have been full before
                self._file.close()
            self._file = None

    def _empty(self) -> Array:
        return np.empty((self.channels, self._block_size), np.float32)

    def _store(self) -> None:
        if self.folder is None or len(self._kept) < self._max_kept:
            self._kept.append(self._current)
            self._current = self._empty()
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix=".audiostyle-", dir=self.folder)
            self._file.seek(self._written * self._current.nbytes)
            self._file.write(self._current.data)
            self._file.flush()
        except OSError as error:
            raise write_error(self.folder, error, self.folder) from None
        self._written += 1

    def _read(self, i: int) -> Array:
        assert self._file is not None
        block = self._empty()
        self._file.seek(i * block.nbytes)
        if self._file.readinto(block.data.cast("B")) != block.nbytes:  # type: ignore[attr-defined]
            raise OSError(f"{self.folder}: a temporary file in it was truncated")
        return block
