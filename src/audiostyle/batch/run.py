"""A batch: plan, journal and engine together. Knows nothing of TensorFlow, prints nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.batch import journal as journals
from audiostyle.batch import plan, results, shards
from audiostyle.batch.engine import (
    Abandoned,
    Done,
    Engine,
    Evaluated,
    Event,
    Failed,
    InProcess,
    Lost,
    Started,
)
from audiostyle.batch.journal import Journal
from audiostyle.batch.plan import BatchPlan
from audiostyle.batch.ray.cluster import Cluster
from audiostyle.batch.request import BatchRequest
from audiostyle.config.plugins import check_portable
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import DiskError, OutputError
from audiostyle.utils.atomic_files import write_error

SPARE_BYTES = 4 << 20  # that a pair must leave on the disk, for the journal and the results

Callback = Callable[[Any], Any]
"""Gets the `BatchPlan`, then every `audiostyle.batch.engine.Event`, `Stage` and `Iteration` (of workers
elsewhere `Waiting` and `Note`), and in the end the `BatchResult`."""


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch.

    Attributes
    ----------
    out_dir : Path
    rows : Rows
        One a pair of the plan, or of the shard; see `audiostyle.batch.results.ResultRows`.
    computed : int
        Pairs that were computed in this run.
    unevaluated : list of str
        Why outputs could not be evaluated.
    """

    out_dir: Path
    rows: results.ResultRows
    computed: int
    unevaluated: list[str]

    def count(self, status: str) -> int:
        """Say how many pairs are ``done``, ``failed`` or ``pending``.

        Parameters
        ----------
        status : str

        Returns
        -------
        int
        """
        return self.rows.count_status()[status]

    @property
    def failures(self) -> dict[tuple[str, str], list[str]]:
        """The pairs that failed, by kind and reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for row in self.rows.failed():
            found.setdefault((row["kind"], row["reason"]), []).append(row["pair"])
        return found

    @property
    def exit_code(self) -> int:
        """0 all is done; 1 some failed; 3 nothing succeeded."""
        if self.count("done") == len(self.rows) and not self.unevaluated:
            return 0
        return 1 if self.count("done") else 3


def run_batch(
    content: str | Path,
    style: str | Path,
    out_dir: str | Path,
    config: TransferConfig | None = None,
    callback: Callback | None = None,
    engine: Engine | Cluster | None = None,
    **options: Any,
) -> BatchResult:
    """Apply many styles to many contents; what was done before is not done again.

    Parameters
    ----------
    content, style : str or Path
        A folder, a glob, ``@FILE`` (a list) or a file.
    out_dir : str or Path
        Made if it is not there.
    config : TransferConfig, optional
    callback : callable, optional
        Gets everything that happens; see `Callback`.
    engine : Engine or Cluster, optional
        Where the pairs are computed; in this process if it is not given.
    **options
        Further fields of `BatchRequest`: ``pair``, ``by``, ``content_genre``, ``style_genre``,
        ``limit``, ``shuffle``, ``name``, ``start``, ``duration``, ``preview``, ``subtype``,
        ``evaluate``, ``retry_failed``, ``force``, ``device``, ``threads``,
        ``deterministic``, ``shard``, ``preset``.

    Returns
    -------
    BatchResult
        Pairs that failed are among its rows, and raise nothing.

    Raises
    ------
    ConfigError, AudioFileError, OutputError
        Before any computing, if the plan cannot be right.
    BusyError
        If another process works in `out_dir`.
    DiskError, DeviceError, EngineError, WeightsError, MissingPackageError
        If no other pair could succeed either. The journal is intact.
    """
    request = BatchRequest(str(content), str(style), Path(out_dir), **options)
    return run_batch_request(request, config or TransferConfig(), callback, engine)


def run_batch_request(
    request: BatchRequest,
    config: TransferConfig,
    callback: Callback | None = None,
    engine: Engine | Cluster | None = None,
) -> BatchResult:
    """Carry out a `BatchRequest`; see `run_batch`."""
    report = callback or (lambda event: None)
    request.check()
    if isinstance(engine, Cluster):
        engine.check(request.device)
        check_portable(config)
    plan.plan_pairs(request, config)  # what is refused leaves no folder behind
    try:
        request.out_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OutputError(f"{request.out_dir}: is, or lies below, a file; name a folder") from None
    except OSError as error:
        reason = write_error(request.out_dir, error, request.out_dir.parent)
        raise DiskError(str(reason)) from None
    shard = shards.parse_shard(request.shard)
    with Journal(request.out_dir, shard, lambda: _clear(request.out_dir)) as journal:
        todo = plan.make_batch_plan(request, config, journal.state)
        _begin(journal, request, config, todo)
        report(todo)
        driver = _Driver(journal, request, config, report)
        rows = results.ResultRows(todo.pairs, journal.state)
        try:
            if todo.jobs:
                driver.carry_out(todo, _make_engine(engine, request, config, todo))
        except BaseException:
            with contextlib.suppress(OutputError):  # what is on its way already says more
                _write_results(journal, todo, rows)
            report(BatchResult(request.out_dir, rows, driver.computed, driver.unevaluated))
            raise
        result = BatchResult(request.out_dir, rows, driver.computed, driver.unevaluated)
        try:
            _write_results(journal, todo, rows)
        except OutputError as error:  # of no pair, but of the folder
            raise DiskError(str(error)) from None
        finally:
            report(result)
    return result


def _write_results(journal: Journal, todo: BatchPlan, rows: results.ResultRows) -> None:
    """Write what there is to show; among shards, the last to end does it, for all of them."""
    folder = journal.path.parent
    with journal.last() as alone:
        if not alone:
            return
        _clear(folder)  # a worker that was killed could not
        if len(todo.whole) > len(todo.pairs):
            rows = results.ResultRows(todo.whole, journals.read(folder))
        results.write_results(folder, rows)


def _make_engine(
    engine: Engine | Cluster | None, request: BatchRequest, config: TransferConfig, todo: BatchPlan
) -> Engine:
    if isinstance(engine, Cluster):
        from audiostyle.batch.ray.engine import RayEngine

        return RayEngine(request, config, engine)
    if engine is not None:
        return engine
    if any(job.evaluate for job in todo.jobs):
        from audiostyle.evaluation.content_metrics import require_mir_eval

        require_mir_eval()
    from audiostyle.batch.worker import PairWorker

    return InProcess(PairWorker(request, config))


def _clear(folder: Path) -> None:
    """Remove what a process that was killed had not finished. The lock says that none is alive."""
    for part in folder.rglob(".audiostyle-*.part"):
        with contextlib.suppress(OSError):
            part.unlink()


def _begin(
    journal: Journal, request: BatchRequest, config: TransferConfig, todo: BatchPlan
) -> None:
    """Write down what is about to be done, as far as the journal does not know it."""
    asked = dataclasses.asdict(request)
    asked = {name: str(v) if isinstance(v, Path) else v for name, v in asked.items()}
    ids = sorted(pair.id for pair in todo.pairs)
    shard = str(shards.parse_shard(request.shard) or "")
    events: list[Mapping[str, Any]] = []
    if ids != journal.state.plans.get(shard):
        events.append({"event": "plan", **({"shard": shard} if shard else {}), "pairs": ids})
    events += todo.events
    for failure in todo.failed:
        known = journal.state.pairs.get(failure["pair"])
        same = known and (known.status, known.fingerprint) == ("failed", failure["fingerprint"])
        if not same:
            events.append({"event": "failed", "seconds": 0.0, **failure})
    if todo.jobs or events:
        run = {
            "version": audiostyle.__version__,
            "request": asked,
            "parameters": config.to_dict(),
        }
        journal.append({"event": "run", **run}, *events)


class _Driver:
    """Turns the events of an engine into lines of the journal."""

    def __init__(
        self, journal: Journal, request: BatchRequest, config: TransferConfig, report: Callback
    ) -> None:
        self.computed = 0
        self.unevaluated: list[str] = []
        self._journal = journal
        self._report = report
        self._folder = request.out_dir
        self._settings = plan.settings(request, config)

    def carry_out(self, todo: BatchPlan, engine: Engine) -> None:
        """Do what is left to do."""
        for event in engine.run(todo.jobs, self._report):
            if isinstance(event, Started):
                self._report(event)  # may raise: the pair was not begun then
                self._check_disk(event)
                self._log(event, "started", **({"watched": True} if event.watched else {}))
                continue
            self._take(event)
            self._report(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, Done):
            self.computed += 1
            self._log(
                event,
                "done",
                size=event.size,
                seconds=round(event.seconds, 3),
                content_seconds=event.job.seconds,
                settings=self._settings,
                **event.summary,
            )
        elif isinstance(event, Failed):
            seconds = round(event.seconds, 3)
            self._log(event, "failed", kind=event.kind, reason=event.reason, seconds=seconds)
        elif isinstance(event, Lost):
            self._log(event, "lost", reason=event.reason)
        elif isinstance(event, Evaluated):
            if event.scores is None:
                self.unevaluated.append(f"{event.job.pair.id}: {event.reason}")
            self._log(event, "scored", scores=event.scores, reason=event.reason)
        elif isinstance(event, Abandoned):
            # Not a crash. If the disk is full, this line fails, and the error that comes is better.
            with contextlib.suppress(DiskError):
                self._log(event, "interrupted")

    def _log(self, event: Event, what: str, **facts: Any) -> None:
        job = event.job
        line = {"event": what, "pair": job.pair.id, "fingerprint": job.fingerprint}
        self._journal.append({**line, **facts})

    def _check_disk(self, event: Started) -> None:
        """Stop before the disk is full: a pair that cannot be written is not begun."""
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:  # it was removed, or may no longer be entered
            raise DiskError(str(write_error(self._folder, error, self._folder))) from None
        if free < event.job.n_bytes + SPARE_BYTES:
            raise DiskError(
                f"{self._folder}: the disk is full ({free / 1e6:.0f} MB free); free space, and run "
                "the same command again"
            )


def failed_lines(result: BatchResult) -> Sequence[str]:
    """Say in one line a reason which pairs failed.

    Parameters
    ----------
    result : BatchResult

    Returns
    -------
    sequence of str
    """
    lines = []
    for (kind, reason), pairs in sorted(result.failures.items()):
        which = pairs[0] if len(pairs) == 1 else f"{len(pairs)} pairs, as {pairs[0]}"
        lines.append(f"{kind}: {reason} ({which})")
    return lines
