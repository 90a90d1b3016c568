"""What a batch has to show: a row for every pair, as JSON lines and as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiostyle import outputs
from audiostyle.journal import PairState, State
from audiostyle.plan import Pair

JSONL_NAME = "results.jsonl"
CSV_NAME = "results.csv"
FIRST = (
    "pair",
    "status",
    "kind",
    "reason",
    "content",
    "style",
    "content_genre",
    "style_genre",
    "seconds",
)


def summarise(record: Mapping[str, Any]) -> dict[str, Any]:
    """Take from the record of a transfer what the table of a batch shows.

    Parameters
    ----------
    record : mapping
        As `audiostyle.sidecar.make_record` makes it.

    Returns
    -------
    dict
        Flat, but for ``notes``: ``loss_*`` at the end and ``start_loss_*`` at the start,
        ``seconds_*`` of the stages, and ``sha256``, ``stopped``, ``steps``, ``device``,
        ``precision``, ``inversion_convergence_db``, ``loudness_gain_db``, ``limiter_reduction_db``.
    """
    names = (
        "stopped",
        "restarts",
        "device",
        "precision",
        "inversion_convergence_db",
        "loudness_gain_db",
        "limiter_reduction_db",
        "notes",
    )
    summary = {"sha256": record["output"]["sha256"], "steps": max(len(record["losses"]) - 1, 0)}
    summary |= {name: record[name] for name in names}
    if record["losses"]:
        for prefix, losses in (("start_", record["losses"][0]), ("", record["losses"][-1])):
            summary |= {
                f"{prefix}loss_{name}": value
                for name, value in losses.items()
                if name not in ("step", "n_steps", "seconds", "layers")
            }
    return summary | {f"seconds_{name}": lap for name, lap in record["timings"].items()}


def make_rows(pairs: Sequence[Pair], state: State) -> list[dict[str, Any]]:
    """Make a row for every pair of a plan, sorted by name.

    Parameters
    ----------
    pairs : sequence of Pair
    state : State
        Of the journal.

    Returns
    -------
    list of dict
        ``status`` is ``done``, ``failed`` or ``pending``.
    """
    rows = []
    for pair in sorted(pairs, key=lambda pair: pair.id):
        known = state.pairs.get(pair.id, PairState())
        facts = known.facts if known.status in ("done", "failed") else {}
        rest = {name: facts[name] for name in facts if name not in _JOURNAL_ONLY}
        row: dict[str, Any] = {
            "pair": pair.id,
            "status": known.status if facts else "pending",
            "kind": "",
            "reason": "",
            "content": pair.content.path.as_posix(),
            "style": pair.style.path.as_posix(),
            "content_genre": pair.content.genre,
            "style_genre": pair.style.genre,
            "seconds": None,
        }
        scores = known.scores if row["status"] == "done" else None
        rows.append(row | rest | {f"score_{name}": v for name, v in (scores or {}).items()})
    return rows


_JOURNAL_ONLY = ("event", "time", "pair", "fingerprint", "size", "settings")


def write_results(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``results.jsonl`` and ``results.csv``.

    Parameters
    ----------
    folder : Path
    rows : sequence of mapping

    Raises
    ------
    OutputError
    """
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    columns = list(FIRST) + sorted({name for row in rows for name in row} - set(FIRST))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = {name: "; ".join(v) if isinstance(v, list) else v for name, v in row.items()}
        writer.writerow(plain)
    with outputs.Staging() as staging:
        staging.write(folder / JSONL_NAME, lines.encode())
        staging.write(folder / CSV_NAME, table.getvalue().encode())
        staging.publish()
