"""Results of a batch: a row per pair, written as JSON lines and as tables."""

from __future__ import annotations

import contextlib
import csv
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from audiostyle.audio.folder import SkippedFile
from audiostyle.batch.journal import JournalState, PairState
from audiostyle.batch.pairing import Pair
from audiostyle.batch.tables import ResultsTable
from audiostyle.config.transfer_config import changed_parameters
from audiostyle.utils import atomic_files

JSONL_NAME = "results.jsonl"
CSV_NAME = "results.csv"
SUMMARY_NAME = "summary.csv"
SKIPPED_NAME = "skipped.csv"
ENDS = ("done", "failed")  # statuses of a pair that is not pending
_UNKNOWN = PairState()
_JOURNAL_ONLY = ("size", "settings", "inputs")  # facts that are not among the results
_SUMMARY = (
    *("stopped", "restarts", "device", "precision", "inversion_convergence_db"),
    *("loudness_gain_db", "limiter_reduction_db", "notes"),
)


def summarize(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the results that come from the record of a transfer.

    The losses become ``loss_*`` at the end and ``start_loss_*`` at the start, the times of the
    stages ``seconds_*``.
    """
    summary = {"sha256": record["output"]["sha256"], "steps": max(len(record["losses"]) - 1, 0)}
    summary |= {name: record[name] for name in _SUMMARY}
    summary["preset"] = record["preset"]
    summary["parameters"] = changed_parameters(record["parameters"], record["preset"])
    if record["losses"]:
        for prefix, losses in (("start_", record["losses"][0]), ("", record["losses"][-1])):
            summary |= {
                f"{prefix}loss_{name}": value
                for name, value in losses.items()
                if name not in ("step", "n_steps", "seconds", "layers", "window", "n_windows")
            }
    return summary | {f"seconds_{name}": seconds for name, seconds in record["timings"].items()}


class ResultRows(Sequence[dict[str, Any]]):
    """A row per pair of a plan, sorted by name.

    Rows are made on access from the journal's state, which is not copied: they follow its changes.
    """

    def __init__(
        self, pairs: Sequence[Pair], state: JournalState, kept: Collection[str] = ()
    ) -> None:
        self._kept = kept  # ids of pairs whose output was made with other settings
        self._pairs = sorted(pairs, key=lambda pair: pair.id)
        self._state = state

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self._pairs)

    def __getitem__(self, index: Any) -> Any:
        """Make a row; its ``status`` is ``done``, ``failed`` or ``pending``."""
        pairs = self._pairs[index]
        return [*map(self._make, pairs)] if isinstance(index, slice) else self._make(pairs)

    def count_status(self) -> Counter[str]:
        """Count the pairs of each status, without making a row."""
        known = (
            "kept" if pair.id in self._kept else self._known(pair).status for pair in self._pairs
        )
        return Counter(status if status in (*ENDS, "kept") else "pending" for status in known)

    def failed(self) -> list[dict[str, Any]]:
        """Make the rows of the pairs that failed."""
        return [self._make(pair) for pair in self._pairs if self._known(pair).status == "failed"]

    def _known(self, pair: Pair) -> PairState:
        return self._state.pairs.get(pair.id, _UNKNOWN)

    def _make(self, pair: Pair) -> dict[str, Any]:
        known = self._known(pair)
        facts = known.facts if known.status in ENDS else {}
        scores = known.scores if known.status == "done" else None
        return {
            "pair": pair.id,
            "status": known.status if facts else "pending",
            "kind": "",
            "reason": "",
            "content": pair.content.path.as_posix(),
            "style": pair.style.path.as_posix(),
            "content_genre": pair.content.genre,
            "style_genre": pair.style.genre,
            "seconds": None,
            "preset": pair.variant.preset,
            "parameters": changed_parameters(pair.variant.config.to_dict(), pair.variant.preset),
            **{name: value for name, value in facts.items() if name not in _JOURNAL_ONLY},
            **{f"score_{name}": value for name, value in (scores or {}).items()},
        }


def write_results(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``results.jsonl`` row by row, ``results.csv``, and ``summary.csv``."""
    table = ResultsTable(rows)
    columns, lines = table.summary()
    with atomic_files.Staging() as staging:
        with _open(staging, folder / JSONL_NAME) as stream:
            for row in rows:
                stream.write(json.dumps(row, allow_nan=False) + "\n")
        for name, cells in ((CSV_NAME, (table.columns, *table)), (SUMMARY_NAME, (columns, *lines))):
            with _open(staging, folder / name) as stream:
                csv.writer(stream, lineterminator="\n").writerows(cells)
        staging.publish()


def write_skipped(folder: Path, skipped: Sequence[SkippedFile]) -> None:
    """Write ``skipped.csv``, the files that are not used, if there are or were any."""
    path = folder / SKIPPED_NAME
    if not skipped and not path.exists():
        return
    with atomic_files.Staging() as staging:
        with _open(staging, path) as stream:
            writer = csv.DictWriter(stream, ("path", "reason"), lineterminator="\n")
            writer.writeheader()
            writer.writerows(skipped)
        staging.publish()


@contextlib.contextmanager
def _open(staging: atomic_files.Staging, path: Path) -> Iterator[TextIO]:
    part = staging.add(path)
    try:
        # File names may hold bytes that are not text: they are written unchanged.
        with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            yield stream
    except OSError as error:
        raise atomic_files.write_error(path, error, path.parent) from None
