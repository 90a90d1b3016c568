"""Tables of means over pairs, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from audiostyle.evaluation.intervals import PERCENTILES, resample_means
from bench.common import format_number, markdown_table
from bench.quality.runs import Array, Row

DIGITS = {"seconds": 1, "2f": 0, "2f_loud": 0, "lsd": 1, "lsd_frames": 1}  # other measures: 2
BASELINES = ("identity", "style_copy", "mix", "eq_match")
CONTENT_RISE = 0.03  # rise of the mean content from one strength to the next that counts as noise


def bootstrap_interval(values: Array, before: Array | None = None) -> tuple[float, float]:
    """Estimate a 95 % interval by resampling pairs (Efron 1979, percentiles).

    Of the mean of `values`; with `before`, of the share by which that mean is less than the mean of
    `before`.
    """
    means = resample_means(values)
    if before is not None:
        means = 1.0 - means / resample_means(before)
    low, high = np.percentile(means, PERCENTILES)
    return float(low), float(high)


def best_baseline(rows: Sequence[Row], measure: str) -> dict[Any, float]:
    """Return the largest value of a measure among the baselines of each pair, at least 0."""
    best: dict[Any, float] = {}
    for row in rows:
        if row.method in BASELINES:
            best[row.pair] = max(best.get(row.pair, 0.0), row.measures[measure])
    return best


def mean_table(
    rows: Sequence[Row],
    measures: Sequence[str],
    tallies: Mapping[str, Callable[[Row], bool]],
    reduced: Mapping[str, str] | None = None,
) -> str:
    """Format the means over pairs with their intervals, one line per method.

    `reduced` names measures that are followed by a column: by how much the mean is less than that
    of the method it names. `tallies` are columns that count the pairs for which a condition holds;
    they are empty for baselines. Rows that are not `main` are left out.
    """
    rows = [row for row in rows if row.main]
    reduced = reduced or {}
    head, lines = ["method"], []
    for measure in measures:
        head += [measure, "less by"] if measure in reduced else [measure]
    for name in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == name]
        cells = []
        for measure in measures:
            values = np.array([row.measures[measure] for row in own], np.float64)
            cells.append(_cell(values, DIGITS.get(measure, 2)))
            if measure in reduced:
                start = {r.pair: r.measures[measure] for r in rows if r.method == reduced[measure]}
                cells.append(_cell(values, 2, np.array([start[row.pair] for row in own])))
        for holds in tallies.values():
            cells.append("" if name in BASELINES else f"{sum(map(holds, own))}/{len(own)}")
        lines.append([name, *cells])
    return markdown_table([*head, *tallies], lines)


def _cell(values: Array, digits: int, before: Array | None = None) -> str:
    """Format a mean, or how much less it is, and its interval; empty if there is none."""
    if np.isnan(values).any():
        return ""
    mean = values.mean() if before is None else 1.0 - values.mean() / before.mean()
    mean, low, high = (
        format_number(value, digits) for value in (mean, *bootstrap_interval(values, before))
    )
    return f"{mean} [{low}, {high}]"


def strength_violations(
    strengths: Sequence[float], style: Sequence[float], content: Sequence[float]
) -> list[str]:
    """Name the steps at which a strength curve is not monotone.

    The curve holds means over pairs, by rising strength. It is monotone if style never falls and
    content never rises by more than `CONTENT_RISE`.
    """
    violations = []
    for i in range(1, len(strengths)):
        step = f"from {strengths[i - 1]:g} to {strengths[i]:g}"
        fall, rise = style[i - 1] - style[i], content[i] - content[i - 1]
        if fall > 0:
            violations.append(f"style falls by {fall:.3f} {step}")
        if rise > CONTENT_RISE:
            violations.append(f"content rises by {rise:.3f} {step}")
    return violations


def strength_table(rows: Sequence[Row], strengths: Sequence[float], measures: Sequence[str]) -> str:
    """Format the means at each strength, and whether the curve is monotone.

    Every method with a strength must have been run at all `strengths`; `measures` must include
    ``style`` and ``content``.
    """
    lines, findings = [], []
    for name in dict.fromkeys(row.method for row in rows if row.strength is not None):
        means: dict[str, list[float]] = {measure: [] for measure in measures}
        for strength in strengths:
            own = [r.measures for r in rows if (r.method, r.strength) == (name, strength)]
            for measure in measures:
                means[measure].append(float(np.mean([m[measure] for m in own])))
            cells = [format_number(means[measure][-1], 3) for measure in measures]
            lines.append([name, f"{strength:g}", *cells])
        violations = strength_violations(strengths, means["style"], means["content"])
        findings.append(f"- {name}: " + ("; ".join(violations) or "monotone"))
    table = markdown_table(["method", "strength", *measures], lines)
    rule = (
        "Monotone: from one strength to the next, style never falls and content never rises by "
        f"more than {CONTENT_RISE:g}."
    )
    return "\n".join([table, rule, "", *findings]) + "\n"
