"""Text table of an evaluation: measures as rows, outputs and baselines as columns."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from audiostyle.evaluation.types import EvaluationReport, OutputScores

Column = tuple[str, OutputScores]  # with its label

WIDTH = 88
LONGEST_NAME = 20  # above a column; with a longer file name, columns are numbered

# Heading, what its numbers mean, and its rows: measure, label, factor, decimals.
# fmt: off
SECTIONS = (
    ("style", "0 the content itself, 1 as close as two halves of the style", (
        ("style_mfcc", "mfcc", 1, 2), ("style_network", "network", 1, 2),
        ("style_texture", "texture", 1, 2), ("style", "mean", 1, 2),
    )),
    ("content", "0 an unrelated clip, 1 the content itself", (
        ("content_pitch", "pitch", 1, 2), ("content_notes", "notes", 1, 2),
        ("content_onsets", "onsets", 1, 2), ("content_envelope", "envelope", 1, 2),
        ("content", "mean", 1, 2),
    )),
    ("copying", "0 nothing, 1 all of it is the style's own", (
        ("copying_waveform", "waveform", 1, 2), ("copying_notes", "notes", 1, 2),
        ("copying", "the larger", 1, 2),
    )),
    ("sound", "consistency is the error of the inversion; loudness and noise are changes", (
        ("sound_consistency", "consistency, dB", 1, 1), ("sound_clipping", "clipping, %", 100, 2),
        ("sound_loudness", "loudness, dB", 1, 1), ("sound_added_noise", "added noise, dB", 1, 1),
    )),
    ("score", "sqrt(style x content) x (1 - copying); 0 content, style or noise given back", (
        ("score", "score", 1, 2),
    )),
)
# fmt: on
LABEL_WIDTH = 2 + max(len(label) for _, _, rows in SECTIONS for _, label, _, _ in rows)


def render_table(report: EvaluationReport, width: int = WIDTH) -> str:
    """Format the table; columns beyond `width` characters go into further blocks below.

    Outputs that were compared to another part of the content have their own blocks. Only paths may
    make a line longer than `width`.
    """
    columns = list(zip(column_labels(report.scores), report.scores, strict=True))
    lines = [f"content  {report.content['path']}", f"style    {report.style['path']}"]
    for label, scores in columns:
        if not scores.is_baseline and label != scores.name:
            lines.append(f"{label if label.isdigit() else 'output':9}{scores.name}")
    parts: dict[tuple[int, int], list[Column]] = {}
    for label, scores in columns:
        parts.setdefault((scores.start_sample, scores.samples), []).append((label, scores))
    legend = True
    for (start, samples), part in parts.items():
        if len(parts) > 1:
            begin, end = (n / report.content["sr"] for n in (start, start + samples))
            lines += ["", f"against the content from {begin:.2f} s to {end:.2f} s"]
        while part:
            block = _first_columns(part, width)
            part = part[len(block) :]
            lines += ["", *_render_block(block, legend)]
            legend = False
    return "\n".join(line.rstrip() for line in lines) + "\n"


def column_labels(scores: Sequence[OutputScores]) -> list[str]:
    """Label the columns with file names, or numbers where names are long or not unique.

    Baselines, which come last, keep their names.
    """
    files = [os.path.basename(s.name) for s in scores if not s.is_baseline]
    baselines = [s.name for s in scores if s.is_baseline]
    unclear = len(set(files)) < len(files) or not set(files).isdisjoint(baselines)
    if unclear or any(len(name) > LONGEST_NAME for name in files):
        files = [str(number) for number in range(1, len(files) + 1)]
    return [*files, *baselines]


def format_value(value: float | None, factor: float, decimals: int) -> str:
    """Format a measure in the unit that is shown, which is `factor` per 1; a dash for None."""
    if value is None:
        return "-"
    return f"{round(value * factor, decimals) + 0.0:.{decimals}f}"  # + 0.0: no -0.00


def _column_width(label: str) -> int:
    return 2 + max(7, len(label))


def _first_columns(columns: list[Column], width: int) -> list[Column]:
    """Return the columns that fit into a line, at least one."""
    ends = itertools.accumulate((_column_width(label) for label, _ in columns), initial=LABEL_WIDTH)
    return columns[: max(1, sum(end <= width for end in ends) - 1)]


def _render_block(columns: list[Column], legend: bool) -> list[str]:
    lines = [" " * LABEL_WIDTH + "".join(label.rjust(_column_width(label)) for label, _ in columns)]
    for heading, meaning, rows in SECTIONS:
        lines.append(f"{heading}: {meaning}" if legend else heading)
        for measure, label, factor, decimals in rows:
            cells = (
                format_value(column.measures[measure], factor, decimals).rjust(_column_width(name))
                for name, column in columns
            )
            lines.append(f"  {label}".ljust(LABEL_WIDTH) + "".join(cells))
    return lines
