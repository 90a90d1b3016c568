"""Means of a run as JSON, from which ``tools/figures.py`` writes the tables of the documentation.

`bench.quality` writes ``quality.json`` beside its CSV files. The same of CSV files that exist, or
of several runs in one file::

    python -m bench.quality.summary FOLDER -o docs/figures/quality.json --command "python -m ..."

Kinds of pairs that FOLDER does not hold stay as they are. Of a strength curve only the highest
strength counts.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import describe_machine, make_parser
from bench.quality.known_answers import IDENTITY, TRIVIAL
from bench.quality.tables import BASELINES, bootstrap_interval

KINDS = ("synthetic", "sampled", "recordings")
ABOUT = ("pair", "content", "style_clip", "method", "strength")
Values = dict[str, dict[str, float]]  # of one method: pair, measure


def read_rows(path: Path) -> dict[str, Values]:
    """Read the measures of every method and pair from a CSV file of the bench."""
    found: dict[str, Values] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        rows = [list(zip(names, row, strict=True)) for row in reader]
    for row in sorted(rows, key=lambda row: float(row[4][1] or 0)):
        values = {name: float(text) for name, text in row[len(ABOUT) :] if text}
        found.setdefault(row[3][1], {})[row[0][1]] = values
    return found


def summarize(methods: dict[str, Values]) -> dict[str, Any]:
    """Return mean, low and high of each measure; how much less the distances are; pairs won."""
    pairs = sorted(set.intersection(*(set(rows) for rows in methods.values())))
    table: dict[str, dict[str, Any]] = {}
    for name, rows in methods.items():
        table[name] = own = {}
        for measure in rows[pairs[0]]:
            values = np.array([rows[pair].get(measure, np.nan) for pair in pairs])
            if np.isnan(values).any():
                continue
            own[measure] = [values.mean(), *bootstrap_interval(values)]
            if measure.startswith("lsd"):
                before = np.array([methods[IDENTITY][pair][measure] for pair in pairs])
                share = 1.0 - values.mean() / before.mean()
                own[f"{measure} less by"] = [share, *bootstrap_interval(values, before)]
        for measure, others, sign in (("score", BASELINES, 1), ("lsd_frames", TRIVIAL, -1)):
            if measure in own and name not in BASELINES:
                rivals = [methods[other] for other in others if other in methods]
                better = [
                    all(sign * (rows[pair][measure] - r[pair][measure]) > 0 for r in rivals)
                    for pair in pairs
                ]
                own[f"{measure} won"] = sum(better)
    return {"pairs": len(pairs), "methods": _rounded(table)}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [round(float(part), 4) for part in value] if isinstance(value, list) else value


def write_summary(folder: Path, output: Path, command: str, kinds: Sequence[str] = KINDS) -> None:
    """Put the means of the CSV files of a folder into a JSON file, beside what it holds already."""
    found = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    for kind in kinds:
        if (folder / f"{kind}.csv").exists():
            about = {"command": command, "machine": describe_machine()}
            found[kind] = about | summarize(read_rows(folder / f"{kind}.csv"))
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Summarize the CSV files of a folder."""
    parser = make_parser("bench.quality.summary", __doc__)
    parser.add_argument("folder", type=Path, help="with the CSV files of bench.quality")
    parser.add_argument("-o", "--output", type=Path, help="JSON file (FOLDER/quality.json)")
    parser.add_argument("--command", default="python -m bench.quality", help="that wrote them")
    options = parser.parse_args(arguments)
    output = options.output or options.folder / "quality.json"
    write_summary(options.folder, output, options.command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
