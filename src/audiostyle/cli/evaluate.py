"""An evaluation as a person runs it: signals, progress, messages. No parsing, no sound."""

from __future__ import annotations

from collections.abc import Callable

from audiostyle.cli.progress import ProgressDisplay
from audiostyle.evaluation import evaluate_files, table
from audiostyle.evaluation.types import EvaluationRequest
from audiostyle.files import record
from audiostyle.utils.interrupts import Interrupt


class EvaluationProgress(ProgressDisplay):
    """A tqdm bar on a terminal, plain lines elsewhere, or nothing."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show what is done next."""
        if self._quiet:
            return
        if not self._terminal:
            if done < total:
                self._echo(f"step {done + 1}/{total}: {what}")
            return
        bar = self._bar("step", total=total, leave=False)
        self._move(bar, done, what)
        bar.refresh()


def run_evaluation_command(
    question: EvaluationRequest,
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
    progress = EvaluationProgress(echo, quiet)
    with Interrupt(echo):
        try:
            report = evaluate_files.run_evaluation(question, progress)
        finally:
            progress.close()
    if not quiet:
        for note in [*report.notes, *(n for scores in report.scores for n in scores.notes)]:
            echo(note)
    if as_json:
        publish(record.to_json(report.to_record()))
    elif report.scores:
        publish(table.render_table(report))
    for failure in report.failed:
        echo(f"audiostyle: error: {failure['reason']}")
    return int(bool(report.failed))
