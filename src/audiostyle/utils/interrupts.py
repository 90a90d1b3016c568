"""What Ctrl-C and SIGTERM ask for, and what becomes of it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from audiostyle.errors import Interrupted


class Interrupt:
    """The first signal asks the descent to stop; the second, or one before it began, stops now.

    Attributes
    ----------
    signals : int
        How many came.
    code : int
        The exit code that says which: 130 for SIGINT, 143 for SIGTERM.
    stage : str
        Name of the last `Stage`; empty before the first, ``done`` when there is nothing to stop.
    """

    def __init__(self, echo: Callable[[str], None]) -> None:
        self.signals = 0
        self.code = 130
        self.stage = ""
        self._echo = echo
        self._saved: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        """Take over the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._saved[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Give the signals back."""
        for number, handler in self._saved.items():
            signal.signal(number, handler)
        if self.signals and isinstance(error, Exception):
            # An import that is interrupted half-way can fail with any error.
            raise Interrupted(self.code) from None

    def ask(self) -> bool:
        """Ask for what the first signal during the descent asks; False if it is not running.

        Returns
        -------
        bool
        """
        if self.stage != "optimization" or self.signals:
            return False
        self.signals = 1
        self._echo("stopping, as asked on the page; the best so far will be written")
        return True

    def _handle(self, number: int, _frame: object) -> None:
        if self.stage == "done":
            return
        self.signals += 1
        self.code = 128 + number
        if self.signals > 1 or self.stage not in ("optimization", "inversion"):
            raise Interrupted(self.code)
        what = "the best so far" if self.stage == "optimization" else "the result"
        self._echo(f"stopping; {what} will be written (once more to stop now)")
