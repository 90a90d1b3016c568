"""In which arithmetic the convolutions run, and why."""

from __future__ import annotations

import platform
from typing import Any

AMPERE = (8, 0)  # compute capability of the first GPUs that multiply in bfloat16


def choose_precision(precision: str, tf: Any) -> tuple[str, str]:
    """Turn ``auto`` into ``bfloat16`` where the device computes with it, else ``float32``.

    Parameters
    ----------
    precision : str
        ``auto``, ``float32`` or ``bfloat16``.
    tf : module
        TensorFlow.

    Returns
    -------
    precision : str
        In ``bfloat16`` the convolutions are; statistics, losses and descent stay in float32.
    reason : str
        For people.
    """
    if precision != "auto":
        return precision, "as asked"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        oldest = min(tuple(d.get("compute_capability", (0, 0))) for d in details)
        reason = "GPU of compute capability {}.{}, bfloat16 needs {}.{}".format(*oldest, *AMPERE)
        return ("bfloat16" if oldest >= AMPERE else "float32"), reason
    if platform.machine() not in ("x86_64", "AMD64"):
        return "float32", f"the processor is {platform.machine()}"
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = file.read()
    except OSError:
        return "float32", "the system does not say what the processor can do"
    for flag in ("avx512_bf16", "amx_bf16"):
        if flag in flags:
            return "bfloat16", f"the processor has {flag}"
    return "float32", "the processor has neither avx512_bf16 nor amx_bf16"
