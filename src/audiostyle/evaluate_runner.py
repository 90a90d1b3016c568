"""An evaluation as a person runs it: signals, progress, messages. No parsing, no sound."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from audiostyle import judging, scoreboard, sidecar
from audiostyle.runner import Interrupt
from audiostyle.verdicts import Question


class Progress:
    """A tqdm bar on a terminal, plain lines elsewhere, or nothing."""

    def __init__(self, echo: Callable[[str], None], quiet: bool) -> None:
        self._echo = echo
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._bar: Any = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show what is done next."""
        if self._quiet:
            return
        if not self._terminal:
            if done < total:
                self._echo(f"step {done + 1}/{total}: {what}")
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="step", file=sys.stderr, leave=False)
        self._bar.set_postfix_str(what, refresh=False)
        self._bar.update(done - self._bar.n)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def run_evaluation(
    question: Question,
    *,
    echo: Callable[[str], None],
    publish: Callable[[str], None],
    as_json: bool,
    quiet: bool,
) -> int:
    """Run one evaluation and report on it.

    Parameters
    ----------
    question : Question
    echo : callable
        Gets every line about the run.
    publish : callable
        Gets the table, or the report as JSON.
    as_json, quiet : bool

    Returns
    -------
    int
        The exit code: 1 if an output could not be judged.

    Raises
    ------
    AudioStyleError
    Interrupted
    """
    progress = Progress(echo, quiet)
    with Interrupt(echo):
        try:
            report = judging.run(question, progress)
        finally:
            progress.close()
    if not quiet:
        for note in [*report.notes, *(n for verdict in report.verdicts for n in verdict.notes)]:
            echo(note)
    if as_json:
        publish(sidecar.to_json(report.to_record()))
    elif report.verdicts:
        publish(scoreboard.render_table(report))
    for failure in report.failed:
        echo(f"audiostyle: error: {failure['reason']}")
    return int(bool(report.failed))
