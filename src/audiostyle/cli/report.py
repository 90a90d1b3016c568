"""The command that makes pages: parse, call, echo, set the exit code. No numbers, no logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from audiostyle.cli.parts import GroupedCommand, GroupedOption, shared_flags

REPORT_EXAMPLE = """\b
Examples:
  audiostyle report out.wav -o out.html
  audiostyle report out.wav -o out.html --evaluate --baselines
  audiostyle report fast.wav best.wav -o both.html --force
  audiostyle report out -o out.html --embed-limit 0
"""


@click.command(
    "report", cls=GroupedCommand, epilog=REPORT_EXAMPLE, options_metavar="-o FILE.html [OPTIONS]"
)
@click.argument("path", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    cls=GroupedOption,
    group="Output",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Where the page goes.",
)
@click.option(
    "--embed-limit",
    type=float,
    default=None,
    cls=GroupedOption,
    group="Output",
    metavar="MB",
    help="So much of the page may be sound; what would be more is linked, and must stay where it "
    "is.  [0 to 1000; default: 4]",
)
@shared_flags(
    force="Replace a page that exists.",
    quiet="Say nothing but errors.",
    verbose="Show TensorFlow's messages, and tracebacks.",
)
@click.option(
    "--evaluate",
    is_flag=True,
    cls=GroupedOption,
    group="Evaluation",
    help="Judge every pair as audiostyle evaluate does.",
)
@click.option(
    "--baselines",
    is_flag=True,
    cls=GroupedOption,
    group="Evaluation",
    help="With --evaluate: judge the trivial outputs, too.",
)
def report_command(path: tuple[Path, ...], embed_limit: float | None, **options: Any) -> None:
    """Make a page to look at and to listen to, of PATH...: one file that opens in any browser.

    PATH is an output of audiostyle transfer or its record (OUTPUT.json); the folder of a batch; or
    what audiostyle evaluate --json printed about one of the outputs, saved to a file. One output
    gives the page of a pair: spectrograms, players, losses, parameters, provenance. Several, or a
    folder, give a table of pairs with the same on demand. Nothing is loaded from anywhere.
    """
    from audiostyle.cli import report_runner
    from audiostyle.report import write

    quiet = options.pop("quiet")
    limit = write.EMBED_MB if embed_limit is None else embed_limit
    code = report_runner.run_report_command(
        write.ReportRequest(list(path), embed_limit=limit, **options),
        quiet=quiet,
        echo=lambda text: click.echo(text, err=True),
    )
    sys.exit(code)
