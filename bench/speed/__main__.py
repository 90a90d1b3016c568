"""Measure how fast transfers are, where the time goes, and how close that is to the limit.

Makes its own audio. Every run of ``audiostyle transfer`` is a fresh process; what is measured
inside TensorFlow has a process of its own as well::

    python -m bench.speed -o speed
    python -m bench.speed --quick
    python -m bench.speed --only growth --growth 1 6 60

Writes all numbers to ``speed.json``, and the tables to ``speed.md`` and standard output. Both files
are rewritten after every section, so that an interrupted run keeps its results. Measure on an idle
machine; docs/performance.md explains each number.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from audiostyle.config.transfer_config import PRESETS
from bench.common import (
    MAX_SECONDS,
    describe_machine,
    integer,
    load_average,
    make_parser,
    number,
)
from bench.speed import signals, tables
from bench.speed.processes import ProcessFailed, run_transfer, run_worker

PAIR_SR, LONG_SR = 22_050, 44_100
STYLE_SECONDS = 30.0  # length of the style of a long content
SECTIONS = ("command", "limit", "batch", "precision", "threads", "jit", "growth")

Row = dict[str, Any]


class Benchmark:
    """Measures section by section, and writes the results after each.

    Parameters
    ----------
    plan : argparse.Namespace
        As from `parse_arguments`.
    scratch : Path
        Folder for audio files and logs.
    """

    def __init__(self, plan: argparse.Namespace, scratch: Path) -> None:
        self._plan = plan
        self._scratch = scratch
        self._began = time.perf_counter()
        about = {name: value for name, value in vars(plan).items() if name != "output"}
        self.record: dict[str, Any] = {"machine": describe_machine(), "plan": about}
        # Presets whose steps differ.

    def run(self) -> None:
        """Measure all sections of the plan."""
        self._log("idle TensorFlow")
        run_worker("idle", {}, self._scratch)  # loads TensorFlow into the disk cache
        self.record["idle"] = run_worker("idle", {}, self._scratch)
        for name in SECTIONS:
            if name in self._plan.only:
                self.record[name] = getattr(self, f"_{name}")()
                self.record["load_after"] = load_average()
                self.write()

    def write(self) -> str:
        """Write the results so far; return the tables."""
        text = tables.format_record(self.record)
        self._plan.output.mkdir(parents=True, exist_ok=True)
        json_text = json.dumps(self.record, indent=1) + "\n"
        (self._plan.output / "speed.json").write_text(json_text, encoding="utf-8")
        (self._plan.output / "speed.md").write_text(text, encoding="utf-8")
        return text

    def _log(self, text: str) -> None:
        seconds = time.perf_counter() - self._began
        print(f"[{seconds:6.0f} s] {text}", file=sys.stderr, flush=True)

    def _measure(self, about: Row, text: str, work: Callable[[], Row]) -> Row:
        """Measure one row; a failure affects only that row."""
        self._log(text)
        try:
            return {**about, **work()}
        except ProcessFailed as error:
            self._log(f"failed: {error}")
            return {**about, "error": str(error)}

    def _transfer(self, about: Row, text: str, content: Path, style: Path) -> Row:
        work = partial(run_transfer, content, style, about["preset"], self._scratch)
        return self._measure(about, text, work)

    def _work(self, task: str, about: Row, **options: Any) -> Row:
        text = ", ".join([task, *(f"{name} {value}" for name, value in about.items())])
        work = partial(run_worker, task, {**about, **options}, self._scratch)
        return self._measure(about, text, work)

    def _steps(self, about: Row, task: str = "steps") -> Row:
        return self._work(task, about, seconds=self._plan.step_seconds, steps=self._plan.steps)

    def _command(self) -> list[Row]:
        plan = self._plan
        runs: dict[tuple[str, float], list[Row]] = {}
        for repeat in range(plan.repeats):
            for seconds in plan.seconds:
                content, style = signals.write_pair(self._scratch, seconds, PAIR_SR)
                for preset in plan.presets:
                    text = f"{preset}, {seconds:g} s of audio, run {repeat + 1} of {plan.repeats}"
                    row = self._transfer(
                        {"preset": preset, "seconds": seconds}, text, content, style
                    )
                    runs.setdefault((preset, seconds), []).append(row)
        return [
            medians(runs[preset, seconds]) for preset in plan.presets for seconds in plan.seconds
        ]

    def _limit(self) -> list[Row]:
        return [self._steps({"preset": p}, "limit") for p in self._plan.presets]

    def _batch(self) -> list[Row]:
        return [
            self._steps({"preset": p, "stack": n})
            for p in self._plan.presets
            for n in self._plan.batch
        ]

    def _precision(self) -> list[Row]:
        seconds = self._plan.precision_seconds
        return [self._work("precision", {"preset": p}, seconds=seconds) for p in self._plan.presets]

    def _threads(self) -> list[Row]:
        return [
            self._steps({"preset": p, "threads": n}) for p in self._plan.presets for n in (1, 0)
        ]

    def _jit(self) -> list[Row]:
        return [
            self._steps({"preset": p, "jit": jit})
            for p in self._plan.presets
            for jit in (False, True)
        ]

    def _growth(self) -> list[Row]:
        _, style = signals.write_pair(self._scratch, STYLE_SECONDS, LONG_SR)
        content = self._scratch / "long.wav"
        rows = []
        for minutes in self._plan.growth:
            self._log(f"writing {minutes:g} min of stereo")
            signals.write_long(content, 60 * minutes, LONG_SR)
            about = {"preset": "fast", "minutes": minutes}
            rows.append(self._transfer(about, f"fast, {minutes:g} min of stereo", content, style))
        return rows


def medians(runs: Sequence[Row]) -> Row:
    """Combine several runs: the first successful one, with medians in place of its numbers.

    ``runs`` holds all runs. If none succeeded, the first one is returned.
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
    """Parse the command line, and fill in what it leaves open."""
    parser, length = make_parser("bench.speed", __doc__), number(0.5, MAX_SECONDS, "s")
    minutes = number(0.5 / 60, MAX_SECONDS / 60, "minutes")
    add = parser.add_argument
    add("-o", "--output", type=Path, default=Path("speed"), help="folder (%(default)s)")
    add("--presets", nargs="+", choices=list(PRESETS), help="(default: all)")
    add("--seconds", nargs="+", type=length, help="lengths of the pairs (default: 5 10 30)")
    add("--growth", nargs="+", type=minutes, help="minutes of the long contents (default: 1 6)")
    add("--batch", nargs="+", type=integer(), help="windows optimised at once (default: 1 2 4)")
    add("--repeats", type=integer(), default=1, help="runs per command; medians count (1)")
    add("--only", nargs="+", choices=SECTIONS, help="sections (default: all but jit)")
    add("--jit", action="store_true", help="compare with the step compiled by XLA")
    add(
        "--quick",
        action="store_true",
        help="a few minutes: presets fast and balanced, 5 s, short contents and few steps",
    )
    plan = parser.parse_args(arguments)
    quick = plan.quick
    plan.presets = plan.presets or (["fast", "balanced"] if quick else list(PRESETS))
    plan.seconds = plan.seconds or ([5.0] if quick else [5.0, 10.0, 30.0])
    plan.growth = plan.growth or ([0.5] if quick else [1.0, 6.0])
    plan.batch = plan.batch or ([1, 2] if quick else [1, 2, 4])
    plan.only = plan.only or [name for name in SECTIONS if name != "jit" or plan.jit]
    plan.step_seconds = 5.0 if quick else 30.0  # length of the window whose step is timed
    plan.steps = 3 if quick else 7
    plan.precision_seconds = 2.0 if quick else 5.0
    return plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    plan = parse_arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="audiostyle-speed-") as scratch:
        try:
            benchmark = Benchmark(plan, Path(scratch))
            benchmark.run()
        except (ProcessFailed, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(benchmark.write(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
