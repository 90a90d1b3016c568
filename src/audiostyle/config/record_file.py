"""Records of earlier runs, read to repeat them: parameters, preset and inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostyle.config.toml_file import check_values
from audiostyle.config.transfer_config import PRESETS, changed_parameters
from audiostyle.errors import ConfigError
from audiostyle.utils.safe_read import read_file

EXCERPT = ("start", "duration", "preview", "only")  # of the request: they belong to the content


@dataclass
class EarlierRun:
    """What the record of a run says about how it was made."""

    path: Path  # of the record
    values: dict[str, Any]  # the preset, and the parameters that differ from it
    content: Path  # found where the record says, or beside the record
    styles: list[Path]
    blend: list[float]
    request: dict[str, Any]  # excerpt, subtype, threads and deterministic
    digests: list[tuple[str, list[str]]]  # see `input_digests`


def is_record(path: str | Path) -> bool:
    """Tell whether a configuration file is the record of a run, by its name."""
    return str(path).lower().endswith(".json")


def load_record(path: str | Path) -> EarlierRun:
    """Read the record of a transfer; raise a `ConfigError` if it is not one."""
    path = Path(path)
    try:
        record = json.loads(read_file(path))
        preset = record["preset"] if record["preset"] in PRESETS else "balanced"
        values = {"preset": preset, **changed_parameters(dict(record["parameters"]), preset)}
        request = {"only": [], **record["request"]}  # older records have no "only"
        request = {name: request[name] for name in (*EXCERPT, "subtype")}
        request |= {name: record[name] for name in ("threads", "deterministic")}
        earlier = EarlierRun(
            path,
            values,
            content=_find(record["content"]["path"], path),
            styles=[_find(style["path"], path) for style in record["styles"]],
            blend=[float(style["weight"]) for style in record["styles"]],
            request=request,
            digests=input_digests(record),
        )
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its path") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ConfigError(
            f"{path}: is not the record of a transfer; name OUTPUT.json, or a TOML file"
        ) from None
    check_values(path, values)
    return earlier


def input_digests(record: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return path and SHA-256 of the content of a record, then of the clips of each style."""
    found = []
    for entry in (record["content"], *record["styles"]):
        clips = [entry] if "sha256" in entry else entry["clips"]
        found.append((str(entry["path"]), [str(clip["sha256"]) for clip in clips]))
    return found


def _find(name: str, record: Path) -> Path:
    """Find an input: relative to the current folder, to that of the record, or one above."""
    places = [Path(name), record.parent / name, record.parent.parent / name]
    return next((place for place in places if place.exists()), places[0])
