"""Plan of a batch: its pairs, what is done according to the journal, and the jobs that are left.

Nothing is written here, and TensorFlow is not needed, so a finished batch takes a second.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.audio.folder import SkippedFile, summarize_skipped
from audiostyle.audio.probe import ClipInfo, probe_clip
from audiostyle.batch import journal
from audiostyle.batch.earlier import Difference, find_difference, kept_line
from audiostyle.batch.inputs import exclude_inputs, find_inputs, join_genres
from audiostyle.batch.journal import JournalState, PairState
from audiostyle.batch.pairing import (
    OutputNames,
    Pair,
    check_output_paths,
    name_pairs,
    pair_inputs,
)
from audiostyle.batch.request import BatchRequest
from audiostyle.batch.shards import parse_shard
from audiostyle.config.record_file import EXCERPT
from audiostyle.config.registry import loss_digests
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.config.variants import Variants, analysis_key
from audiostyle.errors import AudioFileError, DiskError, OutputError
from audiostyle.files import record, style_file
from audiostyle.nn import weights
from audiostyle.utils import atomic_files
from audiostyle.utils.sizes import format_size

INPUT_KINDS = ("unreadable", "truncated", "too_short", "silent", "not_finite")
LASTING_KINDS = (*INPUT_KINDS, "crashed")
"""Failures that the same input causes again; other failures are tried again in the next run."""

RECORD_BYTES = 16_384  # rough size of the record of an output
SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}
# Rough times per second of sound on two cores with the default network.
SECONDS_PER_ITERATION = 0.05
SECONDS_WITHOUT_ITERATIONS = 0.5  # analysis and inversion


@dataclass(frozen=True)
class Job:
    """A pair to compute, to evaluate, or both."""

    pair: Pair
    output: Path
    fingerprint: str
    digests: Mapping[str, str]  # SHA-256 of every input by absolute path
    compute: bool
    evaluate: bool
    seconds: float  # length of the content that is styled
    n_bytes: int  # rough size of the output
    settings: str = ""  # from `settings_hash`


@dataclass(frozen=True)
class SelectedPairs:
    """The pairs of a request, before anything is known about them."""

    pairs: list[Pair]
    skipped: list[SkippedFile]  # files of CONTENT and STYLE that are not used
    notes: list[str]


@dataclass
class BatchPlan:
    """The pairs of a batch, or of a shard: done, impossible, and left to do."""

    pairs: list[Pair]
    jobs: list[Job] = field(default_factory=list)  # in the order in which they are run
    done: list[str] = field(default_factory=list)  # ids of pairs
    # Outputs that exist, were made with other settings, and are not replaced: by the id of a pair.
    kept: dict[str, Difference] = field(default_factory=dict)
    # Pairs that cannot be computed, each with pair, fingerprint, kind and reason.
    failed: list[dict[str, str]] = field(default_factory=list)
    # Lines on inputs that the journal does not hold yet.
    events: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float | None = None  # estimated time; None if nothing is left
    measured: bool = False  # whether that is based on times of this folder
    free_bytes: int = 0  # on the disk of the outputs
    whole: list[Pair] = field(default_factory=list)  # the pairs of all shards
    skipped: list[SkippedFile] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        """Rough size of all outputs that are left to compute."""
        return sum(job.n_bytes for job in self.jobs if job.compute)

    @property
    def kept_lines(self) -> list[str]:
        """Lines on the outputs that are not replaced."""
        return [kept_line(number, which) for which, number in Counter(self.kept.values()).items()]


def make_batch_plan(
    request: BatchRequest,
    config: TransferConfig,
    state: JournalState,
    selected: SelectedPairs | None = None,
) -> BatchPlan:
    """Plan a batch, and find out what is left to do; `selected` is the result of `plan_pairs`.

    Raises an `OutputError` if an output would replace a file that the batch did not write, and a
    `DiskError` if the disk is too small for what is left.
    """
    selected = selected or plan_pairs(request, config)
    shard = parse_shard(request.shard)
    pairs = [pair for pair in selected.pairs if shard is None or shard.contains(pair.id)]
    plan = BatchPlan(pairs, whole=selected.pairs, skipped=selected.skipped)
    infos, digests = _probe_inputs(pairs, state, plan)
    variants = dict.fromkeys(pair.variant for pair in pairs)
    parameters = {one: result_parameters(request, one.config) for one in variants}
    settings = {one: settings_hash(request, parameters[one]) for one in variants}
    crashed: list[Job] = []
    notes = dict.fromkeys(selected.notes)  # in order, without repetitions
    for pair in pairs:
        usable, left_out = _skip_bad_clips(pair, infos)
        notes |= dict.fromkeys(left_out)
        inputs = [digests[path] for path in usable.style.clips]
        made_with = parameters[pair.variant], digests[pair.content.path], inputs
        fingerprint = journal.fingerprint(*made_with)
        known = state.pairs.get(pair.id, PairState())
        fault = _input_fault(usable, infos) or _lasting_failure(known, fingerprint, request)
        if fault:
            plan.failed.append({"pair": pair.id, "fingerprint": fingerprint, **fault})
            continue
        output = request.out_dir / pair.id
        is_current = (known.status, known.fingerprint) == ("done", fingerprint)
        compute = request.force or not (is_current and output_exists(known, output))
        evaluate = request.evaluate and (compute or known.scores is None)
        if compute or evaluate:
            own = {os.path.abspath(path): digests[path] for path in usable.inputs}
            if compute and not request.force:
                seen = state.pairs.get(pair.id)
                other = find_difference(output, seen, [*own.values()], request, pair.variant)
                if other is not None:
                    plan.kept[pair.id] = other
                    continue
            size = _output_size(infos[pair.content.path], request)
            which = settings[pair.variant]
            job = Job(usable, output, fingerprint, own, compute, evaluate, *size, which)
            # A pair that may have crashed the process comes after all others.
            (crashed if known.starts else plan.jobs).append(job)
        if not compute:
            plan.done.append(pair.id)
    plan.jobs += crashed
    plan.notes += notes
    if not request.force:
        _check_existing(plan.jobs, state)
    _estimate(plan, request, state)
    return plan


def plan_pairs(request: BatchRequest, config: TransferConfig) -> SelectedPairs:
    """Check a request, find its inputs, pair them, and name the outputs.

    Raises a `ConfigError` if a value is not valid, an `AudioFileError` if CONTENT or STYLE holds no
    clips or no pair is left, and an `OutputError` if outputs collide or are inputs.
    """
    request.check()
    out_dir = request.out_dir
    if not _existing_folder(out_dir).is_dir():
        raise OutputError(f"{out_dir}: is a file, or lies below one; name a folder")
    contents, skipped = find_inputs(request.content, genre=request.content_genre, exclude=out_dir)
    styles, others = find_inputs(
        request.style, styles=True, genre=request.style_genre, exclude=out_dir
    )
    contents, unused = exclude_inputs(contents, request.exclude, request.content, skipped)
    styles, unused_too = exclude_inputs(styles, request.exclude, request.style, others)
    if request.style == request.content:  # of one genre each, perhaps
        known = {entry["path"] for entry in skipped}
        skipped += [entry for entry in others if entry["path"] not in known]
    notes = summarize_skipped(skipped, request.content)
    if request.style != request.content:
        notes += summarize_skipped(others, request.style)
    notes += [f"--exclude {one!r}: matches no file" for one in unused if one in unused_too]
    if request.by == "genre":
        styles = join_genres(styles, others)
    variants = Variants(config, request.preset, request.vary, request.overrides)
    how = request.pair, config.seed, request.limit, request.shuffle
    chosen = pair_inputs(contents, styles, *how, variants)
    if not chosen:
        raise AudioFileError(
            f"no pair is left: {request.content} and {request.style} hold only the same file, "
            f"{contents[0].key}, and {request.pair} pairs no clip with itself; name another style"
        )
    names = OutputNames(request.name, contents, styles)
    pairs = name_pairs(chosen, names)
    check_output_paths(pairs, out_dir, (request.content, request.style))
    by_path = {entry["path"]: entry for entry in (*others, *skipped)}
    return SelectedPairs(pairs, list(by_path.values()), notes + names.notes)


def result_parameters(request: BatchRequest, config: TransferConfig) -> dict[str, Any]:
    """Return everything except the inputs that determines the sound of a pair."""
    return {
        **config.to_dict(),
        "weights": weights.provenance(config.network, config.weights).get("sha256"),
        "loss_sources": loss_digests(config.losses),
        **{name: getattr(request, name) for name in (*EXCERPT, "subtype")},
        "audiostyle": audiostyle.__version__,
        # Only with --deterministic are outputs promised to be the same bytes.
        **({"deterministic": True, "threads": request.threads} if request.deterministic else {}),
    }


def output_exists(known: PairState, output: Path) -> bool:
    """Tell whether an output exists with the size that it had when it was done."""
    try:
        return bool(output.stat().st_size == known.facts["size"])
    except (OSError, KeyError):
        return False


def _probe_inputs(
    pairs: Sequence[Pair], state: JournalState, plan: BatchPlan
) -> tuple[dict[Path, ClipInfo], dict[Path, str]]:
    """Probe and hash the inputs that are new or have changed; take the others from the journal."""
    paths = {path for pair in pairs for path in pair.inputs}
    # What style files must fit, once each.
    configs = {analysis_key(one.config): one.config for one in {pair.variant for pair in pairs}}
    infos: dict[Path, ClipInfo] = {}
    digests: dict[Path, str] = {}
    for path in sorted(paths):
        is_style = style_file.is_style_file(path)
        known = journal.find_input(state, path) or {"facts": {}}
        recalled = ClipInfo.from_record(known["facts"])
        if recalled is not None and not is_style:
            infos[path], digests[path] = recalled, known["sha256"]
            continue
        info = _probe_style_file(path, configs.values()) if is_style else None
        try:
            infos[path] = info or probe_clip(path)
            digests[path] = atomic_files.file_digest(path)
            event = journal.input_event(path, digests[path], dataclasses.asdict(infos[path]))
        except OSError as error:
            reason = f"{path}: cannot be read ({error.strerror})"
            infos[path], digests[path] = ClipInfo(kind="unreadable", reason=reason), ""
            continue
        # Failures that are no fault of the file are not remembered.
        if infos[path].kind in ("", *INPUT_KINDS) and recalled is None:
            plan.events.append(event)
    return infos, digests


def _probe_style_file(path: Path, configs: Iterable[TransferConfig]) -> ClipInfo:
    """Load a style file: a damaged one costs its pairs, one that does not fit raises an error."""
    try:
        for config in configs:
            style_file.load_style(path, config)
    except AudioFileError as error:
        return ClipInfo(kind=error.kind, reason=str(error))
    return ClipInfo()


def _skip_bad_clips(pair: Pair, infos: Mapping[Path, ClipInfo]) -> tuple[Pair, list[str]]:
    """Leave out the bad clips of a genre unless all are bad; return also a note on each."""
    good = tuple(clip for clip in pair.style.clips if not infos[clip].kind)
    if len(good) in (0, len(pair.style.clips)):
        return pair, []
    bad = [infos[clip].reason for clip in pair.style.clips if infos[clip].kind]
    style = dataclasses.replace(pair.style, clips=good)
    return dataclasses.replace(pair, style=style), [f"left out {reason}" for reason in bad]


def _input_fault(pair: Pair, infos: Mapping[Path, ClipInfo]) -> dict[str, str]:
    for source in (pair.content, pair.style):
        info = infos[source.clips[0]]
        if info.kind:
            return {"kind": info.kind, "reason": info.reason}
    return {}


def _lasting_failure(known: PairState, fingerprint: str, request: BatchRequest) -> dict[str, str]:
    """Return kind and reason of a failure that the same pair would meet again, if there is one."""
    if known.fingerprint != fingerprint or request.retry_failed or request.force:
        return {}
    if known.starts >= journal.CRASHES:
        reason = (
            f"the process died {known.starts} times while it computed this pair; "
            "use --retry-failed to try again"
        )
        return {"kind": "crashed", "reason": reason}
    facts = known.facts if known.status == "failed" else {}
    if facts.get("kind") in LASTING_KINDS:
        return {name: facts[name] for name in ("kind", "reason")}
    return {}


def _output_size(content: ClipInfo, request: BatchRequest) -> tuple[float, int]:
    """Return the length that is styled, in seconds, and the rough size of an output in bytes."""
    seconds = content.seconds - request.start
    for limit in (request.duration, request.preview):
        seconds = seconds if limit is None else min(seconds, limit)
    seconds = max(seconds, 0.0)
    sample_bytes = SAMPLE_BYTES.get(request.subtype or content.subtype, 4)
    n_bytes = round(seconds * content.sr) * content.channels * sample_bytes + RECORD_BYTES
    return sum(stop - start for start, stop in request.only) or seconds, n_bytes


def _check_existing(jobs: Sequence[Job], state: JournalState) -> None:
    """Refuse to replace a file that neither the journal nor its record assigns to the batch."""
    for job in jobs:
        if not job.compute or job.pair.id in state.pairs:
            continue
        for path in (job.output, atomic_files.record_path(job.output)):
            if path.exists() and not record.record_matches(
                job.output, job.digests.values(), job.pair.variant.config
            ):
                raise OutputError(
                    f"{path}: exists already, and is not of this batch; use --force to replace it, "
                    "or use another folder"
                )


def _estimate(plan: BatchPlan, request: BatchRequest, state: JournalState) -> None:
    """Estimate disk space and time; refuse a batch that the disk cannot hold."""
    plan.free_bytes = shutil.disk_usage(_existing_folder(request.out_dir)).free
    if plan.n_bytes > plan.free_bytes:
        raise DiskError(
            f"{request.out_dir}: the outputs need about {format_size(plan.n_bytes)}, but only "
            f"{format_size(plan.free_bytes)} are free; free space, or use --limit"
        )
    left = [job for job in plan.jobs if job.compute and job.seconds]
    if not left:
        return
    measured: dict[str, list[float]] = {}
    for facts in (known.facts for known in state.pairs.values() if known.status == "done"):
        if facts.get("seconds") and facts.get("content_seconds"):
            speed = facts["seconds"] / facts["content_seconds"]
            measured.setdefault(facts.get("settings", ""), []).append(speed)
    speeds = {name: sorted(found)[len(found) // 2] for name, found in measured.items()}
    plan.measured = all(job.settings in speeds for job in left)
    plan.seconds = 0.0
    for job in left:
        guess = SECONDS_WITHOUT_ITERATIONS
        guess += SECONDS_PER_ITERATION * job.pair.variant.config.iterations
        plan.seconds += job.seconds * speeds.get(job.settings, guess)


def _existing_folder(folder: Path) -> Path:
    """Return the folder, or the nearest of its parents that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def settings_hash(request: BatchRequest, parameters: Mapping[str, Any]) -> str:
    """Hash the parameters and the device, to tell apart the times of different settings."""
    machine = f"{request.device}, {request.threads} threads"
    return journal.fingerprint(parameters, machine, [])[:8]
