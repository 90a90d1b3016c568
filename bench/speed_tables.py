"""The tables of `bench.speed`, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

MIB = 2**20
LOSS_TOLERANCE = 0.02  # of the final loss, for two precisions to count as one result
SPECTROGRAM_TOLERANCE_DB = 1.0  # of the spectrogram of the sound, mean of the absolute difference
SLOWEST = 6  # packages whose imports are named

Record = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table.

    Parameters
    ----------
    head : sequence of str
    rows : iterable of sequence of str

    Returns
    -------
    str
        The first column to the left, all others to the right; ends with a new line.
    """
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def number(value: float | None, digits: int = 2) -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """Write a share."""
    return "-" if value is None else f"{100 * value:.0f} %"


def mebibytes(value: float | None) -> str:
    """Write a number of bytes."""
    return "-" if value is None else f"{value / MIB:,.0f}"


def render(record: Record) -> str:
    """Write everything that was measured.

    Parameters
    ----------
    record : dict
        As in ``speed.json``; sections that were left out are left out.

    Returns
    -------
    str
    """
    sections = (
        ("command", command_section),
        ("imports", imports_section),
        ("limit", limit_section),
        ("batch", batch_section),
        ("precision", precision_section),
        ("threads", threads_section),
        ("jit", jit_section),
        ("growth", growth_section),
    )
    parts = [machine_section(record)]
    for name, write in sections:
        rows = [row for row in record.get(name, []) if "error" not in row]
        failed = [row for row in record.get(name, []) if "error" in row]
        text = write(record, rows) if rows else ""
        for row in failed:
            about = ", ".join(f"{k} {v}" for k, v in row.items() if k != "error")
            text += f"\nFailed: {name}, {about}: `{row['error']}`\n"
        if text:
            parts.append(text)
    return "\n".join(parts)


def machine_section(record: Record) -> str:
    """Say what it was measured on."""
    machine, idle = record["machine"], record.get("idle", {})
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 2**30:.0f} GiB"
    loads = [number(machine["load"]), number(record.get("load_after"))]
    flags = ", ".join(machine["flags"]) or "no vector flags known"
    gpus = "".join(f", {name}" for name in idle.get("gpus", []))
    text = (
        f"Measured {machine['date'][:10]} on {machine['cpu']} ({machine['cores_usable']} of "
        f"{machine['cores']} cores; {flags}){memory}{gpus}, {machine['system']}; Python "
        f"{machine['python']}, {packages}. Load average before and after: {' and '.join(loads)}.\n"
    )
    if "peak" in idle:
        text += f"\nA process that only imports TensorFlow: {mebibytes(idle['peak'])} MiB.\n"
    return text


def command_section(record: Record, rows: Sequence[Record]) -> str:
    """Write where the time of the command goes."""
    imports = {
        row["preset"]: row["seconds"] for row in record.get("imports", []) if "seconds" in row
    }
    lines = []
    for row in rows:
        lines.append(
            [
                row["preset"],
                number(row["audio"], 0),
                number(row["first_step"]),
                number(imports.get(row["preset"])),
                number(row.get("load")),
                number(row.get("first_evaluation")),
                number(row["step"], 3),
                str(row["steps"]),
                number(row["inversion"]),
                number(row.get("rest")),
                number(row["total"], 1),
                number(row["real_time_factor"]),
                mebibytes(row["peak"]),
            ]
        )
    head = ["preset", "audio, s", "to first step, s", "of it imports", "of it load"]
    head += ["of it first evaluation", "step, s", "steps", "inversion, s", "end, s", "total, s"]
    head += ["total / audio", "peak, MiB"]
    return "### The command\n\n" + table(head, lines)


def imports_section(record: Record, rows: Sequence[Record]) -> str:
    """Name the slowest imports."""
    lines = []
    for row in rows:
        slowest = list(row["packages"].items())[:SLOWEST]
        named = ", ".join(f"{name} {number(seconds)}" for name, seconds in slowest)
        lines.append([row["preset"], number(row["seconds"]), named])
    return "### Imports\n\n" + table(["preset", "all, s", "slowest packages, s"], lines)


def limit_section(record: Record, rows: Sequence[Record]) -> str:
    """Put the step beside what plain convolutions reach."""
    lines = []
    for row in rows:
        rate = row["rate"]
        lines.append(
            [
                row["preset"],
                row["precision"],
                str(row["frames"]),
                number(row["step"], 3),
                number(row["evaluate"], 3),
                number(row["flops"] / 1e9, 1),
                number(row["conv_flops"] / 1e9, 1),
                number(row["flops_per_second"] / 1e9, 0),
                number(None if rate is None else rate / 1e9, 0),
                percent(row["share_of_limit"]),
                percent(row["conv_share"]),
                number(row["step_to_forward"]),
            ]
        )
    head = ["preset", "precision", "frames", "step, s", "loss and gradient, s", "GFLOP"]
    head += ["of it convolutions", "GFLOP/s", "plain convolutions, GFLOP/s", "share of limit"]
    head += ["convolutions' share of time", "step / analysis"]
    return "### The step\n\n" + table(head, lines)


def batch_section(record: Record, rows: Sequence[Record]) -> str:
    """Write the time of a step for each window of a stack."""
    alone = {row["preset"]: median(row["seconds"]) for row in rows if row["stack"] == 1}
    lines = []
    for row in rows:
        each = median(row["seconds"]) / row["stack"]
        relative = alone[row["preset"]] / each if row["preset"] in alone else None
        lines.append(
            [
                row["preset"],
                str(row["stack"]),
                str(row["frames"]),
                number(each, 3),
                number(relative),
                mebibytes(row["peak"]),
            ]
        )
    head = ["preset", "windows at once", "frames", "step a window, s", "speed-up", "peak, MiB"]
    return "### Batch size\n\n" + table(head, lines)


def precision_section(record: Record, rows: Sequence[Record]) -> str:
    """Compare the precisions: time, loss, sound."""
    lines = []
    for row in rows:
        same = (
            abs(row["loss_change"]) <= LOSS_TOLERANCE
            and row["spectrogram_db"] <= SPECTROGRAM_TOLERANCE_DB
        )
        lines.append(
            [
                row["preset"],
                number(row["float32"]["step"], 3),
                number(row["bfloat16"]["step"], 3),
                number(row["speed_up"]),
                f"{100 * row['loss_change']:+.2f} %",
                number(row["spectrogram_db"]),
                number(row["moved_db"]),
                "yes" if same else "no",
            ]
        )
    head = ["preset", "float32 step, s", "bfloat16 step, s", "speed-up", "final loss"]
    head += ["spectrogram, dB", "content to result, dB", "same"]
    text = (
        f"\nSame: the final loss within {100 * LOSS_TOLERANCE:g} %, and the spectrogram of the "
        f"sound within {SPECTROGRAM_TOLERANCE_DB:g} dB (mean of the absolute difference).\n"
    )
    return "### Precision\n\n" + table(head, lines) + text


def threads_section(record: Record, rows: Sequence[Record]) -> str:
    """Compare one thread with all."""
    one = {row["preset"]: median(row["seconds"]) for row in rows if row["threads"] == 1}
    cores = record["machine"]["cores_usable"]
    lines = []
    for row in rows:
        step = median(row["seconds"])
        relative = one[row["preset"]] / step if row["preset"] in one else None
        threads = str(row["threads"] or f"all ({cores})")
        lines.append([row["preset"], threads, number(step, 3), number(relative)])
    head = ["preset", "threads", "step, s", "speed-up"]
    return "### Threads\n\n" + table(head, lines)


def jit_section(record: Record, rows: Sequence[Record]) -> str:
    """Compare compiled by XLA with not."""
    lines = [
        [
            row["preset"],
            "yes" if row["jit"] else "no",
            number(row["first"], 1),
            number(median(row["seconds"]), 3),
        ]
        for row in rows
    ]
    head = ["preset", "compiled by XLA", "first evaluation, s", "step, s"]
    return "### Compiling\n\n" + table(head, lines)


def growth_section(record: Record, rows: Sequence[Record]) -> str:
    """Write time and memory over the length of the content."""
    idle = record.get("idle", {}).get("peak")
    lines = []
    for row in rows:
        beyond = None if idle is None else row["peak"] - idle
        lines.append(
            [
                row["preset"],
                number(row["audio"] / 60, 1),
                str(row["windows"]),
                number(row["first_step"], 1),
                number(row["total"], 1),
                number(row["real_time_factor"]),
                mebibytes(row["peak"]),
                mebibytes(beyond),
            ]
        )
    head = ["preset", "audio, min", "windows", "to first step, s", "total, s", "total / audio"]
    head += ["peak, MiB", "beyond idle TensorFlow, MiB"]
    return "### Growth with length\n\n" + table(head, lines)
