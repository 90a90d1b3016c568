"""Run a batch from Python: a genre as one style, progress as events, results as rows.

Run ``python examples/batch_gtzan.py GENRES OUT``, where GENRES contains ``jazz`` and ``classical``.
If it is interrupted, run it again: it continues where it stopped.
"""

from __future__ import annotations

import sys
from typing import Any

import audiostyle
from audiostyle import TransferConfig
from audiostyle.batch.engine import Done, Failed


def show(event: Any) -> None:
    """Print a line for every finished pair."""
    if isinstance(event, Done):
        print(f"{event.job.pair.id}: loss {event.summary['loss_total']:.3f}, {event.seconds:.1f} s")
    elif isinstance(event, Failed):
        print(f"{event.job.pair.id}: {event.kind}: {event.reason}")


def main(genres: str, out_dir: str) -> int:
    """Apply the style of all classical clips to three jazz clips, and return the exit code."""
    result = audiostyle.run_batch(
        genres,
        genres,
        out_dir,
        TransferConfig.from_preset("fast"),
        show,
        content_genre="jazz",
        style_genre="classical",
        by="genre",
        limit=3,
        name="{content_genre}-to-{style_genre}/{content}.wav",
    )
    for (kind, reason), pairs in result.failures.items():
        print(f"{len(pairs)} failed, {kind}: {reason}")
    print(f"{result.count('done')} done, {result.computed} of them in this run")
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
