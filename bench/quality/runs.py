"""Runs of configurations over pairs; every row is written to a CSV file at once."""

from __future__ import annotations

import csv
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

import audiostyle
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError
from bench.common import format_number

Array = npt.NDArray[Any]
Pair = TypeVar("Pair")

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
NO_TRANSFER = {"convergence": float("nan"), "seconds": 0.0}  # `run_transfer`'s measures otherwise


@dataclass(frozen=True)
class Entry:
    """A configuration to run."""

    name: str  # as given on the command line
    config: TransferConfig
    main: bool = True  # False for a strength that was added for the strength curve


@dataclass(frozen=True)
class Row:
    """Measures of one output."""

    pair: Any  # has content, style and name
    config: str  # name of the entry, or of a baseline
    measures: dict[str, float]  # NaN where a measure does not apply
    strength: float | None = None  # None for a baseline
    main: bool = True


def parse_config(text: str) -> TransferConfig:
    """Read a preset and its changes, such as ``balanced:bands=8,iterations=30``.

    A part that does not start with the name of a field continues the previous one:
    ``fast:style_layers=block1_conv1=1,block2_conv1=0.5``.
    """
    preset, _, rest = text.partition(":")
    fields = {field.name for field in dataclasses.fields(TransferConfig)}
    overrides: dict[str, Any] = {}
    name = ""
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if name.endswith("_layers") and key not in fields:
            overrides[name] += f",{part}"
        elif equals:
            name = key
            overrides[name] = value
        else:
            raise ConfigError(f"{part!r} in {text!r} must be name=value")
    return TransferConfig.from_preset(preset, **overrides)


def list_entries(texts: Sequence[str], strengths: bool) -> list[Entry]:
    """Read configurations; with `strengths`, add each one at all `STRENGTHS`."""
    entries = []
    for text in dict.fromkeys(texts):
        config = parse_config(text)
        for strength in sorted({config.strength, *(STRENGTHS if strengths else ())}):
            varied = dataclasses.replace(config, strength=strength)
            entries.append(Entry(text, varied, strength == config.strength))
    return entries


def limit_pairs(pairs: list[Pair], limit: int | None) -> list[Pair]:
    """Keep at most `limit` pairs, evenly spread over the list."""
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).astype(int)]


def run_transfer(
    content: Array, style: Array, sr: int, config: TransferConfig
) -> tuple[Array, dict[str, float]]:
    """Run one transfer.

    Returns
    -------
    y : np.ndarray [shape=(n,)]
    measures : dict of str to float
        ``convergence``: spectral convergence of the inversion in dB, lower is better. ``seconds``.
    """
    started = time.perf_counter()
    result = audiostyle.transfer(content, style, sr, config)
    elapsed = time.perf_counter() - started
    assert result.y is not None
    return result.y, {"convergence": result.convergence, "seconds": elapsed}


def run_pairs(
    pairs: Sequence[Any],
    evaluate: Callable[[Any], Iterable[Row]],
    path: Path,
    shown: Sequence[str],
) -> list[Row]:
    """Evaluate all pairs; write every row to the CSV file, and the measures `shown` to stderr."""
    rows: list[Row] = []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for i, pair in enumerate(pairs, 1):
            for row in evaluate(pair):
                if not rows:
                    names = ("pair", "content", "style", "config", "strength")
                    writer.writerow([*names, *row.measures])
                strength = "" if row.strength is None else f"{row.strength:g}"
                values = [format_number(value, 4) for value in row.measures.values()]
                writer.writerow(
                    [row.pair.name, row.pair.content, row.pair.style, row.config, strength, *values]
                )
                file.flush()
                rows.append(row)
                measures = "  ".join(
                    f"{name} {format_number(row.measures[name], 2)}"
                    for name in shown
                    if np.isfinite(row.measures.get(name, np.nan))
                )
                config = f"{row.config}@{strength}" if strength else row.config
                print(f"[{i}/{len(pairs)}] {row.pair.name}  {config}  {measures}", file=sys.stderr)
    return rows
