"""Sizes in bytes as text for people."""

from __future__ import annotations


def format_size(n_bytes: float) -> str:
    """Write a size in the largest fitting decimal unit: ``512 bytes``, ``1.2 MB``, ``73.5 GB``."""
    if n_bytes < 1000:
        return f"{n_bytes:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        n_bytes /= 1000
        if n_bytes < 999.95:
            return f"{n_bytes:.1f} {unit}"
    return f"{n_bytes / 1000:.1f} TB"
