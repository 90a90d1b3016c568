"""Where the files of a record lie now, if they were moved together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class Finder:
    """Finds files again whose names were relative to a folder that nobody wrote down.

    Parameters
    ----------
    paths : iterable of str
        Absolute paths, of which a name may be the end.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: dict[str, list[Path]] = {}
        for path in map(Path, paths):
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: str) -> Path | None:
        """Return the file whose path ends like a name does.

        Parameters
        ----------
        name : str

        Returns
        -------
        Path or None
        """
        parts = tuple(part for part in Path(name).parts if part not in (".", ".."))
        for path in self._by_name.get(Path(name).name, []):
            if path.parts[-len(parts) :] == parts and path.is_file():
                return path
        return None
