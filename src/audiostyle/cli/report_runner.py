"""A report as a person runs it: signals, progress, messages. No parsing, no sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from audiostyle.cli.progress import ProgressDisplay
from audiostyle.errors import Interrupted
from audiostyle.report import write
from audiostyle.report.write import PageProgress, ReportRequest
from audiostyle.utils.interrupts import Interrupt

LINES = 20  # about so many, where standard error is not a terminal


class ReportProgress(ProgressDisplay):
    """A tqdm bar on a terminal, a few plain lines elsewhere, or nothing."""

    def __call__(self, event: PageProgress) -> None:
        """Show what is done next."""
        if self._quiet or event.total < 2:
            return
        if event.stage == "writing":
            self.close()
            return
        if self._terminal:
            bar = self._bar(event.stage, total=event.total, leave=False)
            self._move(bar, event.done, report_name(event.name))
            bar.refresh()
        elif event.done % max(1, event.total // LINES) == 0:
            self._echo(f"{event.stage} {event.done + 1}/{event.total}: {report_name(event.name)}")


def report_name(name: str) -> str:
    """Bring the name of a file to one line that any terminal can show.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return " ".join(name.encode("utf-8", "replace").decode().split())


def run_report_command(request: ReportRequest, *, echo: Callable[[str], None], quiet: bool) -> int:
    """Write a report, and say where it is.

    Parameters
    ----------
    request : ReportRequest
    echo : callable
        Gets every line for people.
    quiet : bool

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    AudioStyleError
    Interrupted
    """
    progress = ReportProgress(echo, quiet)
    with Interrupt(echo):
        try:
            found = write.run_report_request(request, progress)
        finally:
            progress.close()
    if not quiet:
        for note in found.notes:
            echo(note)
        _say_where(request.output, len(found.pairs), echo)
    return 0


def report_transfer(output: Path, page: Path, *, echo: Callable[[str], None], quiet: bool) -> int:
    """Write the report of a transfer that has just ended.

    Parameters
    ----------
    output : Path
        Of the transfer.
    page : Path
        Replaced if it exists: whether it may be was asked before.
    echo : callable
    quiet : bool

    Returns
    -------
    int
        The exit code: that of a signal, if one came; the output of the transfer stays then.

    Raises
    ------
    AudioStyleError
    """
    try:
        with Interrupt(echo):
            write.write_report(output, page, force=True)
    except Interrupted as error:
        echo(f"interrupted; {output} is there, its report is not")
        return error.code
    if not quiet:
        _say_where(page, 1, echo)
    return 0


def _say_where(page: Path, n: int, echo: Callable[[str], None]) -> None:
    pairs = "1 pair" if n == 1 else f"{n} pairs"
    echo(f"{page.resolve()} ({pairs}, {page.stat().st_size / 1e6:.1f} MB)")
