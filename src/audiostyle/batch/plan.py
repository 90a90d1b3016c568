"""What of a batch is left to do: the plan, a look at every input, and what the journal knows.

Nothing is written here, and TensorFlow is not needed: a batch that is done says so in a second.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.audio.probe import ClipInfo, probe_clip
from audiostyle.batch import inputs as batch_inputs
from audiostyle.batch import journal, pairing, shards
from audiostyle.batch.inputs import BatchInput
from audiostyle.batch.journal import JournalState, PairState
from audiostyle.batch.pairing import Pair
from audiostyle.batch.request import BatchRequest
from audiostyle.config.loss_specs import loss_digests
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError, DiskError, OutputError
from audiostyle.files import record, style_file
from audiostyle.nn import weights
from audiostyle.utils import atomic_files

INPUT_KINDS = ("unreadable", "truncated", "too_short", "silent", "not_finite")
SETTLED = (*INPUT_KINDS, "crashed")
"""Failures that the same input meets again; others may pass, and are tried at the next run."""

RECORD_BYTES = 16_384  # of the record beside an output, roughly
SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}
SECONDS_PER_STEP = 0.05  # a second of sound, on a processor of two cores, with the default network
SECONDS_WITHOUT_STEPS = 0.5  # the same for analysis and inversion


@dataclass(frozen=True)
class Job:
    """A pair that is to be computed, or only judged.

    Attributes
    ----------
    pair : Pair
    output : Path
    fingerprint : str
    digests : dict of str to str
        SHA-256 of every input, by absolute path.
    compute, evaluate : bool
    seconds : float
        How much of the content is styled.
    n_bytes : int
        How much the output takes, roughly.
    """

    pair: Pair
    output: Path
    fingerprint: str
    digests: Mapping[str, str]
    compute: bool
    evaluate: bool
    seconds: float
    n_bytes: int


@dataclass
class BatchPlan:
    """A plan, sorted into what is done, what cannot be done, and what is left.

    Attributes
    ----------
    pairs : list of Pair
        All that were asked for, of this shard.
    jobs : list of Job
        What is left, in the order in which it is best done.
    done : list of str
        Pairs that are done already.
    failed : list of dict
        ``pair``, ``fingerprint``, ``kind`` and ``reason`` of those that cannot be done.
    events : list of dict
        What the journal does not know of the inputs yet.
    notes : list of str
    seconds : float or None
        How long it will take; None if nothing is left.
    measured : bool
        Whether that was measured in this very folder, or is a rule of thumb.
    free_bytes : int
        On the disk of the outputs.
    whole : list of Pair
        Those of all shards.
    """

    pairs: list[Pair]
    jobs: list[Job] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float | None = None
    measured: bool = False
    free_bytes: int = 0
    whole: list[Pair] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        """How much the outputs that are left take."""
        return sum(job.n_bytes for job in self.jobs if job.compute)


def make_batch_plan(
    request: BatchRequest, config: TransferConfig, state: JournalState
) -> BatchPlan:
    """Plan a batch, and find out what of it is left to do.

    Parameters
    ----------
    request : BatchRequest
    config : TransferConfig
    state : State
        What the journal says.

    Returns
    -------
    BatchPlan

    Raises
    ------
    ConfigError
        If a value cannot be right.
    AudioFileError
        If a side holds nothing.
    OutputError
        If outputs collide, would be written on an input, or would replace what is not the batch's.
    DiskError
        If the disk is too small for what is left.
    """
    request.check()
    whole = plan_pairs(request, config)
    pairs = shards.select_shard(whole, shards.parse_shard(request.shard))
    schedule = BatchPlan(pairs, whole=whole)
    inputs = {path for pair in pairs for path in pair.inputs}
    facts, digests = _look_at(inputs, config, state, schedule)
    _note_genres(pairs, facts, schedule)
    parameters = result_parameters(request, config)
    suspects: list[Job] = []
    for pair in pairs:
        fingerprint = _fingerprint(pair, parameters, facts, digests)
        known = state.pairs.get(pair.id, PairState())
        fault = _fault(pair, facts) or _settled(known, fingerprint, request)
        if fault:
            failed = {"pair": pair.id, "fingerprint": fingerprint, **fault}
            schedule.failed.append(failed)
            continue
        done = not request.force and is_done(known, fingerprint, request.out_dir / pair.id)
        evaluate = request.evaluate and not (done and known.scores is not None)
        if done:
            schedule.done.append(pair.id)
        if not done or evaluate:
            job = _job(pair, request, fingerprint, facts, digests, not done, evaluate)
            # What took the process down with it once shall not stand before all others again.
            (suspects if known.starts else schedule.jobs).append(job)
    schedule.jobs += suspects
    _check_existing(schedule.jobs, state, request.force, config)
    _estimate(schedule, request, config, state)
    return schedule


def plan_pairs(request: BatchRequest, config: TransferConfig) -> list[Pair]:
    """Find both sides and pair them; see `make_batch_plan`."""
    out_dir = request.out_dir
    contents = batch_inputs.find_inputs(
        request.content, genre=request.content_genre, leave_out=out_dir
    )
    styles = batch_inputs.find_inputs(
        request.style, styles=True, genre=request.style_genre, leave_out=out_dir
    )
    if request.by == "genre":
        styles = batch_inputs.join_genres(styles)
    couples = pairing.pair_inputs(contents, styles, request.pair, config.seed)
    pairs = pairing.name_pairs(couples, request.name)
    pairing.check_output_paths(pairs, out_dir, (request.content, request.style))
    return pairing.select_pairs(pairs, request.limit, request.shuffle, config.seed)


def result_parameters(request: BatchRequest, config: TransferConfig) -> dict[str, Any]:
    """Return all that changes what a pair sounds like, but for its inputs.

    Parameters
    ----------
    request : BatchRequest
    config : TransferConfig

    Returns
    -------
    dict of str to object
    """
    return {
        **config.to_dict(),
        "weights": weights.provenance(config.network, config.weights).get("sha256"),
        "loss_sources": loss_digests(config.losses),
        **{name: getattr(request, name) for name in ("start", "duration", "preview", "subtype")},
        "audiostyle": audiostyle.__version__,
        # Only then is it promised that the same bytes come again.
        **({"deterministic": True, "threads": request.threads} if request.deterministic else {}),
    }


def is_done(known: PairState, fingerprint: str, output: Path) -> bool:
    """Tell whether the journal vouches for an output that is still there, as long as it was.

    Parameters
    ----------
    known : PairState
    fingerprint : str
    output : Path

    Returns
    -------
    bool
    """
    vouched = known.status == "done" and known.fingerprint == fingerprint
    return vouched and matches(known, output)


def matches(known: PairState, output: Path) -> bool:
    """Tell whether an output is there, as long as it was when it was done; see `is_done`."""
    try:
        return bool(output.stat().st_size == known.facts["size"])
    except (OSError, KeyError):
        return False


def _look_at(
    paths: set[Path], config: TransferConfig, state: JournalState, schedule: BatchPlan
) -> tuple[dict[Path, ClipInfo], dict[str, str]]:
    """Probe the inputs and take their digests, unless the journal remembers them."""
    known = journal.known_digests(state, paths)
    facts: dict[Path, ClipInfo] = {}
    digests: dict[str, str] = {}
    for path in sorted(paths):
        if style_file.is_style_file(path):
            facts[path] = _look_at_style(path, config)
        recalled = ClipInfo.from_record(known[path]["facts"]) if path in known else None
        if recalled is not None and not style_file.is_style_file(path):
            facts[path] = recalled
            digests[os.path.abspath(path)] = known[path]["sha256"]
            continue
        try:
            if path not in facts:
                facts[path] = probe_clip(path)
            digest = atomic_files.file_digest(path)
            event = journal.input_event(path, digest, dataclasses.asdict(facts[path]))
        except OSError as error:
            reason = f"{path}: cannot be read ({error.strerror})"
            facts[path] = ClipInfo(kind="unreadable", reason=reason)
            digest = ""
        else:
            # What is no fault of the file is not remembered of it.
            lasting = facts[path].kind in ("", *INPUT_KINDS)
            schedule.events += [event] if lasting and recalled is None else []
        digests[os.path.abspath(path)] = digest
    return facts, digests


def _look_at_style(path: Path, config: TransferConfig) -> ClipInfo:
    """Read a style file: a damaged one costs its pairs; one that does not fit is a mistake."""
    try:
        style_file.load_style(path, config)
    except AudioFileError as error:
        return ClipInfo(kind=error.kind, reason=str(error))
    return ClipInfo()


def _good_clips(source: BatchInput, facts: Mapping[Path, ClipInfo]) -> list[Path]:
    return [clip for clip in source.clips if not facts[clip].kind]


def _note_genres(
    pairs: Sequence[Pair], facts: Mapping[Path, ClipInfo], schedule: BatchPlan
) -> None:
    """Say which clips of a genre are left out: they cost no pair."""
    for style in {pair.style.key: pair.style for pair in pairs}.values():
        good = _good_clips(style, facts)
        if len(style.clips) > 1 and good:
            schedule.notes += [f"left out {facts[c].reason}" for c in style.clips if facts[c].kind]


def _fault(pair: Pair, facts: Mapping[Path, ClipInfo]) -> dict[str, str]:
    for source in (pair.content, pair.style):
        if not _good_clips(source, facts):
            found = facts[source.clips[0]]
            return {"kind": found.kind, "reason": found.reason}
    return {}


def _settled(known: PairState, fingerprint: str, request: BatchRequest) -> dict[str, str]:
    """Return the failure of a pair that need not be tried again."""
    if known.fingerprint != fingerprint or request.retry_failed or request.force:
        return {}
    if known.starts >= journal.CRASHES:
        reason = (
            f"{known.starts} times the process ended while it worked on this pair; "
            "use --retry-failed to try again"
        )
        return {"kind": "crashed", "reason": reason}
    facts = known.facts if known.status == "failed" else {}
    if facts.get("kind") in SETTLED:
        return {name: facts[name] for name in ("kind", "reason")}
    return {}


def _fingerprint(
    pair: Pair,
    parameters: Mapping[str, Any],
    facts: Mapping[Path, ClipInfo],
    digests: Mapping[str, str],
) -> str:
    clips = _good_clips(pair.style, facts) or list(pair.style.clips)
    return journal.fingerprint(
        parameters,
        digests[os.path.abspath(pair.content.path)],
        [digests[os.path.abspath(clip)] for clip in clips],
    )


def _job(
    pair: Pair,
    request: BatchRequest,
    fingerprint: str,
    facts: Mapping[Path, ClipInfo],
    digests: Mapping[str, str],
    compute: bool,
    evaluate: bool,
) -> Job:
    style = dataclasses.replace(pair.style, clips=tuple(_good_clips(pair.style, facts)))
    pair = dataclasses.replace(pair, style=style)
    content = facts[pair.content.path]
    seconds = content.seconds - request.start
    for limit in (request.duration, request.preview):
        seconds = seconds if limit is None else min(seconds, limit)
    seconds = max(seconds, 0.0)
    sample = SAMPLE_BYTES.get(request.subtype or content.subtype, 4)
    n_bytes = round(seconds * content.sr) * content.channels * sample + RECORD_BYTES
    named = {os.path.abspath(path): digests[os.path.abspath(path)] for path in pair.inputs}
    output = request.out_dir / pair.id
    return Job(pair, output, fingerprint, named, compute, evaluate, seconds, n_bytes)


def _check_existing(
    jobs: Sequence[Job], state: JournalState, force: bool, config: TransferConfig
) -> None:
    """Refuse to replace what the journal does not know, unless the journal lost it."""
    for job in jobs:
        if force or not job.compute or job.pair.id in state.pairs:
            continue
        for path in (job.output, atomic_files.record_path(job.output)):
            if path.exists() and not record.record_matches(
                job.output, job.digests.values(), config
            ):
                raise OutputError(
                    f"{path}: exists already, and is not of this batch; use --force to replace it, "
                    "or another folder"
                )


def _estimate(
    schedule: BatchPlan, request: BatchRequest, config: TransferConfig, state: JournalState
) -> None:
    """Foretell disk and time; refuse what the disk cannot hold."""
    folder = request.out_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{folder}: is a file, where the folder of the outputs should be")
    schedule.free_bytes = shutil.disk_usage(folder).free
    if schedule.n_bytes > schedule.free_bytes:
        raise DiskError(
            f"{request.out_dir}: the outputs take about {schedule.n_bytes / 1e9:.2f} GB, and "
            f"{schedule.free_bytes / 1e9:.2f} GB are free; free space, or use --limit"
        )
    left = sum(job.seconds for job in schedule.jobs if job.compute)
    if not left:
        return
    same = settings(request, config)
    done = (known.facts for known in state.pairs.values() if known.status == "done")
    speeds = sorted(
        facts["seconds"] / facts["content_seconds"]
        for facts in done
        if facts.get("settings") == same and facts.get("seconds") and facts.get("content_seconds")
    )
    schedule.measured = bool(speeds)
    guess = SECONDS_WITHOUT_STEPS + SECONDS_PER_STEP * config.iterations
    schedule.seconds = left * (speeds[len(speeds) // 2] if speeds else guess)


def settings(request: BatchRequest, config: TransferConfig) -> str:
    """Sum up the parameters, to tell the timings of one configuration from those of another.

    Parameters
    ----------
    request : BatchRequest
    config : TransferConfig

    Returns
    -------
    str
    """
    machine = f"{request.device}, {request.threads} threads"
    return journal.fingerprint(result_parameters(request, config), machine, [])[:8]
