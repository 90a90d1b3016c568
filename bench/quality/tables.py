"""Tables of means over pairs, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.common import format_number, markdown_table
from bench.quality.runs import Array, Row

N_RESAMPLES = 10_000
DIGITS = {"seconds": 1, "convergence": 1}  # other measures: 2
BASELINES = ("identity", "style_copy", "mix", "eq_match")
CONTENT_RISE = 0.03  # rise of the mean content from one strength to the next that counts as noise


def bootstrap_interval(values: Array) -> tuple[float, float]:
    """Estimate the 95 % interval of a mean by resampling pairs (Efron 1979, percentiles)."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (N_RESAMPLES, values.size)).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def best_baseline(rows: Sequence[Row], measure: str) -> dict[Any, float]:
    """Return the largest value of a measure among the baselines of each pair, at least 0."""
    best: dict[Any, float] = {}
    for row in rows:
        if row.config in BASELINES:
            best[row.pair] = max(best.get(row.pair, 0.0), row.measures[measure])
    return best


def mean_table(
    rows: Sequence[Row],
    measures: Sequence[str],
    tallies: Mapping[str, Callable[[Row], bool]],
) -> str:
    """Format the means over pairs with their intervals, one line per configuration.

    `tallies` are columns that count the pairs for which a condition holds; they are empty for
    baselines. Rows that are not `main` are left out.
    """
    lines = []
    rows = [row for row in rows if row.main]
    for name in dict.fromkeys(row.config for row in rows):
        own = [row for row in rows if row.config == name]
        cells = [_mean_cell([row.measures[m] for row in own], DIGITS.get(m, 2)) for m in measures]
        for holds in tallies.values():
            cells.append("" if name in BASELINES else f"{sum(map(holds, own))}/{len(own)}")
        lines.append([name, *cells])
    return markdown_table(["configuration", *measures, *tallies], lines)


def _mean_cell(values: Sequence[float], digits: int) -> str:
    """Format a mean and its interval; empty where the measure does not apply."""
    known = np.array(values, np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return ""
    mean, low, high = (
        format_number(value, digits) for value in (known.mean(), *bootstrap_interval(known))
    )
    return f"{mean} [{low}, {high}]"


def timbre_table(rows: Sequence[Row], measure: str) -> str:
    """Format the means by timbre of the content ("from") and of the style ("to")."""
    rows = [row for row in rows if row.main]
    names = list(dict.fromkeys(row.config for row in rows if row.strength is not None))
    timbres = dict.fromkeys([row.pair.content for row in rows] + [row.pair.style for row in rows])
    lines = []
    for timbre in timbres:
        cells = []
        for name in names:
            for side in ("content", "style"):
                values = [
                    row.measures[measure]
                    for row in rows
                    if row.config == name and getattr(row.pair, side) == timbre
                ]
                cells.append(format_number(float(np.mean(values)), 2) if values else "")
        lines.append([timbre, *cells])
    head = [f"{name} {side}" for name in names for side in ("from", "to")]
    return markdown_table(["timbre", *head], lines)


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

    Every configuration must have been run at all `strengths`; `measures` must include ``style``
    and ``content``.
    """
    lines, findings = [], []
    for name in dict.fromkeys(row.config for row in rows if row.strength is not None):
        means: dict[str, list[float]] = {measure: [] for measure in measures}
        for strength in strengths:
            own = [r.measures for r in rows if (r.config, r.strength) == (name, strength)]
            for measure in measures:
                means[measure].append(float(np.mean([m[measure] for m in own])))
            cells = [format_number(means[measure][-1], 3) for measure in measures]
            lines.append([name, f"{strength:g}", *cells])
        violations = strength_violations(strengths, means["style"], means["content"])
        findings.append(f"- {name}: " + ("; ".join(violations) or "monotone"))
    table = markdown_table(["configuration", "strength", *measures], lines)
    rule = (
        "Monotone: from one strength to the next, style never falls and content never rises by "
        f"more than {CONTENT_RISE:g}."
    )
    return "\n".join([table, rule, "", *findings]) + "\n"
