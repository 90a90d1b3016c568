"""Reports: one self-contained HTML file about one pair or many.

`audiostyle.report.records` finds the pairs, `audiostyle.report.sounds` loads and draws their
sounds, `audiostyle.report.pair_page`, `audiostyle.report.takes_page` and
`audiostyle.report.batch_page` lay out the page, and `audiostyle.report.html` writes it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostyle.errors import AudioStyleError, ConfigError, OutputError
from audiostyle.report import html, takes_page
from audiostyle.report.batch_page import BatchPageBuilder
from audiostyle.report.pair_page import pair_values
from audiostyle.report.records import ROLES, PairCollection, PairRecord, collect
from audiostyle.utils.atomic_files import Staging, part_file

EMBED_MB = 4.0  # with the spectrograms, the page of a 30 s pair stays below 6 MB
EMBED_TAKES_MB = 16.0  # nine takes of 60 s; only embedded sounds switch without a gap
SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class PageProgress:
    """The next step of a report."""

    done: int  # pairs
    total: int
    name: str  # of the pair that comes next
    stage: str  # evaluating, drawing or writing


Callback = Callable[[PageProgress], Any]


def check_page(paths: Sequence[Path], output: Path, force: bool = False) -> None:
    """Raise a `ConfigError` or `OutputError` if a page about `paths` cannot be written."""
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"report={output} must end in .html")
    if os.path.isdir(output):
        raise OutputError(f"{output}: is a folder; name a file in it")
    if os.path.exists(output):
        if any(os.path.exists(path) and os.path.samefile(path, output) for path in paths):
            raise OutputError(f"{output}: is also an input; choose another name")
        if not force:
            raise OutputError(f"{output}: exists already; use --force to replace it")
    with part_file(output):
        pass  # its folder can be written


def write_report(
    paths: str | Path | Sequence[str | Path],
    output: str | Path,
    callback: Callback | None = None,
    *,
    force: bool = False,
    embed_limit: float | None = None,
    evaluate: bool = False,
    baselines: bool = False,
    verbose: bool = False,
) -> PairCollection:
    """Write an HTML page about one pair or many.

    Parameters
    ----------
    paths : str or Path, or a sequence of them
        Outputs of `audiostyle.transfer_file` (their records must be beside them), records, folders
        of a batch, and saved results of ``audiostyle evaluate --json``.
    output : str or Path
        The page; must end in ``.html``.
    callback : callable, optional
        Called with a `PageProgress` before each step.
    force : bool
        Replace an output that exists.
    embed_limit : float, in MB, optional
        Largest size of all sounds on the page; if they take more, they are linked instead. The
        default is 4, and 16 for the takes of one content.
    evaluate : bool
        Evaluate every pair as `audiostyle.evaluate_files` does.
    baselines : bool
        Evaluate the baselines too; needs `evaluate`.
    verbose : bool
        Show the messages of TensorFlow.

    Returns
    -------
    PairCollection
        The pairs on the page.

    Raises
    ------
    AudioFileError
        If a record is missing. Sounds that are missing are no error: the page names them.
    ConfigError
        If a value is out of bounds.
    OutputError
        If the page cannot be written.
    MissingPackageError
        If `evaluate` is set and mir_eval is not installed.
    """
    listed = [Path(p) for p in ([paths] if isinstance(paths, (str, Path)) else paths)]
    output = Path(output)
    report = callback or (lambda event: None)
    if not listed:
        raise ConfigError("nothing to report on: name outputs, or the folder of a batch")
    if embed_limit is not None and not (math.isfinite(embed_limit) and 0 <= embed_limit <= 1000):
        raise ConfigError(f"embed_limit={embed_limit:g} must be from 0 to 1000 MB")
    if baselines and not evaluate:
        raise ConfigError("baselines need --evaluate; add it")
    check_page(listed, output, force)
    collection = collect(listed)
    pairs = collection.pairs
    if evaluate:
        for i, pair in enumerate(pairs):
            report(PageProgress(i, len(pairs), pair.name, "evaluating"))
            _evaluate(pair, baselines, verbose)
    page = _make_page(collection, output, embed_limit, report)
    report(PageProgress(len(pairs), len(pairs), output.name, "writing"))
    with Staging() as staging:
        staging.write(output, page)
        staging.publish()
    return collection


def _make_page(
    collection: PairCollection, output: Path, embed_limit: float | None, report: Callback
) -> bytes:
    """Lay out the page that fits: of one pair, of the takes of one content, or a table."""
    pairs = collection.pairs
    are_takes = takes_page.are_takes(pairs)
    if embed_limit is None:
        embed_limit = EMBED_TAKES_MB if are_takes else EMBED_MB
    max_bytes = round(embed_limit * 1e6)

    def draw(i: int, pair: PairRecord) -> None:
        report(PageProgress(i, len(pairs), pair.name, "drawing"))

    if are_takes:
        values = takes_page.takes_values(collection, output, max_bytes, draw)
        return html.render_page("takes.html.j2", takes_page.SCRIPTS, **values)
    if len(pairs) == 1 and not collection.is_folder:
        draw(0, pairs[0])
        values = pair_values(pairs[0], output, max_bytes)
        return html.render_page("pair.html.j2", ("player.js", "pair.js"), **values)
    builder = BatchPageBuilder(collection)
    for i, pair in enumerate(pairs):
        draw(i, pair)
        builder.add(pair)
    values = builder.values(output, max_bytes)
    return html.render_page("batch.html.j2", ("player.js", "chart.js", "batch.js"), **values)


def _evaluate(pair: PairRecord, baselines: bool, verbose: bool) -> None:
    """Evaluate a pair; if that fails, a note on the page says why."""
    from audiostyle.evaluation import content_metrics, evaluate_files
    from audiostyle.evaluation.types import EvaluationRequest

    content_metrics.require_mir_eval()
    content, style, result = (pair.sounds[role].path for role in ROLES)
    styles = pair.record.get("styles") or [{}]
    folder = Path(str(styles[0].get("path") or ""))
    if folder.is_dir():
        style = folder
    if content is None or style is None or result is None:
        pair.notes.append("not evaluated: a sound is missing")
        return
    if len(styles) > 1:
        pair.notes.append(f"evaluated against the first of {len(styles)} styles")
    request = EvaluationRequest(content, style, [result], baselines, verbose=verbose)
    try:
        evaluation = evaluate_files.run_evaluation(request)
    except AudioStyleError as error:
        pair.notes.append(f"not evaluated: {error}")
        return
    pair.notes += [f"not evaluated: {failure['reason']}" for failure in evaluation.failed]
    for scores in evaluation.scores:
        if scores.is_baseline:
            pair.baselines[scores.name] = scores.measures
        else:
            pair.measures = scores.measures
