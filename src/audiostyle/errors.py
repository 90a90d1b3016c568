"""Errors that audiostyle raises on purpose; each message is one line with value and remedy."""

from __future__ import annotations

import errno
import os


class AudioStyleError(Exception):
    """Base of all errors that audiostyle raises on purpose."""

    @property
    def file(self) -> str | None:
        """The file that the message is about, and begins with; None if it is about none."""
        parts = str(self).split(": ")
        names = [": ".join(parts[:i]) for i in range(len(parts) - 1, 0, -1)]
        found = next(filter(os.path.lexists, names), None)
        if found is None and names and isinstance(self, (AudioFileError, OutputError, BusyError)):
            return names[-1]  # it does not exist
        return found


def is_memory_error(error: BaseException) -> bool:
    """Return whether Python, the system or TensorFlow ran out of memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, ImportError):  # the linker could not map a shared library
        return "failed to map segment" in str(error) or "allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


class ConfigError(AudioStyleError):
    """A parameter is unknown or out of bounds."""


class AudioFileError(AudioStyleError):
    """An audio file cannot be read, or holds nothing usable.

    Attributes
    ----------
    kind : str
        ``unreadable``, ``truncated``, ``too_short``, ``silent`` or ``not_finite``; ``missing`` if
        the file does not exist; ``out_of_memory`` if it does not fit into memory.
    """

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


class OutputError(AudioStyleError):
    """The output cannot be written, or would overwrite something else."""


class DiskError(OutputError):
    """The disk is full, read-only or over quota: no other output can be written either."""


class BusyError(AudioStyleError):
    """Another process is working in the folder."""


class WeightsError(AudioStyleError):
    """A weights file is missing, corrupt, or made for another network."""


class DeviceError(AudioStyleError):
    """The requested device does not exist."""


class OptimizationError(AudioStyleError):
    """The loss was not finite, twice."""


class EngineError(AudioStyleError):
    """The workers of an engine are unavailable, or incompatible with this process."""


class MissingPackageError(AudioStyleError, ImportError):
    """An optional package is needed and not installed."""


class Interrupted(BaseException):
    """A signal asked to stop now. Like `KeyboardInterrupt`, this is not an `Exception`.

    Attributes
    ----------
    code : int
        Exit code: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code
