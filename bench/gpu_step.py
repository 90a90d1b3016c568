"""Time a step of the descent on any device that JAX runs on, without TensorFlow's build for it.

``export`` needs TensorFlow, but no GPU: it writes whole steps of L-BFGS as programs for XLA, the
compiler that TensorFlow and JAX share. ``run`` needs JAX alone, and nothing of audiostyle: take
the folder ``bench`` and the programs to the machine with the GPU::

    python -m bench.gpu_step export -o steps --preset balanced --batch 1 4 8 --precision bfloat16
    python -m bench.gpu_step run steps --json steps.json --markdown steps.md

What ``run`` finds is compared with what TensorFlow found before it is timed. A step evaluates loss
and gradient once. The line search may evaluate more than once, and between steps TensorFlow reports
to the host: neither is in the figures, nor is what comes before and after the descent.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))  # python -m bench.gpu_step lacks it

from arguments import MAX_SECONDS, make_parser, number, whole
from step_run import LIMITS, RunError, measure

COLUMNS = {
    "preset": "preset",
    "precision": "precision",
    "batch": "batch",
    "step_seconds": "s / step",
    "tflops": "TFLOP/s",
    "conv_share": "of plain convolution",
    "pairs_per_hour": "pairs / h",
    "real_time": "x real time",
    "loss_error": "error of loss",
    "norm_error": "of norm",
    "gradient_error": "of gradient",
}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write rows as Markdown, with what they hold for.

    Parameters
    ----------
    rows : sequence of dict
        From `measure`; at least one.

    Returns
    -------
    text : str
    """
    device = "{device} ({platform}, JAX {jax})".format(**rows[0])
    lines = [
        f"{device}. One evaluation a step; pairs and real time are of the descent alone, with all "
        "steps of the preset.",
        "",
        "| " + " | ".join(["seconds", *COLUMNS.values()]) + " |",
        "|---" * (1 + len(COLUMNS)) + "|",
    ]
    for row in rows:
        cells = [row[name] for name in COLUMNS]
        shown = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join([f"{row['seconds']:g}", *shown]) + " |")
    return "\n".join(lines) + "\n"


def run(options: argparse.Namespace) -> int:
    """Measure all programs of a folder; one that fails leaves the others alone.

    A program that finds something else than TensorFlow fails, but is timed.

    Parameters
    ----------
    options : argparse.Namespace
        As from `parse_arguments`.

    Returns
    -------
    status : int
    """
    if importlib.util.find_spec("jax") is None:
        raise RunError("JAX is not installed: pip install jax, or 'jax[cuda12]' for an NVIDIA GPU")
    rows, failed = [], 0
    paths = sorted(options.folder.glob("*-batch*.json"))
    descriptions = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    descriptions.sort(key=lambda d: (d["preset"], d["precision"], d["seconds"], d["batch"]))
    if not descriptions:
        raise RunError(f"{options.folder} holds no programs; make them by gpu_step.py export")
    for description in descriptions:
        try:
            rows.append(measure(options.folder, description, options.repeats))
        except (RunError, RuntimeError) as error:  # the latter is XLA's, of memory for one
            failed += 1
            reason = str(error).partition("\n")[0]
            print(f"error: {description['program']}: {reason}", file=sys.stderr)
            continue
        print(f"{description['program']}: {rows[-1]['step_seconds']:.4g} s a step")
        if not rows[-1]["agrees"]:  # timed all the same: what it costs does not depend on it
            failed += 1
            print(
                f"error: {description['program']}: not what TensorFlow found; see the errors",
                file=sys.stderr,
            )
    if rows:
        print("\n" + table(rows), end="")
        if options.json is not None:
            options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        if options.markdown is not None:
            options.markdown.write_text(table(rows), encoding="utf-8")
    return 1 if failed else 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser, length = make_parser(__doc__), number(0.1, MAX_SECONDS, "s")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write the programs; needs TensorFlow")
    export.add_argument("-o", "--output", type=Path, required=True, help="folder")
    export.add_argument("--preset", default="balanced", help="(%(default)s)")
    export.add_argument("--seconds", type=length, default=30.0, help="of a clip (%(default)s)")
    export.add_argument("--batch", type=whole(), nargs="+", default=[1, 4, 8], help="(1 4 8)")
    export.add_argument("--precision", choices=tuple(LIMITS), default="float32")
    runner = commands.add_parser("run", help="check and time the programs; needs JAX")
    runner.add_argument("folder", type=Path)
    runner.add_argument("--repeats", type=whole(), default=20, help="steps to time (%(default)s)")
    runner.add_argument("--json", type=Path, help="file for all figures")
    runner.add_argument("--markdown", type=Path, help="file for the table")
    return parser.parse_args(arguments)


def export(options: argparse.Namespace) -> int:
    """Write the programs, and say where.

    Parameters
    ----------
    options : argparse.Namespace
        As from `parse_arguments`.

    Returns
    -------
    status : int
    """
    from step_export import export as export_programs

    from audiostyle.errors import AudioStyleError

    batches = sorted(set(options.batch))
    try:
        written = export_programs(
            options.output, options.preset, options.precision, options.seconds, batches
        )
    except AudioStyleError as error:
        raise RunError(str(error)) from None
    print(*written, sep="\n")
    return 0


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
        return export(options) if options.command == "export" else run(options)
    except (RunError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
