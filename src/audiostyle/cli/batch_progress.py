"""What a batch shows while it runs: bars on a terminal, lines elsewhere, events for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from audiostyle.batch.engine import Abandoned, Done, Evaluated, Failed, Lost, Note, Started
from audiostyle.batch.plan import BatchPlan
from audiostyle.cli.progress import ProgressDisplay
from audiostyle.events import Iteration, Stage

SCHEMA = 1


class BatchProgress(ProgressDisplay):
    """Turns events into a bar for the run and one for the pair, or into a line a pair.

    Parameters
    ----------
    echo : callable
        Gets the lines.
    quiet : bool
        Show nothing.
    """

    def __init__(self, echo: Callable[[str], None], quiet: bool) -> None:
        super().__init__(echo, quiet)
        self._ended = 0
        self._jobs = 0
        self._left = 0.0  # seconds of content
        self._first = 0.0  # when the first pair had ended: it bears the loading
        self._worked = 0.0  # seconds of content since then

    def __call__(self, event: Any) -> None:
        """Show an event."""
        if self._quiet:
            return
        if isinstance(event, BatchPlan):
            self._begin(event)
        elif isinstance(event, Iteration):
            self._step(event)
        elif isinstance(event, (Done, Failed, Abandoned)):
            self._end(event)
        elif isinstance(event, Stage) and event.name == "optimization" and not self._ended:
            self._say(event.detail)
        elif isinstance(event, Lost):
            self._say(f"{event.job.pair.id}: is tried again: {event.reason}")
        elif isinstance(event, Note):
            self._say(event.text)
        elif isinstance(event, Evaluated) and event.scores is None:
            self._say(f"{event.job.pair.id}: not evaluated: {event.reason}")

    def _begin(self, planned: BatchPlan) -> None:
        self._jobs = sum(job.compute for job in planned.jobs)
        self._left = sum(job.seconds for job in planned.jobs if job.compute)
        for note in planned.notes:
            self._echo(note)
        self._echo(
            f"{len(planned.pairs)} pairs: {len(planned.done)} done before, {self._jobs} to "
            f"compute, {len(planned.failed)} that cannot be done"
        )
        if self._terminal and self._jobs:
            self._bar("pair", total=self._jobs, position=0)
            self._bar("step", position=1, leave=False)

    def _step(self, event: Iteration) -> None:
        if self._bars:
            bar = self._bar("step")
            done, total = self._counted(event)
            if event.step == 0 and event.window == 1:
                bar.reset(total)
            self._move(bar, done, f"{self._window(event)}total {event.total:.4g}")

    def _end(self, event: Done | Failed | Abandoned) -> None:
        if isinstance(event, Abandoned):
            return
        self._ended += 1
        self._left -= event.job.seconds
        if self._ended == 1:
            self._first = time.monotonic()
        else:
            self._worked += event.job.seconds
        text = event.job.pair.id
        if isinstance(event, Failed):
            text += f": failed, {event.kind}: {event.reason}"
        if self._bars:
            self._bar("pair").update(1)
            if isinstance(event, Failed):
                self._say(text)
            return
        self._echo(f"[{self._ended}/{self._jobs}] {text} ({event.seconds:.1f} s{self._rest()})")

    def _rest(self) -> str:
        """Say how long the rest takes, as fast as it went since the first pair."""
        if not self._worked or self._left <= 0:
            return ""
        seconds = self._left * (time.monotonic() - self._first) / self._worked
        return f"; about {duration_text(seconds)} left"

    def _say(self, text: str) -> None:
        if self._bars:
            self._bar("pair").write(text, file=sys.stderr)
        else:
            self._echo(text)


def duration_text(seconds: float) -> str:
    """Write a duration for people: ``45 s``, ``12 min``, ``3.5 h``, ``2.1 days``.

    Parameters
    ----------
    seconds : float >= 0

    Returns
    -------
    str
    """
    for unit, size, limit in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / size:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def as_event(event: Any, names: bool = False) -> dict[str, Any]:
    """Make an event plain, for programs.

    Parameters
    ----------
    event : BatchPlan, engines.Event, Stage or Iteration
    names : bool
        Name the pairs of a schedule.

    Returns
    -------
    dict
        With ``event``: ``plan``, ``started``, ``stage``, ``step``, ``done``, ``failed``,
        ``lost``, ``note``, ``interrupted`` or ``scored``. Empty if there is nothing to tell.
    """
    if isinstance(event, BatchPlan):
        return _plan_event(event, names)
    if isinstance(event, Stage):
        return {"event": "stage", "stage": event.name, "detail": event.detail}
    if isinstance(event, Iteration):
        losses = {name: getattr(event, name) for name in ("total", "content", "style")}
        counts = {name: getattr(event, name) for name in ("step", "n_steps", "window", "n_windows")}
        return {"event": "step", **counts, **losses}
    if isinstance(event, Done):
        return {**_about(event, "done"), **event.summary, "seconds": round(event.seconds, 3)}
    if isinstance(event, Failed):
        return {**_about(event, "failed"), "kind": event.kind, "reason": event.reason}
    if isinstance(event, Evaluated):
        return {**_about(event, "scored"), "scores": event.scores, "reason": event.reason}
    if isinstance(event, Lost):
        return {**_about(event, "lost"), "reason": event.reason}
    if isinstance(event, Note):
        return {"event": "note", "text": event.text}
    if isinstance(event, (Started, Abandoned)):
        return _about(event, "started" if isinstance(event, Started) else "interrupted")
    return {}


def _about(event: Any, name: str) -> dict[str, Any]:
    return {"event": name, "pair": event.job.pair.id, "output": str(event.job.output)}


def _plan_event(event: BatchPlan, names: bool) -> dict[str, Any]:
    return {
        "event": "plan",
        "schema": SCHEMA,
        "pairs": len(event.pairs),
        "done": len(event.done),
        "to_compute": sum(job.compute for job in event.jobs),
        "to_evaluate": sum(job.evaluate for job in event.jobs),
        "failed": event.failed,
        "notes": event.notes,
        "bytes_needed": event.n_bytes,
        "bytes_free": event.free_bytes,
        "seconds": event.seconds,
        "measured": event.measured,
        **({"names": [job.pair.id for job in event.jobs]} if names else {}),
    }
