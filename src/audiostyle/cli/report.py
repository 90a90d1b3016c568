"""The command ``report``, and the page that ``transfer --report`` writes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiostyle.cli.options import (
    PATH,
    command,
    option,
    option_group,
    output_option,
    verbose_option,
)
from audiostyle.cli.progress import Console, Progress
from audiostyle.errors import Interrupted
from audiostyle.utils.interrupts import Interrupt
from audiostyle.utils.sizes import format_size

if TYPE_CHECKING:
    from audiostyle.files.request import TransferRequest
    from audiostyle.report.write import PageProgress


@command(
    "report",
    "out.wav -o out.html",
    "out.wav -o out.html --evaluate --baselines",
    "takes -o takes.html",
    "fast.wav balanced.wav -o both.html --force",
    "out -o out.html --embed-limit 0",
    usage="-o FILE [OPTIONS]",
    help="""Write a page to look at results and to listen to them in a browser.

    PATH is an output of audiostyle transfer or its record (OUTPUT.json), the folder of a batch, or
    a file with the output of audiostyle evaluate --json. One output gives a page with spectrograms,
    players, losses, parameters and provenance. Several takes of one content give a page to compare
    them by ear, to rate them, and to run a blind test. Other outputs, or a folder of them, give a
    table of pairs that shows each on demand. The page loads nothing from the network.
    """,
)
@click.argument("path", nargs=-1, required=True, type=PATH)
@option_group(
    "Output",
    output_option("FILE", "Write the page to this file, in HTML."),
    option(
        "--embed-limit",
        "Embed the audio if it takes at most this many megabytes; else link it, and it must stay "
        "in place.  [0 to 1000; default: 4, or 16 for takes of one content]",
        "MB",
        type=float,
    ),
    option("-f --force", "Replace a page that exists."),
    option("-q --quiet", "Print only errors."),
    verbose_option(),
)
@option_group(
    "Evaluation",
    option("--evaluate", "Evaluate every pair as audiostyle evaluate does."),
    option("--baselines", "Evaluate baselines as well; needs --evaluate."),
)
def report_command(
    path: tuple[Path, ...], output: Path, quiet: bool, embed_limit: float | None, **options: Any
) -> int:
    """Run ``audiostyle report``."""
    from audiostyle.report.write import write_report

    console = Console(quiet)
    progress = ReportProgress(console)
    if embed_limit is not None:
        options["embed_limit"] = embed_limit
    with Interrupt(console.echo), contextlib.closing(progress):
        collection = write_report(path, output, progress, **options)
    for note in collection.notes:
        console.echo(note)
    _echo_page(output, len(collection.pairs), console)
    return 0


class ReportProgress(Progress):
    """Shows the progress of a page of several pairs."""

    def __call__(self, event: PageProgress) -> None:
        """Show an event."""
        if event.total > 1 and event.stage != "writing":
            name = event.name.encode("utf-8", "replace").decode()  # that any terminal can show
            self.show_item(event.stage, event.done, event.total, " ".join(name.split()))


def check_transfer_report(request: TransferRequest, page: Path) -> None:
    """Raise before a transfer runs if its page could not be written."""
    from audiostyle.report.write import check_page

    inputs = [request.content, *request.styles, request.output]
    check_page(inputs, page, request.force)


def write_transfer_report(output: Path, page: Path, console: Console) -> int:
    """Write the page of a transfer that has ended, and return the exit code.

    Whether `page` may be replaced was checked before the transfer.
    """
    from audiostyle.report import write

    try:
        with Interrupt(console.echo):
            write.write_report(output, page, force=True)
    except Interrupted as error:
        console.echo(f"interrupted; {output} was written, its report was not", always=True)
        return error.code
    _echo_page(page, 1, console)
    return 0


def _echo_page(page: Path, n_pairs: int, console: Console) -> None:
    pairs = "1 pair" if n_pairs == 1 else f"{n_pairs} pairs"
    size = format_size(page.stat().st_size)
    console.echo(f"{page.resolve()} ({pairs}, {size}); open it in a browser to listen")
