"""Output of commands: lines, results, and progress as a bar on a terminal or as lines."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiostyle.errors import OutputError
from audiostyle.events import Iteration, Stage

if TYPE_CHECKING:
    from audiostyle.batch.engine import Done, Failed
    from audiostyle.batch.plan import BatchPlan

MAX_LINES = 20  # about as many lines show the progress of any number of items
LINE_INTERVAL = 5.0  # seconds between lines about the iterations of a transfer


class Console:
    """Writes lines for people to standard error, and results to standard output."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose

    def echo(self, text: str, always: bool = False) -> None:
        """Write a line to standard error, unless quiet; `always` is for errors."""
        if always or not self.quiet:
            try:
                click.echo(text, err=True)
            except OSError:
                discard(sys.stderr)  # nobody reads it, and the work goes on

    def fail(self, error: BaseException, message: str, code: int, as_json: bool = False) -> int:
        """Write an error as a line, and for programs also as a document; return the exit code."""
        message = " ".join(message.split())
        self.echo(f"audiostyle: error: {message}", always=True)
        if as_json:
            file = getattr(error, "file", None) or getattr(error, "filename", None)
            document = {
                **{"event": "error", "class": type(error).__name__},
                **{"file": file, "message": message, "exit_code": code},
            }
            self.publish(json.dumps(document, default=os.fsdecode) + "\n")
        return code

    def publish(self, text: str) -> None:
        """Write a result, which ends with a newline, to standard output.

        Raises an `OutputError` if it cannot be written; a reader that left early wants no more.
        """
        try:
            click.echo(text, nl=False)
        except OSError as error:
            discard(sys.stdout)
            if not isinstance(error, BrokenPipeError):
                raise OutputError(f"standard output cannot be written ({error.strerror})") from None


def discard(stream: Any) -> None:
    """Send all that is written to a standard stream from now on, and what it holds, to nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


class Progress:
    """Shows work as tqdm bars on a terminal, else as lines."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.terminal = sys.stderr.isatty()
        self.bars: dict[str, Any] = {}

    def bar(self, unit: str, **options: Any) -> Any:
        """Return the tqdm bar that counts `unit`; the first call creates it."""
        if unit not in self.bars:
            from tqdm import tqdm

            self.bars[unit] = tqdm(unit=unit, file=sys.stderr, **options)
        return self.bars[unit]

    def show_item(self, unit: str, done: int, total: int, name: str) -> None:
        """Show that `done` of `total` items are done, and that `name` is next."""
        if self.console.quiet:
            return
        if self.terminal:
            bar = self.bar(unit, total=total, leave=False)
            bar.set_postfix_str(name, refresh=False)
            bar.update(done - bar.n)
            bar.refresh()
        elif done < total and done % max(1, total // MAX_LINES) == 0:
            self.console.echo(f"{unit} {done + 1}/{total}: {name}")

    def show_iteration(self, event: Iteration) -> None:
        """Move the bar that counts the iterations of all windows."""
        total = event.n_steps * event.n_windows
        bar = self.bar("iteration", total=total)
        if (event.window, event.step) == (1, 0):
            bar.reset(total)
        bar.set_postfix_str(f"{window_label(event)}{loss_label(event)}", refresh=False)
        bar.update(round(event.done * total) - bar.n)

    def close(self) -> None:
        """Finish the bars, the lowest first."""
        for bar in reversed(self.bars.values()):
            bar.close()
        self.bars.clear()


class TransferProgress(Progress):
    """Shows the events of a transfer."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last_line = 0.0
        self._pending = ""  # the last iteration, if no line has shown it

    def __call__(self, event: Stage | Iteration) -> None:
        """Show an event."""
        if self.console.quiet:
            return
        if isinstance(event, Iteration):
            if self.terminal:
                self.show_iteration(event)
            else:
                self._show_line(event)
            return
        self.close()
        lines = {
            "loading": "loading TensorFlow" if self.terminal else "",
            "style": f"analysing {event.detail}",
            "estimate": f"this will take {event.detail}",
            "optimization": device_label(event.detail, self.console.verbose),
            "inversion": "turning the spectrogram into sound",
        }
        if line := lines.get(event.name):
            self.console.echo(line)

    def _show_line(self, event: Iteration) -> None:
        now = time.monotonic()
        where = f"{window_label(event)}iteration {event.step}/{event.n_steps}"
        self._pending = f"{where}: {loss_label(event)}"
        if (event.window, event.step) == (1, 0) or now - self._last_line >= LINE_INTERVAL:
            self._last_line = now
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self.console.echo(self._pending)
            self._pending = ""

    def close(self) -> None:
        """Finish the bar, or show the last iteration."""
        self._flush()
        super().close()


class BatchProgress(Progress):
    """Shows one bar for the batch and one for the current pair, or one line per pair."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._ended = 0
        self._jobs = 0
        self._left = 0.0  # seconds of content
        self._first_end = 0.0  # the first pair includes the start-up, so the rate counts from here
        self._worked = 0.0  # seconds of content since then

    def __call__(self, event: Any) -> None:
        """Show an event."""
        from audiostyle.batch.engine import Done, Evaluated, Failed, Lost, Note
        from audiostyle.batch.plan import BatchPlan

        if self.console.quiet:
            return
        if isinstance(event, BatchPlan):
            self._begin(event)
        elif isinstance(event, Iteration):
            if self.bars:
                self.show_iteration(event)
        elif isinstance(event, Done):
            self._end(event, "")
        elif isinstance(event, Failed):
            self._end(event, f": failed, {event.kind}: {event.reason}")
        elif isinstance(event, Stage) and event.name == "optimization" and not self._ended:
            if line := device_label(event.detail, self.console.verbose):
                self._write(line)
        elif isinstance(event, Lost):
            self._write(f"{event.job.pair.id}: is tried again: {event.reason}")
        elif isinstance(event, Note):
            self._write(event.text)
        elif isinstance(event, Evaluated) and event.scores is None:
            self._write(f"{event.job.pair.id}: not evaluated: {event.reason}")

    def _begin(self, plan: BatchPlan) -> None:
        self._jobs = sum(job.compute for job in plan.jobs)
        self._left = sum(job.seconds for job in plan.jobs if job.compute)
        for note in plan.notes:
            self.console.echo(note)
        counts = {
            "done before": len(plan.done),
            "to compute": self._jobs,
            "kept as they are": len(plan.kept),
            "that cannot be done": len(plan.failed),
        }
        self.console.echo(f"{len(plan.pairs)} pairs: {join_counts(counts)}")
        if self.terminal and self._jobs:
            self.bar("pair", total=self._jobs, position=0)
            self.bar("iteration", position=1, leave=False)

    def _end(self, event: Done | Failed, failure: str) -> None:
        self._ended += 1
        self._left -= event.job.seconds
        if self._ended == 1:
            self._first_end = time.monotonic()
        else:
            self._worked += event.job.seconds
        text = event.job.pair.id + failure
        if not self.bars:
            took = f"{format_duration(event.seconds)}{self._time_left()}"
            self.console.echo(f"[{self._ended}/{self._jobs}] {text} ({took})")
            return
        self.bar("pair").update(1)
        if failure:
            self._write(text)

    def _time_left(self) -> str:
        """Estimate the time of the remaining pairs from the rate since the first one."""
        if not self._worked or self._left <= 0:
            return ""
        seconds = self._left * (time.monotonic() - self._first_end) / self._worked
        return f"; about {format_duration(seconds)} left"

    def _write(self, text: str) -> None:
        if self.bars:
            self.bar("pair").write(text, file=sys.stderr)
        else:
            self.console.echo(text)


def format_duration(seconds: float) -> str:
    """Write a duration for people: ``4.5 s``, ``45 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for unit, size, limit in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / size:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def join_counts(counts: Mapping[str, int]) -> str:
    """Write the counts that are not 0, such as ``3 to compute, 1 that cannot be done``."""
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing to do"


def device_label(device: str, verbose: bool) -> str:
    """Return the line about the device; empty on a machine without a GPU, unless `verbose`."""
    if verbose or device.startswith("GPU"):
        return device
    from audiostyle.nn.device import driver_sees_gpu

    return device if device.startswith("CPU:") and driver_sees_gpu() else ""


def loss_label(event: Iteration) -> str:
    """Name the total of all losses; the record has each of them."""
    return f"total loss {event.total:.4g}"


def listen_hint(output: Path, page: str) -> str:
    """Say how to listen to an output, or a folder of them, beside what it was made from."""
    return f"audiostyle report {shlex.quote(str(output))} -o {shlex.quote(page)}"


def window_label(event: Iteration) -> str:
    """Name the window that is being optimised; empty if there is only one."""
    return f"window {event.window}/{event.n_windows}, " if event.n_windows > 1 else ""
