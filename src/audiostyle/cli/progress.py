"""What everything that shows progress shares: a bar on a terminal, or echoed lines, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from audiostyle.events import Iteration


class ProgressDisplay:
    """Knows where to show what, and owns the bars; what is shown is up to those that derive.

    Parameters
    ----------
    echo : callable
        Gets the lines.
    quiet : bool
        Show nothing.
    """

    def __init__(self, echo: Callable[[str], None], quiet: bool) -> None:
        self._echo = echo
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._bars: dict[str, Any] = {}

    def _bar(self, unit: str, **options: Any) -> Any:
        """Return the tqdm bar that counts `unit`; draw it if it is not there."""
        if unit not in self._bars:
            from tqdm import tqdm

            self._bars[unit] = tqdm(unit=unit, file=sys.stderr, **options)
        return self._bars[unit]

    @staticmethod
    def _move(bar: Any, done: int, text: str) -> None:
        """Bring a bar to where the work is."""
        bar.set_postfix_str(text, refresh=False)
        bar.update(done - bar.n)

    @staticmethod
    def _counted(event: Iteration) -> tuple[int, int]:
        """Count the steps that are done and all there are, of all windows together."""
        total = event.n_steps * event.n_windows
        return round(event.done * total), total

    @staticmethod
    def _window(event: Iteration) -> str:
        """Say which of several windows descends."""
        return f"window {event.window}/{event.n_windows}, " if event.n_windows > 1 else ""

    def close(self) -> None:
        """Finish the bars, the lowest first."""
        for bar in reversed(self._bars.values()):
            bar.close()
        self._bars.clear()
