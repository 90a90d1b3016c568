"""Job queue that keeps a style with one worker and gives a lost job to another worker."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from audiostyle.batch.plan import Job

TRIES = 2  # workers that may die on a pair before it counts as failed


class JobQueue:
    """Gives jobs, in the order of `jobs`, to workers that are known by a number.

    Adjacent jobs of one style go to one worker as long as there are other styles for the others, so
    that one or two workers analyse a style, not all of them.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._untouched: list[deque[Job]] = []  # one queue per style, the next one last
        style = None
        for job in jobs:
            if job.pair.style.clips != style:
                style = job.pair.style.clips
                self._untouched.append(deque())
            self._untouched[-1].append(job)
        self._untouched.reverse()
        self._open: list[deque[Job]] = []
        self._current: dict[int, deque[Job]] = {}
        self._retries: list[tuple[Job, int]] = []
        self._deaths: Counter[str] = Counter()

    @property
    def empty(self) -> bool:
        """Whether no job is left."""
        return not (self._retries or self._untouched or any(self._open))

    def next_job(self, worker: int, others: Iterable[int] = ()) -> Job | None:
        """Take the next job for `worker`; a job that it lost is left to the `others`, if any."""
        queue = self._current.get(worker) or self._open_queue()
        if queue:
            self._current[worker] = queue
            return queue.popleft()
        alone = all(other == worker for other in others)
        for i, (job, loser) in enumerate(self._retries):
            if alone or loser != worker:
                del self._retries[i]
                return job
        return None

    def put_back(self, job: Job) -> None:
        """Return a job that was not begun."""
        self._open.append(deque([job]))

    def mark_lost(self, job: Job, worker: int) -> bool:
        """Note that a worker died on a job; return whether it is retried, after all others."""
        self._deaths[job.pair.id] += 1
        if self._deaths[job.pair.id] >= TRIES:
            return False
        self._retries.append((job, worker))
        return True

    def _open_queue(self) -> deque[Job] | None:
        """Return a style that no worker has, or else the one with most jobs left."""
        self._open = [queue for queue in self._open if queue]
        if self._untouched:
            self._open.append(self._untouched.pop())
            return self._open[-1]
        return max(self._open, key=len, default=None)
