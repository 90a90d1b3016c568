"""Run configurations over pairs; every row is in the CSV file as soon as it is known."""

from __future__ import annotations

import csv
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rows import Row
from tables import format_number

import audiostyle
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError

Array = npt.NDArray[Any]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Entry:
    """A configuration to run.

    Attributes
    ----------
    name : str
        As it was given.
    config : TransferConfig
    main : bool
        Whether it has its own strength, and not one of the curve's.
    """

    name: str
    config: TransferConfig
    main: bool = True


def parse_config(text: str) -> TransferConfig:
    """Read a preset and what differs from it, ``balanced:bands=8,iterations=30``.

    Parameters
    ----------
    text : str
        Values are converted as `TransferConfig` does. A part that does not begin with the name of
        a field goes on with the one before: ``fast:style_layers=block1_conv1=1,block2_conv1=0.5``.

    Returns
    -------
    config : TransferConfig

    Raises
    ------
    ConfigError
        If the preset, a field or a value is not valid.
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
    """Read configurations, and add the strengths of the curve.

    Parameters
    ----------
    texts : sequence of str
        As `parse_config` takes them.
    strengths : bool
        Whether each is also run at `STRENGTHS`.

    Returns
    -------
    entries : list of Entry

    Raises
    ------
    ConfigError
        If one is not valid.
    """
    entries = []
    for text in dict.fromkeys(texts):
        config = parse_config(text)
        for strength in sorted({config.strength, *(STRENGTHS if strengths else ())}):
            varied = dataclasses.replace(config, strength=strength)
            entries.append(Entry(text, varied, strength == config.strength))
    return entries


def stylise(content: Array, style: Array, sr: int, entry: Entry) -> tuple[Array, dict[str, float]]:
    """Run one configuration on one pair.

    Parameters
    ----------
    content, style : np.ndarray [shape=(n,)]
    sr : int > 0
        In Hz.
    entry : Entry

    Returns
    -------
    y : np.ndarray [shape=(n,)]
    measures : dict of str to float
        ``convergence``, spectral convergence of the inversion in dB (lower is better), and
        ``seconds``.
    """
    started = time.perf_counter()
    result = audiostyle.transfer(content, style, sr, entry.config)
    elapsed = time.perf_counter() - started
    return result.y, {"convergence": result.convergence, "seconds": elapsed}


TRIVIAL = {"convergence": float("nan"), "seconds": 0.0}
"""What `stylise` would say of an output that it did not make."""


def run(
    pairs: Sequence[Any],
    work: Callable[[Any], Iterable[Row]],
    path: Path,
    shown: Sequence[str],
) -> list[Row]:
    """Run all pairs.

    Parameters
    ----------
    pairs : sequence of AnyPair
    work : callable
        Makes the rows of one pair.
    path : Path
        The CSV file.
    shown : sequence of str
        Measures that the progress on stderr shows.

    Returns
    -------
    rows : list of Row
    """
    rows: list[Row] = []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for i, pair in enumerate(pairs, 1):
            for row in work(pair):
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
                told = [
                    f"{name} {format_number(row.measures[name], 2)}"
                    for name in shown
                    if np.isfinite(row.measures.get(name, np.nan))
                ]
                at = f"@{strength}" if strength else ""
                line = f"[{i}/{len(pairs)}] {row.pair.name}  {row.config}{at}  " + "  ".join(told)
                print(line, file=sys.stderr)
    return rows
