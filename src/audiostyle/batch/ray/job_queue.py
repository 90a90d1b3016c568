"""Which worker gets which pair: styles stay with a worker, and what was lost is tried elsewhere."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from audiostyle.batch.plan import Job

TRIES = 2  # a pair is given up when so many workers died on it


class JobQueue:
    """Deals jobs to workers, each of which it knows by a number.

    Neighbours of one style go to one worker as long as there are other styles for the others: each
    style is then listened to once or twice, not by everybody.

    Parameters
    ----------
    jobs : sequence of Job
        In the order in which they are best done.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._runs: list[deque[Job]] = []
        style = None
        for job in jobs:
            if job.pair.style.clips != style:
                style = job.pair.style.clips
                self._runs.append(deque())
            self._runs[-1].append(job)
        self._runs.reverse()  # the next one is the last
        self._open: list[deque[Job]] = []
        self._at: dict[int, deque[Job]] = {}
        self._again: list[tuple[Job, int]] = []
        self._deaths: Counter[str] = Counter()

    @property
    def empty(self) -> bool:
        """Whether nothing is left to deal."""
        return not (self._again or self._runs or any(self._open))

    def deal(self, worker: int, others: Iterable[int] = ()) -> Job | None:
        """Take the next job for a worker.

        Parameters
        ----------
        worker : int
        others : iterable of int
            Those that work, too: what this worker lost is theirs, if there are any.

        Returns
        -------
        Job or None
            None if nothing is left for this one.
        """
        run = self._at.get(worker)
        if not run:
            run = self._find_run()
        if run:
            self._at[worker] = run
            return run.popleft()
        alone = not any(other != worker for other in others)
        for i, (job, loser) in enumerate(self._again):
            if alone or loser != worker:
                del self._again[i]
                return job
        return None

    def back(self, job: Job) -> None:
        """Take a job back that was dealt, and not begun.

        Parameters
        ----------
        job : Job
        """
        self._open.append(deque([job]))

    def lose(self, job: Job, worker: int) -> bool:
        """Take a job back on which a worker died.

        Parameters
        ----------
        job : Job
        worker : int

        Returns
        -------
        bool
            Whether it will be tried again, after all others.
        """
        self._deaths[job.pair.id] += 1
        if self._deaths[job.pair.id] >= TRIES:
            return False
        self._again.append((job, worker))
        return True

    def _find_run(self) -> deque[Job] | None:
        """Open a style that nobody works on, or else join in where most is left."""
        self._open = [run for run in self._open if run]
        if self._runs:
            self._open.append(self._runs.pop())
            return self._open[-1]
        return max(self._open, key=len, default=None)
