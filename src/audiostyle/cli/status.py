"""The command ``status``."""

from __future__ import annotations

from pathlib import Path

import click

from audiostyle.cli.options import PATH, command, option, option_group
from audiostyle.cli.progress import Console


@command(
    "status",
    "out",
    "out --json",
    help="""Show which pairs of a batch are done, failed and pending.

    FOLDER is the output folder of audiostyle batch, which may be running.
    """,
)
@click.argument("out_dir", metavar="FOLDER", type=PATH)
@option_group("Output", option("--json as_json", "Print the status as one JSON document."))
def status_command(out_dir: Path, as_json: bool) -> int:
    """Run ``audiostyle status``."""
    from audiostyle.batch.status import batch_status, render_status
    from audiostyle.files.record import to_json

    status = batch_status(out_dir)
    Console().publish(to_json(status) if as_json else render_status(status))
    return 0
