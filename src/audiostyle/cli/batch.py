"""The command ``batch``, and the events that it prints for programs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from audiostyle.cli.options import (
    CLUSTER_OPTIONS,
    CONTENT_OPTIONS,
    SUBTYPE,
    command,
    command_line,
    option,
    option_group,
    output_option,
    parameter_options,
    take_cluster,
    take_parameters,
    verbose_option,
)
from audiostyle.cli.progress import (
    BatchProgress,
    Console,
    format_duration,
    join_counts,
    listen_hint,
)
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.config.variants import parse_vary
from audiostyle.errors import AudioFileError, AudioStyleError, BusyError, ConfigError, Interrupted
from audiostyle.events import Iteration, Stage
from audiostyle.utils.interrupts import Interrupt
from audiostyle.utils.sizes import format_size

if TYPE_CHECKING:
    from audiostyle.batch.engine import Engine
    from audiostyle.batch.plan import BatchPlan
    from audiostyle.batch.ray.cluster import Cluster
    from audiostyle.batch.request import BatchRequest
    from audiostyle.batch.run import BatchResult

SCHEMA = 1  # of the events
INPUT = click.Path(readable=False)  # also a pattern or @FILE; the shell completes it as a file


@command(
    "batch",
    "genres/jazz genres/classical -o out --by genre",
    "genres genres -o out --content-genre jazz --style-genre classical --limit 50",
    '"songs/*.mp3" classical.style.npz -o out --name "{content_genre}/{content}.flac"',
    "@songs.txt genres -o out --by genre --pair random:2 --evaluate",
    "song.wav strings.wav -o takes --vary strength=.4,.7,1 --vary preset=fast,balanced",
    "genres/jazz genres/classical -o out --by genre --dry-run",
    "genres/jazz genres/classical -o out --engine ray --ray-address auto",
    "genres/jazz genres/classical -o out --shard 2/8",
    usage="-o FOLDER [OPTIONS]",
    help="""Apply the style of every STYLE to every CONTENT; run it again to resume.

    CONTENT and STYLE are each a folder with all its subfolders, a glob in quotes, @FILE (a list of
    paths, one per line, relative to the list) or a file; STYLE may also be a style file. A broken
    input affects only its own pairs. The same command, run again, processes only what is missing,
    has failed, or whose input changed.
    """,
    details="""
    The layout of GTZAN is supported: --content-genre jazz --style-genre classical. All inputs are
    checked first. FOLDER/journal.jsonl records which pairs are done; an output that was made with
    other parameters is kept unless --force is given. FOLDER/results.csv and FOLDER/results.jsonl
    hold one row per pair.

    Exit codes: 0 all done; 1 some pairs failed, or some outputs were kept; 2 usage error; 3 no pair
    succeeded; 4 disk full, device missing, cluster unusable, or folder in use (nothing is lost);
    130 and 143 after a signal: the first signal stops the current pair cleanly, the second at once.
    """,
    common=(
        *("--output", "--by", "--limit", "--preset", "--strength", "--vary", "--evaluate"),
        *("--dry-run", "--config", "--force", "--quiet", "--verbose"),
    ),
)
@click.argument("content", type=INPUT)
@click.argument("style", type=INPUT)
@option_group(
    "Output",
    output_option(
        "FOLDER",
        "Write outputs, journal and results to this folder; create it if needed.",
        "out_dir",
    ),
    option(
        "--name",
        "Name the outputs by this template of {content}, {style}, {content_genre}, {style_genre}, "
        "{content_id}, {style_id} and parameters such as {strength}; / makes folders. What varies "
        "is added if it is not named.  [default: {content}__{style}.wav]",
        "TEMPLATE",
        default="{content}__{style}.wav",
    ),
    SUBTYPE,
    option(
        "--evaluate",
        "Evaluate every output as audiostyle evaluate does, and add the scores to the results.",
    ),
    option("--json as_json", "Print events to standard output, one JSON document per line."),
    option("-q --quiet", "Print only what failed."),
    verbose_option(),
)
@option_group(
    "Plan",
    option(
        "--pair",
        "Pair each content with each style; the first with the first and so on; each with N styles "
        "drawn by --seed; or as listed in the columns content and style of a table, whose other "
        "columns are parameters.  "
        "[default: product]",
        "[product|zip|random:N|csv:FILE]",
        default="product",
    ),
    option(
        "--vary",
        "Process every pair with each of these values of a parameter (an option with _ for -), or "
        "of preset; give the option again for all combinations. Lists of weights are separated by "
        ";.  [default: none]",
        "NAME=VALUE,...",
        multiple=True,
    ),
    option(
        "--by",
        "Treat each clip as one style, or all clips of a genre (a folder).  [default: clip]",
        "[clip|genre]",
        default="clip",
    ),
    option("--content-genre", "Use only this genre of CONTENT.  [default: all]", "NAME"),
    option("--style-genre", "Use only this genre of STYLE.  [default: all]", "NAME"),
    option(
        "--exclude",
        "Leave out files of CONTENT and STYLE whose name, or path below it, matches this pattern; "
        "give the option again for more.  [default: none]",
        "PATTERN",
        multiple=True,
    ),
    option(
        "--limit", "Process at most this many pairs.  [at least 1; default: all]", "N", type=int
    ),
    option("--shuffle", "Draw the pairs of --limit at random, by --seed."),
    option("-n --dry-run", "Print names, counts, and the disk space and time needed, and stop."),
    option(
        "--retry-failed",
        "Retry also pairs that will probably fail again: after a crash, or with unusable inputs.",
    ),
    option(
        "--allow-failed",
        "Exit with 0 although pairs failed because of an input that cannot be used; another "
        "failure, or no success at all, still counts.",
    ),
    option("-f --force", "Process all pairs again, and replace outputs that exist."),
)
@option_group("Input", *CONTENT_OPTIONS)
@parameter_options(
    option(
        "--engine",
        "Compute in this process, or on the workers of a Ray cluster.  [default: local]",
        "[local|ray]",
        default="local",
    ),
    option(
        "--shard",
        "Process only part I of N; other processes may process the other parts at the same time.  "
        "[I from 1 to N; default: SLURM_ARRAY_TASK_ID if set, else all]",
        "I/N",
    ),
)
@option_group("Cluster", *CLUSTER_OPTIONS)
def batch_command(as_json: bool, quiet: bool, dry_run: bool, **options: Any) -> int:
    """Run ``audiostyle batch``."""
    vary = _take_vary(options)
    preset, given = take_parameters(options)
    config = TransferConfig.from_preset(preset, **given)
    engine = take_cluster(options)

    from audiostyle.batch.engine import ENVIRONMENT
    from audiostyle.batch.request import BatchRequest
    from audiostyle.batch.shards import shard_of_slurm
    from audiostyle.files.record import to_json_value

    request = BatchRequest(
        preset=preset, vary=vary, overrides=given, command=command_line(), **options
    )
    console = Console(quiet, options["verbose"])

    def publish(event: dict[str, Any]) -> None:
        if as_json and event:
            console.publish(json.dumps(to_json_value(event), allow_nan=False) + "\n")

    try:
        if request.shard is None and (shard := shard_of_slurm(os.environ)):
            request.shard = shard
            console.echo(f"shard {shard}, from SLURM_ARRAY_TASK_ID; --shard 1/1 runs the whole")
        if not dry_run:
            progress = None if as_json else BatchProgress(console)
            return _run(request, config, console, engine, progress, publish)
        plan = to_event(_plan(request, config, engine), names=True)
        publish(plan)
        if not as_json:
            console.publish(_render_plan(plan))
        return 0
    except ConfigError:
        raise
    except AudioStyleError as error:
        if isinstance(error, (*ENVIRONMENT, BusyError)):
            code = 4
        else:
            # A folder without clips leaves nothing to do; a folder that does not exist, or an
            # output that is in the way, is a mistake in the command.
            code = 3 if isinstance(error, AudioFileError) and error.kind != "missing" else 2
        return console.fail(error, str(error), code, as_json)


def _take_vary(options: dict[str, Any]) -> dict[str, list[Any]]:
    """Remove and parse ``--vary``; what varies cannot be given by its own option too."""
    vary: dict[str, list[Any]] = {**parse_vary(options.pop("vary"))}
    for name in vary:
        if options.get(name) is not None:
            raise ConfigError(f"--vary {name} and --{name.replace('_', '-')} exclude each other")
    return vary


def _plan(
    request: BatchRequest, config: TransferConfig, engine: Engine | Cluster | None
) -> BatchPlan:
    from audiostyle.batch import journal
    from audiostyle.batch.plan import make_batch_plan
    from audiostyle.batch.ray.cluster import Cluster
    from audiostyle.config.plugins import check_portable

    request.check()
    if isinstance(engine, Cluster):
        engine.check(request.device)
    plan = make_batch_plan(request, config, journal.read(request.out_dir))
    if isinstance(engine, Cluster):
        for variant in {pair.variant for pair in plan.whole}:
            check_portable(variant.config)
    if isinstance(engine, Cluster) and engine.workers and plan.seconds:
        plan.seconds /= engine.workers
    return plan


def _run(
    request: BatchRequest,
    config: TransferConfig,
    console: Console,
    engine: Engine | Cluster | None,
    progress: BatchProgress | None,
    publish: Callable[[dict[str, Any]], None],
) -> int:
    from audiostyle.batch.engine import Failed
    from audiostyle.batch.plan import BatchPlan
    from audiostyle.batch.run import BatchResult, run_batch_request

    results: list[BatchResult] = []
    interrupt = BatchInterrupt(console.echo)

    def callback(event: Any) -> None:
        if isinstance(event, BatchResult):
            results.append(event)
            return
        if progress is not None:
            progress(event)
        if isinstance(event, BatchPlan):
            for line in event.kept_lines:
                console.echo(line, always=True)
        if request.verbose and isinstance(event, Failed) and event.trace:
            console.echo(event.trace, always=True)
        publish(to_event(event))
        interrupt.poll(event)

    with interrupt:
        try:
            code = run_batch_request(request, config, callback, engine).exit_code
        except Interrupted as error:
            code = error.code
            if not results:
                console.echo("audiostyle: error: interrupted; nothing was started", always=True)
        finally:
            interrupt.stage = "done"
            if progress is not None:
                progress.close()
            counts = {}
            for result in results:
                counts = {
                    name: result.count(name) for name in ("done", "failed", "pending", "kept")
                }
                _echo_result(result, counts, console)
        publish({**counts, "event": "end", "exit_code": code})
    return code


def _echo_result(result: BatchResult, counts: dict[str, int], console: Console) -> None:
    from audiostyle.batch.run import failed_lines

    for line in failed_lines(result):
        console.echo(f"failed: {line}", always=True)
    for line in result.unevaluated:
        console.echo(f"not evaluated: {line}", always=True)
    left = f", {counts['kept']} kept as they were" if counts["kept"] else ""
    left += f", {counts['pending']} left; the same command goes on" if counts["pending"] else ""
    hint = f"; compare by ear: {listen_hint(result.out_dir, f'{result.out_dir}.html')}"
    console.echo(
        f"{os.path.abspath(result.out_dir)}: {counts['done']} done ({result.computed} now), "
        f"{counts['failed']} failed{left}{hint if counts['done'] else ''}"
    )


def _render_plan(plan: dict[str, Any]) -> str:
    """Write the event ``plan`` for people."""
    from audiostyle.batch.earlier import kept_line

    kept = Counter((entry["made_with"], entry["asked"]) for entry in plan["kept"])
    counts = {
        "done": plan["done"],
        "to compute": plan["to_compute"],
        "kept as they are": len(plan["kept"]),
        "that cannot be done": len(plan["failed"]),
        "to evaluate": plan["to_evaluate"],
    }
    lines = [
        *plan["names"],
        *(f"cannot be done: {f['pair']} ({f['kind']}: {f['reason']})" for f in plan["failed"]),
        *plan["notes"],
        *(kept_line(number, which) for which, number in kept.items()),
        f"{plan['pairs']} pairs: {join_counts(counts)}",
        f"disk: about {format_size(plan['bytes_needed'])} needed, "
        f"{format_size(plan['bytes_free'])} free",
    ]
    if plan["seconds"] is not None:
        basis = "as measured in this folder" if plan["measured"] else "a rule of thumb for 2 cores"
        lines.append(f"time: about {format_duration(plan['seconds'])} ({basis})")
    return "\n".join(lines) + "\n"


class BatchInterrupt(Interrupt):
    """Stops the current pair at the first signal, as soon as that is clean, and at the second now.

    A pair whose optimisation has ended is completed: that takes a moment, and saves the work.
    """

    def _handle(self, number: int, _frame: object) -> None:
        if self.stage == "done":
            return
        self.signals += 1
        self.code = 128 + number
        if self.signals > 1 or not self.stage:
            raise Interrupted(self.code)
        self._echo("stopping; what is done stays done (interrupt again to stop now)")

    def poll(self, event: Any) -> None:
        """Raise `Interrupted` if a signal came, and nothing is lost by stopping at this event."""
        from audiostyle.batch.engine import Started, can_stop

        if isinstance(event, Started):
            self.stage = "pair"
        if self.signals and can_stop(event):
            raise Interrupted(self.code)


def to_event(event: Any, names: bool = False) -> dict[str, Any]:
    """Return an event as plain data for programs; empty if there is nothing to report.

    ``event`` names its kind: ``plan`` (with the names of its pairs if `names`), ``started``,
    ``stage``, ``step``, ``done``, ``failed``, ``scored``, ``lost``, ``note`` or ``interrupted``.
    """
    from audiostyle.batch import engine
    from audiostyle.batch.plan import BatchPlan

    facts: dict[str, Any] = {}
    match event:
        case BatchPlan():
            return _plan_event(event, names)
        case Stage(name, detail):
            return {"event": "stage", "stage": name, "detail": detail}
        case engine.Note(text):
            return {"event": "note", "text": text}
        case Iteration():
            fields = ("step", "n_steps", "window", "n_windows", "total")
            return {"event": "step", **{n: getattr(event, n) for n in fields}, **event.terms}
        case engine.Started():
            kind = "started"
        case engine.Done():
            kind, facts = "done", {**event.summary, "seconds": round(event.seconds, 3)}
        case engine.Failed():
            kind, facts = "failed", {"kind": event.kind, "reason": event.reason}
        case engine.Evaluated():
            kind, facts = "scored", {"scores": event.scores, "reason": event.reason}
        case engine.Lost():
            kind, facts = "lost", {"reason": event.reason}
        case engine.Abandoned():
            kind = "interrupted"
        case _:
            return {}
    pair = {"pair": event.job.pair.id, "output": str(event.job.output)}
    return {"event": kind, **pair, **facts}


def _plan_event(plan: BatchPlan, names: bool) -> dict[str, Any]:
    event = {
        "event": "plan",
        "schema": SCHEMA,
        "pairs": len(plan.pairs),
        "done": len(plan.done),
        "to_compute": sum(job.compute for job in plan.jobs),
        "to_evaluate": sum(job.evaluate for job in plan.jobs),
        "kept": [
            {"pair": pair, "made_with": made, "asked": asked}
            for pair, (made, asked) in plan.kept.items()
        ],
        "failed": plan.failed,
        "notes": plan.notes,
        "left_out": dict(Counter(entry["reason"] for entry in plan.skipped)),
        "skipped": plan.skipped,
        "bytes_needed": plan.n_bytes,
        "bytes_free": plan.free_bytes,
        "seconds": plan.seconds,
        "measured": plan.measured,
    }
    return event | ({"names": [job.pair.id for job in plan.jobs]} if names else {})
