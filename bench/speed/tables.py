"""Tables of `bench.speed`, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from bench.common import format_number, markdown_table

MIB = 2**20
LOSS_TOLERANCE = 0.02  # of the final loss, for results of two precisions to count as the same
SPECTROGRAM_TOLERANCE_DB = 1.0  # mean absolute difference of the output's spectrogram

Record = dict[str, Any]
Column = Callable[[Record], str]


def format_record(record: Record) -> str:
    """Format everything that was measured (``speed.json``) as one page."""
    sections = {
        "command": command_section,
        "limit": limit_section,
        "batch": batch_section,
        "precision": precision_section,
        "threads": threads_section,
        "jit": jit_section,
        "growth": growth_section,
    }
    parts = [machine_section(record)]
    for name, section in sections.items():
        rows = [row for row in record.get(name, []) if "error" not in row]
        failed = [row for row in record.get(name, []) if "error" in row]
        text = section(record, rows) if rows else ""
        for row in failed:
            about = ", ".join(f"{k} {v}" for k, v in row.items() if k != "error")
            text += f"\nFailed: {name}, {about}: `{row['error']}`\n"
        if text:
            parts.append(text)
    return "\n".join(parts)


def machine_section(record: Record) -> str:
    """Describe the machine of the measurement."""
    machine, idle = record["machine"], record.get("idle", {})
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 2**30:.0f} GiB"
    loads = [format_number(x, 2, "-") for x in (machine["load"], record.get("load_after"))]
    flags = ", ".join(machine["flags"]) or "no vector flags known"
    gpus = "".join(f", {name}" for name in idle.get("gpus", []))
    text = (
        f"Measured {machine['date'][:10]} on {machine['cpu']} ({machine['cores_usable']} of "
        f"{machine['cores']} cores; {flags}){memory}{gpus}, {machine['system']}; Python "
        f"{machine['python']}, {packages}. Load average before and after: {' and '.join(loads)}.\n"
    )
    if "peak" in idle:
        text += f"\nA process that only imports TensorFlow: {_mebibytes(idle['peak'])} MiB.\n"
    return text


def command_section(record: Record, rows: Sequence[Record]) -> str:
    """Format where the time of the command goes."""
    columns = {
        "preset": _text("preset"),
        "audio, s": _number("audio", 0),
        "to first step, s": _number("first_step"),
        "of it first evaluation": _number("first_evaluation"),
        "step, s": _number("step", 3),
        "steps": _text("steps"),
        "inversion, s": _number("inversion"),
        "end, s": _number("rest"),
        "total, s": _number("total", 1),
        "total / audio": _number("real_time_factor"),
        "peak, MiB": _size("peak"),
    }
    return _section("The command", columns, rows)


def limit_section(record: Record, rows: Sequence[Record]) -> str:
    """Format a step beside the plain convolutions."""
    columns = {
        "preset": _text("preset"),
        "precision": _text("precision"),
        "frames": _text("frames"),
        "step, s": _number("step", 3),
        "loss and gradient, s": _number("evaluate", 3),
        "GFLOP": _number("flops", 1, 1e9),
        "of it convolutions": _number("conv_flops", 1, 1e9),
        "GFLOP/s": _number("flops_per_second", 0, 1e9),
        "plain convolutions, GFLOP/s": _number("rate", 0, 1e9),
        "share of limit": _percent("share_of_limit"),
        "convolutions' share of time": _percent("conv_share"),
        "step / analysis": _number("step_to_forward"),
    }
    return _section("The step", columns, rows)


def batch_section(record: Record, rows: Sequence[Record]) -> str:
    """Format the time of a step per window."""
    rows = [{**row, "each": median(row["seconds"]) / row["stack"]} for row in rows]
    columns = {
        "preset": _text("preset"),
        "windows at once": _text("stack"),
        "frames": _text("frames"),
        "step per window, s": _number("each", 3),
        "speed-up": _speed_up(rows, "stack"),
        "peak, MiB": _size("peak"),
    }
    return _section("Batch size", columns, rows)


def threads_section(record: Record, rows: Sequence[Record]) -> str:
    """Compare one thread with all."""
    rows = [{**row, "each": median(row["seconds"])} for row in rows]
    cores = record["machine"]["cores_usable"]
    columns = {
        "preset": _text("preset"),
        "threads": lambda row: str(row["threads"] or f"all ({cores})"),
        "step, s": _number("each", 3),
        "speed-up": _speed_up(rows, "threads"),
    }
    return _section("Threads", columns, rows)


def jit_section(record: Record, rows: Sequence[Record]) -> str:
    """Compare the step compiled by XLA with the step without."""
    rows = [{**row, "step": median(row["seconds"])} for row in rows]
    columns = {
        "preset": _text("preset"),
        "compiled by XLA": lambda row: "yes" if row["jit"] else "no",
        "first evaluation, s": _number("first", 1),
        "step, s": _number("step", 3),
    }
    return _section("Compilation", columns, rows)


def precision_section(record: Record, rows: Sequence[Record]) -> str:
    """Compare the precisions: time, loss, output."""

    def same(row: Record) -> str:
        loss_agrees = abs(row["loss_change"]) <= LOSS_TOLERANCE
        return "yes" if loss_agrees and row["spectrogram_db"] <= SPECTROGRAM_TOLERANCE_DB else "no"

    columns = {
        "preset": _text("preset"),
        "float32 step, s": lambda row: format_number(row["float32"]["step"], 3),
        "bfloat16 step, s": lambda row: format_number(row["bfloat16"]["step"], 3),
        "speed-up": _number("speed_up"),
        "final loss": lambda row: f"{100 * row['loss_change']:+.2f} %",
        "spectrogram, dB": _number("spectrogram_db"),
        "content to result, dB": _number("moved_db"),
        "same": same,
    }
    note = (
        f"\nSame: the final loss within {100 * LOSS_TOLERANCE:g} %, and the spectrogram of the "
        f"output within {SPECTROGRAM_TOLERANCE_DB:g} dB (mean absolute difference).\n"
    )
    return _section("Precision", columns, rows) + note


def growth_section(record: Record, rows: Sequence[Record]) -> str:
    """Format time and memory by the length of the content."""
    idle = record.get("idle", {}).get("peak")
    columns = {
        "preset": _text("preset"),
        "audio, min": _number("audio", 1, 60),
        "windows": _text("windows"),
        "to first step, s": _number("first_step", 1),
        "total, s": _number("total", 1),
        "total / audio": _number("real_time_factor"),
        "peak, MiB": _size("peak"),
        "beyond idle TensorFlow, MiB": lambda row: (
            "-" if idle is None else _mebibytes(row["peak"] - idle)
        ),
    }
    return _section("Growth with length", columns, rows)


def _section(title: str, columns: dict[str, Column], rows: Sequence[Record]) -> str:
    cells = [[column(row) for column in columns.values()] for row in rows]
    return f"### {title}\n\n" + markdown_table(list(columns), cells)


def _text(name: str) -> Column:
    return lambda row: str(row[name])


def _number(name: str, digits: int = 2, unit: float = 1) -> Column:
    def column(row: Record) -> str:
        value = row.get(name)
        return format_number(None if value is None else value / unit, digits, "-")

    return column


def _percent(name: str) -> Column:
    return lambda row: "-" if row[name] is None else f"{100 * row[name]:.0f} %"


def _size(name: str) -> Column:
    return lambda row: _mebibytes(row[name])


def _mebibytes(value: float) -> str:
    return f"{value / MIB:,.0f}"


def _speed_up(rows: Sequence[Record], name: str) -> Column:
    """Compare ``each`` with the row of the same preset in which `name` is 1."""
    base = {row["preset"]: row["each"] for row in rows if row[name] == 1}

    def column(row: Record) -> str:
        return format_number(base[row["preset"]] / row["each"], 2) if row["preset"] in base else "-"

    return column
