"""Measure what a batch costs beside its transfers: plan, journal, engine, memory of the driver.

The driver handles every pair as usual, but its worker only creates an empty output, and returns a
record as long as a real one::

    python -m bench.scaling --pairs 100000 -o scaling
    python -m bench.scaling --pairs 10000 --engine local

Writes ``scaling.json`` and a table, to ``scaling.md`` and standard output. docs/scaling.md explains
the figures.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiostyle.batch import plan, run
from audiostyle.batch.engine import Done, InProcess
from audiostyle.batch.ray.cluster import Cluster
from audiostyle.batch.ray.engine import RayEngine
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.events import TERMS
from bench.common import describe_machine, integer, make_parser, markdown_table

SR = 8000
MAX_CONTENTS = 400  # few contents with many styles each, as in a cross product
MEMORY_SAMPLES = 10  # evenly spaced
STAGES = ("start-up", "style", "features", "optimization", "inversion")


class EmptyWorker:
    """Worker that creates empty outputs, and returns records as long as real ones."""

    def __init__(self, request: BatchRequest) -> None:
        losses = {"step": 20, "total": 1 / 7, "layers": {}, **{term: 1 / 7 for term in TERMS}}
        self._record: dict[str, Any] = {
            "output": {"sha256": "0" * 64},
            "losses": [losses] * 21,
            "timings": {name: 1 / 3 for name in STAGES},
            "stopped": "iterations",
            "restarts": 0,
            "device": "/CPU:0",
            "precision": "bfloat16",
            "inversion_convergence_db": -9.1,
            "loudness_gain_db": 0.1,
            "limiter_reduction_db": 0.0,
            "notes": [],
            "preset": request.preset,
            "parameters": TransferConfig().to_dict(),
        }

    def transfer(self, job: Any, callback: Any) -> dict[str, Any]:
        """Create an empty output."""
        job.output.parent.mkdir(parents=True, exist_ok=True)
        job.output.touch()
        return self._record

    def evaluate(self, job: Any) -> dict[str, Any]:
        """Return no scores."""
        return {}

    def clear(self) -> None:
        """Do nothing: there is no memory to free."""


class Monitor:
    """Callback that records the times of events, and the driver's memory."""

    def __init__(self, n_pairs: int) -> None:
        self.done = 0
        self.memory: dict[str, float] = {}  # MB by the number of finished pairs
        self.planned = self.first = self.cpu_first = self.last = self.cpu_last = 0.0
        self._step = max(n_pairs // MEMORY_SAMPLES, 1)

    def __call__(self, event: Any) -> None:
        """Record an event."""
        if isinstance(event, plan.BatchPlan):
            self.planned = time.perf_counter()
        if isinstance(event, Done):
            self.done += 1
            self.last, self.cpu_last = time.perf_counter(), time.process_time()
            if self.done == 1:
                self.first, self.cpu_first = self.last, self.cpu_last
            if self.done % self._step == 0:
                self.memory[str(self.done)] = resident_mb()


def resident_mb() -> float:
    """Return the resident set of this process in MB; NaN where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError):
        return float("nan")


def write_clips(root: Path, n_pairs: int) -> None:
    """Write contents and styles whose cross product has at least `n_pairs` pairs."""
    n_contents = min(MAX_CONTENTS, n_pairs)
    for side, n in (("contents", n_contents), ("styles", -(-n_pairs // n_contents))):
        (root / side).mkdir()
        for i in range(n):
            y = np.sin(np.arange(SR // 2) * (0.1 + 0.001 * i)).astype(np.float32) / 2
            sf.write(root / side / f"{side}-with-a-name-like-a-title-{i:05d}.wav", y, SR)


def measure(n_pairs: int, engine: str, workers: int) -> dict[str, Any]:
    """Run a batch of empty outputs twice, on the engine ``ray`` or ``local``."""
    if engine == "ray":
        RayEngine.make_worker = EmptyWorker
    with tempfile.TemporaryDirectory(prefix="audiostyle-scaling-") as folder:
        root = Path(folder)
        write_clips(root, n_pairs)
        config = TransferConfig()
        out = root / "out"
        request = BatchRequest(f"{root}/contents", f"{root}/styles", out, limit=n_pairs)
        cluster = Cluster(workers=workers, cpus_per_worker=1) if engine == "ray" else None
        before = resident_mb()
        began = time.perf_counter()
        monitor = Monitor(n_pairs)
        result = run.run_batch_request(
            request, config, monitor, cluster or InProcess(EmptyWorker(request))
        )
        ended = time.perf_counter()
        if result.exit_code or monitor.done != n_pairs:
            raise SystemExit(f"{monitor.done} of {n_pairs} pairs: {run.failed_lines(result)[:3]}")
        row = {
            "engine": engine,
            "workers": workers if cluster else 1,
            "pairs": n_pairs,
            "plan_seconds": monitor.planned - began,
            "engine_start_seconds": monitor.first - monitor.planned,
            "ms_per_pair": 1000 * (monitor.last - monitor.first) / (n_pairs - 1),
            "driver_cpu_ms_per_pair": 1000 * (monitor.cpu_last - monitor.cpu_first) / (n_pairs - 1),
            "end_seconds": ended - monitor.last,
            "memory_mb": {"before": before, **monitor.memory, "end": resident_mb()},
            "journal_mb": (out / "journal.jsonl").stat().st_size / 1e6,
            "results_mb": (out / "results.jsonl").stat().st_size / 1e6,
        }
        del result
        began = time.perf_counter()
        again = run.run_batch_request(request, config, engine=cluster)
        assert again.computed == 0
        return {**row, "second_run_seconds": time.perf_counter() - began}


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Format the measurements in Markdown."""
    lines = []
    for row in rows:
        memory = row["memory_mb"]
        samples = [memory[key] for key in memory if key not in ("before", "end")]
        cells = {
            "engine": row["engine"],
            "workers": row["workers"],
            "pairs": row["pairs"],
            "plan, s": f"{row['plan_seconds']:.1f}",
            "engine start, s": f"{row['engine_start_seconds']:.1f}",
            "ms per pair": f"{row['ms_per_pair']:.2f}",
            "driver's CPU, ms per pair": f"{row['driver_cpu_ms_per_pair']:.2f}",
            "end, s": f"{row['end_seconds']:.1f}",
            "driver at 10 %, MB": f"{samples[0]:.0f}",
            "at 100 %, MB": f"{samples[-1]:.0f}",
            "after results, MB": f"{memory['end']:.0f}",
            "journal, MB": f"{row['journal_mb']:.0f}",
            "second run, s": f"{row['second_run_seconds']:.1f}",
        }
        lines.append(cells)
    return markdown_table(list(lines[0]), [list(cells.values()) for cells in lines])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = make_parser("bench.scaling", __doc__)
    parser.add_argument("--pairs", type=integer(2), nargs="+", default=[10_000])
    parser.add_argument("--engine", choices=("ray", "local"), nargs="+", default=["ray"])
    parser.add_argument("--workers", type=integer(), default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("scaling"), metavar="NAME")
    options = parser.parse_args(arguments)
    rows = []
    for engine in options.engine:
        for n_pairs in options.pairs:
            rows.append(measure(n_pairs, engine, options.workers))
            found = {"machine": describe_machine(), "rows": rows}
            options.output.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n")
            options.output.with_suffix(".md").write_text(format_rows(rows))
    print(format_rows(rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
