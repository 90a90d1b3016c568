"""Measure how fast transfers are, where the time goes, and how near that is to what is possible.

One command, which makes its own sounds. Every run of ``audiostyle transfer`` is a fresh process;
whatever is measured inside TensorFlow, too, has a process of its own::

    python -m bench.speed -o speed
    python -m bench.speed --quick
    python -m bench.speed --only growth --growth 1 6 60

Everything goes to ``speed.json``, the tables to ``speed.md`` and to standard output; both are
written anew after every section, so that an interrupted run keeps what it has. Measure on a machine
that does nothing else; docs/performance.md says what each number is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from audiostyle.config.transfer_config import PRESETS
from bench import machine, speed_audio, speed_tables
from bench.arguments import MAX_SECONDS, make_parser, number, whole
from bench.speed_processes import (
    ProcessFailed,
    measure_imports,
    run_command,
    run_worker,
    summarise,
)

PAIR_SR, LONG_SR = 22_050, 44_100
STYLE_SECONDS = 30.0  # of the style of a long content
SECTIONS = ("command", "imports", "limit", "batch", "precision", "threads", "jit", "growth")
SAME_STEP = {"best": "balanced"}  # presets that differ in the number of steps only

Row = dict[str, Any]


@dataclass
class Plan:
    """What is measured.

    Attributes
    ----------
    presets : list of str
    seconds : list of float
        Lengths of the pairs.
    growth : list of float
        Lengths of the long contents, in minutes.
    batch : list of int
    repeats : int
        Of each run of the command.
    sections : list of str
    step_seconds : float
        Length of the window of which a step is timed.
    steps : int
        That are timed.
    precision_seconds : float
        Length of the pair of which the precisions are compared.
    """

    presets: list[str]
    seconds: list[float]
    growth: list[float]
    batch: list[int]
    repeats: int
    sections: list[str]
    step_seconds: float = 30.0
    steps: int = 7
    precision_seconds: float = 5.0

    def distinct(self) -> list[str]:
        """Presets whose steps differ."""
        return [name for name in self.presets if SAME_STEP.get(name) not in self.presets]


class Bench:
    """A run of the bench.

    Parameters
    ----------
    plan : Plan
    output : Path
        Folder of the results.
    scratch : Path
        Folder for sounds and logs.
    """

    def __init__(self, plan: Plan, output: Path, scratch: Path) -> None:
        self._plan = plan
        self._output = output
        self._scratch = scratch
        self._began = time.perf_counter()
        self.record: dict[str, Any] = {"machine": machine.describe(), "plan": vars(plan)}

    def run(self) -> None:
        """Measure, section by section."""
        self._say("idle TensorFlow")
        run_worker("idle", {}, self._scratch)  # reads TensorFlow from the disk
        self.record["idle"] = run_worker("idle", {}, self._scratch)
        for name in SECTIONS:
            if name in self._plan.sections:
                rows: list[Row] = getattr(self, f"_{name}")()
                self.record[name] = rows
                self.record["load_after"] = machine.load()
                self.write()

    def write(self) -> str:
        """Write what is known so far; return the tables."""
        text = speed_tables.render(self.record)
        self._output.mkdir(parents=True, exist_ok=True)
        json_text = json.dumps(self.record, indent=1) + "\n"
        (self._output / "speed.json").write_text(json_text, encoding="utf-8")
        (self._output / "speed.md").write_text(text, encoding="utf-8")
        return text

    def _say(self, what: str) -> None:
        seconds = time.perf_counter() - self._began
        print(f"[{seconds:6.0f} s] {what}", file=sys.stderr, flush=True)

    def _attempt(self, about: Row, what: str, work: Callable[[], Row]) -> Row:
        """Measure one row; a failure costs no more than that row."""
        self._say(what)
        try:
            return {**about, **work()}
        except ProcessFailed as error:
            self._say(f"failed: {error}")
            return {**about, "error": str(error)}

    def _transfer(self, preset: str, content: Path, style: Path) -> Row:
        return summarise(*run_command(content, style, preset, self._scratch))

    def _command(self) -> list[Row]:
        plan = self._plan
        runs: dict[tuple[str, float], list[Row]] = {}
        for repeat in range(plan.repeats):
            for seconds in plan.seconds:
                content, style = speed_audio.write_pair(self._scratch, seconds, PAIR_SR)
                for preset in plan.presets:
                    what = f"{preset}, {seconds:g} s of audio, run {repeat + 1} of {plan.repeats}"
                    row = self._attempt(
                        {"preset": preset, "seconds": seconds},
                        what,
                        partial(self._transfer, preset, content, style),
                    )
                    runs.setdefault((preset, seconds), []).append(row)
        return [
            medians(runs[preset, seconds]) for preset in plan.presets for seconds in plan.seconds
        ]

    def _imports(self) -> list[Row]:
        content, style = speed_audio.write_pair(self._scratch, min(self._plan.seconds), PAIR_SR)
        return [
            self._attempt(
                {"preset": preset},
                f"imports of {preset}",
                partial(measure_imports, content, style, preset, self._scratch),
            )
            for preset in self._plan.presets
        ]

    def _work(self, task: str, about: Row, **options: Any) -> Row:
        what = ", ".join([task, *(f"{name} {value}" for name, value in about.items())])
        return self._attempt(
            about, what, lambda: run_worker(task, {**about, **options}, self._scratch)
        )

    def _timed(self, about: Row) -> Row:
        plan = self._plan
        return self._work("steps", about, seconds=plan.step_seconds, steps=plan.steps)

    def _limit(self) -> list[Row]:
        plan = self._plan
        options = {"seconds": plan.step_seconds, "steps": plan.steps}
        return [self._work("limit", {"preset": p}, **options) for p in plan.distinct()]

    def _batch(self) -> list[Row]:
        plan = self._plan
        return [self._timed({"preset": p, "stack": n}) for p in plan.distinct() for n in plan.batch]

    def _precision(self) -> list[Row]:
        seconds = self._plan.precision_seconds
        return [
            self._work("precision", {"preset": preset}, seconds=seconds)
            for preset in self._plan.presets
        ]

    def _threads(self) -> list[Row]:
        return [
            self._timed({"preset": p, "threads": n}) for p in self._plan.distinct() for n in (1, 0)
        ]

    def _jit(self) -> list[Row]:
        return [
            self._timed({"preset": p, "jit": jit})
            for p in self._plan.distinct()
            for jit in (False, True)
        ]

    def _growth(self) -> list[Row]:
        _, style = speed_audio.write_pair(self._scratch, STYLE_SECONDS, LONG_SR)
        content = self._scratch / "long.wav"
        rows = []
        for minutes in self._plan.growth:
            self._say(f"making {minutes:g} min of stereo")
            speed_audio.write_long(content, 60 * minutes, LONG_SR)
            rows.append(
                self._attempt(
                    {"preset": "fast", "minutes": minutes},
                    f"fast, {minutes:g} min of stereo",
                    partial(self._transfer, "fast", content, style),
                )
            )
        return rows


def medians(runs: Sequence[Row]) -> Row:
    """Sum up several runs of one thing.

    Parameters
    ----------
    runs : sequence of dict

    Returns
    -------
    dict
        The first good run, with the median over all good runs in place of every number, and the
        ``runs`` themselves; the first of all where none was good.
    """
    good = [run for run in runs if "error" not in run]
    if not good:
        return runs[0]
    row: Row = {}
    for name, value in good[0].items():
        values = [run[name] for run in good]
        is_number = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        row[name] = statistics.median(values) if is_number and len(good) > 1 else value
    return {**row, "runs": list(runs)}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Parameters
    ----------
    arguments : sequence of str, optional

    Returns
    -------
    argparse.Namespace
    """
    parser, length = make_parser(__doc__), number(0.5, MAX_SECONDS, "s")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("speed"), help="folder (%(default)s)"
    )
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), help="(default: all)")
    parser.add_argument(
        "--seconds", nargs="+", type=length, help="lengths of the pairs (default: 5 10 30)"
    )
    parser.add_argument(
        "--growth",
        nargs="+",
        type=number(0.5 / 60, MAX_SECONDS / 60, "minutes"),
        help="minutes of the long contents (default: 1 6)",
    )
    parser.add_argument(
        "--batch", nargs="+", type=whole(), help="windows that descend at once (default: 1 2 4)"
    )
    parser.add_argument(
        "--repeats",
        type=whole(),
        default=1,
        help="runs of each command; medians count (%(default)s)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, help="sections (default: all but jit)"
    )
    parser.add_argument(
        "--jit", action="store_true", help="compare with the step compiled by XLA, too"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few minutes: presets fast and balanced, 5 s, short contents and few steps",
    )
    return parser.parse_args(arguments)


def make_plan(options: argparse.Namespace) -> Plan:
    """Fill in what the command line leaves open.

    Parameters
    ----------
    options : argparse.Namespace
        From `parse_arguments`.

    Returns
    -------
    Plan
    """
    quick = options.quick
    sections = options.only or [name for name in SECTIONS if name != "jit" or options.jit]
    plan = Plan(
        presets=options.presets or (["fast", "balanced"] if quick else list(PRESETS)),
        seconds=options.seconds or ([5.0] if quick else [5.0, 10.0, 30.0]),
        growth=options.growth or ([0.5] if quick else [1.0, 6.0]),
        batch=options.batch or ([1, 2] if quick else [1, 2, 4]),
        repeats=options.repeats,
        sections=list(sections),
    )
    if quick:
        plan.step_seconds, plan.steps, plan.precision_seconds = 5.0, 3, 2.0
    return plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's, if not given.

    Returns
    -------
    int
    """
    options = parse_arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="audiostyle-speed-") as scratch:
        try:
            bench = Bench(make_plan(options), options.output, Path(scratch))
            bench.run()
        except (ProcessFailed, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(bench.write(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
