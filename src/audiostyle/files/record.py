"""The record of a run, which lies beside its output."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import audiostyle
from audiostyle.audio import reader
from audiostyle.config import loss_specs
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import TransferResult
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.files.request import StyleSource, TransferRequest, describe_clip
from audiostyle.nn import weights
from audiostyle.utils import atomic_files

SCHEMA = 2  # 2: timings["optimization"], which was ["descent"]


def make_record(
    request: TransferRequest,
    config: TransferConfig,
    source: reader.FileSource,
    recording: NormalizedStream,
    styles: list[StyleSource],
    result: TransferResult,
) -> dict[str, Any]:
    """Put together everything that is needed to judge a run and to repeat it.

    Parameters
    ----------
    request : Request
    config : TransferConfig
    source : FileSource
        The content.
    recording : Recording
        As it was read.
    styles : list of StyleSource
        After they were read.
    result : TransferResult

    Returns
    -------
    dict
        Of plain values; what JSON has no number for is None. ``output`` is still empty.
    """
    about = describe_clip(request.content, recording.sr, recording.channels, recording.n)
    record = {
        "schema": SCHEMA,
        "audiostyle": audiostyle.__version__,
        "status": "interrupted" if result.stopped == "interrupted" else "complete",
        "output": {},
        "content": {**about, "start_sample": source.start},
        "styles": [_style_entry(style) for style in styles],
        "preset": request.preset,
        "request": {
            name: getattr(request, name) for name in ("start", "duration", "preview", "subtype")
        },
        "parameters": config.to_dict(),
        "weights": weights.provenance(config.network, config.weights),
        "loss_sources": loss_specs.provenance(config.losses),
        "seed": config.seed,
        "device": result.device,
        "threads": request.threads,
        "deterministic": request.deterministic,
        "precision": result.precision,
        "versions": package_versions("librosa", "numpy", "soundfile"),
        "stopped": result.stopped,
        "restarts": result.restarts,
        "windows": result.n_windows,
        "losses": [asdict(iterate) for iterate in result.history],
        "inversion_convergence_db": result.convergence,
        "loudness_gain_db": result.gain,
        "limiter_reduction_db": result.reduction,
        "timings": result.timings,
        "notes": _notes(config, source, styles, result),
    }
    plain: dict[str, Any] = to_json_value(record)
    return plain


def _style_entry(style: StyleSource) -> dict[str, Any]:
    entry = {
        "path": str(style.path),
        "weight": style.weight,
        "clips": style.used,
        "skipped": style.skipped,
    }
    return entry if style.sha256 is None else {**entry, "sha256": style.sha256}


def record_matches(output: Path, digests: Collection[str], config: TransferConfig) -> bool:
    """Tell whether an output is, untouched or gone, what the same run would give again.

    Parameters
    ----------
    output : Path
    digests : collection of str
        SHA-256 of every input.
    config : TransferConfig

    Returns
    -------
    bool
        False, too, where no record lies beside it, or one that cannot be read.
    """
    try:
        record = json.loads(atomic_files.record_path(output).read_bytes())
        found = {record["content"]["sha256"]}
        for style in record["styles"]:
            parts = [style] if "sha256" in style else style["clips"]
            found |= {part["sha256"] for part in parts}
        same = record["audiostyle"] == audiostyle.__version__ and found == set(digests)
        same = same and record["parameters"] == config.to_dict()
        digest = record["output"]["sha256"]
        return bool(same and (not output.exists() or digest == atomic_files.file_digest(output)))
    except (OSError, ValueError, LookupError, TypeError):
        return False


def to_json(record: dict[str, Any]) -> str:
    """Write a record as JSON, for the sidecar and for standard output alike.

    Parameters
    ----------
    record : dict

    Returns
    -------
    str
        Ends with a new line.
    """
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def to_json_value(value: Any) -> Any:
    """Make a value plain, and replace what JSON has no number for by null.

    Parameters
    ----------
    value : object
        Dicts and lists of numbers, strings and None, to any depth.

    Returns
    -------
    object
    """
    if isinstance(value, dict):
        return {key: to_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _notes(
    config: TransferConfig,
    source: reader.FileSource,
    styles: list[StyleSource],
    result: TransferResult,
) -> list[str]:
    notes = list(source.notes)
    if source.sr != config.sr:
        notes.append(f"content analysed at {config.sr} Hz; the output keeps its {source.sr} Hz")
    rates = {clip["sr"] for s in styles for clip in s.used} - {config.sr}
    if rates:
        shown = ", ".join(str(rate) for rate in sorted(rates))
        notes.append(f"style resampled from {shown} Hz to {config.sr} Hz")
    for s in styles:
        notes += s.notes
        notes += [f"skipped {skipped['reason']}" for skipped in s.skipped]
    if result.reduction > 0:
        notes.append(f"peaks limited by up to {result.reduction:.2f} dB")
    if result.restarts:
        notes.append("a loss was not finite once; the descent began again with smaller steps")
    return notes


def package_versions(*packages: str) -> dict[str, str]:
    """Say with what something was computed.

    Parameters
    ----------
    *packages : str
        Names of distributions.

    Returns
    -------
    dict of str to str
        Versions of Python, the platform, the packages, and TensorFlow if it was imported.
    """
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    found["tensorflow"] = str(getattr(sys.modules.get("tensorflow"), "__version__", "unknown"))
    return found
