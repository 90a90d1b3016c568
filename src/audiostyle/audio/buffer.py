"""A stream put aside, in memory and then on disk, to be read again from its beginning."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio.level import BLOCK_SAMPLES
from audiostyle.utils.atomic_files import write_error

Array = npt.NDArray[Any]

BUFFER_BYTES = 64 << 20


class AudioBuffer:
    """Blocks that are put aside: in memory while they are few, then in a file without a name.

    Parameters
    ----------
    channels : int
    folder : Path, optional
        Where the file lies; without it everything stays in memory.
    memory_bytes : int
        How much is kept in memory, beside one block.

    Attributes
    ----------
    n : int, in samples

    Raises
    ------
    OutputError
        If the file cannot be made or written; `DiskError` if the disk is full.

    Examples
    --------
    >>> with Spool(2, Path("/tmp")) as spool:
    ...     for block in source.blocks():
    ...         spool.append(block)
    ...     again = [block.mean() for block in spool.blocks()]
    """

    def __init__(
        self,
        channels: int,
        folder: Path | None = None,
        memory_bytes: int = BUFFER_BYTES,
        block_size: int | None = None,
    ) -> None:
        self.channels = channels
        self.n = 0
        self.folder = folder
        self._block_size = block_size or BLOCK_SAMPLES
        self._room = memory_bytes // (4 * channels * self._block_size)  # in blocks
        self._kept: list[Array] = []
        self._file: IO[bytes] | None = None
        self._written = 0  # blocks in the file
        self._current = self._empty()  # the block that is being filled

    def __enter__(self) -> AudioBuffer:
        """Begin with nothing."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget everything."""
        self.close()

    def append(self, block: Array) -> None:
        """Put aside the next samples [shape=(channels, n)]; they are copied.

        Parameters
        ----------
        block : np.ndarray [shape=(channels, n)]
        """
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
        """Give everything, from the beginning on each call.

        Yields
        ------
        np.ndarray [shape=(channels, at most self._block_size), float32]
            Not to be changed: it may be the memory itself.
        """
        yield from self._kept
        for i in range(self._written):
            yield self._read(i)
        rest = self.n % self._block_size
        if rest:
            yield self._current[:, :rest]

    def close(self) -> None:
        """Forget everything, and remove the file."""
        self._kept.clear()
        self.n = self._written = 0
        if self._file is not None:
            with contextlib.suppress(OSError):  # of a disk that was full before
                self._file.close()
            self._file = None

    def _empty(self) -> Array:
        return np.empty((self.channels, self._block_size), np.float32)

    def _store(self) -> None:
        if self.folder is None or len(self._kept) < self._room:
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
            raise OSError(f"{self.folder}: a temporary file there lost its end")
        return block
