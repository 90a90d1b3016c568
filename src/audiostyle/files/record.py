"""Record of a run: a JSON file beside the output that says how the output was made."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import audiostyle
from audiostyle.audio.folder import summarize_skipped
from audiostyle.audio.reader import FileSource
from audiostyle.config.record_file import EXCERPT, input_digests
from audiostyle.config.registry import loss_provenance
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import TransferResult
from audiostyle.files.request import TransferRequest
from audiostyle.files.style_source import StyleSource, describe_clip
from audiostyle.nn import weights
from audiostyle.utils.atomic_files import file_digest, record_path

SCHEMA = 2  # 2: timings["optimization"], which was timings["descent"]


def make_record(
    request: TransferRequest,
    config: TransferConfig,
    source: FileSource,
    n: int,
    styles: Sequence[StyleSource],
    result: TransferResult,
    *,
    output: dict[str, Any],
    notes: list[str],
) -> dict[str, Any]:
    """Collect what is needed to evaluate a run and to repeat it.

    `n` is the length of the content in samples; `notes` are on it.
    """
    clip = describe_clip(request.content, source.sr, source.channels, n)
    record = {
        "schema": SCHEMA,
        "audiostyle": audiostyle.__version__,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": request.command,
        "status": "interrupted" if result.stopped == "interrupted" else "complete",
        "output": output,
        "content": {**clip, "start_sample": source.start},
        "styles": [_style_entry(style) for style in styles],
        "preset": request.preset,
        "request": {name: getattr(request, name) for name in (*EXCERPT, "subtype")},
        "parameters": config.to_dict(),
        "weights": weights.provenance(config.network, config.weights),
        "loss_sources": loss_provenance(config.losses),
        "seed": config.seed,
        "device": result.device,
        "threads": request.threads,
        "deterministic": request.deterministic,
        "precision": result.precision,
        "versions": package_versions("librosa", "numpy", "soundfile", "av"),
        "stopped": result.stopped,
        "restarts": result.restarts,
        "windows": result.n_windows,
        "losses": [asdict(iteration) for iteration in result.history],
        "inversion_convergence_db": result.convergence,
        "loudness_gain_db": result.gain,
        "lowered_db": result.lowered,
        "limiter_reduction_db": result.reduction,
        "timings": result.timings,
        "notes": notes + _notes(config, source, styles, result),
    }
    return dict(to_json_value(record))


def _style_entry(style: StyleSource) -> dict[str, Any]:
    entry = {"path": str(style.path), "weight": style.weight}
    entry |= {"clips": style.used, "skipped": style.skipped}
    return entry if style.sha256 is None else {**entry, "sha256": style.sha256}


def _notes(
    config: TransferConfig,
    source: FileSource,
    styles: Sequence[StyleSource],
    result: TransferResult,
) -> list[str]:
    notes, sr, content_sr = [], config.sr, source.sr
    if config.inversion == "griffinlim" and source.channels > 1:
        notes.append(
            f"all {source.channels} channels hold the same sound, as inversion=griffinlim makes it "
            "from one spectrogram; inversion=content keeps the channels apart"
        )
    if config.mix < 1:
        notes.append(_mix_note(config))
    if content_sr != sr:
        notes.append(f"content analysed at {sr} Hz; the output keeps its {content_sr} Hz")
    rates = {clip["sr"] for style in styles for clip in style.used} - {sr}
    if rates:
        shown = ", ".join(str(rate) for rate in sorted(rates))
        notes.append(f"style resampled from {shown} Hz to {sr} Hz")
    for style in styles:
        notes += style.notes
        notes += summarize_skipped(style.skipped, str(style.path))
    if result.lowered > 0:
        notes.append(
            f"level lowered by {result.lowered:.2f} dB, so that peaks stay below full scale; a WAV "
            "file with --subtype FLOAT can hold those of the content"
        )
    if result.reduction > 0:
        notes.append(f"peaks limited by up to {result.reduction:.2f} dB")
    if result.restarts:
        notes.append("a loss was not finite; the optimisation was restarted with smaller steps")
    return notes


def _mix_note(config: TransferConfig) -> str:
    shares = f"{100 * config.mix:g} % result, {100 * (1 - config.mix):.10g} % content"
    if config.inversion == "content":
        return f"mixed in phase: {shares}"
    return f"mixed out of phase: {shares}; inversion=content keeps the phase of the content"


def record_matches(output: Path, digests: Collection[str], config: TransferConfig) -> bool:
    """Check whether a run with these inputs (SHA-256) and parameters would make this output again.

    False as well if the output was changed, or if it has no record that can be read.
    """
    try:
        record = json.loads(record_path(output).read_bytes())
        inputs = {digest for _, clips in input_digests(record) for digest in clips}
        same = record["audiostyle"] == audiostyle.__version__ and inputs == set(digests)
        same = same and record["parameters"] == config.to_dict()
        digest = record["output"]["sha256"]
        return bool(same and (not output.exists() or digest == file_digest(output)))
    except (OSError, ValueError, LookupError, TypeError):
        return False


def to_json(record: dict[str, Any]) -> str:
    """Format a record as JSON text that ends with a newline."""
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def to_json_value(value: Any) -> Any:
    """Convert NumPy scalars, tuples and non-finite numbers, at any depth, to what JSON can hold."""
    if isinstance(value, dict):
        return {key: to_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def package_versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, the platform, the packages, and TensorFlow if it is loaded."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    found["tensorflow"] = str(getattr(sys.modules.get("tensorflow"), "__version__", "unknown"))
    return found
