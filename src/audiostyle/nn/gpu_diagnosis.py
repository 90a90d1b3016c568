"""Why TensorFlow uses no GPU, asked of the system itself, since TensorFlow does not say."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import Any

DRIVER = "libcuda.so.1"
_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class Driver:
    """What the NVIDIA driver knows.

    Attributes
    ----------
    present : bool
    error : int
        Of CUDA's own numbers; 0 if it works.
    capabilities : tuple of (int, int)
        Compute capability of every GPU it sees.
    """

    present: bool
    error: int = 0
    capabilities: tuple[tuple[int, int], ...] = ()


def query_driver() -> Driver:
    """Ask the NVIDIA driver for its GPUs, without any library of CUDA's toolkit.

    Returns
    -------
    Driver
    """
    try:
        cuda = ctypes.CDLL(DRIVER)
    except OSError:
        return Driver(False)
    count = ctypes.c_int(0)
    error = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if error:
        return Driver(True, int(error))
    found = []
    for number in range(count.value):
        device, values = ctypes.c_int(), [ctypes.c_int(), ctypes.c_int()]
        cuda.cuDeviceGet(ctypes.byref(device), number)
        for value, attribute in zip(values, _CAPABILITY, strict=True):
            cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        found.append((values[0].value, values[1].value))
    return Driver(True, 0, tuple(found))


def explain_missing_gpu(tf: Any) -> str:
    """Say why TensorFlow lists no GPU, and what can be done about it.

    Parameters
    ----------
    tf : module
        TensorFlow, which lists none.

    Returns
    -------
    str
        One line.
    """
    if sys.platform == "darwin":
        return "TensorFlow uses no GPU on macOS without tensorflow-metal"
    if sys.platform == "win32":
        return "TensorFlow uses no GPU on native Windows; run it under WSL 2"
    if not tf.test.is_built_with_cuda():
        return "this TensorFlow is built without GPU support"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU; unset it to use one"
    driver = query_driver()
    if not driver.present:
        return "no NVIDIA driver was found; install it if this machine has such a GPU"
    if driver.error:
        return f"the NVIDIA driver fails (CUDA error {driver.error}): see what nvidia-smi says"
    if not driver.capabilities:
        return "the NVIDIA driver sees no GPU"
    oldest = _oldest(tf)
    if all(capability < oldest for capability in driver.capabilities):
        best = "{}.{}".format(*max(driver.capabilities))
        return f"compute capability {best} is below the {oldest[0]}.{oldest[1]} of this TensorFlow"
    return (
        f"TensorFlow cannot use the {len(driver.capabilities)} GPU(s) that the driver sees: the "
        "libraries of CUDA are missing or too old (pip install 'audiostyle[cuda]')"
    )


def _oldest(tf: Any) -> tuple[int, int]:
    """Lowest compute capability that a TensorFlow is built for, as ``sm_60`` or ``compute_90``."""
    names = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", ())
    digits = [str(name).rpartition("_")[2] for name in names]
    found = [(int(d[:-1]), int(d[-1])) for d in digits if d.isdecimal() and len(d) > 1]
    return min(found, default=(0, 0))
