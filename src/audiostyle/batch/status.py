"""Status of a batch, read from its journal alone: nothing is loaded, nothing is changed."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Any

from audiostyle.batch import journal
from audiostyle.batch.journal import PairState
from audiostyle.batch.plan import output_exists
from audiostyle.batch.results import ENDS
from audiostyle.errors import AudioFileError

SCHEMA = 1


def batch_status(folder: Path) -> dict[str, Any]:
    """Return the status of the batch of an output folder; see docs/batch.md for the keys."""
    state = journal.read(folder)
    if not state.time:
        raise AudioFileError(
            f"{folder / journal.NAME}: no such file; name the output folder of a batch"
        )
    counts: Counter[str] = Counter()
    failures: dict[tuple[str, str], list[str]] = {}
    missing = []
    names, evaluated = state.planned, 0
    for name in names:
        known = state.pairs.get(name, PairState())
        status = known.status if known.status in ENDS else "pending"
        if status == "done" and not output_exists(known, folder / name):
            missing.append(name)
            status = "missing"
        elif status == "failed":
            reason = str(known.facts["kind"]), str(known.facts["reason"])
            failures.setdefault(reason, []).append(name)
        counts[status] += 1
        evaluated += known.scores is not None
    last = datetime.datetime.fromtimestamp(state.time, datetime.timezone.utc)
    return {
        "schema": SCHEMA,
        "folder": str(folder),
        "running": journal.is_busy(folder),
        "last": last.isoformat(timespec="seconds"),
        "planned": len(names),
        "shards": sorted(filter(None, state.plans), key=lambda shard: int(shard.split("/")[0])),
        **{name: counts[name] for name in ("done", "failed", "pending")},
        "missing": missing,
        "failures": [
            {"kind": kind, "reason": reason, "pairs": len(pairs), "first": pairs[0]}
            for (kind, reason), pairs in sorted(failures.items())
        ],
        "others": sum(state.pairs[name].status == "done" for name in {*state.pairs} - {*names}),
        "unreadable_lines": state.unreadable,
        "evaluated": evaluated,
    }


def render_status(status: dict[str, Any]) -> str:
    """Format the result of `batch_status` for people."""
    last = datetime.datetime.fromisoformat(status["last"]).astimezone()
    lines = [
        f"{status['folder']}: {'running' if status['running'] else 'not running'}, "
        f"last written {last:%Y-%m-%d %H:%M:%S}",
        f"planned {status['planned']}, done {status['done']}, failed {status['failed']}, "
        f"pending {status['pending']}"
        + (f", missing {len(status['missing'])}" if status["missing"] else ""),
    ]
    if status["shards"]:
        of = status["shards"][0].partition("/")[2]
        lines.append(f"shards started: {len(status['shards'])} of {of}; others are not counted")
    if status["evaluated"]:
        lines.append(f"evaluated {status['evaluated']}")
    if status["others"]:
        lines.append(f"done under other plans {status['others']}")
    for failure in status["failures"]:
        more = f" and {failure['pairs'] - 1} more" if failure["pairs"] > 1 else ""
        lines.append(f"{failure['kind']}: {failure['reason']} ({failure['first']}{more})")
    lines += [f"missing: {name}" for name in status["missing"][:10]]
    if status["unreadable_lines"]:
        lines.append(f"{status['unreadable_lines']} lines of the journal could not be read")
    return "\n".join(lines) + "\n"
