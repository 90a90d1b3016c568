"""A batch as a person runs it: signals, progress, messages, exit codes. No parsing, no sound."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiostyle.batch import engine as batch_engine
from audiostyle.batch import journal, plan, run, shards
from audiostyle.batch.engine import Engine, Started, Waiting
from audiostyle.batch.plan import BatchPlan
from audiostyle.batch.ray.cluster import Cluster
from audiostyle.batch.request import BatchRequest
from audiostyle.batch.status import batch_status, render_status
from audiostyle.cli.batch_progress import BatchProgress, as_event, duration_text
from audiostyle.config.plugins import check_portable
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError, AudioStyleError, BusyError, ConfigError, Interrupted
from audiostyle.events import Iteration, Stage
from audiostyle.files import record
from audiostyle.utils.interrupts import Interrupt

Echo = Callable[[str], None]


class BatchInterrupt(Interrupt):
    """The first signal gives the current pair up as soon as that is clean, the second at once.

    A pair whose descent is over is finished: that takes a moment, and would be lost otherwise.
    """

    def _handle(self, number: int, _frame: object) -> None:
        if self.stage == "done":
            return
        self.signals += 1
        self.code = 128 + number
        if self.signals > 1 or not self.stage:
            raise Interrupted(self.code)
        self._echo("stopping; what is done stays done (once more to stop now)")

    def poll(self, event: Any) -> None:
        """Stop here, if a signal came and nothing is lost by it.

        Parameters
        ----------
        event : object

        Raises
        ------
        Interrupted
            If a signal came and nothing is lost by it.
        """
        if isinstance(event, Started):
            self.stage = "pair"
        gives_up = (
            isinstance(event, (Iteration, Waiting))
            or (isinstance(event, Started) and not event.watched)
            or (isinstance(event, Stage) and event.name != "inversion")
        )
        if self.signals and gives_up:
            raise Interrupted(self.code)


def run_batch_command(
    request: BatchRequest,
    config: TransferConfig,
    *,
    echo: Echo,
    publish: Echo,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
    engine: Engine | Cluster | None = None,
) -> int:
    """Run a batch and report on it.

    Parameters
    ----------
    request : BatchRequest
    config : TransferConfig
    echo : callable
        Gets every line for people.
    publish : callable
        Gets the stream of events as JSON lines, if `as_json`, or the plan of a dry run.
    as_json, quiet, dry_run : bool
    engine : Engine or Cluster, optional

    Returns
    -------
    int
        0 all is done; 1 some failed; 2 a side is not there, or the output is in the way; 3 nothing
        succeeded, or there is nothing to do it with; 4 the disk, the device or another process is
        in the way; 130 or 143 after a signal.

    Raises
    ------
    ConfigError, OutputError
        If the request cannot be carried out as it is.
    """
    say: Echo = (lambda text: None) if quiet else echo
    try:
        if request.shard is None and (shard := shards.shard_of_slurm(os.environ)):
            request.shard = shard
            say(f"shard {shard}, as SLURM_ARRAY_TASK_ID says; --shard 1/1 runs the whole")
        if isinstance(engine, Cluster):
            engine.check(request.device)
            check_portable(config)
        if dry_run:
            planned = _foretell(request, config, engine)
            publish(_to_line(as_event(planned, names=True)) if as_json else _show_plan(planned))
            return 0
        return _run(request, config, say, echo, publish if as_json else None, engine)
    except (*batch_engine.ENVIRONMENT, BusyError) as error:
        return _fail(error, 4, echo, publish if as_json else None)
    except ConfigError:
        raise
    except AudioStyleError as error:
        # An output that is in the way, or a side that is not there, is a mistake in the command; a
        # side without clips is not.
        empty = isinstance(error, AudioFileError) and error.kind != "missing"
        code = 3 if empty else 2
        return _fail(error, code, echo, publish if as_json else None)


def _foretell(
    request: BatchRequest, config: TransferConfig, engine: Engine | Cluster | None
) -> BatchPlan:
    """Plan a batch; several workers take the time of one between them."""
    request.check()
    planned = plan.make_batch_plan(request, config, journal.read(request.out_dir))
    if isinstance(engine, Cluster) and engine.workers and planned.seconds:
        planned.seconds /= engine.workers
    return planned


def _run(
    request: BatchRequest,
    config: TransferConfig,
    say: Echo,
    echo: Echo,
    publish: Echo | None,
    engine: Engine | Cluster | None,
) -> int:
    progress = BatchProgress(say, quiet=publish is not None)
    results: list[run.BatchResult] = []
    interrupt = BatchInterrupt(say)
    with interrupt:

        def callback(event: Any) -> None:
            if isinstance(event, run.BatchResult):
                results.append(event)
                return
            progress(event)
            if request.verbose and isinstance(event, batch_engine.Failed) and event.trace:
                echo(event.trace)
            if publish is not None and (found := as_event(event)):
                publish(_to_line(found))
            interrupt.poll(event)

        try:
            code = run.run_batch_request(request, config, callback, engine).exit_code
        except Interrupted as error:
            code = error.code
            if not results:
                echo("audiostyle: error: interrupted; nothing was begun")
        finally:
            interrupt.stage = "done"
            progress.close()
            if results:
                _report(results[0], say, echo)
        if publish is not None:
            publish(_to_line({**_counts(results), "event": "end", "exit_code": code}))
    return code


def _counts(results: list[run.BatchResult]) -> dict[str, int]:
    names = ("done", "failed", "pending")
    return {name: results[0].count(name) for name in names} if results else {}


def _report(result: run.BatchResult, say: Echo, echo: Echo) -> None:
    for line in run.failed_lines(result):
        echo(f"failed: {line}")
    for line in result.unevaluated:
        echo(f"not evaluated: {line}")
    pending = result.count("pending")
    say(
        f"{os.path.abspath(result.out_dir)}: {result.count('done')} done ({result.computed} now), "
        f"{result.count('failed')} failed"
        + (f", {pending} left; the same command goes on" if pending else "")
    )


def _fail(error: AudioStyleError, code: int, echo: Echo, publish: Echo | None) -> int:
    message = " ".join(str(error).split())
    echo(f"audiostyle: error: {message}")
    if publish is not None:
        publish(_to_line({"event": "error", "reason": message, "exit_code": code}))
    return code


def _to_line(event: dict[str, Any]) -> str:
    return json.dumps(record.to_json_value(event), allow_nan=False) + "\n"


def _show_plan(planned: BatchPlan) -> str:
    """Write a plan for people: names, then the sums."""
    computed = sum(job.compute for job in planned.jobs)
    judged = sum(job.evaluate for job in planned.jobs)
    lines = [f"{job.pair.id}" for job in planned.jobs]
    lines += [f"cannot be done: {f['pair']} ({f['kind']}: {f['reason']})" for f in planned.failed]
    lines += planned.notes
    lines.append(
        f"{len(planned.pairs)} pairs: {len(planned.done)} done, {computed} to compute, "
        f"{len(planned.failed)} that cannot be done" + (f", {judged} to evaluate" if judged else "")
    )
    lines.append(
        f"disk: about {planned.n_bytes / 1e6:.1f} MB needed, {planned.free_bytes / 1e6:.0f} MB free"
    )
    if planned.seconds is not None:
        basis = "as measured in this folder" if planned.measured else "a rule of thumb for 2 cores"
        lines.append(f"time: about {duration_text(planned.seconds)} ({basis})")
    return "\n".join(lines) + "\n"


def run_status(folder: Path, *, publish: Echo, as_json: bool) -> int:
    """Say how far a batch is.

    Parameters
    ----------
    folder : Path
    publish : callable
        Gets the answer, as text or as JSON.
    as_json : bool

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    AudioFileError
        If there is no journal.
    """
    status = batch_status(folder)
    publish(record.to_json(status) if as_json else render_status(status))
    return 0


def run_style(
    source: Path,
    output: Path,
    config: TransferConfig,
    *,
    force: bool,
    device: str,
    threads: int,
    deterministic: bool,
    echo: Echo,
    publish: Echo,
    as_json: bool,
    quiet: bool,
) -> int:
    """Save the style of a folder and report on it.

    Parameters
    ----------
    source, output : Path
    config : TransferConfig
    force : bool
    device : str
    threads : int
    deterministic : bool
    echo, publish : callable
    as_json, quiet : bool

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    AudioStyleError
    """
    from audiostyle.files import transfer

    say: Echo = (lambda text: None) if quiet else echo

    def callback(event: Any) -> None:
        if isinstance(event, Stage) and event.name == "style":
            say(f"listening to {event.detail}")

    with Interrupt(say):
        about = transfer.make_style_file(
            source,
            output,
            config,
            callback,
            force=force,
            device=device,
            threads=threads,
            deterministic=deterministic,
        )
    for line in _describe_style(about, output):
        say(line)
    if as_json:
        publish(record.to_json(about))
    return 0


def _describe_style(about: dict[str, Any], output: Path) -> list[str]:
    """Say what is in a style file, and first what is not."""
    skipped = [f"skipped {clip['reason']}" for clip in about["skipped"]]
    size = f"{output.stat().st_size / 1e6:.1f} MB"
    made = f"{output.resolve()} ({len(about['clips'])} clips, {about['seconds']:.0f} s, {size})"
    return [*about["notes"], *skipped, made]
