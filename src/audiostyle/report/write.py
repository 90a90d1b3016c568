"""Pages to look at and to listen to: from records and sounds to one self-contained file.

`audiostyle.report.records` says what there is, `audiostyle.report.sounds` hears and draws it,
`audiostyle.report.pair_page` puts it in the order of a page, `audiostyle.report.html` writes it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostyle.errors import AudioStyleError, ConfigError, OutputError
from audiostyle.report import batch_page, html, pair_page
from audiostyle.report.records import ROLES, PairCollection, PairRecord, collect
from audiostyle.utils.atomic_files import part_file

EMBED_MB = 4.0  # with the pictures, a pair of 30 s stays below 6 MB
SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class PageProgress:
    """A pair is on the page, or one is judged.

    Attributes
    ----------
    done, total : int
        Pairs.
    name : str
        Of the pair that comes next.
    stage : str
        ``judging``, ``drawing`` or ``writing``.
    """

    done: int
    total: int
    name: str
    stage: str


Callback = Callable[[PageProgress], Any]


@dataclass(frozen=True)
class ReportRequest:
    """What to show, checked before any of it is read.

    Attributes
    ----------
    paths : list of Path
        See `audiostyle.report.records.collect`.
    output : Path
        Must end in ``.html``.
    force : bool
        Replace an output that exists.
    embed_limit : float, in MB
        So much of the page may be sound; what would be more is linked.
    evaluate, baselines : bool
        Judge every pair that can be judged, and the trivial outputs, too.
    verbose : bool
    """

    paths: list[Path]
    output: Path
    force: bool = False
    embed_limit: float = EMBED_MB
    evaluate: bool = False
    baselines: bool = False
    verbose: bool = False

    def check(self) -> None:
        """Raise if a value cannot be right, or the page could not be written.

        Raises
        ------
        ConfigError, OutputError
        """
        if not self.paths:
            raise ConfigError("nothing to report on: name outputs, or the folder of a batch")
        check_output(self.output)
        if not (math.isfinite(self.embed_limit) and 0 <= self.embed_limit <= 1000):
            raise ConfigError(f"embed_limit={self.embed_limit:g} must be from 0 to 1000 MB")
        if self.baselines and not self.evaluate:
            raise ConfigError("baselines are judged by --evaluate: give it, too")
        if os.path.isdir(self.output):
            raise OutputError(f"{self.output}: is a folder; name a file in it")
        if os.path.exists(self.output):
            for path in self.paths:
                if os.path.exists(path) and os.path.samefile(path, self.output):
                    raise OutputError(f"{self.output}: is an input, too; choose another name")
            if not self.force:
                raise OutputError(f"{self.output}: exists already; use --force to replace it")
        with part_file(self.output):
            pass  # its folder can be written


def check_output(output: Path) -> None:
    """Raise a `ConfigError` if a name is not of a page.

    Parameters
    ----------
    output : Path

    Raises
    ------
    ConfigError
    """
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"report={output} must end in .html")


def write_report(
    paths: str | Path | Sequence[str | Path],
    output: str | Path,
    callback: Callback | None = None,
    **options: Any,
) -> PairCollection:
    """Write a page about one pair, or about many.

    Parameters
    ----------
    paths : str or Path, or a sequence of them
        Outputs with the records that `audiostyle.transfer_file` wrote beside them, records, the
        folder of a batch, or what ``audiostyle evaluate --json`` printed.
    output : str or Path
    callback : callable, optional
        Gets a `Drawn` for every pair.
    **options
        Further fields of `ReportRequest`: ``force``, ``embed_limit``, ``evaluate``, ``baselines``.

    Returns
    -------
    Collection
        What is on the page.

    Raises
    ------
    AudioFileError
        If there is no record where one is needed. A sound that is not there any more is no error:
        the page says so.
    ConfigError, OutputError
    MissingPackageError
        If `evaluate` is asked for, and mir_eval is not installed.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    return run_report_request(
        ReportRequest([Path(p) for p in listed], Path(output), **options), callback
    )


def run_report_request(request: ReportRequest, callback: Callback | None = None) -> PairCollection:
    """Carry out a `ReportRequest`; see `write_report`."""
    report = callback or (lambda event: None)
    request.check()
    collection = collect(request.paths)
    cases = collection.cases
    if request.evaluate:
        for i, case in enumerate(cases):
            report(PageProgress(i, len(cases), case.name, "judging"))
            _judge(case, request)
    limit = round(request.embed_limit * 1e6)
    if len(cases) == 1 and not collection.whole:
        report(PageProgress(0, 1, cases[0].name, "drawing"))
        view = pair_page.pair_view(cases[0], request.output, limit)
        page = html.render("pair.html.j2", ("player.js", "pair.js"), view=view)
    else:
        shelf = batch_page.BatchPageBuilder(collection, request.output, limit)
        for i, case in enumerate(cases):
            report(PageProgress(i, len(cases), case.name, "drawing"))
            shelf.add(case)
        batch = shelf.view()
        page = html.render("batch.html.j2", ("player.js", "batch.js"), batch=batch)
    report(PageProgress(len(cases), len(cases), request.output.name, "writing"))
    html.write(request.output, page)
    return collection


def _judge(case: PairRecord, request: ReportRequest) -> None:
    """Evaluate a case; what cannot be judged says why, and is shown all the same."""
    from audiostyle.evaluation import content_metrics, evaluate_files
    from audiostyle.evaluation.types import EvaluationRequest

    content_metrics.require_mir_eval()
    content, style, result = (case.sounds[role].path for role in ROLES)
    styles = case.record.get("styles") or [{}]
    folder = Path(str(styles[0].get("path") or ""))
    if folder.is_dir():
        style = folder
    if content is None or style is None or result is None:
        case.notes.append("not judged: a sound is missing")
        return
    if len(styles) > 1:
        case.notes.append(f"judged against the first of {len(styles)} styles")
    question = EvaluationRequest(
        content, style, [result], request.baselines, verbose=request.verbose
    )
    try:
        found = evaluate_files.run_evaluation(question)
    except AudioStyleError as error:
        case.notes.append(f"not judged: {error}")
        return
    case.notes += [f"not judged: {failure['reason']}" for failure in found.failed]
    for scores in found.scores:
        if scores.is_baseline:
            case.baselines[scores.name] = scores.measures
        else:
            case.measures = scores.measures
