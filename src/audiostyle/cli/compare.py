"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path

import click

from audiostyle.cli.options import PATH, command, option, option_group
from audiostyle.cli.progress import Console
from audiostyle.errors import ConfigError


@command(
    "compare",
    "fast soft",
    "fast balanced --json",
    "fast balanced --csv",
    help="""Compare two batches by their scores, pair by pair.

    A and B are output folders of audiostyle batch --evaluate. The pairs that both have are
    compared: the means, the difference B - A with a 95 % bootstrap interval over the pairs, and the
    number of pairs where B is better, worse, or no different in two decimals. Pairs are the same if
    their outputs have the same names, whatever the format, and were made from the same inputs. How
    many are left out, and what parameters differ, is shown.
    """,
)
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@option_group(
    "Output",
    option("--json as_json", "Print the comparison as one JSON document."),
    option("--csv as_csv", "Print the measures as CSV, a row each."),
)
def compare_command(a: Path, b: Path, as_json: bool, as_csv: bool) -> int:
    """Run ``audiostyle compare``."""
    from audiostyle.batch.compare import compare_batches, comparison_csv, render_comparison
    from audiostyle.files.record import to_json

    if as_json and as_csv:
        raise ConfigError("--json and --csv are two formats: give one")
    comparison = compare_batches(a, b)
    render = to_json if as_json else comparison_csv if as_csv else render_comparison
    Console().publish(render(comparison))
    return 0
