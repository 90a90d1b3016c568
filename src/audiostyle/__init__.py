"""Neural style transfer for sound: the style of one recording, or a genre, applied to another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
IMPORTED = time.perf_counter()  # for `audiostyle.uptime`

if TYPE_CHECKING:
    from audiostyle.batch import run_batch
    from audiostyle.cluster import Cluster
    from audiostyle.config import TransferConfig
    from audiostyle.evaluation import evaluate
    from audiostyle.files import make_style_file, transfer_file
    from audiostyle.hearing import Style
    from audiostyle.judging import evaluate_files
    from audiostyle.loss_table import register_loss
    from audiostyle.network_table import register_network
    from audiostyle.pipeline import Stylist, TransferResult, transfer
    from audiostyle.report import write_report

__all__ = [
    "Cluster",
    "Style",
    "Stylist",
    "TransferConfig",
    "TransferResult",
    "__version__",
    "evaluate",
    "evaluate_files",
    "make_style_file",
    "register_loss",
    "register_network",
    "run_batch",
    "transfer",
    "transfer_file",
    "write_report",
]

_HOMES = {
    "Cluster": "cluster",
    "Style": "hearing",
    "Stylist": "pipeline",
    "TransferConfig": "config",
    "TransferResult": "pipeline",
    "evaluate": "evaluation",
    "evaluate_files": "judging",
    "make_style_file": "files",
    "register_loss": "loss_table",
    "register_network": "network_table",
    "run_batch": "batch",
    "transfer": "pipeline",
    "transfer_file": "files",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    """Import the public names only when they are used: TensorFlow and librosa are slow to load."""
    if name not in _HOMES:
        raise AttributeError(f"module 'audiostyle' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"audiostyle.{_HOMES[name]}"), name)
