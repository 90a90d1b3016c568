"""Output of commands: lines, results, and progress as a bar on a terminal or as lines."""

from __future__ import annotations

import sys
from typing import Any

import click

from audiostyle.events import Iteration

MAX_LINES = 20  # about as many lines show the progress of any number of items


class Console:
    """Writes lines for people to standard error, and results to standard output."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def echo(self, text: str, always: bool = False) -> None:
        """Write a line to standard error, unless quiet; `always` is for errors."""
        if always or not self.quiet:
            click.echo(text, err=True)

    def publish(self, text: str) -> None:
        """Write a result, which ends with a newline, to standard output."""
        click.echo(text, nl=False)


class ProgressDisplay:
    """Owns the tqdm bars; subclasses decide what to show in them, or in lines."""

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

    @staticmethod
    def move(bar: Any, done: int, text: str) -> None:
        """Set a bar to the number of units that are done."""
        bar.set_postfix_str(text, refresh=False)
        bar.update(done - bar.n)

    def close(self) -> None:
        """Finish the bars, the lowest first."""
        for bar in reversed(self.bars.values()):
            bar.close()
        self.bars.clear()


class ItemProgress(ProgressDisplay):
    """Shows work on a known number of items."""

    def show(self, unit: str, done: int, total: int, name: str) -> None:
        """Show that `done` items are done, and that `name` is next."""
        if self.console.quiet:
            return
        if self.terminal:
            bar = self.bar(unit, total=total, leave=False)
            self.move(bar, done, name)
            bar.refresh()
        elif done < total and done % max(1, total // MAX_LINES) == 0:
            self.console.echo(f"{unit} {done + 1}/{total}: {name}")


def count_iterations(event: Iteration) -> tuple[int, int]:
    """Return how many iterations are done, and how many there are, over all windows."""
    total = event.n_steps * event.n_windows
    return round(event.done * total), total


def window_label(event: Iteration) -> str:
    """Name the window that is being optimised; empty if there is only one."""
    return f"window {event.window}/{event.n_windows}, " if event.n_windows > 1 else ""
