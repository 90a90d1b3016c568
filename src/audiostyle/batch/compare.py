"""Comparison of two batches: the means of their common pairs, and the paired differences."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from audiostyle.batch import journal
from audiostyle.batch.journal import PairState
from audiostyle.batch.tables import Settings
from audiostyle.errors import AudioFileError
from audiostyle.evaluation.intervals import bootstrap_interval
from audiostyle.evaluation.table import LABEL_WIDTH, SECTIONS

SCHEMA = 1
COMPARED = [section for section in SECTIONS if section[0] != "sound"]  # the score and its parts
LOWER_IS_BETTER = ("copying", "seconds")
TIE = 0.005  # a smaller difference does not show in two decimals
COLUMNS = {  # of the table, with their widths; the keys of a measure in the JSON are the same
    **{"measure": 0, "pairs": 7, "a": 8, "b": 8, "difference": 12, "low": 9, "high": 9},
    **{"better": 8, "worse": 7, "tie": 5},
}


def compare_batches(a: Path, b: Path) -> dict[str, Any]:
    """Compare the evaluated pairs that two folders of batches have in common.

    Pairs are the same if their outputs have the same name apart from its extension. Raises an
    `AudioFileError` if there is nothing to compare; docs/evaluation.md describes the keys.
    """
    pairs = {path: _read_pairs(path) for path in (a, b)}
    in_a, in_b = pairs[a], pairs[b]
    reasons = {name: _reason(in_a.get(name), in_b.get(name)) for name in {**in_a, **in_b}}
    common = sorted(name for name, reason in reasons.items() if not reason)
    left_out = Counter(reason for reason in reasons.values() if reason)
    if not common:
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(left_out.items()))
        raise AudioFileError(
            f"{b}: has no evaluated pair in common with {a} ({why}); outputs need the same names, "
            "and scores, which audiostyle batch --evaluate adds"
        )
    sides = [[pairs[path][name] for name in common] for path in (a, b)]
    rows = [[pair.facts for pair in side] for side in sides]
    settings = {
        name: [sorted({Settings.value(row, name) for row in side}) for side in rows]
        for name in Settings([*rows[0], *rows[1]]).values
    }
    measures = [measure for _, _, lines in COMPARED for measure, *_ in lines]
    columns = [[{**pair.facts, **(pair.scores or {})} for pair in side] for side in sides]
    values = {
        measure: np.array([[row.get(measure) for row in side] for side in columns], float)
        for measure in (*measures, "seconds")
    }
    return {
        "schema": SCHEMA,
        "a": str(a),
        "b": str(b),
        "pairs": len(common),
        "left_out": dict(sorted(left_out.items())),
        "settings": settings,
        "measures": [_compare(name, both) for name, both in values.items()],
    }


def _read_pairs(folder: Path) -> dict[str, PairState]:
    """Return the planned pairs by the name of the output without its extension."""
    state = journal.read(folder)
    if not state.time:
        raise AudioFileError(
            f"{folder / journal.NAME}: no such file; name the output folder of a batch"
        )
    return {
        str(PurePosixPath(name).with_suffix("")): state.pairs.get(name, PairState())
        for name in state.planned
    }


def _reason(a: PairState | None, b: PairState | None) -> str:
    """Return why a pair cannot be compared; empty if it can."""
    if a is None or b is None:
        return f"only in {'b' if a is None else 'a'}"
    for label, state in (("a", a), ("b", b)):
        if state.status != "done":
            return f"not done in {label}"
        if state.scores is None:
            return f"not evaluated in {label}"
    inputs = {state.facts.get("inputs") for state in (a, b)} - {None}
    return "made from different inputs" if len(inputs) > 1 else ""


def _compare(measure: str, values: Any) -> dict[str, Any]:
    """Compare the values of a measure [shape=(2, pairs)]; NaN: not known."""
    values = values[:, np.isfinite(values).all(axis=0)]
    difference = values[1] - values[0]
    gain = -difference if measure.startswith(LOWER_IS_BETTER) else difference
    better, worse = int((gain >= TIE).sum()), int((gain <= -TIE).sum())
    low, high = bootstrap_interval(difference) or (None, None)
    mean = [*values.mean(axis=1), difference.mean()] if difference.size else [None] * 3
    numbers = [None if x is None else round(float(x), 6) for x in (*mean, low, high)]
    counts = better, worse, difference.size - better - worse
    return dict(zip(COLUMNS, (measure, difference.size, *numbers, *counts), strict=True))


def render_comparison(comparison: Mapping[str, Any]) -> str:
    """Format the result of `compare_batches` for people."""
    by_name = {entry["measure"]: entry for entry in comparison["measures"]}
    lines = [f"a  {comparison['a']}", f"b  {comparison['b']}"]
    lines.append(f"pairs in common: {comparison['pairs']}")
    lines += [f"left out: {n} {reason}" for reason, n in comparison["left_out"].items()]
    for name, sides in comparison["settings"].items():
        a, b = (" and ".join(side) for side in sides)
        lines.append(f"{name}: {a} in a, {b} in b")
    for label, i in (("a", 0), ("b", 1)):
        several = [name for name, sides in comparison["settings"].items() if len(sides[i]) > 1]
        if several:
            lines.append(
                f"the pairs of {label} were made with several settings: the means mix them"
            )
    head = "".join(label.rjust(width) for label, width in COLUMNS.items() if width)
    lines += ["", " " * LABEL_WIDTH + head.replace("difference", "     b - a")]
    for heading, meaning, rows in (*COMPARED, ("time", "seconds per pair", [("seconds",) * 2])):
        lines.append(f"{heading}: {meaning}")
        lines += [_render_row(f"  {label}", by_name[measure]) for measure, label, *_ in rows]
    lines.append("b - a with its 95 % interval; better, worse and tie: b's pairs against a's")
    return "\n".join(lines) + "\n"


def _render_row(label: str, entry: Mapping[str, Any]) -> str:
    cells = []
    for name, width in COLUMNS.items():
        value = entry[name]
        if isinstance(value, float):
            signed = "+" if name in ("difference", "low", "high") else ""
            value = f"{round(value, 2) + 0.0:{signed}.2f}"  # + 0.0: no -0.00
        if width:
            cells.append(("-" if value is None else str(value)).rjust(width))
    return label.ljust(LABEL_WIDTH) + "".join(cells)


def comparison_csv(comparison: Mapping[str, Any]) -> str:
    """Format the measures as CSV, a row each."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(comparison["measures"])
    return stream.getvalue()
