"""Time an optimisation step on any device of JAX, without TensorFlow's build for that device.

``export`` needs TensorFlow, but no GPU: it writes whole L-BFGS steps as programs for XLA, the
compiler that TensorFlow and JAX share. ``run`` needs only JAX and NumPy, not audiostyle: copy the
folder ``bench`` and the programs to the machine with the GPU::

    python -m bench.gpu_step export -o steps --preset balanced --batch 1 4 8 --precision bfloat16
    python -m bench.gpu_step run steps --json steps.json --markdown steps.md

``run`` compares the results of each program with those of TensorFlow before it times it. A step
evaluates loss and gradient once. Further evaluations in the line search, TensorFlow's reporting
between steps, and all work before and after the optimisation are not included.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import MAX_SECONDS, integer, make_parser, markdown_table, number
from bench.gpu_step.run import TOLERANCES, RunError, measure

COLUMNS = {
    "seconds": "seconds",
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


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows of `measure` in Markdown, with the device they were measured on."""
    cells = [
        [f"{x:.3g}" if isinstance(x, float) else x for x in (row[name] for name in COLUMNS)]
        for row in rows
    ]
    device = "{device} ({platform}, JAX {jax})".format(**rows[0])
    about = (
        f"{device}. One evaluation per step; pairs and real time count only the optimisation, with "
        "all steps of the preset.\n\n"
    )
    return about + markdown_table(list(COLUMNS.values()), cells)


def run(options: argparse.Namespace) -> int:
    """Measure all programs of a folder; a failure does not stop the others.

    A program whose results differ from TensorFlow's counts as failed, but is timed.
    """
    if importlib.util.find_spec("jax") is None:
        raise RunError("JAX is not installed: pip install jax, or 'jax[cuda12]' for an NVIDIA GPU")
    paths = sorted(options.folder.glob("*-batch*.json"))
    descriptions = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    descriptions.sort(key=lambda d: (d["preset"], d["precision"], d["seconds"], d["batch"]))
    if not descriptions:
        raise RunError(f"{options.folder} holds no programs; write them with the command export")
    rows, failed = [], 0
    for description in descriptions:
        name = description["program"]
        try:
            row = measure(options.folder, description, options.repeats)
        except (RunError, RuntimeError) as error:  # the latter is XLA's, such as out of memory
            failed += 1
            print(f"error: {name}: {str(error).partition(chr(10))[0]}", file=sys.stderr)
            continue
        rows.append(row)
        print(f"{name}: {row['step_seconds']:.4g} s per step")
        if not row["agrees"]:
            failed += 1
            print(f"error: {name}: results differ from TensorFlow's; see errors", file=sys.stderr)
    if rows:
        text = format_rows(rows)
        print("\n" + text, end="")
        if options.json is not None:
            options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        if options.markdown is not None:
            options.markdown.write_text(text, encoding="utf-8")
    return 1 if failed else 0


def export(options: argparse.Namespace) -> int:
    """Write the programs, and print their paths."""
    from audiostyle.errors import AudioStyleError
    from bench.gpu_step.export import export_programs

    batches = sorted(set(options.batch))
    try:
        written = export_programs(
            options.output, options.preset, options.precision, options.seconds, batches
        )
    except AudioStyleError as error:
        raise RunError(str(error)) from None
    print(*written, sep="\n")
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser, length = make_parser("bench.gpu_step", __doc__), number(0.1, MAX_SECONDS, "s")
    commands = parser.add_subparsers(dest="command", required=True)
    exporter = commands.add_parser("export", help="write the programs; needs TensorFlow")
    exporter.add_argument("-o", "--output", type=Path, required=True, help="folder")
    exporter.add_argument("--preset", default="balanced", help="(%(default)s)")
    exporter.add_argument("--seconds", type=length, default=30.0, help="of a clip (%(default)s)")
    exporter.add_argument("--batch", type=integer(), nargs="+", default=[1, 4, 8], help="(1 4 8)")
    exporter.add_argument("--precision", choices=tuple(TOLERANCES), default="float32")
    runner = commands.add_parser("run", help="check and time the programs; needs JAX")
    runner.add_argument("folder", type=Path)
    runner.add_argument("--repeats", type=integer(), default=20, help="steps to time (%(default)s)")
    runner.add_argument("--json", type=Path, help="file for all figures")
    runner.add_argument("--markdown", type=Path, help="file for the table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    options = parse_arguments(arguments)
    try:
        return export(options) if options.command == "export" else run(options)
    except (RunError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
