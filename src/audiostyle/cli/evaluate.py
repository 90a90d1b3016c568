"""The command ``evaluate``."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

import click

from audiostyle.cli.options import PATH, TIME, command, option, option_group, verbose_option
from audiostyle.cli.progress import Console, Progress
from audiostyle.utils.interrupts import Interrupt


@command(
    "evaluate",
    "song.wav piano.wav out.wav",
    "song.wav piano.wav fast.wav balanced.wav --baselines",
    "song.mp3 genres/classical out.flac --json --quiet",
    help="""Measure how much style each OUTPUT took on and content it kept.

    No measure takes part in a transfer; docs/evaluation.md explains them. CONTENT and OUTPUT... are
    audio files. STYLE is an audio file or a folder whose clips together are one style; only its
    first 120 s count. Everything is resampled to the rate of the content, and each OUTPUT is cut or
    padded to its length. If OUTPUT.json, the record of a transfer, names an excerpt of CONTENT, the
    output is compared to that excerpt. Needs mir_eval: pip install 'audiostyle[evaluate]'.
    """,
)
@click.argument("content", type=PATH)
@click.argument("style", type=PATH)
@click.argument("outputs", metavar="OUTPUT...", nargs=-1, required=True, type=PATH)
@option_group(
    "Input",
    option(
        "--baselines",
        "Evaluate baselines as well: identity (the content), the style, half of each, and the "
        "content with the long-term EQ of the style.",
    ),
    option(
        "--start",
        "Compare with the content from this time on.  [or M:SS; at least 0; default: taken from "
        "the record of each output, else 0]",
        "SECONDS",
        type=TIME,
    ),
    option(
        "--duration",
        "Compare with this much of the content.  [or M:SS; at least 0.5; default: taken from the "
        "record of each output, else all]",
        "SECONDS",
        type=TIME,
    ),
)
@option_group(
    "Output",
    option("--json as_json", "Print inputs, versions and measures as JSON, not as a table."),
    option("-q --quiet", "Print only the table, or the JSON, and errors."),
    verbose_option(),
)
def evaluate_command(
    content: Path,
    style: Path,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Run ``audiostyle evaluate``."""
    from audiostyle.evaluation.evaluate_files import run_evaluation
    from audiostyle.evaluation.table import render_table
    from audiostyle.evaluation.types import EvaluationRequest
    from audiostyle.files.record import to_json

    console = Console(quiet)
    progress = Progress(console)
    request = EvaluationRequest(content, style, list(outputs), **options)
    with Interrupt(console.echo), contextlib.closing(progress):
        report = run_evaluation(request, functools.partial(progress.show_item, "step"))
    for note in [*report.notes, *(note for one in report.scores for note in one.notes)]:
        console.echo(note)
    if as_json:
        console.publish(to_json(report.to_record()))
    elif report.scores:
        console.publish(render_table(report))
    for failure in report.failed:
        console.echo(f"audiostyle: error: {failure['reason']}", always=True)
    return int(bool(report.failed))
