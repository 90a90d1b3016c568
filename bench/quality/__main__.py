"""Measure how well methods transfer style, on pairs with known answers and on recordings.

Runs every method and the baselines on every pair. A method is a preset, with changes to it or
without, a TOML file, a function of (content, style, sr) that returns the output, or a folder of
outputs as this command writes them::

    python -m bench.quality balanced classic
    python -m bench.quality balanced:bands=8,iterations=30 tuned.toml --set held-out
    python -m bench.quality prototype.py:transfer package.module:transfer results/outputs/balanced
    python -m bench.quality balanced --recordings genres --strengths

Writes one row per pair and method to ``synthetic.csv``, ``sampled.csv`` and ``recordings.csv``,
means over pairs with 95 % intervals to ``quality.md`` and ``quality.json``, and every output to
``outputs``.

Sampled pairs need FluidSynth and a soundfont, and the 2f model the package seabass-2f; without
them, their figures are left out, and a line says so. A folder of recordings must hold one folder
per genre, ``genres/jazz/jazz.00000.wav``. Its pairs are of different genres and chosen by a fixed
rule: ``held-out`` takes one pair of clips with odd numbers for each ordered pair of genres,
``tuning`` one with even numbers, ``all`` every ordered pair of clips. Clips with different numbers
may still be excerpts of one recording: where that matters, give a CSV file of
``content,style[,start_content,start_style]`` (paths in the folder, seconds).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audiostyle.errors import AudioStyleError, ConfigError
from bench.common import MAX_SECONDS, integer, make_parser, number
from bench.quality import known_answers, recordings, sampled
from bench.quality.known_answers import EQ_MATCH, HALVES, IDENTITY, TRIVIAL
from bench.quality.runs import STRENGTHS, Method, Row, limit_pairs, read_methods, run_pairs
from bench.quality.summary import KINDS, write_summary
from bench.quality.tables import best_baseline, mean_table, strength_table
from bench.quality.target_metrics import has_2f

METHODS = ["balanced", "balanced:iterations=0", "classic"]
SCORES = ("score", "style", "content", "copying")
RECORDING_MEASURES = (*SCORES, "style_network", "content_notes", "seconds")
TARGET_MEASURES = ("lsd", "lsd_frames", "notes", "2f", "2f_loud")


def measure_recordings(options: argparse.Namespace, methods: Sequence[Method]) -> str:
    """Run the pairs of the folder; return the section of the report."""
    if options.pairs is not None:
        pairs = recordings.read_pairs(options.pairs)
    else:
        pairs = recordings.choose_pairs(recordings.list_clips(options.recordings), options.set)
    pairs = limit_pairs(pairs, options.limit)
    if not pairs:
        raise ConfigError(f"{options.recordings}: no {options.set} pairs; use --set all")

    def evaluate(pair: recordings.RecordingPair) -> Iterator[Row]:
        return recordings.evaluate_pair(
            options.recordings, pair, methods, options.seconds, options.output
        )

    rows = run_pairs(pairs, evaluate, options.output / "recordings.csv", SCORES)
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


def measure_known(kind: str, options: argparse.Namespace, methods: Sequence[Method]) -> str:
    """Run the synthetic or sampled pairs; return the section of the report."""
    title = f"## {kind.capitalize()} pairs, {options.set}\n\n"
    missing = sampled.missing_program() if kind == "sampled" else None
    if missing:
        print(missing, file=sys.stderr)
        return f"{title}{missing}.\n"
    pairs = limit_pairs(known_answers.choose_known(kind, options.set), options.limit)

    def evaluate(pair: Any) -> Iterator[Row]:
        return known_answers.evaluate_known(pair, methods, options.output, options.strengths)

    shown = (*TARGET_MEASURES, *(SCORES if options.strengths else ()))
    rows = run_pairs(pairs, evaluate, options.output / f"{kind}.csv", shown)
    trivial: dict[Any, float] = {}
    for row in rows:
        if row.method in TRIVIAL:
            distance = row.measures["lsd_frames"]
            trivial[row.pair] = min(trivial.get(row.pair, distance), distance)
    text = title + (
        f"Mean over {len(pairs)} pairs, with 95 % bootstrap intervals; *less by*: the share by "
        f"which the mean is less than that of the content itself ({IDENTITY}); *trivial wins*: "
        f"pairs for which {IDENTITY} or {EQ_MATCH} has the smaller lsd_frames.\n\n"
    )
    wins = {"trivial wins": lambda row: row.measures["lsd_frames"] > trivial[row.pair]}
    text += mean_table(rows, (*shown, "seconds"), wins, {"lsd": IDENTITY, "lsd_frames": IDENTITY})
    if options.strengths:
        measures = (*SCORES, "lsd_frames")
        text += f"\n## Strength, {kind} pairs\n\n" + strength_table(rows, STRENGTHS, measures)
    return text


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = make_parser("bench.quality", __doc__)
    add = parser.add_argument
    add("methods", nargs="*", metavar="METHOD", default=METHODS, help=f"({' '.join(METHODS)})")
    add("--set", choices=(*HALVES, "all"), default="tuning", help="half of the pairs (%(default)s)")
    add("--only", action="append", choices=KINDS, help="measure these pairs; may be repeated")
    add("--recordings", type=Path, metavar="FOLDER", help="folder with one folder per genre")
    add("--pairs", type=Path, metavar="FILE", help="CSV file of pairs of recordings")
    add(
        "--strengths",
        action="store_true",
        help="run every configuration at strengths 0, .25, .5, .75 and 1, and score all outputs",
    )
    length = number(recordings.MIN_SECONDS, MAX_SECONDS, "s")
    add("--seconds", type=length, default=10.0, help="of each recording (%(default)s)")
    add("--limit", type=integer(), help="maximum number of pairs, evenly spread over the list")
    add("-o", "--output", type=Path, default=Path("quality"), help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    options.only = options.only or (KINDS if options.recordings else KINDS[:2])
    if "recordings" in options.only and options.recordings is None:
        parser.error("no recordings: name a folder of clips with --recordings")
    if options.recordings is not None and not options.recordings.is_dir():
        parser.error(f"{options.recordings} is not a folder; name one with a folder for each genre")
    return options


def format_command(arguments: Sequence[str], options: argparse.Namespace) -> str:
    """Return the command line without the paths of this machine."""
    names = {str(options.recordings): "FOLDER", str(options.pairs): "FILE"}
    words = [names.get(word, word) for word in arguments if word != str(options.output)]
    return " ".join(["python -m bench.quality", *(w for w in words if w not in ("-o", "--output"))])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse_arguments(arguments)
    sections = []
    try:
        methods = read_methods(options.methods, options.strengths)
        options.output.mkdir(parents=True, exist_ok=True)
        for kind in KINDS[:2]:
            if kind in options.only:
                sections.append(measure_known(kind, options, methods))
        if "recordings" in options.only:
            sections.append(measure_recordings(options, methods))
    except (AudioStyleError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not has_2f():
        sections.append(
            "No 2f: seabass-2f is not installed; run pip install 'audiostyle[bench]'.\n"
        )
    text = "\n".join(sections)
    (options.output / "quality.md").write_text(text, encoding="utf-8")
    command = format_command(arguments, options)
    write_summary(options.output, options.output / "quality.json", command, options.only)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
