"""An evaluation from files: which part of which file is compared to what, then the ruler.

Arrays and numbers are the business of `audiostyle.evaluation.scores`. This module finds out what an output
was made from (its sidecar may say), brings everything to the content's rate, and says what it did.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio import reader
from audiostyle.audio.resampling import resample
from audiostyle.audio.streams import check_clip
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError
from audiostyle.evaluation import baselines as evaluation_baselines
from audiostyle.evaluation import content_metrics, scores
from audiostyle.evaluation.types import EvaluationReport, EvaluationRequest, Excerpt, OutputScores
from audiostyle.files.request import StyleSource, describe_clip
from audiostyle.nn import device
from audiostyle.utils.atomic_files import record_path

Array = npt.NDArray[Any]
Callback = Callable[[int, int, str], Any]
"""Gets the steps that are done, how many there are, and what comes next."""

STYLE_SECONDS = 120.0
"""So much of a style is compared: the search for copies takes time in proportion to it."""


@dataclass
class _Candidate:
    """An output that can be read, and what its sidecar says."""

    path: Path
    file: dict[str, Any]
    excerpt: Excerpt
    consistency: float | None = None
    notes: list[str] = field(default_factory=list)


class _Steps:
    """Count the steps for a callback."""

    def __init__(self, callback: Callback | None, total: int) -> None:
        self._callback = callback
        self._total = total
        self._begun = 0

    def begin(self, what: str) -> None:
        if self._callback is not None:
            self._callback(self._begun, self._total, what)
        self._begun += 1


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
    style : str or Path
        A file, or a folder whose clips together are the style; the first `STYLE_SECONDS` count.
    outputs : str or Path, or a sequence of them
        Brought to the content's rate; cut, or padded with silence, to its length.
    baselines : bool
        Evaluate the trivial outputs too.
    start, duration : float, in seconds, optional
        The part of the content that the outputs were made from. Unless one of them is given, the
        sidecar beside an output says it.
    callback : callable, optional
        Gets the steps that are done, how many there are, and what comes next.

    Returns
    -------
    Report
        An output that cannot be judged is listed in `Report.failed`.

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
    question = EvaluationRequest(
        Path(content), Path(style), [Path(p) for p in paths], baselines, start, duration
    )
    return run_evaluation(question, callback)


def run_evaluation(
    question: EvaluationRequest, callback: Callback | None = None
) -> EvaluationReport:
    """Answer a `Question`; see `evaluate_files`."""
    question.check()
    content_metrics.require_mir_eval()
    content = _load(question.content, question.excerpt)
    folder = os.path.isdir(question.style)
    clips = reader.find_clips(question.style) if folder else [question.style]
    style = StyleSource(question.style, 1.0, clips)
    style.check(TransferConfig())
    about = _describe(question.content, content)
    report = EvaluationReport(
        {name: about[name] for name in ("path", "sha256", "sr", "channels")}, {}
    )
    report.notes += content.notes
    candidates = _find_candidates(question, about["sha256"], report)
    if not candidates:
        return report  # before anything slow
    excerpts = list(dict.fromkeys(candidate.excerpt for candidate in candidates))
    n_steps = 1 + len(candidates) + len(excerpts) * (5 if question.baselines else 1)
    steps = _Steps(callback, n_steps)
    steps.begin(f"reading {question.style}")
    samples = _load_style(style, content.sr, report)
    device.load_tensorflow(quiet=not question.verbose)
    found: dict[int, OutputScores] = {}
    trivial_ones: list[OutputScores] = []
    for excerpt in excerpts:
        steps.begin("listening to content and style")
        content = _load(question.content, excerpt)
        try:
            judge = scores.PairEvaluator(content.y, samples, content.sr)
        except AudioFileError as error:  # as of channels that cancel out
            raise AudioFileError(f"{question.content}, {question.style}: {error}") from None
        for index, candidate in enumerate(candidates):
            if candidate.excerpt == excerpt:
                steps.begin(f"judging {candidate.path}")
                try:
                    found[index] = _evaluate(judge, candidate, content)
                except AudioFileError as error:
                    reason = f"{candidate.path}: {error}"
                    report.failed.append({"path": str(candidate.path), "reason": reason})
        if question.baselines:
            trivial_ones += _evaluate_baselines(judge, content, samples, steps)
    report.verdicts = [found[index] for index in sorted(found)] + trivial_ones
    steps.begin("done")
    return report


def _load(path: Path, excerpt: Excerpt = Excerpt()) -> reader.Audio:  # noqa: B008 (frozen)
    clip = reader.load_audio(path, start=excerpt.start, duration=excerpt.duration)
    clip.y = check_clip(clip.y, clip.sr, str(path))
    return clip


def _describe(path: Path, clip: reader.Audio) -> dict[str, Any]:
    return describe_clip(path, clip.sr, len(clip.y), clip.y.shape[1])


def _load_style(style: StyleSource, sr: int, report: EvaluationReport) -> Array:
    """Put the clips of a style [shape=(n,)] one after the other, up to `STYLE_SECONDS`."""
    limit = round(STYLE_SECONDS * sr)
    parts: list[Array] = []
    total = 0
    for recording in style.load(TransferConfig()):
        y = np.concatenate(list(recording.blocks()), axis=1)
        part = resample(np.atleast_2d(evaluation_baselines.to_mono(y)), recording.sr, sr)[0]
        if len(style.clips) > 1:  # as in a transfer, no clip of a folder is louder than another
            part = part * (0.1 / max(float(np.sqrt(np.mean(part**2))), 1e-6))
        parts.append(part)
        total += part.size
        if total >= limit:
            break
    unread = len(style.clips) - len(style.used) - len(style.skipped)
    if total > limit or unread:
        of = f" ({len(style.used)} of {len(style.clips)} clips)" if len(style.clips) > 1 else ""
        report.notes.append(f"{style.path}: only its first {STYLE_SECONDS:g} s count{of}")
    report.notes += [*style.notes, *(f"skipped {clip['reason']}" for clip in style.skipped)]
    report.style = {
        "path": str(style.path),
        "clips": style.used,
        "skipped": style.skipped,
        "seconds": min(total, limit) / sr,
        "cut": total > limit or unread > 0,
    }
    return np.concatenate(parts)[:limit]


def _find_candidates(
    question: EvaluationRequest, digest: str, report: EvaluationReport
) -> list[_Candidate]:
    """Find the outputs that can be judged; the others are noted as failed."""
    candidates = []
    for path in question.outputs:
        try:
            clip = _load(path)
            candidate = _Candidate(path, _describe(path, clip), question.excerpt, notes=clip.notes)
            _consult_sidecar(question, candidate, digest)
            if candidate.excerpt != question.excerpt:
                _load(question.content, candidate.excerpt)
        except AudioFileError as error:
            report.failed.append({"path": str(path), "reason": str(error)})
        else:
            candidates.append(candidate)
    return candidates


def _consult_sidecar(question: EvaluationRequest, candidate: _Candidate, digest: str) -> None:
    """Learn how an output was made, if the record beside it is about this very file."""
    path = record_path(candidate.path)
    if not path.is_file():
        return
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        source, asked = record["content"], record["request"]
        whole = not asked["start"] and asked["duration"] is None and asked["preview"] is None
        start, length = (float(source[n]) / source["sr"] for n in ("start_sample", "samples"))
        if not (0 <= start < math.inf and 0 < length < math.inf):
            raise ValueError
        made, origin, name = record["output"]["sha256"], source["sha256"], source["path"]
        consistency = record["inversion_convergence_db"]
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        candidate.notes.append(f"{path}: is no record of a transfer; ignored")
        return
    if made != candidate.file["sha256"]:
        candidate.notes.append(f"{path}: is the record of another file; ignored")
        return
    candidate.consistency = consistency if isinstance(consistency, float) else None
    if origin != digest:
        candidate.notes.append(
            f"{candidate.path}: was made from another content ({name}); compared to "
            f"{question.content} all the same"
        )
    elif not whole and question.start is None and question.duration is None:
        candidate.excerpt = Excerpt(start, length)
        candidate.notes.append(
            f"{candidate.path}: compared to {length:g} s of the content from {start:.2f} s on, as "
            "its record says"
        )


def _evaluate_baselines(
    judge: scores.PairEvaluator, content: reader.Audio, style: Array, steps: _Steps
) -> list[OutputScores]:
    verdicts = []
    for name, y in scores.make_baselines(content.y, style, content.sr).items():
        steps.begin(f"judging the baseline {name}")
        measures = {"sound_consistency": None, **judge.evaluate(y)}
        verdicts.append(OutputScores(name, content.start, content.y.shape[1], measures))
    return verdicts


def _evaluate(
    judge: scores.PairEvaluator, candidate: _Candidate, content: reader.Audio
) -> OutputScores:
    """Bring an output to the content's rate and length, and measure it."""
    clip = _load(candidate.path)
    wanted = content.y.shape[1]
    y = resample(clip.y, clip.sr, content.sr)
    notes = list(candidate.notes)
    if clip.sr != content.sr:
        lost = f"; what it has above {content.sr / 2:g} Hz is left out"
        notes.append(
            f"{candidate.path}: brought from {clip.sr} Hz to the content's {content.sr} Hz"
            + (lost if clip.sr > content.sr else "")
        )
    # Resampling rounds the length.
    if abs(y.shape[1] - wanted) > (clip.sr != content.sr):
        notes.append(
            f"{candidate.path}: lasts {y.shape[1] / content.sr:.3f} s, what it is compared to "
            f"{wanted / content.sr:.3f} s: "
            + ("cut" if y.shape[1] > wanted else "padded with silence")
        )
    measures: dict[str, float | None] = {
        "sound_consistency": candidate.consistency,
        **judge.evaluate(y),
        "sound_clipping": scores.clipped_share(
            clip.y[:, : math.ceil(wanted * clip.sr / content.sr)]
        ),
    }
    return OutputScores(str(candidate.path), content.start, wanted, measures, candidate.file, notes)
