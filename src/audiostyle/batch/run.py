"""Batch run: plan, journal, engine and results together. Needs no TensorFlow, prints nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.batch import plan as batch_plan
from audiostyle.batch import results
from audiostyle.batch.engine import (
    Abandoned,
    Done,
    Engine,
    Evaluated,
    Event,
    Failed,
    InProcess,
    Lost,
    Note,
    Report,
    Started,
)
from audiostyle.batch.journal import Journal, PairState, inputs_digest, read
from audiostyle.batch.locks import disk_error
from audiostyle.batch.plan import BatchPlan, Job
from audiostyle.batch.ray.cluster import Cluster
from audiostyle.batch.request import BatchRequest
from audiostyle.batch.shards import parse_shard
from audiostyle.config.plugins import check_portable
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import DiskError, OutputError
from audiostyle.files.record import to_json_value
from audiostyle.utils.sizes import format_size

logger = logging.getLogger(__name__)

SPARE_BYTES = 4 << 20  # that a pair must leave free for the journal and the results


@dataclass
class BatchResult:
    """The outcome of a batch, or of a shard."""

    out_dir: Path
    rows: results.ResultRows  # one per pair
    computed: int = 0  # pairs that this run computed
    # Outputs that could not be evaluated, each with the reason.
    unevaluated: list[str] = field(default_factory=list)
    allow_failed: bool = False

    def count(self, status: str) -> int:
        """Count the pairs that are ``done``, ``failed``, ``pending`` or ``kept``.

        Outputs that were kept are finished, but were made with other settings.
        """
        return self.rows.count_status()[status]

    @property
    def failures(self) -> dict[tuple[str, str], list[str]]:
        """The names of the pairs that failed by kind and reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for row in self.rows.failed():
            found.setdefault((row["kind"], row["reason"]), []).append(row["pair"])
        return found

    @property
    def exit_code(self) -> int:
        """0 if all pairs are done, 1 if some failed, 3 if none succeeded.

        With `allow_failed`, pairs whose input cannot be used do not count as failed.
        """
        done = self.count("done")
        failed = self.rows.failed() if self.allow_failed else []
        expected = len(self.rows) - sum(row["kind"] in batch_plan.INPUT_KINDS for row in failed)
        if done == expected and not self.unevaluated and (done or not self.rows):
            return 0
        return 1 if done else 3


def run_batch(
    content: str | Path,
    style: str | Path,
    out_dir: str | Path,
    config: TransferConfig | None = None,
    callback: Report | None = None,
    engine: Engine | Cluster | None = None,
    **options: Any,
) -> BatchResult:
    """Apply many styles to many contents; finished pairs are not computed again.

    Parameters
    ----------
    content, style : str or Path
        A folder, a glob, ``@FILE`` (a list) or a file.
    out_dir : str or Path
        Folder of the outputs; created if it does not exist.
    config : TransferConfig, optional
    callback : callable, optional
        Receives the plan, all events of `audiostyle.batch.engine`, every `Stage` and `Iteration`,
        and at the end the `BatchResult`.
    engine : Engine or Cluster, optional
        Where the pairs are computed; by default in this process.
    **options
        Fields of `audiostyle.batch.request.BatchRequest`: ``pair`` (``product``, ``zip``,
        ``random:N`` or ``csv:FILE``), ``vary`` (values by the name of a parameter, or of
        ``preset``: all their combinations are computed), ``by`` (``clip``, or ``genre`` to make one
        style of all clips of a genre), ``content_genre``, ``style_genre``, ``exclude`` (patterns),
        ``limit``, ``shuffle``, ``name`` (template of the output names), ``evaluate``,
        ``allow_failed``, ``retry_failed``, ``force``, ``shard`` (such as ``2/8``), ``verbose``; and
        as for `transfer_file` ``start``, ``duration``, ``preview``, ``only``, ``subtype``,
        ``device``, ``threads``, ``deterministic`` and ``preset``.

    Returns
    -------
    BatchResult
        Failed pairs are among its rows, and raise nothing.

    Raises
    ------
    ConfigError, AudioFileError, OutputError
        Before any computation, if the plan is not valid.
    BusyError
        If another process works in `out_dir`.
    DiskError, DeviceError, EngineError, WeightsError, MissingPackageError
        If every other pair would fail too. The journal is intact.
    """
    request = BatchRequest(str(content), str(style), Path(out_dir), **options)
    return run_batch_request(request, config or TransferConfig(), callback, engine)


def run_batch_request(
    request: BatchRequest,
    config: TransferConfig,
    callback: Report | None = None,
    engine: Engine | Cluster | None = None,
) -> BatchResult:
    """Run a `BatchRequest`; see `run_batch`."""

    def report(event: Any) -> Any:
        _log_event(event)
        return callback(event) if callback is not None else None

    if isinstance(engine, Cluster):
        engine.check(request.device)
    pairs = batch_plan.plan_pairs(request, config)  # before a folder is created
    if isinstance(engine, Cluster):
        for variant in {pair.variant for pair in pairs.pairs}:
            check_portable(variant.config)
    try:
        request.out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(request.out_dir, error) from None
    with Journal(request.out_dir, parse_shard(request.shard)) as journal:
        with journal.check_alone() as alone:
            if alone:
                _remove_partial_files(request.out_dir)
        plan = batch_plan.make_batch_plan(request, config, journal.state, pairs)
        _log_plan(journal, request, config, plan)
        report(plan)
        rows = results.ResultRows(plan.pairs, journal.state, plan.kept)
        result = BatchResult(request.out_dir, rows, allow_failed=request.allow_failed)
        try:
            if plan.jobs:
                runner = _make_engine(engine, request, plan)
                for event in runner.run(plan.jobs, report):
                    _record(event, journal, result, report)
        except BaseException:
            with contextlib.suppress(OutputError):  # the first error says more
                _write_results(journal, plan, result.rows)
            raise
        else:
            try:
                _write_results(journal, plan, result.rows)
            except OutputError as error:  # an error of the folder, not of a pair
                raise DiskError(str(error)) from None
        finally:
            report(result)
    return result


def _log_event(event: Any) -> None:
    """Log what is not a result; stages and iterations are logged where they happen."""
    match event:
        case BatchPlan():
            for note in event.notes:
                logger.info("%s", note)
            for line in event.kept_lines:
                logger.warning("%s", line)
        case Note():
            logger.info("%s", event.text)
        case Done():
            logger.info("%s: done in %.1f s", event.job.pair.id, event.seconds)
        case Failed():
            logger.warning("%s: failed, %s: %s", event.job.pair.id, event.kind, event.reason)
        case Lost():
            logger.warning("%s: is tried again: %s", event.job.pair.id, event.reason)
        case Evaluated(scores=None):
            logger.warning("%s: not evaluated: %s", event.job.pair.id, event.reason)


def _remove_partial_files(folder: Path) -> None:
    """Remove what killed processes left unfinished; call it while no other process is active."""
    for part in folder.rglob(".audiostyle-*.part"):
        with contextlib.suppress(OSError):
            part.unlink()


def _write_results(journal: Journal, plan: BatchPlan, rows: results.ResultRows) -> None:
    """Write the results; of several shards, the last to end writes those of all."""
    folder = journal.path.parent
    with journal.check_alone() as alone:
        if not alone:
            return
        _remove_partial_files(folder)  # of workers that were killed
        if len(plan.whole) > len(plan.pairs):
            rows = results.ResultRows(plan.whole, read(folder))
        results.write_results(folder, rows)
        results.write_skipped(folder, plan.skipped)


def _make_engine(engine: Engine | Cluster | None, request: BatchRequest, plan: BatchPlan) -> Engine:
    if isinstance(engine, Cluster):
        from audiostyle.batch.ray.engine import RayEngine

        return RayEngine(request, engine)
    if engine is not None:
        return engine
    if any(job.evaluate for job in plan.jobs):
        from audiostyle.evaluation.content_metrics import require_mir_eval

        require_mir_eval()
    from audiostyle.batch.worker import PairWorker

    return InProcess(PairWorker(request))


def _log_plan(
    journal: Journal, request: BatchRequest, config: TransferConfig, plan: BatchPlan
) -> None:
    """Append what the journal does not hold yet: run, plan, inputs, and pairs that must fail."""
    ids = sorted(pair.id for pair in plan.pairs)
    shard = str(parse_shard(request.shard) or "")
    events: list[Mapping[str, Any]] = []
    if ids != journal.state.plans.get(shard):
        events.append({"event": "plan", **({"shard": shard} if shard else {}), "pairs": ids})
    events += plan.events
    for failure in plan.failed:
        known = journal.state.pairs.get(failure["pair"], PairState())
        if (known.status, known.fingerprint) != ("failed", failure["fingerprint"]):
            events.append({"event": "failed", "seconds": 0.0, **failure})
    if plan.jobs or events:
        run = {
            "event": "run",
            "version": audiostyle.__version__,
            "request": {**dataclasses.asdict(request), "out_dir": str(request.out_dir)},
            "parameters": config.to_dict(),
        }
        journal.append(to_json_value(run), *events)


def _record(event: Event, journal: Journal, result: BatchResult, report: Report) -> None:
    """Append the line of an event to the journal, count it in the result, and report it."""
    if isinstance(event, Started):
        report(event)  # may raise, before the pair is started
        _check_disk(result.out_dir, event.job)
    elif isinstance(event, Done):
        result.computed += 1
    elif isinstance(event, Evaluated) and event.scores is None:
        result.unevaluated.append(f"{event.job.pair.id}: {event.reason}")
    # On a full disk the line of an abandoned pair fails too; the error that follows says more.
    with contextlib.suppress(*([DiskError] if isinstance(event, Abandoned) else [])):
        journal.append(_make_line(event))
    if not isinstance(event, Started):
        report(event)


def _make_line(event: Event) -> dict[str, Any]:
    """Return the line of the journal for an event."""
    job = event.job
    pair = {"pair": job.pair.id, "fingerprint": job.fingerprint}
    if isinstance(event, Started):
        return {"event": "started", **pair, **({"watched": True} if event.watched else {})}
    if isinstance(event, Done):
        facts = {
            "size": event.size,
            "seconds": round(event.seconds, 3),
            "content_seconds": job.seconds,
            "settings": job.settings,
            "inputs": inputs_digest(job.digests.values()),
        }
        return {"event": "done", **pair, **facts, **event.summary}
    if isinstance(event, Failed):
        failure = {"kind": event.kind, "reason": event.reason, "seconds": round(event.seconds, 3)}
        return {"event": "failed", **pair, **failure}
    if isinstance(event, Lost):
        return {"event": "lost", **pair, "reason": event.reason}
    if isinstance(event, Evaluated):
        return {"event": "scored", **pair, "scores": event.scores, "reason": event.reason}
    return {"event": "interrupted", **pair}


def _check_disk(folder: Path, job: Job) -> None:
    """Stop before the disk is full: a pair that cannot be written is not started."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:  # the folder was removed, or cannot be entered any more
        raise disk_error(folder, error) from None
    if free < job.n_bytes + SPARE_BYTES:
        raise DiskError(
            f"{folder}: the disk is full ({format_size(free)} free); free space, and run the same "
            "command again"
        )


def failed_lines(result: BatchResult) -> list[str]:
    """Format the failures of a batch: one line per kind and reason."""
    lines = []
    for (kind, reason), pairs in sorted(result.failures.items()):
        which = pairs[0] if len(pairs) == 1 else f"{len(pairs)} pairs, such as {pairs[0]}"
        lines.append(f"{kind}: {reason} ({which})")
    return lines
