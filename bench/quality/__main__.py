"""Measure how well configurations transfer style, on recordings and on pairs with known targets.

Runs every configuration and the baselines on every pair. Writes one row per pair and configuration
to ``quality.csv`` and ``synthetic.csv``, and means over pairs with 95 % intervals to
``quality.md``::

    python -m bench.quality genres --config fast --config balanced:bands=8,iterations=30
    python -m bench.quality --synthetic tune --config balanced
    python -m bench.quality genres --strengths --config balanced

The folder must hold one folder per genre, ``genres/jazz/jazz.00000.wav``. Pairs are of different
genres and chosen by a fixed rule: ``held-out`` takes one pair of clips with odd numbers for each
ordered pair of genres, ``tune`` one with even numbers, so that defaults tuned on one half can be
tested on the other. ``all`` takes every ordered pair of clips. Clips with different numbers may
still be excerpts of one recording: where that matters, give a CSV file of
``content,style[,start_content,start_style]`` (paths in the folder, seconds).

Synthetic pairs need no folder. Their two halves share no phrase and no pair of timbres.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from audiostyle.errors import AudioStyleError, ConfigError
from bench.common import MAX_SECONDS, integer, make_parser, number
from bench.quality.recordings import (
    MIN_SECONDS,
    RecordingPair,
    choose_pairs,
    evaluate_pair,
    list_clips,
    read_pairs,
)
from bench.quality.runs import STRENGTHS, Entry, Row, limit_pairs, list_entries, run_pairs
from bench.quality.synthetic import SyntheticPair, choose_synthetic, evaluate_synthetic
from bench.quality.tables import best_baseline, mean_table, strength_table, timbre_table

HALVES = ("held-out", "tune", "all")
SCORES = ("score", "style", "content", "copying")
COST = ("convergence", "seconds")
RECORDING_MEASURES = (*SCORES, "style_network", "content_notes", *COST)
TARGET_MEASURES = ("lsd_reduction", "lsd_frames_reduction", "lsd")


def measure_recordings(options: argparse.Namespace, entries: Sequence[Entry]) -> str:
    """Run the pairs of the folder; return the section of the report."""
    if options.pairs in HALVES:
        pairs = choose_pairs(list_clips(options.folder), options.pairs)
    else:
        pairs = read_pairs(Path(options.pairs))
    pairs = limit_pairs(pairs, options.limit)
    if not pairs:
        raise ConfigError(f"{options.folder}: no {options.pairs} pairs; use --pairs all")

    def evaluate(pair: RecordingPair) -> Iterator[Row]:
        return evaluate_pair(options.folder, pair, entries, options.seconds)

    rows = run_pairs(pairs, evaluate, options.output / "quality.csv", SCORES)
    best = best_baseline(rows, "score")
    text = (
        f"## Recordings\n\nMean over {len(pairs)} pairs, with 95 % bootstrap intervals; *won*: "
        "pairs with a higher score than every baseline.\n\n"
    )
    won = {"won": lambda row: row.measures["score"] > best[row.pair]}
    text += mean_table(rows, RECORDING_MEASURES, won)
    if options.strengths:
        text += "\n## Strength\n\n" + strength_table(rows, STRENGTHS, SCORES)
    return text


def measure_synthetic(options: argparse.Namespace, entries: Sequence[Entry]) -> str:
    """Run the synthetic pairs; return the section of the report."""
    pairs = limit_pairs(choose_synthetic(options.synthetic), options.limit)
    scored = options.scores or options.strengths

    def evaluate(pair: SyntheticPair) -> Iterator[Row]:
        return evaluate_synthetic(pair, entries, scored)

    shown = (*TARGET_MEASURES, *(SCORES if scored else ()))
    rows = run_pairs(pairs, evaluate, options.output / "synthetic.csv", shown)
    best = best_baseline(rows, "lsd_reduction")
    text = (
        f"## Synthetic pairs\n\nMean over {len(pairs)} pairs, with 95 % bootstrap intervals; "
        "*improved*: pairs that are closer to the target than their content is; *won*: also closer "
        "than every baseline.\n\n"
    )
    tallies = {
        "improved": lambda row: row.measures["lsd_reduction"] > 0,
        "won": lambda row: row.measures["lsd_reduction"] > best[row.pair],
    }
    text += mean_table(rows, (*shown, *COST), tallies)
    if entries:
        text += "\nMean lsd_reduction by timbre of the content (from) and of the style (to):\n\n"
        text += timbre_table(rows, "lsd_reduction")
    if options.strengths:
        measures = (*SCORES, "lsd_reduction")
        text += "\n## Strength, synthetic pairs\n\n" + strength_table(rows, STRENGTHS, measures)
    return text


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = make_parser("bench.quality", __doc__)
    add = parser.add_argument
    add("folder", type=Path, nargs="?", help="folder with one folder of clips per genre")
    add(
        "--config",
        action="append",
        default=[],
        metavar="PRESET[:NAME=VALUE,...]",
        help="configuration to measure; may be given several times (default: only baselines)",
    )
    add("--pairs", default="held-out", help="held-out, tune, all, or a CSV file (%(default)s)")
    add("--synthetic", choices=HALVES, help="measure this half of the synthetic pairs")
    add("--scores", action="store_true", help="measure synthetic pairs by the scores as well")
    add(
        "--strengths",
        action="store_true",
        help="run every configuration at strengths 0, .25, .5, .75 and 1; implies --scores",
    )
    length = number(MIN_SECONDS, MAX_SECONDS, "s")
    add("--seconds", type=length, default=10.0, help="excerpt length (%(default)s)")
    add("--limit", type=integer(), help="maximum number of pairs, evenly spread over the list")
    add("-o", "--output", type=Path, default=Path("quality"), help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    if options.folder is None and options.synthetic is None:
        parser.error("nothing to measure: name a folder of clips, or use --synthetic held-out")
    if options.folder is not None and not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder; name one with a folder for each genre")
    if options.strengths and not options.config:
        parser.error("--strengths needs a configuration: add --config balanced")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    options = parse_arguments(arguments)
    try:
        entries = list_entries(options.config, options.strengths)
        options.output.mkdir(parents=True, exist_ok=True)
        sections = []
        if options.folder is not None:
            sections.append(measure_recordings(options, entries))
        if options.synthetic is not None:
            sections.append(measure_synthetic(options, entries))
    except (AudioStyleError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = "\n".join(sections)
    (options.output / "quality.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
