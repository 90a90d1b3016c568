"""Ctrl-C and SIGTERM: the first finishes what has been done, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from audiostyle.errors import Interrupted


class Interrupt:
    """Signal handler: the first signal ends the optimisation, the second stops at once.

    Before the optimisation there is no result yet, and the first signal stops at once.
    """

    def __init__(self, echo: Callable[[str], None]) -> None:
        self.signals = 0  # received
        self.code = 130  # exit code of the last signal: 130 for SIGINT, 143 for SIGTERM
        self.stage = ""  # name of the last `Stage`; "done" when nothing is left to stop
        self._echo = echo
        self._saved: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        """Install the handler."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._saved[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Restore the previous handlers."""
        for number, handler in self._saved.items():
            signal.signal(number, handler)
        if self.signals and isinstance(error, Exception):
            # An import that is interrupted half-way can fail with any error.
            raise Interrupted(self.code) from None

    def ask(self) -> bool:
        """End the optimisation as the first signal does; return False if it is not running."""
        if self.stage != "optimization" or self.signals:
            return False
        self.signals = 1
        self._echo("stopping, as requested on the page; the best result so far will be written")
        return True

    def _handle(self, number: int, _frame: object) -> None:
        if self.stage == "done":
            return
        self.signals += 1
        self.code = 128 + number
        if self.signals > 1 or self.stage not in ("optimization", "inversion"):
            raise Interrupted(self.code)
        what = "the best result so far" if self.stage == "optimization" else "the result"
        self._echo(f"stopping; {what} will be written (interrupt again to stop now)")
