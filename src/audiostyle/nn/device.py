"""Device, threads and precision of TensorFlow, which is loaded without its log messages."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from audiostyle.errors import ConfigError, DeviceError
from audiostyle.utils.lazy_imports import import_lock, paused_collection, without_keras
from audiostyle.utils.memory import check_memory
from audiostyle.utils.stderr_capture import CapturedStderr, capture_stderr
from audiostyle.utils.suggestions import check_choice

KINDS = ("auto", "cpu", "gpu")
MAX_THREADS = 1024
AMPERE = (8, 0)  # compute capability of the first GPUs that multiply in bfloat16
CPU_INFO = Path("/proc/cpuinfo")
DRIVER = "libcuda.so.1"
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


@dataclass(frozen=True)
class Device:
    """Device that TensorFlow runs on."""

    name: str  # TensorFlow's name, such as ``/CPU:0`` or ``/GPU:1``
    reason: str  # one line for the user: which device, and why

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return "GPU" in self.name


def load_tensorflow(quiet: bool = True) -> Any:
    """Import TensorFlow; if `quiet`, show what it writes to standard error only if that fails.

    One thread loads it, others wait.

    Raises
    ------
    DeviceError
        If there is not enough memory to start it, or TensorFlow ran before a fork.
    """
    if _forked:
        raise DeviceError(
            "this process was forked after TensorFlow had started, and would wait for ever: start "
            "processes with multiprocessing.get_context('spawn'), or before the first transfer"
        )
    with import_lock():
        if "tensorflow" in sys.modules:
            return sys.modules["tensorflow"]
        check_memory()
        if not quiet:
            with without_keras(), paused_collection():
                return importlib.import_module("tensorflow")
        # C++ writes some lines before TF_CPP_MIN_LOG_LEVEL is read: the descriptor is captured.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        captured = CapturedStderr()
        try:
            with capture_stderr() as captured, without_keras(), paused_collection():
                tensorflow = importlib.import_module("tensorflow")
                tensorflow.config.list_physical_devices()
                tensorflow.get_logger().setLevel("ERROR")  # as TF_CPP_MIN_LOG_LEVEL in C++
        except Exception:
            sys.stderr.write(captured.text)
            raise
        return tensorflow


def _note_fork() -> None:
    """Remember in a new child that TensorFlow's threads have stayed behind in its parent."""
    global _forked
    context = getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)
    _forked = _forked or bool(getattr(context, "_initialized", False))


_forked = False
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def parse_device(name: str) -> tuple[str, int]:
    """Split ``auto``, ``cpu``, ``gpu`` or ``gpu:N`` into kind and number, without TensorFlow."""
    kind, colon, number = name.strip().lower().partition(":")
    if not colon:
        return check_choice("device", kind, KINDS), 0
    if check_choice("device", kind, KINDS) != "gpu" or not number.isdecimal():
        raise ConfigError(f"device {name!r} is not known: choose from auto, cpu, gpu, gpu:N")
    return kind, int(number)


def check_threads(threads: Any) -> int:
    """Check a number of threads, without TensorFlow; 0 stands for all cores."""
    if isinstance(threads, bool) or not isinstance(threads, Integral):
        raise ConfigError(f"threads={threads!r} must be a whole number")
    number = int(threads)
    if not 0 <= number <= MAX_THREADS:
        raise ConfigError(f"threads={number} must be from 0 to {MAX_THREADS}")
    return number


def set_threads(threads: int) -> None:
    """Limit the threads of TensorFlow and of NumPy's BLAS, for the rest of the process.

    0 changes nothing: all cores, unless a limit was set before.

    Raises
    ------
    ConfigError
        If the number is out of bounds, or TensorFlow has already started with another one.
    """
    threads = check_threads(threads)
    if not threads:
        return
    settings = load_tensorflow().config.threading
    try:
        settings.set_intra_op_parallelism_threads(threads)
        settings.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # TensorFlow has started; it still accepts the number that it has
        intra = settings.get_intra_op_parallelism_threads() or "all"
        inter = settings.get_inter_op_parallelism_threads() or "all"
        raise ConfigError(
            f"threads={threads}: TensorFlow has already started, with threads={intra} within and "
            f"{inter} between operations; use the same number, or a new process"
        ) from None
    from threadpoolctl import threadpool_limits

    # More threads than cores would wait for each other, and take many times as long.
    threads = min(threads, count_cores())
    threadpool_limits(threads)
    # SciPy loads libraries of its own later, which read the environment.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


class _BlasLimit:
    """The limit of BLAS to one thread, which all blocks that overlap share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.limit: Any = None


_blas_limit = _BlasLimit()


@contextlib.contextmanager
def single_blas_thread() -> Iterator[None]:
    """Keep NumPy's matrix products in this block, or decorated function, on one thread.

    Those of audiostyle are small: more threads mostly wait for each other, longest on busy cores.
    The limit is the process's. Blocks of several threads may overlap; the last one lifts it.
    """
    from threadpoolctl import threadpool_limits

    shared = _blas_limit
    with shared.lock:
        if shared.users == 0:
            shared.limit = threadpool_limits(1, "blas")
        shared.users += 1
    try:
        yield
    finally:
        with shared.lock:
            shared.users -= 1
            if shared.users == 0:
                shared.limit.restore_original_limits()


def set_deterministic(deterministic: bool) -> None:
    """Make TensorFlow deterministic for the rest of the process; False changes nothing."""
    if deterministic:
        load_tensorflow().config.experimental.enable_op_determinism()


def count_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_device(name: str = "auto", threads: int = 0) -> Device:
    """Choose the device ``auto``, ``cpu``, ``gpu`` or ``gpu:N``, and set the number of threads.

    Raises
    ------
    ConfigError
        If the name or the number of threads is not valid.
    DeviceError
        If a GPU was requested and does not exist.
    """
    kind, number = parse_device(name)
    set_threads(threads)
    tf = load_tensorflow()
    if kind == "cpu":
        return Device("/CPU:0", "CPU, as requested")
    with capture_stderr():  # the first query may complain about missing drivers
        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            pass  # already in use, or split into virtual GPUs
    if kind == "auto":
        if gpus:
            return Device("/GPU:0", f"GPU 0 of {len(gpus)}")
        return Device("/CPU:0", f"CPU: {explain_missing_gpu(tf)}")
    if number >= len(gpus):
        found = f"only {len(gpus)} found" if gpus else explain_missing_gpu(tf)
        raise DeviceError(f"device {name}: {found}; use --device auto or cpu")
    return Device(f"/GPU:{number}", f"GPU {number} of {len(gpus)}, as requested")


def choose_precision(precision: str, tf: Any) -> tuple[str, str]:
    """Resolve ``auto`` to ``bfloat16`` where the device computes in it, else to ``float32``.

    Only convolutions run in bfloat16; statistics, losses and the optimisation stay in float32.
    Returns the precision, and the reason for the user.
    """
    if precision != "auto":
        return precision, "as requested"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        oldest = min(tuple(d.get("compute_capability", (0, 0))) for d in details)
        reason = "GPU of compute capability {}.{}, bfloat16 needs {}.{}".format(*oldest, *AMPERE)
        return ("bfloat16" if oldest >= AMPERE else "float32"), reason
    if platform.machine() not in ("x86_64", "AMD64"):
        return "float32", f"the processor is {platform.machine()}"
    try:
        flags = CPU_INFO.read_text(errors="replace")
    except OSError:
        return "float32", f"{CPU_INFO} cannot be read"
    for flag in ("avx512_bf16", "amx_bf16"):
        if flag in flags:
            return "bfloat16", f"the processor has {flag}"
    return "float32", "the processor has neither avx512_bf16 nor amx_bf16"


def explain_missing_gpu(tf: Any) -> str:
    """Explain in one line why TensorFlow lists no GPU, and what can be done about it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    if sys.platform == "darwin":
        reason = "TensorFlow uses no GPU on macOS without tensorflow-metal"
    elif sys.platform == "win32":
        reason = "TensorFlow uses no GPU on native Windows; run it under WSL 2"
    elif not tf.test.is_built_with_cuda():
        reason = "this TensorFlow is built without GPU support"
    elif hidden.strip() in ("", "-1"):
        reason = f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU; unset it to use one"
    else:
        reason = _explain_by_driver(tf)
    return reason


def _explain_by_driver(tf: Any) -> str:
    try:
        error, capabilities = query_driver()
    except OSError:
        return "no NVIDIA driver was found; install it if this machine has such a GPU"
    if error:
        return f"the NVIDIA driver fails (CUDA error {error}): run nvidia-smi for details"
    if not capabilities:
        return "the NVIDIA driver sees no GPU"
    builds = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", ())
    # Such as sm_60 or compute_100: the last digit is the minor version.
    built = re.findall(r"_(\d+)(\d)", " ".join(builds))
    needed = min(((int(major), int(minor)) for major, minor in built), default=(0, 0))
    if max(capabilities) < needed:
        versions = (*max(capabilities), *needed)
        return "compute capability {}.{} is below the {}.{} of this TensorFlow".format(*versions)
    return (
        f"TensorFlow cannot use the {len(capabilities)} GPU(s) that the driver sees: the "
        "libraries of CUDA are missing or too old (pip install 'audiostyle[cuda]')"
    )


def driver_sees_gpu() -> bool:
    """Tell whether this machine seems to have an NVIDIA GPU: its driver sees one, or is broken."""
    try:
        error, capabilities = query_driver()
    except OSError:
        return False
    return bool(capabilities) or error not in (0, NO_DEVICE)


def query_driver() -> tuple[int, list[tuple[int, int]]]:
    """Ask the NVIDIA driver for its error (0 if it works) and the capability of each GPU.

    It needs no library of CUDA's toolkit. Raises OSError if there is no driver.
    """
    cuda = ctypes.CDLL(DRIVER)
    count, device, value = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    error = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if error:
        return int(error), []

    def attribute(number: int) -> int:
        cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        return value.value

    capabilities = []
    for i in range(count.value):
        cuda.cuDeviceGet(ctypes.byref(device), i)
        # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
        capabilities.append((attribute(75), attribute(76)))
    return 0, capabilities
