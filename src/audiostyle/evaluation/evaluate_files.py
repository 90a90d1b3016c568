"""Evaluation of files: outputs are compared, at one rate, to the part they were made from.

The measures themselves take arrays: see `audiostyle.evaluation.scores`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.folder import summarize_skipped
from audiostyle.audio.level import to_mono
from audiostyle.audio.reader import Audio, load_audio
from audiostyle.audio.resampling import resample
from audiostyle.audio.streams import check_clip
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import AudioFileError
from audiostyle.evaluation import content_metrics, scores
from audiostyle.evaluation.baselines import make_baselines
from audiostyle.evaluation.types import EvaluationReport, EvaluationRequest, Excerpt, OutputScores
from audiostyle.files.style_source import StyleSource, describe_clip, find_source, open_clips
from audiostyle.nn import device
from audiostyle.utils.atomic_files import record_path

Callback = Callable[[int, int, str], Any]
"""Gets the number of steps done, the number of all steps, and what the next one is."""

STYLE_SECONDS = 120.0
"""How much of a style is compared: the search for copies takes time in proportion to it."""


@dataclass
class _Candidate:
    """An output that can be read, and what its record says about it."""

    path: Path
    file: dict[str, Any]
    excerpt: Excerpt
    consistency: float | None
    notes: list[str]
    scores: OutputScores | None = None


def evaluate_files(
    content: str | Path,
    style: str | Path,
    outputs: str | Path | Sequence[str | Path],
    *,
    baselines: bool = False,
    start: float | None = None,
    duration: float | None = None,
    callback: Callback | None = None,
) -> EvaluationReport:
    """Evaluate files that a style transfer made.

    Parameters
    ----------
    content : str or Path
        The file that the outputs were made from.
    style : str or Path
        A file, or a folder whose clips together are the style; its first 120 s are used.
    outputs : str or Path, or a sequence of them
        Resampled to the content's rate; cut, or padded with silence, to its length.
    baselines : bool
        Evaluate the baselines as well.
    start, duration : float, in seconds, optional
        The part of the content that the outputs were made from; by default what the record beside
        each output says.
    callback : callable, optional
        Gets the number of steps done, the number of all steps, and what the next one is.

    Returns
    -------
    EvaluationReport
        Outputs that cannot be evaluated are listed in its `failed`.

    Raises
    ------
    AudioFileError
        If the content or the style cannot be used.
    ConfigError
        If `start` or `duration` is out of bounds.
    MissingPackageError
        An `ImportError`: mir_eval, from the extra ``evaluate``, is not installed.
    """
    paths = [outputs] if isinstance(outputs, (str, Path)) else list(outputs)
    request = EvaluationRequest(
        Path(content), Path(style), [Path(p) for p in paths], baselines, start, duration
    )
    return run_evaluation(request, callback)


def run_evaluation(
    request: EvaluationRequest, callback: Callback | None = None
) -> EvaluationReport:
    """Carry out a request; see `evaluate_files`."""
    request.check()
    content_metrics.require_mir_eval()
    content = _load(request.content, *request.excerpt)
    source = find_source(request.style)
    clips = open_clips(source, TransferConfig())
    about = _describe(request.content, content)
    report = EvaluationReport({key: about[key] for key in ("path", "sha256", "sr", "channels")}, {})
    report.notes += content.notes
    candidates = _find_candidates(request, about["sha256"], report.failed)
    if not candidates:
        return report  # before anything slow
    excerpts = list(dict.fromkeys(candidate.excerpt for candidate in candidates))
    n_steps = 1 + len(candidates) + len(excerpts) * (5 if request.baselines else 1)
    counter = itertools.count()

    def start(step: str) -> None:
        if callback is not None:
            callback(next(counter), n_steps, step)

    start(f"reading {request.style}")
    style, report.style, notes = _load_style(source, clips, content.sr)
    report.notes += notes
    device.load_tensorflow(quiet=not request.verbose)
    baselines: list[OutputScores] = []
    for excerpt in excerpts:
        start("analysing content and style")
        content = _load(request.content, *excerpt)
        try:
            evaluator = scores.PairEvaluator(content.y, style, content.sr)
        except AudioFileError as error:  # for example of channels that cancel each other
            raise AudioFileError(f"{request.content}, {request.style}: {error}") from None
        for candidate in (c for c in candidates if c.excerpt == excerpt):
            start(f"evaluating {candidate.path}")
            try:
                candidate.scores = _evaluate(evaluator, candidate, content)
            except AudioFileError as error:
                path = str(candidate.path)
                report.failed.append({"path": path, "reason": f"{path}: {error}"})
        if request.baselines:
            for name, y in make_baselines(content.y, style, content.sr).items():
                start(f"evaluating the baseline {name}")
                measures = {"sound_consistency": None, **evaluator.evaluate(y)}
                baselines.append(OutputScores(name, content.start, content.y.shape[1], measures))
    report.scores = [c.scores for c in candidates if c.scores is not None] + baselines
    start("done")
    return report


def _load(path: Path, start: float = 0.0, duration: float | None = None) -> Audio:
    clip = load_audio(path, start=start, duration=duration)
    clip.y = check_clip(clip.y, clip.sr, str(path))
    return clip


def _describe(path: Path, clip: Audio) -> dict[str, Any]:
    return describe_clip(path, clip.sr, len(clip.y), clip.y.shape[1])


def _load_style(
    source: StyleSource, clips: Iterator[NormalizedStream], sr: int
) -> tuple[Array, dict[str, Any], list[str]]:
    """Join the clips of a style [shape=(n,)] up to `STYLE_SECONDS`; return an entry and notes."""
    limit = round(STYLE_SECONDS * sr)
    parts: list[Array] = []
    total = 0
    for clip in clips:
        y = np.concatenate(list(clip.blocks()), axis=1)
        part = resample(np.atleast_2d(to_mono(y)), clip.sr, sr)[0]
        if len(source.clips) > 1:  # as in a transfer, all clips of a folder are equally loud
            part = part * (0.1 / max(float(np.sqrt(np.mean(part**2))), 1e-6))
        parts.append(part)
        total += part.size
        if total >= limit:
            break
    known = {entry["path"] for entry in (*source.used, *source.skipped)}
    unread = len({str(clip) for clip in source.clips} - known)
    notes = [*source.notes, *summarize_skipped(source.skipped, str(source.path))]
    if total > limit or unread:
        of = f" ({len(source.used)} of {len(source.clips)} clips)" if len(source.clips) > 1 else ""
        notes.insert(0, f"{source.path}: only its first {STYLE_SECONDS:g} s count{of}")
    about = {
        "path": str(source.path),
        "clips": source.used,
        "skipped": source.skipped,
        "seconds": min(total, limit) / sr,
        "cut": total > limit or unread > 0,
    }
    return np.concatenate(parts)[:limit], about, notes


def _find_candidates(
    request: EvaluationRequest, content_digest: str, failed: list[dict[str, str]]
) -> list[_Candidate]:
    """Find the outputs that can be evaluated; add the others to `failed`."""
    candidates = []
    for path in request.outputs:
        try:
            clip = _load(path)
            file = _describe(path, clip)
            excerpt, error_db, notes = _read_record(request, path, file["sha256"], content_digest)
            if excerpt != request.excerpt:
                _load(request.content, *excerpt)
        except AudioFileError as error:
            failed.append({"path": str(path), "reason": str(error)})
        else:
            candidates.append(_Candidate(path, file, excerpt, error_db, [*clip.notes, *notes]))
    return candidates


def _read_record(
    request: EvaluationRequest, output: Path, digest: str, content_digest: str
) -> tuple[Excerpt, float | None, list[str]]:
    """Return the excerpt to compare an output to, its consistency in dB, and notes.

    The entries that are used have the same meaning in all layouts of records, 1 and 2.
    """
    path = record_path(output)
    if not path.is_file():
        return request.excerpt, None, []
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        source, options = record["content"], record["request"]
        whole = not options["start"] and options["duration"] is None and options["preview"] is None
        start, length = (float(source[n]) / source["sr"] for n in ("start_sample", "samples"))
        if not (0 <= start < math.inf and 0 < length < math.inf):
            raise ValueError
        made, origin, name = record["output"]["sha256"], source["sha256"], source["path"]
        consistency = record["inversion_convergence_db"]
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return request.excerpt, None, [f"{path}: is no record of a transfer; ignored"]
    if made != digest:
        return request.excerpt, None, [f"{path}: is the record of another file; ignored"]
    consistency = consistency if isinstance(consistency, float) else None
    if origin != content_digest:
        note = f"was made from another content ({name}), but compared to {request.content}"
        return request.excerpt, consistency, [f"{output}: {note}"]
    if whole or request.start is not None or request.duration is not None:
        return request.excerpt, consistency, []
    note = f"compared to {length:g} s of the content from {start:.2f} s on, as its record says"
    return (start, length), consistency, [f"{output}: {note}"]


def _evaluate(
    evaluator: scores.PairEvaluator, candidate: _Candidate, content: Audio
) -> OutputScores:
    """Bring an output to the content's rate and length, and measure it."""
    clip, path = _load(candidate.path), candidate.path
    n, sr = content.y.shape[1], content.sr
    y = resample(clip.y, clip.sr, sr)
    notes = list(candidate.notes)
    if clip.sr != sr:
        lost = f", without what lies above {sr / 2:g} Hz" if clip.sr > sr else ""
        notes.append(f"{path}: resampled from {clip.sr} Hz to the content's {sr} Hz{lost}")
    if abs(y.shape[1] - n) > (clip.sr != sr):  # resampling rounds the length
        change = "cut" if y.shape[1] > n else "padded with silence"
        seconds = f"{y.shape[1] / sr:.3f} s to the content's {n / sr:.3f} s"
        notes.append(f"{path}: {change} from {seconds}")
    measures = {"sound_consistency": candidate.consistency, **evaluator.evaluate(y)}
    measures["sound_clipping"] = scores.clipped_share(clip.y[:, : math.ceil(n * clip.sr / sr)])
    return OutputScores(str(path), content.start, n, measures, candidate.file, notes)
