"""Tables of means over pairs, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rows import AnyPair, Row

Array = npt.NDArray[Any]

N_RESAMPLES = 10_000
DIGITS = {"seconds": 1, "convergence": 1}  # other measures: 2
TRIVIAL_OUTPUTS = ("identity", "style_copy", "mix", "eq_match")
CONTENT_RISE = 0.03  # of the mean, from one strength to the next, that is still noise


def bootstrap_interval(values: Array) -> tuple[float, float]:
    """Estimate the 95 % interval of a mean by resampling pairs (Efron 1979, percentiles).

    Parameters
    ----------
    values : np.ndarray [shape=(n,)]

    Returns
    -------
    low, high : float
    """
    rng = np.random.default_rng(0)
    means = rng.choice(values, (N_RESAMPLES, values.size)).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def format_number(value: float, digits: int) -> str:
    """Write a number with a fixed number of decimals, zero without a sign, and NaN as nothing.

    Parameters
    ----------
    value : float
    digits : int >= 0

    Returns
    -------
    text : str
    """
    return "" if np.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def best_trivial(rows: Sequence[Row], measure: str) -> dict[AnyPair, float]:
    """Find the best trivial output of each pair, and never below 0.

    Parameters
    ----------
    rows : sequence of Row
    measure : str
        In which larger is better.

    Returns
    -------
    best : dict of AnyPair to float
    """
    best: dict[AnyPair, float] = {}
    for row in rows:
        if row.config in TRIVIAL_OUTPUTS:
            best[row.pair] = max(best.get(row.pair, 0.0), row.measures[measure])
    return best


def mean_table(
    rows: Sequence[Row],
    measures: Sequence[str],
    tallies: Mapping[str, Callable[[Row], bool]],
) -> str:
    """Write means over pairs with their intervals.

    Parameters
    ----------
    rows : sequence of Row
        Those that are not `main` are left out.
    measures : sequence of str
    tallies : mapping of str to callable
        Columns that count the pairs for which it is true; empty for trivial outputs.

    Returns
    -------
    table : str
        A line for each configuration.
    """
    rows = [row for row in rows if row.main]
    head = ["configuration", *measures, *tallies]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in dict.fromkeys(row.config for row in rows):
        own = [row for row in rows if row.config == name]
        cells = [mean_cell([row.measures[m] for row in own], DIGITS.get(m, 2)) for m in measures]
        for holds in tallies.values():
            trivial = name in TRIVIAL_OUTPUTS
            cells.append("" if trivial else f"{sum(map(holds, own))}/{len(own)}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def mean_cell(values: Sequence[float], digits: int) -> str:
    """Write a mean and its interval; nothing where the measure does not apply.

    Parameters
    ----------
    values : sequence of float
    digits : int >= 0

    Returns
    -------
    cell : str
    """
    known = np.array(values, np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return ""
    mean, low, high = (
        format_number(value, digits) for value in (known.mean(), *bootstrap_interval(known))
    )
    return f"{mean} [{low}, {high}]"


def timbre_table(rows: Sequence[Row], measure: str) -> str:
    """Write the mean by timbre of the content, and by timbre of the style.

    Parameters
    ----------
    rows : sequence of Row
        Of synthetic pairs.
    measure : str

    Returns
    -------
    table : str
        A line for each timbre; two columns for each configuration.
    """
    rows = [row for row in rows if row.main]
    names = list(dict.fromkeys(row.config for row in rows if row.strength is not None))
    head = ["timbre", *(f"{name} from | to" for name in names)]
    lines = ["| " + " | ".join(head) + " |", "|---" * (1 + 2 * len(names)) + "|"]
    timbres = dict.fromkeys([row.pair.content for row in rows] + [row.pair.style for row in rows])
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
        lines.append(f"| {timbre} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def strength_offences(
    strengths: Sequence[float], style: Sequence[float], content: Sequence[float]
) -> list[str]:
    """Say at which steps a strength curve is not monotone.

    Parameters
    ----------
    strengths : sequence of float
        Rising.
    style, content : sequence of float
        Means over pairs, as many as strengths.

    Returns
    -------
    offences : list of str
        Empty if style never falls and content never rises by more than `CONTENT_RISE`.
    """
    offences = []
    for i in range(1, len(strengths)):
        step = f"from {strengths[i - 1]:g} to {strengths[i]:g}"
        fall, rise = style[i - 1] - style[i], content[i] - content[i - 1]
        if fall > 0:
            offences.append(f"style falls by {fall:.3f} {step}")
        if rise > CONTENT_RISE:
            offences.append(f"content rises by {rise:.3f} {step}")
    return offences


def strength_table(rows: Sequence[Row], strengths: Sequence[float], measures: Sequence[str]) -> str:
    """Write the means at each strength, and whether the curve is monotone.

    Parameters
    ----------
    rows : sequence of Row
    strengths : sequence of float
        Rising; every configuration was run at each.
    measures : sequence of str
        With ``style`` and ``content`` among them.

    Returns
    -------
    text : str
        A table with a line for each configuration and strength, and a verdict for each
        configuration.
    """
    head = ["configuration", "strength", *measures]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    verdicts = []
    for name in dict.fromkeys(row.config for row in rows if row.strength is not None):
        means: dict[str, list[float]] = {measure: [] for measure in measures}
        for strength in strengths:
            own = [r.measures for r in rows if (r.config, r.strength) == (name, strength)]
            for measure in measures:
                means[measure].append(float(np.mean([m[measure] for m in own])))
            cells = [format_number(means[measure][-1], 3) for measure in measures]
            lines.append(f"| {name} | {strength:g} | " + " | ".join(cells) + " |")
        offences = strength_offences(strengths, means["style"], means["content"])
        verdicts.append(f"- {name}: " + ("; ".join(offences) or "monotone"))
    rule = f"Monotone: style never falls, content never rises by more than {CONTENT_RISE:g} a step."
    return "\n".join([*lines, "", rule, "", *verdicts]) + "\n"
