"""A transfer as a person runs it: signals, progress, messages. No parsing, no sound."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from audiostyle.cli import uptime
from audiostyle.cli.progress import ProgressDisplay
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import TransferResult
from audiostyle.events import Iteration, Stage
from audiostyle.files import record as files_record
from audiostyle.files import transfer
from audiostyle.files.request import TransferRequest
from audiostyle.utils.interrupts import Interrupt

if TYPE_CHECKING:
    from audiostyle.report.live_server import LivePage

PLAIN_INTERVAL = 5.0  # seconds between lines where standard error is not a terminal


class TransferProgress(ProgressDisplay):
    """Turn events into a tqdm bar on a terminal, into plain lines elsewhere, or into nothing."""

    def __init__(self, echo: Callable[[str], None], quiet: bool) -> None:
        super().__init__(echo, quiet)
        self._last_line = 0.0
        self._unsaid = ""

    def __call__(self, event: Stage | Iteration) -> None:
        """Show an event."""
        if self._quiet:
            return
        if isinstance(event, Iteration):
            self._step(event)
            return
        self.close()
        if event.name == "style":
            self._echo(f"listening to {event.detail}")
        elif event.name == "estimate":
            self._echo(f"this will take {event.detail}")
        elif event.name == "optimization":
            self._echo(event.detail)
        elif event.name == "inversion":
            self._echo("turning the spectrogram into sound")

    def _step(self, event: Iteration) -> None:
        losses = f"total {event.total:.4g}, content {event.content:.4g}, style {event.style:.4g}"
        if self._terminal:
            done, total = self._counted(event)
            self._move(self._bar("step", total=total), done, self._window(event) + losses)
            return
        now = time.monotonic()
        self._unsaid = f"{self._window(event)}step {event.step}/{event.n_steps}: {losses}"
        if (event.window, event.step) == (1, 0) or now - self._last_line >= PLAIN_INTERVAL:
            self._last_line = now
            self._say_last()

    def _say_last(self) -> None:
        if self._unsaid:
            self._echo(self._unsaid)
            self._unsaid = ""

    def close(self) -> None:
        """Finish the bar, or say the last step, if either is left to do."""
        self._say_last()
        super().close()


def run_transfer_command(
    request: TransferRequest,
    config: TransferConfig,
    *,
    echo: Callable[[str], None],
    publish: Callable[[str], None],
    as_json: bool,
    quiet: bool,
    live: bool = False,
) -> int:
    """Run one transfer and report on it.

    Parameters
    ----------
    request : Request
    config : TransferConfig
    echo : callable
        Gets every line for people.
    publish : callable
        Gets the record of the run as JSON, if `as_json`.
    as_json, quiet : bool
    live : bool
        Show the descent on a page of this machine; its address is echoed even if `quiet`.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    AudioStyleError
    Interrupted
        At the second signal, or at the first before there is anything to keep.
    """
    began = time.perf_counter()
    laps = {"to command": uptime.seconds()}
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt((lambda text: None) if quiet else echo))
        page = stack.enter_context(_live_page(request, config, interrupt, echo)) if live else None
        result, record = _carry_out(
            request, config, interrupt, TransferProgress(echo, quiet), page, laps
        )
        interrupt.stage = "done"
        if not quiet:
            _report(request, result, record, time.perf_counter() - began, echo)
        if as_json:
            publish(files_record.to_json(record))
        if page is not None:
            page.end(f"Done: {request.output.resolve()} ({result.stopped})")
    code = interrupt.code if interrupt.signals else 0
    if request.report is not None:
        from audiostyle.cli.report_runner import report_transfer

        code = report_transfer(request.output, request.report, echo=echo, quiet=quiet) or code
    return code


def _carry_out(
    request: TransferRequest,
    config: TransferConfig,
    interrupt: Interrupt,
    progress: TransferProgress,
    page: LivePage | None,
    laps: dict[str, float],
) -> tuple[TransferResult, dict[str, Any]]:
    """Run the transfer, show it wherever somebody looks, and stop it when asked."""

    def callback(event: Stage | Iteration) -> bool:
        if isinstance(event, Stage):
            interrupt.stage = event.name
        elif "to first step" not in laps:
            laps["to first step"] = uptime.seconds()
        progress(event)
        if page is not None:
            page(event)
        return interrupt.signals > 0

    try:
        return transfer.run_transfer(request, config, callback)
    finally:
        progress.close()


def _live_page(
    request: TransferRequest,
    config: TransferConfig,
    interrupt: Interrupt,
    echo: Callable[[str], None],
) -> LivePage:
    """Make the page of a run, and say where it is as soon as it can be opened."""
    from audiostyle.report.live_server import LivePage

    names = " + ".join(path.name for path in request.styles)
    page = LivePage(f"{request.content.name} in the style of {names}", config, interrupt.ask)
    echo(f"live at {page.open()}")
    return page


def _report(
    request: TransferRequest,
    result: TransferResult,
    record: dict[str, Any],
    seconds: float,
    echo: Callable[[str], None],
) -> None:
    for note in record["notes"]:
        echo(note)
    if request.verbose:
        echo(", ".join(f"{name} {lap:.2f} s" for name, lap in result.timings.items()))
    stopped = f", {result.stopped}" if result.stopped != "iterations" else ""
    echo(f"{request.output.resolve()} ({len(result.history) - 1} steps{stopped}, {seconds:.1f} s)")
