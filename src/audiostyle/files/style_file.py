"""Style file: an analysed style, which a transfer uses without its clips.

An ``.npz`` of plain arrays (never pickled). Its array ``about`` holds JSON: which clips the style
comes from, and how they were analysed. A style file fits a transfer whose analysis is the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import audiostyle
from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.style import STATISTICS, AnalyzedStyle
from audiostyle.dsp.level_model import LevelStatistics
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.files.record import package_versions, to_json_value
from audiostyle.files.style_file_check import REMEDY, check_arrays
from audiostyle.files.style_source import StyleSource
from audiostyle.nn import weights
from audiostyle.nn.style_statistics import StyleStatistics
from audiostyle.utils.atomic_files import Staging
from audiostyle.utils.npz import read_npz
from audiostyle.utils.safe_read import read_file

SUFFIX = ".style.npz"
SCHEMA = 7  # 7: note features; 6: music layers; 5: levels by notes and onsets
SPECTROGRAM = ("sr", "n_fft", "hop_length", "n_mels", "mel_scale", "top_db")


@dataclass
class SavedStyle:
    """The content of a style file that fits the transfer."""

    about: dict[str, Any]  # as from `describe_style`
    arrays: dict[str, Array]
    sha256: str  # of the file

    def restore(self) -> AnalyzedStyle:
        """Rebuild the analysed style."""
        parts: dict[str, Any] = {"statistics": {kind: {} for kind in STATISTICS}, "levels": {}}
        for key, array in self.arrays.items():
            *path, name = key.split("/", 2)  # a name of a layer may contain a slash
            part = parts
            for step in path:
                part = part[step]
            part[name] = array
        parts["statistics"]["n_frames"] = int(parts["statistics"]["n_frames"])
        levels = LevelStatistics(**parts["levels"]) if parts["levels"] else None
        return AnalyzedStyle(StyleStatistics(**parts["statistics"]), levels, parts["y"], parts["S"])


def is_style_file(path: str | Path) -> bool:
    """Check by the name whether a path is a style file."""
    return str(path).lower().endswith(SUFFIX)


def essentials(config: TransferConfig) -> dict[str, Any]:
    """Return the parameters that a style file and the transfer that uses it must share.

    Weights of layers and losses are not among them. Whether a loss with its own statistics is
    weighted at all is.
    """
    values: dict[str, Any] = {
        "network": config.network,
        "style_layers": sorted(name for name, _ in config.style_layers),
        "bands": config.bands,
        "weights": weights.provenance(config.network, config.weights).get("sha256"),
    }
    values["init"] = "notes" if config.init == "notes" else "not notes"
    for name in ("music_weight", "texture_weight"):
        values[name] = "above 0" if getattr(config, name) > 0 else "0"
    if config.network == "vgg19":
        values["pooling"] = config.pooling
    if config.network in weights.SEEDED:
        values["seed"] = config.seed
    return values | {name: getattr(config, name) for name in SPECTROGRAM}


def describe_style(source: StyleSource, config: TransferConfig) -> dict[str, Any]:
    """Return what a style file says about itself; the clips have been read by now."""
    about = {
        "schema": SCHEMA,
        "audiostyle": audiostyle.__version__,
        "source": str(source.path),
        "clips": source.used,
        "skipped": source.skipped,
        "seconds": sum(clip["samples"] / clip["sr"] for clip in source.used),
        "notes": source.notes,
        "made_with": essentials(config),
        "parameters": config.to_dict(),
        "weights": weights.provenance(config.network, config.weights),
        "versions": package_versions("librosa", "numpy", "soundfile", "av"),
    }
    return dict(to_json_value(about))


def save_style(path: Path, style: AnalyzedStyle, about: dict[str, Any]) -> None:
    """Write a style file; it appears complete or not at all."""
    arrays: dict[str, Array] = {"S": style.S, "y": style.y}
    parts: dict[str, Any] = {"statistics": style.statistics}
    if style.levels is not None:
        parts["levels"] = style.levels
    for owner, part in parts.items():
        for field in dataclasses.fields(part):
            key, value = f"{owner}/{field.name}", getattr(part, field.name)
            if field.metadata.get("derived"):  # computed from the others
                continue
            if isinstance(value, dict):
                arrays.update({f"{key}/{layer}": np.asarray(v) for layer, v in value.items()})
            else:
                arrays[key] = np.asarray(value)
    header = json.dumps(about, allow_nan=False).encode()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.frombuffer(header, np.uint8), **arrays)  # type: ignore[arg-type]
    with Staging() as staging:
        staging.write(path, buffer.getvalue())
        staging.publish()


def load_style(path: Path, config: TransferConfig) -> SavedStyle:
    """Read a style file and check that it fits a transfer. Needs no TensorFlow.

    Raises an `AudioFileError` if the file cannot be used, a `ConfigError` if it does not fit.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror}); check its path") from None
    try:
        arrays = read_npz(data)
        about = json.loads(arrays.pop("about").tobytes())
        made_with, schema = dict(about["made_with"]), about["schema"]
        _check_clips(about)
    except Exception:  # on broken bytes, NumPy, zipfile and zlib raise a dozen kinds
        raise AudioFileError(
            f"{path}: is damaged or not a style file; make one with audiostyle style"
        ) from None
    if schema != SCHEMA:
        raise AudioFileError(
            f"{path}: has layout {schema}, but this audiostyle reads layout {SCHEMA}; {REMEDY}"
        )
    _check_fit(path, made_with, essentials(config))
    check_arrays(path, arrays, config, str(about["audiostyle"])[:20])
    return SavedStyle(about, arrays, hashlib.sha256(data).hexdigest())


def _check_clips(about: dict[str, Any]) -> None:
    """Raise any exception if an entry that records and messages use is missing or wrong."""
    for clip in (*about["clips"], *about["skipped"]):
        if not isinstance(clip["path"], str):
            raise TypeError("path is not a string")
    if not all(isinstance(clip["reason"], str) for clip in about["skipped"]):
        raise TypeError("reason is not a string")
    if not all(isinstance(clip["sr"], int) and clip["sr"] > 0 for clip in about["clips"]):
        raise ValueError("sr is not a rate")
    _ = about["audiostyle"]


def _check_fit(path: Path, saved: dict[str, Any], required: dict[str, Any]) -> None:
    for name, value in required.items():
        if saved.get(name) == value:
            continue
        if name == "weights":
            raise ConfigError(
                f"{path}: was made with other weights of {required['network']}; "
                f"give the same --weights, or {REMEDY}"
            )
        theirs, ours = _shown(saved.get(name)), _shown(value)
        raise ConfigError(
            f"{path}: was made with {name}={theirs}, which does not fit {name}={ours} here; "
            f"use --{name.replace('_', '-')} {theirs}, or {REMEDY}"
        )


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
