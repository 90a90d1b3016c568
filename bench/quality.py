"""Measure how well configurations transfer style: on recordings, and on pairs with known targets.

Runs every configuration on every pair, adds the trivial outputs that any configuration has to beat,
and writes a row for each pair and configuration (``quality.csv``, ``synthetic.csv``) and the means
over pairs with 95 % intervals (``quality.md``)::

    python bench/quality.py genres --config fast --config balanced:bands=8,iterations=30
    python bench/quality.py --synthetic tune --config balanced
    python bench/quality.py genres --strengths --config balanced

The folder holds a folder for each genre, ``genres/jazz/jazz.00000.wav``. Pairs are of different
genres and chosen by a fixed rule: ``held-out`` takes a pair of clips with odd numbers for each
ordered pair of genres, and ``tune`` the same of clips with even numbers, so that what settles a
default never judges it. ``all`` takes every ordered pair of clips. Clips with different numbers may
still be parts of one recording: where that matters, give a CSV file of
``content,style[,start_content,start_style]`` (paths in the folder, seconds).

Synthetic pairs need no folder. Their halves, too, share no phrase and no pair of timbres.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from arguments import MAX_SECONDS, make_parser, number, whole
from pairs import MIN_SECONDS, Pair, choose_pairs, list_clips, load_excerpt, read_pairs, spread
from rows import Row
from runs import STRENGTHS, TRIVIAL, Entry, list_entries, run, stylise
from synthetic import SyntheticPair, choose_synthetic, run_synthetic
from tables import best_trivial, mean_table, strength_table, timbre_table

from audiostyle.errors import AudioStyleError, ConfigError
from audiostyle.evaluation.scores import PairEvaluator, make_baselines

HALVES = ("held-out", "tune", "all")
JUDGED = ("score", "style", "content", "copying")
COST = ("convergence", "seconds")
SUMMARY = (*JUDGED, "style_network", "content_notes", *COST)
TARGETED = ("lsd_reduction", "lsd_frames_reduction", "lsd")


def run_pair(folder: Path, pair: Pair, entries: Sequence[Entry], seconds: float) -> Iterator[Row]:
    """Evaluate the trivial outputs and all configurations on one pair of recordings.

    Parameters
    ----------
    folder : Path
    pair : Pair
    entries : sequence of Entry
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
    judge = PairEvaluator(content, style, sr)
    for name, output in make_baselines(content, style, sr).items():
        yield Row(pair, name, {**judge.evaluate(output), **TRIVIAL})
    for entry in entries:
        output, measures = stylise(content, style, sr, entry)
        measures = {**judge.evaluate(output), **measures}
        yield Row(pair, entry.name, measures, entry.config.strength, entry.main)


def measure_recordings(options: argparse.Namespace, entries: Sequence[Entry]) -> str:
    """Run the pairs of the folder.

    Parameters
    ----------
    options : argparse.Namespace
        As from `parse_arguments`, with a folder.
    entries : sequence of Entry

    Returns
    -------
    section : str
        In Markdown.

    Raises
    ------
    ConfigError
        If there are no pairs.
    """
    if options.pairs in HALVES:
        pairs = choose_pairs(list_clips(options.folder), options.pairs)
    else:
        pairs = read_pairs(Path(options.pairs))
    pairs = spread(pairs, options.limit)
    if not pairs:
        raise ConfigError(f"{options.folder}: no {options.pairs} pairs; use --pairs all")

    def work(pair: Pair) -> Iterator[Row]:
        return run_pair(options.folder, pair, entries, options.seconds)

    rows = run(pairs, work, options.output / "quality.csv", JUDGED)
    best = best_trivial(rows, "score")
    text = (
        f"## Recordings\n\nMean over {len(pairs)} pairs, with 95 % bootstrap intervals; *won*: "
        "pairs with a higher score than every trivial output.\n\n"
    )
    text += mean_table(rows, SUMMARY, {"won": lambda row: row.measures["score"] > best[row.pair]})
    if options.strengths:
        text += "\n## Strength\n\n" + strength_table(rows, STRENGTHS, JUDGED)
    return text


def measure_synthetic(options: argparse.Namespace, entries: Sequence[Entry]) -> str:
    """Run the synthetic pairs.

    Parameters
    ----------
    options : argparse.Namespace
        As from `parse_arguments`, with a half of the pairs.
    entries : sequence of Entry

    Returns
    -------
    section : str
        In Markdown.
    """
    pairs = spread(choose_synthetic(options.synthetic), options.limit)
    judged = options.judge or options.strengths

    def work(pair: SyntheticPair) -> Iterator[Row]:
        return run_synthetic(pair, entries, judged)

    shown = (*TARGETED, *(JUDGED if judged else ()))
    rows = run(pairs, work, options.output / "synthetic.csv", shown)
    best = best_trivial(rows, "lsd_reduction")
    text = (
        f"## Synthetic pairs\n\nMean over {len(pairs)} pairs, with 95 % bootstrap intervals; "
        "*improved*: pairs that are nearer to the target than their content is; *won*: nearer than "
        "every trivial output, too.\n\n"
    )
    text += mean_table(
        rows,
        (*shown, *COST),
        {
            "improved": lambda row: row.measures["lsd_reduction"] > 0,
            "won": lambda row: row.measures["lsd_reduction"] > best[row.pair],
        },
    )
    if entries:
        text += "\nMean lsd_reduction by timbre, from it and to it:\n\n"
        text += timbre_table(rows, "lsd_reduction")
    if options.strengths:
        measures = (*JUDGED, "lsd_reduction")
        text += "\n## Strength, synthetic pairs\n\n" + strength_table(rows, STRENGTHS, measures)
    return text


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Parameters
    ----------
    arguments : sequence of str, optional

    Returns
    -------
    namespace : argparse.Namespace
    """
    parser = make_parser(__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", help="folder with a folder of clips for each genre"
    )
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
    parser.add_argument(
        "--synthetic", choices=HALVES, help="measure the synthetic pairs of this half, too"
    )
    parser.add_argument(
        "--judge",
        action="store_true",
        help="on synthetic pairs, measure score, style, content and copying, too",
    )
    parser.add_argument(
        "--strengths",
        action="store_true",
        help="run every configuration at strengths 0, .25, .5, .75 and 1, too; implies --judge",
    )
    parser.add_argument(
        "--seconds",
        type=number(MIN_SECONDS, MAX_SECONDS, "s"),
        default=10.0,
        help="excerpt length (%(default)s)",
    )
    parser.add_argument("--limit", type=whole(), help="most pairs, evenly spread over the list")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("quality"), help="folder (%(default)s)"
    )
    parsed = parser.parse_args(arguments)
    if parsed.folder is None and parsed.synthetic is None:
        parser.error("nothing to measure: name a folder of clips, or use --synthetic held-out")
    if parsed.folder is not None and not parsed.folder.is_dir():
        parser.error(f"{parsed.folder} is not a folder; name one with a folder for each genre")
    if parsed.strengths and not parsed.config:
        parser.error("--strengths needs a configuration: add --config balanced")
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
