"""Measure how well configurations transfer style, over a folder of clips laid out like GTZAN.

Runs every configuration on every pair, adds the trivial outputs that any configuration has to beat,
and writes ``quality.csv`` (a row a pair and configuration) and ``quality.md`` (the mean over pairs
with a 95 % interval)::

    python bench/quality.py genres --config fast --config balanced:bands=8,iterations=30

The folder holds a folder for each genre, ``genres/jazz/jazz.00000.wav``. Pairs are of different
genres and chosen by a fixed rule: ``held-out`` takes a pair of clips with odd numbers for each
ordered pair of genres, and ``tune`` the same of clips with even numbers, so that what settles a
default never judges it. ``all`` takes every ordered pair of clips. Clips with different numbers may
still be parts of one recording: where that matters, give a CSV file of
``content,style[,start_content,start_style]`` (paths in the folder, seconds).
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pairs import MIN_SECONDS, Pair, choose_pairs, list_clips, load_excerpt, read_pairs, spread

import audiostyle
from audiostyle.config import TransferConfig
from audiostyle.errors import AudioStyleError, ConfigError
from audiostyle.evaluation import PairJudge, baselines

SUMMARY = ("score", "style", "content", "copying", "style_network", "content_notes", "seconds")
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    pair : Pair
    config : str
        As it was given, or the name of a trivial output.
    measures : dict of str to float
        What `audiostyle.evaluate` returns, and ``seconds``.
    """

    pair: Pair
    config: str
    measures: dict[str, float]


# --- configurations ----------------------------------------------------------------------------


def parse_config(text: str) -> TransferConfig:
    """Read a preset and what differs from it, ``balanced:bands=8,iterations=30``.

    Parameters
    ----------
    text : str
        Values are converted as `TransferConfig` does. A part that does not begin with the name of
        a field goes on with the one before: ``fast:style_layers=block1_conv1=1,block2_conv1=0.5``.

    Returns
    -------
    config : TransferConfig

    Raises
    ------
    ConfigError
        If the preset, a field or a value is not valid.
    """
    preset, _, rest = text.partition(":")
    fields = {field.name for field in dataclasses.fields(TransferConfig)}
    overrides: dict[str, Any] = {}
    name = ""
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if name.endswith("_layers") and key not in fields:
            overrides[name] += f",{part}"
        elif equals:
            name = key
            overrides[name] = value
        else:
            raise ConfigError(f"{part!r} in {text!r} must be name=value")
    return TransferConfig.from_preset(preset, **overrides)


# --- running -----------------------------------------------------------------------------------


def run_pair(
    folder: Path, pair: Pair, configs: dict[str, TransferConfig], seconds: float
) -> Iterator[Row]:
    """Evaluate the trivial outputs and all configurations on one pair.

    Parameters
    ----------
    folder : Path
    pair : Pair
    configs : dict of str to TransferConfig
    seconds : float > 0
        Length of the excerpts.

    Yields
    ------
    row : Row
    """
    import librosa

    content, sr = load_excerpt(folder / pair.content, pair.start_content, seconds)
    style, style_sr = load_excerpt(folder / pair.style, pair.start_style, seconds)
    style = librosa.resample(style, orig_sr=style_sr, target_sr=sr)
    judge = PairJudge(content, style, sr)
    for name, output in baselines(content, style, sr).items():
        yield Row(pair, name, {**judge.evaluate(output), "seconds": 0.0})
    for name, config in configs.items():
        started = time.perf_counter()
        output = audiostyle.transfer(content, style, sr, config).y
        elapsed = time.perf_counter() - started
        yield Row(pair, name, {**judge.evaluate(output), "seconds": elapsed})


def run(pairs: Sequence[Pair], work: Callable[[Pair], Iterable[Row]], path: Path) -> list[Row]:
    """Run all pairs; every row is in the CSV file as soon as it is known.

    Parameters
    ----------
    pairs : sequence of Pair
    work : callable
        As `run_pair`, of a pair alone.
    path : Path
        The CSV file.

    Returns
    -------
    rows : list of Row
    """
    rows: list[Row] = []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for i, pair in enumerate(pairs, 1):
            for row in work(pair):
                if not rows:
                    writer.writerow(["content", "style", "config", *row.measures])
                values = [format_number(value, 4) for value in row.measures.values()]
                writer.writerow([pair.content, pair.style, row.config, *values])
                file.flush()
                rows.append(row)
                print(
                    f"[{i}/{len(pairs)}] {pair.name}  {row.config}  "
                    + "  ".join(
                        f"{name} {format_number(row.measures[name], 2)}" for name in SUMMARY[:4]
                    ),
                    file=sys.stderr,
                )
    return rows


# --- the table ---------------------------------------------------------------------------------


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
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
    """Write a number with a fixed number of decimals, and zero without a sign.

    Parameters
    ----------
    value : float
    digits : int >= 0

    Returns
    -------
    text : str
    """
    return f"{round(value, digits) + 0.0:.{digits}f}"


def summarise(rows: list[Row]) -> str:
    """Write the mean over pairs as a Markdown table.

    Parameters
    ----------
    rows : list of Row

    Returns
    -------
    table : str
        A line for each configuration: means with intervals, and the share of pairs on which it
        scores higher than every trivial output.
    """
    trivial = ("identity", "style_copy", "mix", "eq_match")
    best: dict[Pair, float] = {}
    for row in rows:
        if row.config in trivial:
            best[row.pair] = max(best.get(row.pair, 0.0), row.measures["score"])
    lines = [
        f"Mean over {len(best)} pairs, with 95 % bootstrap intervals; *won*: pairs with a higher "
        "score than every trivial output.",
        "",
        "| configuration | " + " | ".join(SUMMARY) + " | won |",
        "|---" * (len(SUMMARY) + 2) + "|",
    ]
    for name in dict.fromkeys(row.config for row in rows):
        own = [row for row in rows if row.config == name]
        cells = []
        for measure in SUMMARY:
            values = np.array([row.measures[measure] for row in own])
            interval = bootstrap_interval(values)
            digits = 1 if measure == "seconds" else 2
            mean, low, high = (format_number(v, digits) for v in (values.mean(), *interval))
            cells.append(f"{mean} [{low}, {high}]")
        won = sum(row.measures["score"] > best[row.pair] for row in own)
        tally = "" if name in trivial else f"{won}/{len(own)}"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {tally} |")
    return "\n".join(lines) + "\n"


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Parameters
    ----------
    arguments : sequence of str, optional

    Returns
    -------
    namespace : argparse.Namespace
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with a folder of clips for each genre")
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="PRESET[:NAME=VALUE,...]",
        help="configuration to measure; may be given several times (default: none, only baselines)",
    )
    parser.add_argument(
        "--pairs", default="held-out", help="held-out, tune, all, or a CSV file (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="excerpt length (%(default)s)")
    parser.add_argument("--limit", type=int, help="most pairs, evenly spread over the list")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("quality"), help="folder (%(default)s)"
    )
    parsed = parser.parse_args(arguments)
    if not parsed.folder.is_dir():
        parser.error(f"{parsed.folder} is not a folder; name one with a folder for each genre")
    if parsed.seconds < MIN_SECONDS:
        parser.error(f"--seconds {parsed.seconds:g} must be at least {MIN_SECONDS:g}")
    if parsed.limit is not None and parsed.limit < 1:
        parser.error(f"--limit {parsed.limit} must be at least 1")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's, if not given.

    Returns
    -------
    status : int
    """
    options = parse_arguments(arguments)
    try:
        configs = {text: parse_config(text) for text in options.config}
        if options.pairs in ("held-out", "tune", "all"):
            pairs = choose_pairs(list_clips(options.folder), options.pairs)
        else:
            pairs = read_pairs(Path(options.pairs))
        pairs = spread(pairs, options.limit)
        if not pairs:
            raise ConfigError(f"{options.folder}: no {options.pairs} pairs; use --pairs all")
        options.output.mkdir(parents=True, exist_ok=True)

        def work(pair: Pair) -> Iterator[Row]:
            return run_pair(options.folder, pair, configs, options.seconds)

        rows = run(pairs, work, options.output / "quality.csv")
    except (AudioStyleError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    table = summarise(rows)
    (options.output / "quality.md").write_text(table, encoding="utf-8")
    print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
