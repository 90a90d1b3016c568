"""Neural style transfer for sound: the style of one recording, or a genre, applied to another."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# What is not a result is logged here; without a handler of the program, nothing is printed.
logging.getLogger("audiostyle").addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from audiostyle.batch.ray.cluster import Cluster
    from audiostyle.batch.run import run_batch
    from audiostyle.config.registry import register_loss, register_network
    from audiostyle.config.transfer_config import TransferConfig
    from audiostyle.core.style import Style
    from audiostyle.core.sweep import Take, sweep
    from audiostyle.core.transfer import StyleTransfer, TransferResult, transfer
    from audiostyle.evaluation.evaluate_files import evaluate_files
    from audiostyle.evaluation.scores import evaluate
    from audiostyle.files.transfer import make_style_file, transfer_file
    from audiostyle.report.write import write_report

__all__ = [
    "Cluster",
    "Style",
    "StyleTransfer",
    "Take",
    "TransferConfig",
    "TransferResult",
    "__version__",
    "evaluate",
    "evaluate_files",
    "make_style_file",
    "register_loss",
    "register_network",
    "run_batch",
    "sweep",
    "transfer",
    "transfer_file",
    "write_report",
]

_HOMES = {
    "Cluster": "batch.ray.cluster",
    "Style": "core.style",
    "StyleTransfer": "core.transfer",
    "Take": "core.sweep",
    "TransferConfig": "config.transfer_config",
    "TransferResult": "core.transfer",
    "evaluate": "evaluation.scores",
    "evaluate_files": "evaluation.evaluate_files",
    "make_style_file": "files.transfer",
    "register_loss": "config.registry",
    "register_network": "config.registry",
    "run_batch": "batch.run",
    "sweep": "core.sweep",
    "transfer": "core.transfer",
    "transfer_file": "files.transfer",
    "write_report": "report.write",
}


def __getattr__(name: str) -> Any:
    """Import the public names only when they are used: TensorFlow and librosa are slow to load."""
    if name not in _HOMES:
        raise AttributeError(f"module 'audiostyle' has no attribute {name!r}")
    from importlib import import_module

    from audiostyle.utils.lazy_imports import import_lock

    with import_lock():
        return getattr(import_module(f"audiostyle.{_HOMES[name]}"), name)
