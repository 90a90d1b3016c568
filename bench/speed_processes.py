"""Fresh processes, timed from outside, with their peak memory."""

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

ROOT = Path(__file__).resolve().parents[1]
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of what the system counts in
LOG_LINES = 8  # of a process that failed, to show
IMPORT_LINE = re.compile(r"^import time:\s*(\d+) \|\s*\d+ \|\s*([\w.]+)")
SPLIT = ("start-up", "style", "features")  # laps of the record that come before the first step


class ProcessFailed(Exception):
    """A process that was to be measured failed."""


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes
    ----------
    seconds : float
        From before its start to after its end.
    peak : int
        Largest resident memory, in bytes.
    """

    seconds: float
    peak: int


def run_process(command: Sequence[str], log: Path) -> Usage:
    """Run a command to its end.

    Parameters
    ----------
    command : sequence of str
    log : Path
        Gets what it prints.

    Returns
    -------
    Usage
        This process must be small: until a child has loaded its own program it counts as large as
        its parent, so nothing here may import TensorFlow.

    Raises
    ------
    ProcessFailed
        If it did not end well; with the end of what it printed.
    """
    with open(log, "wb") as file:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        try:
            # Popen.wait would not say how much memory it took.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        raise ProcessFailed(f"exit code {process.returncode}: " + " / ".join(lines))
    return Usage(seconds, usage.ru_maxrss * RSS_UNIT)


def run_worker(task: str, options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Let a fresh process do a task of `bench.speed_worker`.

    Parameters
    ----------
    task : str
    options : dict
        What JSON can hold.
    folder : Path
        For its files.

    Returns
    -------
    dict
        What it found, and its ``peak`` in bytes and ``wall`` in seconds.
    """
    answer = folder / "answer.json"
    command = [sys.executable, "-m", "bench.speed_worker", task, json.dumps(options), str(answer)]
    usage = run_process(command, folder / "worker.log")
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return {**found, "peak": usage.peak, "wall": usage.seconds}


def run_command(
    content: Path,
    style: Path,
    preset: str,
    folder: Path,
    *,
    options: Sequence[str] = (),
    interpreter: Sequence[str] = (),
) -> tuple[dict[str, Any], Usage]:
    """Run ``audiostyle transfer`` as a user does, and read the record that it writes.

    Parameters
    ----------
    content, style : Path
    preset : str
    folder : Path
        For its files.
    options : sequence of str
        Further ones of the command.
    interpreter : sequence of str
        Options of Python.

    Returns
    -------
    record : dict
    usage : Usage
    """
    output = folder / "out.wav"
    command = [sys.executable, *interpreter, "-m", "audiostyle", "transfer", str(content)]
    command += [str(style), "-o", str(output), "--preset", preset, "--force", *options]
    usage = run_process(command, folder / "command.log")
    record = json.loads(Path(f"{output}.json").read_text(encoding="utf-8"))
    return record, usage


def measure_imports(content: Path, style: Path, preset: str, folder: Path) -> dict[str, Any]:
    """Find out how much of a run of the command goes into imports, in a run of its own.

    Parameters
    ----------
    content, style : Path
    preset : str
    folder : Path
        For its files.

    Returns
    -------
    dict
        ``seconds`` in all, and those of each package (``packages``), the slowest first.
    """
    # Only with -v are the lines of what TensorFlow imports let through.
    run_command(
        content,
        style,
        preset,
        folder,
        options=["-v", "--iterations", "0", "--inversion-iterations", "0"],
        interpreter=["-X", "importtime"],
    )
    log = (folder / "command.log").read_text(encoding="utf-8", errors="replace")
    return parse_imports(log)


def parse_imports(log: str) -> dict[str, Any]:
    """Sum up what ``python -X importtime`` prints.

    Parameters
    ----------
    log : str

    Returns
    -------
    dict
        As of `measure_imports`.
    """
    packages: dict[str, float] = {}
    for line in log.splitlines():
        match = IMPORT_LINE.match(line)
        if match:
            package = match[2].split(".")[0]
            packages[package] = packages.get(package, 0.0) + int(match[1]) / 1e6
    slowest = dict(sorted(packages.items(), key=lambda item: -item[1]))
    return {"seconds": sum(packages.values()), "packages": slowest}


def summarise(record: dict[str, Any], usage: Usage) -> dict[str, Any]:
    """Say where the time of a run of the command went.

    Parameters
    ----------
    record : dict
        Of the run.
    usage : Usage

    Returns
    -------
    dict
        In seconds, and ``peak`` in bytes. ``first_step`` counts from the start of the process and
        holds ``interpreter``, ``start_up``, ``load`` and ``first_evaluation``; the latter three
        are only known where the content was a single window.
    """
    laps, losses = record["timings"], record["losses"]
    audio = record["content"]["samples"] / record["content"]["sr"]
    steps = len(losses) - 1
    descent = losses[-1]["seconds"] - losses[0]["seconds"]
    row = {
        "audio": audio,
        "windows": record["windows"],
        "device": record["device"],
        "precision": record["precision"],
        "stopped": record["stopped"],
        "first_step": laps["to first step"],
        "interpreter": laps["to command"],
        "steps": steps,
        "step": descent / steps / record["windows"] if steps else None,
        "inversion": laps["inversion"],
        "total": usage.seconds,
        "real_time_factor": usage.seconds / audio,
        "peak": usage.peak,
        "timings": laps,
    }
    if record["windows"] == 1:
        first = losses[0]["seconds"]
        # The content is read between the start of the command and the first lap of its clock.
        before = sum(laps.get(name, 0.0) for name in SPLIT)
        reading = max(0.0, laps["to first step"] - laps["to command"] - before - first)
        load = reading + laps.get("style", 0.0) + laps.get("features", 0.0)
        row |= {
            "start_up": laps.get("start-up", 0.0),
            "load": load,
            "reading": reading,
            "first_evaluation": first,
            "rest": usage.seconds - laps["to first step"] - descent - laps["inversion"],
        }
    return row
