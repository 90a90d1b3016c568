"""Every error that audiostyle raises on purpose: one line that names the value and the remedy."""

from __future__ import annotations

import errno


class AudioStyleError(Exception):
    """Base of all errors that audiostyle raises on purpose."""


def is_memory_error(error: BaseException) -> bool:
    """Tell whether memory was short, whoever says so: Python, the system, or TensorFlow.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, ImportError):  # of a library that the linker could not place
        return "failed to map segment" in str(error) or "allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


class ConfigError(AudioStyleError):
    """A parameter is outside its bounds, or is not known."""


class AudioFileError(AudioStyleError):
    """An audio file cannot be read, or holds nothing that can be used.

    Attributes
    ----------
    kind : str
        ``unreadable``, ``truncated``, ``too_short``, ``silent`` or ``not_finite``; ``missing``
        if a batch is given what is not there; ``out_of_memory`` if it could not be held.
    """

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


class OutputError(AudioStyleError):
    """The output cannot be written, or would destroy something."""


class DiskError(OutputError):
    """The disk is full, or takes no more: no other output can be written either."""


class BusyError(AudioStyleError):
    """Another process works in the folder."""


class WeightsError(AudioStyleError):
    """A weights file is missing, corrupt, or made for another network."""


class DeviceError(AudioStyleError):
    """A device that was asked for by name is not there."""


class OptimizationError(AudioStyleError):
    """The descent met a loss that is not finite, twice."""


class EngineError(AudioStyleError):
    """The workers of an engine cannot be had, or do not fit this process."""


class MissingPackageError(AudioStyleError, ImportError):
    """A package that comes with an extra is needed and not installed."""


class Interrupted(BaseException):
    """A signal asked to stop now. Like `KeyboardInterrupt`, this is not an `Exception`.

    Attributes
    ----------
    code : int
        The exit code that says which: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code
