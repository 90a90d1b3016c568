"""What a measurement was made on: without it, no number of seconds means anything."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from audiostyle.nn.device import count_cores

PACKAGES = ("audiostyle", "tensorflow", "numpy", "librosa", "soundfile", "soxr")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")


def describe() -> dict[str, Any]:
    """Describe this machine, as it is now.

    Returns
    -------
    dict
        Of plain values; what the platform does not say is missing, None or empty.
    """
    cpu = _cpu()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in FLAGS if flag in cpu.get("flags", "").split()],
        "cores": os.cpu_count(),
        "cores_usable": count_cores(),
        "memory": _memory(),
        "load": load(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def load() -> float | None:
    """Say how many processes wanted to run in the last minute, where the system knows."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _cpu() -> dict[str, str]:
    """Read what Linux says of the first core."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
