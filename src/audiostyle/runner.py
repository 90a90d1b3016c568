"""A transfer as a person runs it: signals, progress, messages. No parsing, no sound."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiostyle import devices, files
from audiostyle.config import TransferConfig
from audiostyle.events import Iterate, Stage

PLAIN_INTERVAL = 5.0  # seconds between lines where standard error is not a terminal


class Interrupt:
    """The first signal asks the descent to stop; the second, or one before it began, stops now.

    Attributes
    ----------
    asked : bool
        A signal came.
    code : int
        The exit code that says which: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, echo: Callable[[str], None]) -> None:
        self.asked = False
        self.code = 130
        self.descending = False
        self._echo = echo
        self._saved: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._saved[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: object) -> None:
        self.code = 128 + number
        if self.asked or not self.descending:
            raise KeyboardInterrupt
        self.asked = True
        self._echo("stopping; the best so far will be written (once more to stop now)")


class Progress:
    """Turn events into a tqdm bar on a terminal, into plain lines elsewhere, or into nothing."""

    def __init__(self, echo: Callable[[str], None], quiet: bool) -> None:
        self._echo = echo
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._bar: Any = None
        self._last_line = 0.0

    def __call__(self, event: Stage | Iterate) -> None:
        if self._quiet:
            return
        if isinstance(event, Iterate):
            self._step(event)
            return
        self.close()
        if event.name == "style":
            self._echo(f"listening to {event.detail}")
        elif event.name == "descent":
            self._echo(event.detail)
        elif event.name == "inversion":
            self._echo("turning the spectrogram into sound")

    def _step(self, event: Iterate) -> None:
        losses = f"total {event.total:.4g}, content {event.content:.4g}, style {event.style:.4g}"
        if self._terminal:
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(total=event.n_steps, unit="step", file=sys.stderr, leave=True)
            self._bar.set_postfix_str(losses, refresh=False)
            self._bar.update(event.step - self._bar.n)
            return
        now = time.monotonic()
        if event.step in (0, event.n_steps) or now - self._last_line >= PLAIN_INTERVAL:
            self._last_line = now
            self._echo(f"step {event.step}/{event.n_steps}: {losses}")

    def close(self) -> None:
        """Finish the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def run_transfer(
    content: Path,
    styles: list[Path],
    output: Path,
    config: TransferConfig,
    *,
    echo: Callable[[str], None],
    publish: Callable[[dict[str, Any]], None],
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> int:
    """Run one transfer and report on it.

    Parameters
    ----------
    content : Path
    styles : list of Path
    output : Path
    config : TransferConfig
    echo : callable
        Gets every line for people.
    publish : callable
        Gets the record of the run, if `as_json`.
    as_json, quiet, verbose : bool
    **options
        Further fields of `audiostyle.files.Request`.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    AudioStyleError
    KeyboardInterrupt
        At the second signal, or at the first before there is anything to keep.
    """
    began = time.perf_counter()
    progress = Progress(echo, quiet)

    with Interrupt(echo) as interrupt:

        def callback(event: Stage | Iterate) -> bool:
            if isinstance(event, Stage):
                interrupt.descending = event.name in ("descent", "inversion")
            progress(event)
            return interrupt.asked

        files_request = files.Request(
            content=content, styles=styles, output=output, **options
        )
        if verbose:
            devices.load_tensorflow(quiet=False)
        try:
            result, record = files.run(files_request, config, callback)
        finally:
            progress.close()
    if not quiet:
        for note in record["notes"]:
            echo(note)
        if verbose:
            echo(", ".join(f"{name} {seconds:.2f} s" for name, seconds in result.timings.items()))
        seconds = time.perf_counter() - began
        stopped = f", {result.stopped}" if result.stopped != "iterations" else ""
        echo(f"{output.resolve()} ({len(result.history) - 1} steps{stopped}, {seconds:.1f} s)")
    if as_json:
        publish(record)
    return interrupt.code if interrupt.asked else 0
