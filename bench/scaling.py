"""Measure what a batch costs beside its transfers: plan, journal, engine, memory of the driver.

Every pair is real for the driver and takes its worker no time: an empty output, and a summary as
long as a real one::

    python -m bench.scaling --pairs 100000 -o scaling
    python -m bench.scaling --pairs 10000 --engine local

Writes ``scaling.json`` and the table, ``scaling.md``, which also goes to standard output.
docs/scaling.md says what the figures mean.
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
from bench import machine
from bench.arguments import make_parser, whole

SR = 8000
SIDE = 400  # contents at most: few are read again and again, as in a cross product
SAMPLES = 10  # of the memory, evenly spaced
LOSSES = ("total", "content", "style", "texture", "energy", "pitch", "onsets", "music")
STAGES = ("load", "analyse", "start", "trace", "optimization", "inversion", "write")


class Idle:
    """A worker that makes an empty output, and says as much about it as a real one.

    Parameters
    ----------
    request : BatchRequest
    config : TransferConfig
    """

    def __init__(self, request: BatchRequest, config: TransferConfig) -> None:
        losses = {"step": 20, "layers": {}, **{name: 1 / 7 for name in LOSSES}}
        self._record: dict[str, Any] = {
            "output": {"sha256": "0" * 64},
            "losses": [losses] * 21,
            "timings": {name: 1 / 3 for name in STAGES},
            **dict(stopped="iterations", restarts=0, device="/CPU:0", precision="bfloat16"),
            **dict(inversion_convergence_db=-9.1, loudness_gain_db=0.1),
            **dict(limiter_reduction_db=0.0, notes=[]),
        }

    def transfer(self, job: Any, callback: Any) -> dict[str, Any]:
        """Make an empty output."""
        job.output.parent.mkdir(parents=True, exist_ok=True)
        job.output.touch()
        return self._record

    def evaluate(self, job: Any) -> dict[str, Any]:
        """Judge nothing."""
        return {}

    def clear(self) -> None:
        """Give nothing back."""


class Watch:
    """Follows a batch, and notes how much memory the driver takes.

    Parameters
    ----------
    n_pairs : int
    """

    def __init__(self, n_pairs: int) -> None:
        self.done = 0
        self.failed: list[str] = []
        self.memory: dict[int, float] = {}
        self.began = self.first = self.cpu_first = self.last = self.cpu_last = 0.0
        self._step = max(n_pairs // SAMPLES, 1)

    def __call__(self, event: Any) -> None:
        """Follow an event."""
        if isinstance(event, plan.BatchPlan):
            self.began = time.perf_counter()
        if isinstance(event, Done):
            self.done += 1
            self.last, self.cpu_last = time.perf_counter(), time.process_time()
            if self.done == 1:
                self.first, self.cpu_first = self.last, self.cpu_last
            if self.done % self._step == 0:
                self.memory[self.done] = resident_mb()


def resident_mb() -> float:
    """Return the resident set of this process, in MB, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError):
        return float("nan")


def make_sides(root: Path, n_pairs: int) -> None:
    """Write clips whose product has so many pairs, or a few more."""
    n_contents = min(SIDE, n_pairs)
    for side, n in (("contents", n_contents), ("styles", -(-n_pairs // n_contents))):
        (root / side).mkdir()
        for i in range(n):
            y = np.sin(np.arange(SR // 2) * (0.1 + 0.001 * i)).astype(np.float32) / 2
            sf.write(root / side / f"{side}-with-a-name-like-a-title-{i:05d}.wav", y, SR)


def measure(n_pairs: int, engine: str, workers: int) -> dict[str, Any]:
    """Run a batch of idle pairs, and then once more.

    Parameters
    ----------
    n_pairs : int
    engine : str
        ``ray`` or ``local``.
    workers : int

    Returns
    -------
    dict
    """
    if engine == "ray":
        RayEngine.make_worker = Idle
    with tempfile.TemporaryDirectory(prefix="audiostyle-scaling-") as folder:
        root = Path(folder)
        make_sides(root, n_pairs)
        config = TransferConfig()
        out = root / "out"
        request = BatchRequest(f"{root}/contents", f"{root}/styles", out, limit=n_pairs)
        where = Cluster(workers=workers, cpus_per_worker=1) if engine == "ray" else None
        before = resident_mb()
        began = time.perf_counter()
        watch = Watch(n_pairs)
        result = run.run_batch_request(
            request, config, watch, where or InProcess(Idle(request, config))
        )
        ended = time.perf_counter()
        if result.exit_code or watch.done != n_pairs:
            raise SystemExit(f"{watch.done} of {n_pairs} pairs: {run.failed_lines(result)[:3]}")
        row = {
            "engine": engine,
            "workers": workers if where else 1,
            "pairs": n_pairs,
            "plan_seconds": watch.began - began,
            "engine_start_seconds": watch.first - watch.began,
            "ms_a_pair": 1000 * (watch.last - watch.first) / (n_pairs - 1),
            "driver_cpu_ms_a_pair": 1000 * (watch.cpu_last - watch.cpu_first) / (n_pairs - 1),
            "end_seconds": ended - watch.last,
            "memory_mb": {"before": before, **watch.memory, "end": resident_mb()},
            "journal_mb": (out / "journal.jsonl").stat().st_size / 1e6,
            "results_mb": (out / "results.jsonl").stat().st_size / 1e6,
        }
        del result
        began = time.perf_counter()
        again = run.run_batch_request(request, config, engine=where)
        assert again.computed == 0
        return {**row, "second_run_seconds": time.perf_counter() - began}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write what was measured as a table in Markdown."""
    names = [
        *("engine", "workers", "pairs", "plan s", "engine start s", "ms a pair"),
        *("driver's CPU, ms a pair", "end s", "driver MB at 10 %", "at 100 %", "after results"),
        *("journal MB", "second run s"),
    ]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        memory = row["memory_mb"]
        samples = [memory[key] for key in memory if key not in ("before", "end")]
        values = [
            *(row["engine"], row["workers"], row["pairs"], f"{row['plan_seconds']:.1f}"),
            *(f"{row['engine_start_seconds']:.1f}", f"{row['ms_a_pair']:.2f}"),
            *(f"{row['driver_cpu_ms_a_pair']:.2f}", f"{row['end_seconds']:.1f}"),
            *(f"{samples[0]:.0f}", f"{samples[-1]:.0f}", f"{memory['end']:.0f}"),
            *(f"{row['journal_mb']:.0f}", f"{row['second_run_seconds']:.1f}"),
        ]
        lines.append("| " + " | ".join(map(str, values)) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write what was found."""
    parser = make_parser(__doc__, "python -m bench.scaling")
    parser.add_argument("--pairs", type=whole(), nargs="+", default=[10_000])
    parser.add_argument("--engine", choices=("ray", "local"), nargs="+", default=["ray"])
    parser.add_argument("--workers", type=whole(), default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("scaling"), metavar="NAME")
    options = parser.parse_args(arguments)
    rows = []
    for engine in options.engine:
        for n_pairs in options.pairs:
            rows.append(measure(n_pairs, engine, options.workers))
            found = {"machine": machine.describe(), "rows": rows}
            options.output.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n")
            options.output.with_suffix(".md").write_text(table(rows))
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()
