"""Command-line arguments, Markdown tables and machine description, shared by all benchmarks.

Nothing here imports audiostyle or TensorFlow when it is loaded: `bench.speed` must stay small while
it measures other processes, and ``bench.gpu_step run`` works where audiostyle is not installed.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

MAX_SECONDS = 86_400.0
PACKAGES = ("audiostyle", "tensorflow", "numpy", "librosa", "soundfile", "soxr")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")


def make_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Make a parser that shows a module's docstring unchanged."""
    return argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def integer(low: int = 1) -> Callable[[str], int]:
    """Make an argument type: an integer of at least `low`."""

    def convert(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} must be at least {low}")
        return value

    convert.__name__ = "integer"  # argparse shows this name if int() fails
    return convert


def number(low: float, high: float, unit: str) -> Callable[[str], float]:
    """Make an argument type: a number from `low` to `high`."""

    def convert(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value:g} must be from {low:g} to {high:g} {unit}")
        return value

    convert.__name__ = "number"
    return convert


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table: first column left-aligned, all others right-aligned."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def format_number(value: float | None, digits: int, missing: str = "") -> str:
    """Format with a fixed number of decimals; None and NaN as `missing`, zero without a sign."""
    if value is None or math.isnan(value):
        return missing
    return f"{round(value, digits) + 0.0:.{digits}f}"


def describe_machine() -> dict[str, Any]:
    """Describe the machine and its software; what the platform does not tell is None or empty."""
    from audiostyle.nn.device import count_cores

    cpu = _read_cpuinfo()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in FLAGS if flag in cpu.get("flags", "").split()],
        "cores": os.cpu_count(),
        "cores_usable": count_cores(),
        "memory": _memory_bytes(),
        "load": load_average(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _package_version(name) for name in PACKAGES},
    }


def load_average() -> float | None:
    """Return the load average of the last minute, or None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _read_cpuinfo() -> dict[str, str]:
    """Return Linux's description of the first core."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
