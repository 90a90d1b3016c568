"""Choose a device and how much of it to use, and load TensorFlow without its chatter."""

from __future__ import annotations

import operator
import os
import sys
from dataclasses import dataclass
from typing import Any

from audiostyle.errors import ConfigError, DeviceError
from audiostyle.nn import gpu_diagnosis as drivers
from audiostyle.utils.memory import check_memory
from audiostyle.utils.stderr_capture import capture_stderr
from audiostyle.utils.suggestions import check_choice

KINDS = ("auto", "cpu", "gpu")
MAX_THREADS = 1024


@dataclass(frozen=True)
class Device:
    """Where TensorFlow runs.

    Attributes
    ----------
    name : str
        TensorFlow's name, as ``/CPU:0`` or ``/GPU:1``.
    reason : str
        One line for people: what was taken, and why.
    """

    name: str
    reason: str

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return "GPU" in self.name


def load_tensorflow(quiet: bool = True) -> Any:
    """Import TensorFlow; keep what it writes to standard error, and show it only if it fails.

    Parameters
    ----------
    quiet : bool
        False lets everything through.

    Returns
    -------
    module

    Raises
    ------
    DeviceError
        If there is less memory than it needs to begin with.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    check_memory()
    if not quiet:
        import tensorflow

        return tensorflow
    # Some lines are written by C++ before TF_CPP_MIN_LOG_LEVEL is read, hence the descriptor too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with capture_stderr() as captured:
            import tensorflow

            tensorflow.config.list_physical_devices()
    except Exception:
        sys.stderr.write(captured.text)
        raise
    return tensorflow


def parse_device(wanted: str) -> tuple[str, int]:
    """Read the name of a device. Needs no TensorFlow.

    Parameters
    ----------
    wanted : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.

    Returns
    -------
    kind : str
        ``auto``, ``cpu`` or ``gpu``.
    number : int

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    kind, colon, number = wanted.strip().lower().partition(":")
    if not colon:
        return check_choice("device", kind, KINDS), 0
    if check_choice("device", kind, KINDS) != "gpu" or not number.isdecimal():
        raise ConfigError(f"device {wanted!r} is not known: choose from auto, cpu, gpu, gpu:N")
    return kind, int(number)


def check_threads(threads: Any) -> int:
    """Check a number of threads. Needs no TensorFlow.

    Parameters
    ----------
    threads : int
        0 stands for all cores.

    Returns
    -------
    int

    Raises
    ------
    ConfigError
        If it is no whole number, or out of bounds.
    """
    try:
        if isinstance(threads, bool):
            raise TypeError
        number = operator.index(threads)
    except TypeError:
        raise ConfigError(f"threads={threads!r} must be a whole number") from None
    if not 0 <= number <= MAX_THREADS:
        raise ConfigError(f"threads={number} must be from 0 to {MAX_THREADS}")
    return number


def set_threads(threads: int) -> None:
    """Bound the threads of TensorFlow and of the BLAS below NumPy, for the rest of the process.

    Parameters
    ----------
    threads : int
        0 changes nothing: that is all cores, unless something else was set before.

    Raises
    ------
    ConfigError
        If the number cannot be right, or TensorFlow has begun to work with another one.
    """
    threads = check_threads(threads)
    if not threads:
        return
    threading = load_tensorflow().config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # of TensorFlow, which takes the number it has at any time
        intra = threading.get_intra_op_parallelism_threads() or "all"
        inter = threading.get_inter_op_parallelism_threads() or "all"
        raise ConfigError(
            f"threads={threads}: TensorFlow works already, with threads={intra} within and {inter} "
            "between operations; ask for the same, or in a new process"
        ) from None
    from threadpoolctl import threadpool_limits

    # More than there are cores would wait for each other, and take many times as long.
    threads = min(threads, count_cores())
    threadpool_limits(threads)
    # SciPy brings libraries of its own, and loads them later: those read the environment.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


def set_deterministic(wanted: bool) -> None:
    """Have TensorFlow take sums in one order, for the rest of the process.

    Parameters
    ----------
    wanted : bool
        False changes nothing.
    """
    if wanted:
        load_tensorflow().config.experimental.enable_op_determinism()


def count_cores() -> int:
    """Count the cores that are for this process.

    Returns
    -------
    int
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_device(wanted: str = "auto", threads: int = 0) -> Device:
    """Find the device that was asked for.

    Parameters
    ----------
    wanted : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    threads : int
        How many may work; see `set_threads`.

    Returns
    -------
    Device

    Raises
    ------
    ConfigError
        If the word is none of these, or the number cannot be had.
    DeviceError
        If an explicit GPU is absent.
    """
    kind, number = parse_device(wanted)
    set_threads(threads)
    tf = load_tensorflow()
    if kind == "cpu":
        return Device("/CPU:0", "CPU, as asked")
    with capture_stderr():  # the first look at the devices may complain of absent drivers
        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            pass  # the GPU is in use already, or split into virtual ones: it stays as it is
    if kind == "auto":
        if gpus:
            return Device("/GPU:0", f"GPU 0 of {len(gpus)}")
        return Device("/CPU:0", f"CPU: {drivers.explain_missing_gpu(tf)}")
    if number >= len(gpus):
        found = f"only {len(gpus)} found" if gpus else drivers.explain_missing_gpu(tf)
        raise DeviceError(f"device {wanted}: {found}; use --device auto or cpu")
    return Device(f"/GPU:{number}", f"GPU {number} of {len(gpus)}, as asked")
