"""Tables of a batch for data analysis: ``results.csv`` and ``summary.csv``; see docs/batch.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from audiostyle.config.transfer_config import preset_parameters
from audiostyle.config.variants import format_parameter
from audiostyle.evaluation.intervals import bootstrap_interval

Row = Mapping[str, Any]

FIRST_COLUMNS = ("pair", "status", "content_genre", "style_genre")
MEASURES = ("score", "style", "content", "copying")
N_RESAMPLES = 2000  # for an interval: there may be many, and a run without work takes no time
LAST_COLUMNS = {  # by the key in a row
    **{"seconds": "seconds", "steps": "iterations", "stopped": "stopped", "device": "device"},
    **{"content": "content_file", "style": "style_file", "kind": "failure", "reason": "reason"},
}


class Settings:
    """The parameters that differ among pairs.

    A row names its preset and what differs from that. A parameter that differs only because the
    presets do is left out: the preset says it.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        found: dict[str, set[str]] = {}
        seen: dict[str, Row] = {}  # one row of each setting
        for row in rows:
            if "parameters" in row:
                seen.setdefault(repr((row["preset"], row["parameters"])), row)
        names = dict.fromkeys(name for row in seen.values() for name in row["parameters"])
        for row in seen.values():
            for name in ("preset", *names):
                found.setdefault(name, set()).add(self.value(row, name))
        self.values = {name: sorted(texts) for name, texts in found.items() if len(texts) > 1}

    def of(self, row: Row) -> dict[str, str]:
        """Return what differs, for a row; empty texts for a pair that was not computed."""
        return {name: self.value(row, name) for name in self.values}

    @staticmethod
    def value(row: Row, name: str) -> str:
        """Return a parameter of a row, or its preset, as text."""
        if "parameters" not in row:
            return ""
        if name == "preset":
            return str(row["preset"] or "")
        if name in row["parameters"]:
            return format_parameter(row["parameters"][name])
        return format_parameter(preset_parameters(row["preset"]).get(name))


class ResultsTable:
    """``results.csv``: its columns, of which none is empty, and its rows."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.settings = Settings(rows)
        losses: dict[str, None] = {}
        scores = dict.fromkeys(MEASURES)
        last: set[str] = set()
        for row in rows:
            for name, value in row.items():
                if value in (None, "", []):
                    continue
                if name.startswith("score_"):
                    scores |= {name.removeprefix("score_"): None}
                elif "loss_" in name and value:  # a loss without a weight is 0
                    losses |= {name: None}
                last.add(name)
        self.scores = [name for name in scores if f"score_{name}" in last]
        ordered = sorted(losses, key=lambda name: (name.startswith("start_"), "total" not in name))
        self._keys = [*ordered, *(name for name in LAST_COLUMNS if name in last)]
        self.columns = [*FIRST_COLUMNS, *self.settings.values, *self.scores]
        self.columns += [LAST_COLUMNS.get(key, key) for key in self._keys]

    def __iter__(self) -> Iterator[list[Any]]:
        """Make the cells of each row in the order of the columns."""
        for row in self._rows:
            cells = [row.get(name) for name in FIRST_COLUMNS]
            cells += self.settings.of(row).values()
            cells += [row.get(f"score_{name}") for name in self.scores]
            yield [*cells, *(row.get(key) for key in self._keys)]

    def summary(self) -> tuple[list[str], list[list[Any]]]:
        """Return ``summary.csv``: columns, and a row per pair of genres and per setting."""
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in self._rows:
            genres = row["content_genre"], row["style_genre"]
            groups.setdefault((*genres, *self.settings.of(row).values()), []).append(row)
        keys = {f"score_{name}": name for name in MEASURES} | {"seconds": "seconds"}
        keys = {
            key: name for key, name in keys.items() if name in self.scores or name in self._keys
        }
        columns = ["content_genre", "style_genre", *self.settings.values]
        columns += ["pairs", "done", "failed"]
        columns += [f"{name}{end}" for name in keys.values() for end in ("", "_low", "_high")]
        lines = []
        for group, members in sorted(groups.items()):
            done = [row for row in members if row["status"] == "done"]
            failed = sum(row["status"] == "failed" for row in members)
            cells = [cell for key in keys for cell in _mean_cells(done, key)]
            lines.append([*group, len(members), len(done), failed, *cells])
        return columns, lines


def _mean_cells(rows: Sequence[Row], key: str) -> tuple[float | None, ...]:
    """Return mean, low and high of a column; None where too few rows have a value."""
    values = np.array([row[key] for row in rows if row.get(key) is not None], float)
    if not values.size:
        return None, None, None
    interval = bootstrap_interval(values, N_RESAMPLES) or (None, None)
    return tuple(None if x is None else round(x, 6) for x in (float(values.mean()), *interval))
