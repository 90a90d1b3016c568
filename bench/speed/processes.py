"""Fresh processes, timed from outside, with their peak memory.

This module must not import TensorFlow: until a child process has loaded its own program, the system
counts it as large as its parent.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
LOG_LINES = 8  # shown of a process that failed
FIRST_STEP = re.compile(rb"\biteration 0/\d")  # printed when the losses of the start are known


class ProcessFailed(Exception):
    """A measured process failed."""


@dataclass(frozen=True)
class Usage:
    """Time and memory of a process."""

    seconds: float  # from before its start to after its end
    peak: int  # largest resident set, in bytes
    marked: float | None = None  # seconds until a line that matches the mark


def run_process(command: Sequence[str], log: Path, mark: re.Pattern[bytes] | None = None) -> Usage:
    """Run a command to its end; write what it prints to `log`.

    Raises
    ------
    ProcessFailed
        If the exit code is not 0; the message ends with the last lines of the log.
    """
    marked = None
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    try:
        with open(log, "wb") as file, process.stdout:
            for line in process.stdout:
                if marked is None and mark is not None and mark.search(line):
                    marked = time.perf_counter() - began
                file.write(line)
        _, status, usage = os.wait4(process.pid, 0)  # Popen.wait does not return memory usage
    except BaseException:
        process.kill()
        process.wait()
        raise
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        raise ProcessFailed(f"exit code {process.returncode}: " + " / ".join(lines))
    return Usage(seconds, usage.ru_maxrss * RSS_UNIT, marked)


def run_worker(task: str, options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a task of `bench.speed.worker` in a fresh process; add its ``peak`` in bytes."""
    answer = folder / "answer.json"
    command = [sys.executable, "-m", "bench.speed.worker", task, json.dumps(options), str(answer)]
    usage = run_process(command, folder / "worker.log")
    return {**json.loads(answer.read_text(encoding="utf-8")), "peak": usage.peak}


def run_transfer(
    content: Path, style: Path, preset: str, folder: Path, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Run ``audiostyle transfer`` as a user does, and summarise where its time went."""
    output = folder / "out.wav"
    command = [sys.executable, "-m", "audiostyle", "transfer", str(content), str(style)]
    command += ["-o", str(output), "--preset", preset, "--force", *options]
    usage = run_process(command, folder / "command.log", FIRST_STEP)
    return summarize(json.loads(Path(f"{output}.json").read_text(encoding="utf-8")), usage)


def summarize(record: dict[str, Any], usage: Usage) -> dict[str, Any]:
    """Split the time of a transfer into its parts, in seconds.

    ``first_step`` counts from the start of the process. ``first_evaluation`` and ``rest`` are known
    only where the content was a single window.
    """
    timings, losses = record["timings"], record["losses"]
    audio = record["content"]["samples"] / record["content"]["sr"]
    steps = len(losses) - 1
    optimization = losses[-1]["seconds"] - losses[0]["seconds"]
    row = {
        "audio": audio,
        "windows": record["windows"],
        "device": record["device"],
        "precision": record["precision"],
        "stopped": record["stopped"],
        "first_step": usage.marked,
        "steps": steps,
        "step": optimization / steps / record["windows"] if steps else None,
        "inversion": timings["inversion"],
        "total": usage.seconds,
        "real_time_factor": usage.seconds / audio,
        "peak": usage.peak,
        "timings": timings,
    }
    if record["windows"] == 1:
        row["first_evaluation"] = losses[0]["seconds"]
        if usage.marked is not None:
            row["rest"] = usage.seconds - usage.marked - optimization - timings["inversion"]
    return row
